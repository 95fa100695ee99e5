#include "gpu.hpp"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>

#include "api/in_process.hpp"
#include "base/prng.hpp"
#include "cuda/cuda.hpp"

namespace gpu {
namespace {

std::atomic<uint64_t> syncs{0};
facts *current = nullptr;  // of the part that runs

cubby_cuda::status counted_sync(cubby_cuda::stream one) {
  ++syncs;
  return cubby_cuda::machine_driver().table.stream_synchronize(one);
}

std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return out + "\"";
}

}  // namespace

const cubby_cuda::driver_table &counted_driver() {
  static const cubby_cuda::driver_table table = [] {
    cubby_cuda::driver_table made = cubby_cuda::machine_driver().table;
    made.stream_synchronize = counted_sync;
    return made;
  }();
  return table;
}

uint64_t host_sync_count() { return syncs.load(); }

facts::facts(std::string folder, std::string name)
    : file_(std::move(folder) + "/" + std::move(name) + ".json") {
  current = this;
  write(false);
}

void facts::text(const std::string &name, const std::string &value) {
  add(name, quoted(value), value);
}

void facts::number(const std::string &name, double value) {
  char shown[48];
  std::snprintf(shown, sizeof shown, "%.5g", value);
  add(name, std::isfinite(value) ? shown : "null", shown);
}

void facts::check(const std::string &name, bool good, const std::string &detail) {
  failed_ = failed_ || !good;
  const std::string shown = good ? "pass" : "FAIL: " + detail;
  add(name, quoted(shown), shown);
}

void facts::add(const std::string &name, const std::string &json, const std::string &shown) {
  lines_ += "  " + quoted(name) + ": " + json + ",\n";
  std::printf("%-58s %s\n", name.c_str(), shown.c_str());
  std::fflush(stdout);
  write(false);
}

/// By another name first: whoever looks meanwhile sees the one or the other.
void facts::write(bool over) {
  const std::string whole = file_ + ".new";
  std::ofstream json(whole);
  json << "{\n" << lines_ << "  \"over\": " << (over ? "true" : "false") << "\n}\n";
  json.close();
  written_ = json.good() && std::rename(whole.c_str(), file_.c_str()) == 0 && written_;
}

int facts::end() {
  write(true);
  current = nullptr;
  if (!written_) std::fprintf(stderr, "%s could not be written\n", file_.c_str());
  return failed_ || !written_ ? 1 : 0;
}

/// At once: a runtime's thread, or a kernel that waits, may be in the way of an orderly end.
void give_up(const std::string &what, const std::string &why) {
  if (current != nullptr) current->check(what, false, why);
  std::fprintf(stderr, "%s: %s\n", what.c_str(), why.c_str());
  std::fflush(nullptr);
  ::_exit(1);
}

void need(cubby_status status, const char *call) {
  if (status == CUBBY_OK) return;
  char text[512];
  cubby_explain(nullptr, text, sizeof text);
  give_up(call, std::string(cubby_status_name(status)) + ": " + text);
}

void need_driver(cubby_cuda::status came, const char *call) {
  if (came == cubby_cuda::success) return;
  const char *name = nullptr;
  cubby_cuda::machine_driver().table.error_name(came, &name);
  give_up(call,
          "CUDA error " + std::to_string(came) + (name == nullptr ? "" : std::string(", ") + name));
}

device_memory::device_memory(uint64_t bytes) : bytes_(bytes) {
  const cubby_cuda::driver_table &driver = counted_driver();
  cubby_cuda::allocation_properties of;
  of.type = cubby_cuda::allocation_pinned;
  of.location = {cubby_cuda::location_device, 0};
  cubby_cuda::access_description may;
  may.location = of.location;
  may.flags = cubby_cuda::access_read_write;
  cubby_cuda::memory_handle handle = 0;
  need_driver(driver.memory_create(&handle, bytes_, &of, 0), "cuMemCreate");
  need_driver(driver.address_reserve(&at_, bytes_, 0, 0, 0), "cuMemAddressReserve");
  need_driver(driver.memory_map(at_, bytes_, 0, handle, 0), "cuMemMap");
  need_driver(driver.memory_release(handle), "cuMemRelease");
  need_driver(driver.memory_set_access(at_, bytes_, &may, 1), "cuMemSetAccess");
}

device_memory::~device_memory() {
  counted_driver().memory_unmap(at_, bytes_);
  counted_driver().address_free(at_, bytes_);
}

