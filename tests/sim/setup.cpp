// The world of a run: what the disk holds, which tiers there are, what goes wrong how often.
#include <algorithm>

#include "api/in_process.hpp"
#include "sim/sim.hpp"
#include "sim/simulation.hpp"

namespace sim {
namespace {

cubby_sim::world_options world_of(uint64_t seed) {
  cubby_sim::world_options options;
  options.seed = seed;
  options.arena_bytes = uint64_t{48} << 20;
  return options;
}

uint64_t up(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

}  // namespace

simulation::simulation(const run_options &options)
    : options_(options), random_(cubby::base::mix64(options.seed)), world_(world_of(options.seed)) {
  watch_faults();
}

void simulation::watch_faults() {
  auto overlapping = [this](const std::string &path, uint64_t offset, uint64_t bytes, auto &&each) {
    const auto found = index_.find(path);
    if (found == index_.end()) return;
    auto &all = found->second;
    const uint64_t end = offset + std::min(bytes, ~uint64_t{0} - offset);
    auto at = std::upper_bound(all.begin(), all.end(), offset,
                               [](uint64_t o, const indexed &one) { return o < one.end_bytes; });
    for (; at != all.end() && at->offset_bytes < end; ++at) each(*at);
  };
  world_.silent_allowed = [overlapping](const std::string &path, uint64_t offset, uint64_t bytes) {
    bool allowed = true, any = false;
    overlapping(path, offset, bytes, [&](const indexed &one) {
      any = true;
      allowed = allowed && one.locker->anchored;
    });
    return any && allowed;
  };
  world_.on_strike = [this, overlapping](cubby_sim::fault which, const std::string &path,
                                         uint64_t offset, uint64_t bytes) {
    if (which == cubby_sim::fault::late) return;  // late bytes are right bytes
    any_struck_ = true;
    if (path.empty()) {
      copies_struck_ = true;
      return;
    }
    overlapping(path, offset, bytes, [](const indexed &one) { one.locker->struck = true; });
  };
}

void simulation::start_weather() {
  weather_ = cubby_sim::lively_rates();
  const uint64_t kind = random_.below(10);
  calm_ = kind == 0;
  if (calm_) {
    weather_ = {};
  } else if (kind >= 8) {
    for (uint32_t &rate : weather_) rate *= 4;
  } else if (kind >= 5) {
    for (uint32_t &rate : weather_) rate /= 4;
  }
}

bool simulation::lend(uint64_t bytes, cubby_region &region) {
  constexpr size_t page_bytes = 4096;
  lent_.assign(bytes / page_bytes, {});
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.base = lent_.data();
  desc.bytes = bytes;
  const cubby_status status = cubby_region_add(rt_, &desc, &region);
  if (status != CUBBY_OK)
    violate("set-up", "a region was not taken: %s", cubby_status_name(status));
  return status == CUBBY_OK;
}

bool simulation::add_tier(const char *backend, const char *name, uint32_t rank,
                          uint64_t budget_bytes, uint32_t flags) {
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = backend;
  desc.name = name;
  desc.rank = rank;
  desc.flags = flags;
  desc.device = -1;
  desc.budget_bytes = budget_bytes;
  if (rank == 0) {
    desc.emulated_latency_ns = 3'000;
    desc.emulated_bytes_per_s = 10'000'000'000;
  }
  const bool lent = rank == 1 && chance(20);  // the caller's own memory as frames
  cubby_region region = 0;
  if (lent && !lend(budget_bytes, region)) return false;
  if (lent) desc.memory = &region, desc.memory_count = 1;
  cubby_tier handle = 0;
  cubby_status status = cubby_tier_add(rt_, &desc, &handle);
  if (status != CUBBY_OK && any_struck_) {  // a failed reservation says so and may be tried again
    log_.add(0, "tier refused %" PRIu64, rank, 0, 0, status);
    world_.heal();
    status = cubby_tier_add(rt_, &desc, &handle);
    world_.set_rates(weather_);
  }
  log_.add(0, "tier rank=%" PRIu64 " budget=%" PRIu64, rank, budget_bytes, 0, status);
  if (status != CUBBY_OK) {
    char text[256] = "";
    cubby_explain(nullptr, text, sizeof text);
    violate("set-up", "tier %s could not be added: %s: %s", name, cubby_status_name(status), text);
    return false;
  }
  if (budget_bytes == 0) {
    file_tier_ = handle;
  } else {
    tiers_.push_back({handle, name, budget_bytes, false, {}});
    if (lent) saw(seen::lent_memory);
  }
  return true;
}

bool simulation::add_blocks() {
  blocks_ = std::make_unique<block_sessions>(block_sessions::surroundings{
      rt_, tiers_.back().handle, random_, log_, step_,
      [this](const std::string &text) { violate("KV", "%s", text.c_str()); }});
  saw(seen::block_sessions);
  return blocks_->set_up();
}

bool simulation::set_up() {
  start_weather();
  cubby_config config{};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = CUBBY_PUMP_CALLER;
  config.seed = options_.seed;
  config.tickets_max = tickets_max_ = chance(30) ? 24 : 4096;
  const char *policies[32] = {};
  const uint32_t policy_count = std::min(cubby_policy_list(policies, 32), 32u);
  if (policy_count != 0 && chance(70)) config.policy = policies[random_.below(policy_count)];
  if (!options_.policy.empty()) config.policy = options_.policy.c_str();
  // Where nothing ever goes wrong the bytes must be right without being looked at, too.
  if (calm_ && chance(30)) {
    config.verify = CUBBY_VERIFY_OFF;
    saw(seen::unverified_run);
  }
  if (const cubby_status status = cubby_open(&config, &rt_); status != CUBBY_OK) {
    violate("set-up", "cubby_open: %s", cubby_status_name(status));
    return false;
  }
  for (const cubby_backend_ops *ops : {cubby_sim_file_backend(), cubby_sim_memory_backend()}) {
    if (cubby::api::register_backend(rt_, ops, &world_) == CUBBY_OK) continue;
    violate("set-up", "backend %s was not accepted", ops->name);
    return false;
  }
  world_.set_rates(weather_);
  poll(now_ns_);

  const uint64_t shape = random_.below(10);
  has_device_ = shape != 0 && shape != 1;
  has_host_ = shape != 2 && shape != 3;
  if (!add_tier("sim-file", "nvme:0", 2, 0)) return false;
  const uint64_t bank_count = 1 + random_.below(3);
  for (uint64_t i = 0; i < bank_count && violations_.empty(); ++i) add_bank();
  const uint64_t least = 4 * frame_bytes_max();
  auto share = [&](uint64_t low, uint64_t high) {
    const uint64_t percent = low + random_.below(high - low);
    return up(std::max(least, total_frame_bytes_ * percent / 100), 4096);
  };
  const uint64_t device_bytes = share(8, 60), host_bytes = share(10, 110);
  if (has_device_ && !add_tier("sim-memory", "device:0", 0, device_bytes)) return false;
  // An exclusive host tier takes what the device gives up.
  const uint32_t host_flags = chance(40) ? CUBBY_TIER_EXCLUSIVE : 0;
  if (has_host_ && !add_tier("sim-memory", "host:0", 1, host_bytes, host_flags)) return false;
  host_may_rot_ = has_device_ && has_host_ && !calm_ && chance(30);
  // What rests in host memory is not verified when it is got.
  if (has_host_ && !host_may_rot_ && chance(50) && !add_blocks()) return false;

  for (const uint32_t capacity : {6u, 64u}) {
    completion_queue queue{nullptr, capacity};
    if (cubby_cq_add(rt_, capacity, &queue.cq) != CUBBY_OK) {
      violate("set-up", "a completion queue of %u was not made", capacity);
      return false;
    }
    queues_.push_back(queue);
  }
  next_drain_ = 100 + random_.below(600);
  return violations_.empty();
}

void simulation::lay_out(shadow_bank &bank) {
  const bool aligned = chance(25), scattered = chance(25);
  const uint64_t pad = chance(50) ? 0 : 32;
  const uint64_t files = chance(25) ? 2 : 1;
  std::vector<uint64_t> end(files, aligned ? 4096 : random_.below(9000));
  for (uint32_t row = 0; row < bank.rows; ++row) {
    for (uint32_t part = 0; part < bank.part_count; ++part) {
      const auto file = static_cast<uint32_t>(random_.below(files));
      std::vector<uint32_t> order(bank.columns);
      for (uint32_t i = 0; i < bank.columns; ++i) order[i] = i;
      for (uint32_t i = bank.columns; scattered && i > 1; --i) {
        std::swap(order[i - 1], order[random_.below(i)]);
      }
      for (const uint32_t column : order) {
        shadow_locker &locker = bank.lockers[row * bank.columns + column];
        const uint64_t bytes = bank.bytes_of(row * bank.columns + column, part);
        locker.parts[part] = {end[file], bytes, file};
        end[file] += aligned ? up(bytes, 4096) : up(bytes + pad, pad == 0 ? 1 : pad);
      }
      end[file] += random_.below(3) * random_.below(5000);
    }
  }
  for (uint64_t i = 0; i < files; ++i) {
    const std::string path =
        "bank" + std::to_string(bank.ordinal) + "_" + std::to_string(i) + ".bin";
    world_.add_file(path, end[i] + random_.below(5000));
    bank.files.push_back(path);
  }
}

void simulation::index_bank(const std::shared_ptr<shadow_bank> &bank) {
  for (const std::string &path : bank->files) index_[path].clear();
  for (shadow_locker &locker : bank->lockers) {
    for (const shadow_extent &part : locker.parts) {
      index_[bank->files[part.file]].push_back(
          {part.offset_bytes, part.offset_bytes + part.bytes, &locker, bank});
    }
  }
  for (const std::string &path : bank->files) {
    std::sort(index_[path].begin(), index_[path].end(),
              [](const indexed &a, const indexed &b) { return a.offset_bytes < b.offset_bytes; });
  }
}

cubby_status simulation::map_bank(shadow_bank &bank) {
  std::vector<const char *> files;
  for (const std::string &path : bank.files) files.push_back(path.c_str());
  std::vector<cubby_extent> extents;
  for (uint32_t number = 0; number < bank.lockers.size(); ++number) {
    for (uint32_t part = 0; part < bank.part_count; ++part) {
      const shadow_extent &at = bank.lockers[number].parts[part];
      extents.push_back({CUBBY_ID(bank.handle, number), part, at.file, at.offset_bytes, at.bytes});
    }
  }
  return cubby_bank_map(rt_, bank.handle, files.data(), static_cast<uint32_t>(files.size()),
                        extents.data(), extents.size());
}

/// Pages of rows, the last of them often short.
void simulation::make_table(shadow_bank &bank) {
  bank.rows = bank.part_count = 1;
  bank.columns = static_cast<uint32_t>(2 + random_.below(30));
  bank.page_rows = static_cast<uint32_t>(1 + random_.below(12));
  bank.table_row_bytes = static_cast<uint32_t>(20 + random_.below(900));
  bank.table_row_count =
      uint64_t{bank.columns - 1} * bank.page_rows + 1 + random_.below(bank.page_rows);
  bank.part_bytes = {uint64_t{bank.page_rows} * bank.table_row_bytes};
  bank.lockers.resize(bank.columns);
  for (shadow_locker &locker : bank.lockers) locker.parts.resize(1);
}

void simulation::make_experts(shadow_bank &bank) {
  bank.rows = static_cast<uint32_t>(1 + random_.below(4));
  bank.columns = static_cast<uint32_t>(2 + random_.below(14));
  bank.part_count = static_cast<uint32_t>(1 + random_.below(3));
  bank.lockers.resize(bank.rows * bank.columns);
  for (shadow_locker &locker : bank.lockers) locker.parts.resize(bank.part_count);
  const bool large = chance(8), round = chance(25);
  for (uint32_t i = 0; i < bank.rows * bank.part_count; ++i) {
    uint64_t bytes = large ? 20'000 + random_.below(30'000) : 300 + random_.below(9'000);
    if (round) bytes = up(bytes, 4096);
    bank.part_bytes.push_back(bytes);
  }
}

void simulation::add_bank() {
  auto bank = std::make_shared<shadow_bank>();
  bank->ordinal = next_bank_++;
  chance(30) ? make_table(*bank) : make_experts(*bank);
  std::vector<uint64_t> row_bytes(bank->rows, 0);
  for (size_t i = 0; i < bank->part_bytes.size(); ++i) {
    row_bytes[i / bank->part_count] += bank->part_bytes[i];
  }
  lay_out(*bank);

  const std::string name = "bank" + std::to_string(bank->ordinal);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  const bool table = bank->table_row_bytes != 0;
  desc.kind = table ? CUBBY_BANK_ROWS : CUBBY_BANK_EXPERTS;
  desc.table_row_bytes = bank->table_row_bytes;
  desc.table_row_count = bank->table_row_count;
  desc.name = name.c_str();
  desc.rows = bank->rows;
  desc.columns = bank->columns;
  desc.row_bytes = row_bytes.data();
  desc.part_count = bank->part_count;
  desc.part_bytes = bank->part_bytes.data();
  desc.align_bytes = chance(60) ? 1 : (chance(50) ? 64 : 4096);
  desc.chunk_bytes = chance(60) ? 4096 : (chance(50) ? 8192 : 0);
  if (!table) desc.routed_count = static_cast<uint32_t>(random_.below(3));
  cubby_status status = cubby_bank_add(rt_, &desc, &bank->handle);
  log_.add(step_, "bank add %" PRIu64 " lockers=%" PRIu64, bank->ordinal, bank->lockers.size(), 0,
           status);
  if (status != CUBBY_OK) {
    char text[256] = "";
    cubby_explain(nullptr, text, sizeof text);
    return violate("set-up", "bank %s: %s: %s", name.c_str(), cubby_status_name(status), text);
  }
  const uint64_t failures = world_.count(cubby_sim::fault::open_failure);
  status = map_bank(*bank);
  log_.add(step_, "bank map %" PRIu64, bank->ordinal, 0, 0, status);
  if (status != CUBBY_OK && world_.count(cubby_sim::fault::open_failure) != failures) {
    world_.heal();  // the same call again must do
    status = map_bank(*bank);
    world_.set_rates(weather_);
  }
  if (status != CUBBY_OK) {
    char text[256] = "";
    cubby_explain(nullptr, text, sizeof text);
    return violate("P5", "map of bank %s: %s: %s", name.c_str(), cubby_status_name(status), text);
  }
  index_bank(bank);
  for (uint32_t i = 0; i < bank->lockers.size(); ++i) {
    total_frame_bytes_ += frame_bytes_max(*bank, i);
  }
  banks_.push_back(std::move(bank));
}

}  // namespace sim
