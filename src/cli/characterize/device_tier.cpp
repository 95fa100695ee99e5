#include "cli/characterize/device_tier.hpp"

#include <cuda/driver.hpp>

#include <algorithm>

#include "cli/characterize/curves.hpp"

namespace cubby_cli::characterize {
namespace {

constexpr uint64_t block_bytes = uint64_t{1} << 20;
constexpr uint32_t blocks_max = 128, device_depth_max = 16;
/// With room for what a frame takes beyond its bytes.
constexpr uint64_t frame_bytes = block_bytes + (64u << 10);

/// With what the log has to say of it.
trouble refused(cubby_handle *rt) {
  trouble why = last_trouble();
  cubby_log_line line = {};
  while (cubby_log_take(rt, &line, 1) == 1)
    if (line.level <= 2) why.text += std::string("; ") + line.text;
  return why;
}

/// "0000:3b:00.0" of the device with this number of CUDA's; empty where the driver does not say.
std::string pci_id_of(int32_t ordinal) {
  const cubby_cuda::loaded_driver &driver = cubby_cuda::machine_driver();
  cubby_cuda::device_id device = {};
  char text[32] = {};
  if (!driver.why_not.empty() || driver.table.device_get(&device, ordinal) != cubby_cuda::success ||
      driver.table.device_pci_id(text, sizeof text, device) != cubby_cuda::success)
    return {};
  return text;
}

}  // namespace

device_tier::~device_tier() {
  pins_.reset();
  cubby_close(rt_);
}

done device_tier::add_tiers() {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = CUBBY_PUMP_CALLER;
  if (cubby_open(&config, &rt_) != CUBBY_OK) return last_trouble();
  const std::string device_name = name();
  cubby_tier_desc tier{};
  tier.struct_size = sizeof tier;
  tier.backend = which_.backend.c_str();
  tier.name = device_name.c_str();
  tier.device = which_.ordinal;
  tier.budget_bytes = 2 * device_depth_max * frame_bytes;
  tier.emulated_bytes_per_s = which_.emulated_bytes_per_s;
  if (cubby_tier_add(rt_, &tier, &device_) != CUBBY_OK) return refused(rt_);
  cubby_tier_desc host{};
  host.struct_size = sizeof host;
  host.backend = "host";
  host.name = "host:0";
  host.rank = 1;
  host.budget_bytes = (count_ + 1) * frame_bytes;
  if (cubby_tier_add(rt_, &host, &host_) != CUBBY_OK) return last_trouble();
  return nothing{};
}

done device_tier::map() {
  cubby_bank_desc bank{};
  bank.struct_size = sizeof bank;
  bank.kind = CUBBY_BANK_OTHER;
  bank.name = "blocks";
  bank.rows = 1;
  bank.columns = count_;
  bank.locker_bytes = block_bytes;
  bank.align_bytes = 16;
  if (cubby_bank_add(rt_, &bank, &bank_) != CUBBY_OK) return last_trouble();
  std::vector<cubby_extent> extents;
  for (uint64_t i = 0; i < count_; i++)
    extents.push_back({CUBBY_ID(bank_, i), 0, 0, i * block_bytes, block_bytes});
  const char *file = path_.c_str();
  if (cubby_bank_map(rt_, bank_, &file, 1, extents.data(), extents.size()) != CUBBY_OK)
    return last_trouble();
  return nothing{};
}

done device_tier::open(const std::string &path, uint64_t file_bytes) {
  count_ = static_cast<uint32_t>(std::min<uint64_t>(blocks_max, file_bytes / block_bytes));
  if (count_ < 2 * device_depth_max)
    return usage_trouble("its copies need a --dir with a --size of 32m at least");
  path_ = path;
  if (auto good = add_tiers(); !good) return good;
  open_energy();
  return nothing{};
}

/// The device's own: what the processors took is in the curves of memory and files.
void device_tier::open_energy() {
  std::string pci_id = which_.pci_id;
  if (pci_id.empty() && which_.backend == "cuda") pci_id = pci_id_of(which_.ordinal);
  energy_ = std::make_unique<gpu_energy>(pci_id, which_.energy_library);
}

/// From the file, which has been filled by now and does not change any more.
done device_tier::load_host() {
  if (auto good = map(); !good) return good;
  std::vector<cubby_item> items(count_);
  for (uint32_t i = 0; i < count_; i++) items[i].id = CUBBY_ID(bank_, i);
  cubby_ticket ticket = 0;
  const cubby_status status = cubby_prefetch(rt_, items.data(), count_, host_, nullptr, &ticket);
  if (status != CUBBY_OK && (status != CUBBY_PENDING || cubby_wait(rt_, ticket, -1) != CUBBY_OK))
    return last_trouble();
  pins_ = std::make_unique<pin_stream>();
  return pins_->open({rt_, bank_, device_, block_bytes, count_}, device_depth_max);
}

/// What fails here is said; the tiers that have been measured by now are not lost for it.
done device_tier::give_up(const trouble &why) {
  pins_.reset();
  made_.notes.push_back("its copies were not measured: " + why.text);
  return nothing{};
}

done device_tier::copy(uint32_t depth, double seconds) {
  if (!pins_) return nothing{};
  auto found = pins_->run(depth, seconds, *energy_);
  if (!found) return give_up(found.failure());
  profile::point made = point_of({verb::write, block_bytes, depth}, "cubby", false, *found);
  made_.curves.push_back(std::move(made));
  return nothing{};
}

void device_tier::plan(steps &to) {
  to.add(name() + ": filling host memory", 0, 0.5, [this](double) {
    const done loaded = load_host();
    return loaded ? loaded : give_up(loaded.failure());
  });
  for (uint32_t depth = 1; depth <= device_depth_max; depth *= 4)
    to.add(name() + ": copies of 1 MiB at depth " + std::to_string(depth), 1, 0,
           [this, depth](double s) { return copy(depth, s); });
}

profile::tier device_tier::result() const {
  profile::tier made = made_;
  made.name = name();
  made.kind = "device";
  made.place = which_.backend + " device " + std::to_string(which_.ordinal);
  made.knees = knees_of(made.curves);
  if (energy_ && !energy_->why().empty())
    made.notes.push_back("joules_per_byte is null: " + energy_->why());
  made.origin = "measured";
  made.source = "cubby characterize, pins of what host memory holds";
  made.notes.emplace_back(
      "read and write are null: reading a device's own memory takes a kernel, which this command "
      "has none of; write its bandwidth in by hand from the maker's sheet, with origin preset");
  return made;
}

std::optional<profile::link> device_tier::link_from(const std::string &host) const {
  if (made_.curves.empty()) return std::nullopt;
  double most = 0;
  for (const profile::point &one : made_.curves) most = std::max(most, one.bytes_per_s);
  return profile::link{host,       name(),
                       most,       made_.curves.front().p50_ns,
                       "measured", "cubby characterize, pins of what host memory holds"};
}

}  // namespace cubby_cli::characterize