in_device::in_device() {
  const cubby_cuda::driver_table &driver = counted_driver();
  cubby_cuda::context here = nullptr;
  need_driver(driver.device_get(&id_, 0), "cuDeviceGet");
  need_driver(driver.context_retain(&here, id_), "cuDevicePrimaryCtxRetain");
  need_driver(driver.context_push(here), "cuCtxPushCurrent");
}

in_device::~in_device() {
  cubby_cuda::context ignored = nullptr;
  counted_driver().context_pop(&ignored);
  counted_driver().context_release(id_);
}

model_file::model_file(uint32_t locker_count, uint64_t locker_bytes)
    : count(locker_count), bytes(locker_bytes) {
  std::ofstream file(path, std::ios::binary);
  std::vector<uint64_t> words(bytes / 8);
  for (uint32_t number = 0; number < count; ++number) {
    for (uint64_t i = 0; i < words.size(); ++i) words[i] = word_of(number, i * 8);
    file.write(reinterpret_cast<const char *>(words.data()), static_cast<std::streamsize>(bytes));
  }
  if (!file.flush()) give_up(path, "it could not be written; run where there is room");
}

model_file::~model_file() { ::unlink(path.c_str()); }

uint64_t model_file::word_of(uint32_t number, uint64_t at) const {
  return cubby::base::mix64(uint64_t{number} * bytes + at);
}

device_runtime::device_runtime(const model_file &model, uint64_t device_bytes, uint64_t host_bytes,
                               bool exclusive_host, bool verify) {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.policy = "lru";
  config.verify = verify ? CUBBY_VERIFY_ON : CUBBY_VERIFY_OFF;
  need(cubby_open(&config, &rt), "cubby_open");
  auto *table = const_cast<cubby_cuda::driver_table *>(&counted_driver());
  need(cubby::api::register_backend(rt, cubby_cuda_backend(), table), "register_backend");
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = "cuda";
  desc.name = "device:0";
  desc.budget_bytes = device_bytes;
  need(cubby_tier_add(rt, &desc, &device), "cubby_tier_add(cuda)");
  if (host_bytes != 0) {
    desc.backend = "host";
    desc.name = "host:0";
    desc.rank = 1;
    desc.device = -1;
    desc.budget_bytes = host_bytes;
    desc.flags = exclusive_host ? CUBBY_TIER_EXCLUSIVE : 0;
    need(cubby_tier_add(rt, &desc, &host), "cubby_tier_add(host)");
  }
  cubby_bank_desc grid{};
  grid.struct_size = sizeof grid;
  grid.name = "model";
  grid.rows = 1;
  grid.columns = model.count;
  grid.locker_bytes = model.bytes;
  need(cubby_bank_add(rt, &grid, &bank), "cubby_bank_add");
  std::vector<cubby_extent> extents;
  for (uint32_t i = 0; i < model.count; ++i) {
    extents.push_back({CUBBY_ID(bank, i), 0, 0, i * model.bytes, model.bytes});
  }
  const char *file = model.path.c_str();
  need(cubby_bank_map(rt, bank, &file, 1, extents.data(), extents.size()), "cubby_bank_map");
}

device_runtime::~device_runtime() { cubby_close(rt); }

cubby_pins device_runtime::pin(const std::vector<uint32_t> &numbers, cubby_tier tier,
                               std::vector<const void *> &addr, const cubby_sync *sync) {
  std::vector<cubby_item> items(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) items[i].id = CUBBY_ID(bank, numbers[i]);
  addr.assign(numbers.size(), nullptr);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.sync = sync;
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  cubby_status status = cubby_pin(rt, items.data(), static_cast<uint32_t>(items.size()), tier, &how,
                                  &pins, addr.data(), &ticket);
  if (status == CUBBY_PENDING) status = cubby_wait(rt, ticket, 60'000'000'000);
  need(status, "cubby_pin");
  return pins;
}

void device_runtime::unpin(cubby_pins pins, const cubby_sync *sync) {
  need(cubby_unpin(rt, pins, 0, 0, sync), "cubby_unpin");
}

void device_runtime::prefetch(const std::vector<uint32_t> &numbers, cubby_tier tier) {
  std::vector<cubby_item> items(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) items[i].id = CUBBY_ID(bank, numbers[i]);
  cubby_ticket ticket = 0;
  cubby_status status =
      cubby_prefetch(rt, items.data(), static_cast<uint32_t>(items.size()), tier, nullptr, &ticket);
  if (status == CUBBY_PENDING) status = cubby_wait(rt, ticket, 60'000'000'000);
  need(status, "cubby_prefetch");
}

uint64_t now_ns() {
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<uint64_t>(at.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(at.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? NAN : values[values.size() / 2];
}

}  // namespace gpu
