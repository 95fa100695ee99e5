// Lockers of BYTES that come to a device's tier from host memory, one pin of 4 in a stream's order
// after the other, over a driver that does nothing: what is left is the host's own work.
// device_cost.py counts it. Prints how many lockers were moved.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "api/in_process.hpp"
#include "cuda/cuda.hpp"
#include "support/idle_cuda.hpp"

namespace {

constexpr uint32_t locker_count = 512, set_size = 4;

void need(bool right, const char *what) {
  if (right) return;
  char text[256] = "";
  cubby_explain(nullptr, text, sizeof text);
  std::fprintf(stderr, "device_cost: %s: %s\n", what, text);
  std::exit(1);
}

cubby_tier add_tier(cubby_handle *rt, const char *backend, const char *name, uint32_t rank,
                    uint64_t budget_bytes) {
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = backend;
  desc.name = name;
  desc.rank = rank;
  desc.budget_bytes = budget_bytes;
  cubby_tier made = 0;
  need(cubby_tier_add(rt, &desc, &made) == CUBBY_OK, name);
  return made;
}

/// A bank over a file, which is gone once it is open.
cubby_bank add_bank(cubby_handle *rt, uint64_t locker_bytes) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "cubby_device_cost.bin").string();
  std::ofstream(path, std::ios::binary) << std::string(locker_count * locker_bytes, 'w');
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_EXPERTS;
  desc.name = "experts";
  desc.rows = 1;
  desc.columns = locker_count;
  desc.locker_bytes = locker_bytes;
  cubby_bank bank = 0;
  need(cubby_bank_add(rt, &desc, &bank) == CUBBY_OK, "bank");
  std::vector<cubby_extent> extents;
  for (uint32_t i = 0; i < locker_count; ++i) {
    extents.push_back({CUBBY_ID(bank, i), 0, 0, i * locker_bytes, locker_bytes});
  }
  const char *const files[] = {path.c_str()};
  const cubby_status mapped = cubby_bank_map(rt, bank, files, 1, extents.data(), extents.size());
  need(mapped == CUBBY_OK, "map");
  std::filesystem::remove(path);
  return bank;
}

void use(cubby_handle *rt, cubby_bank bank, cubby_tier tier, uint32_t first) {
  cubby_sync sync{};
  sync.struct_size = sizeof sync;
  sync.stream = 7;
  cubby_how how{};
  how.struct_size = sizeof how;
  how.sync = &sync;
  std::array<cubby_item, set_size> items{};
  std::array<const void *, set_size> addresses{};
  for (uint32_t i = 0; i < set_size; ++i) items[i].id = CUBBY_ID(bank, (first + i) % locker_count);
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  cubby_status status =
      cubby_pin(rt, items.data(), set_size, tier, &how, &pins, addresses.data(), &ticket);
  if (status == CUBBY_PENDING) status = cubby_wait(rt, ticket, -1);
  need(status == CUBBY_OK, "pin");
  need(cubby_unpin(rt, pins, 0, 0, &sync) == CUBBY_OK, "unpin");
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: device_cost BYTES ROUNDS VERIFY(0 or 1)\n");
    return 2;
  }
  const auto bytes = static_cast<uint64_t>(std::atoll(argv[1]));
  const auto rounds = static_cast<uint32_t>(std::atoi(argv[2]));
  if (bytes < 4096 || bytes > (1 << 20) || bytes % 4096 != 0) return 2;
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = CUBBY_PUMP_CALLER;
  config.verify = std::atoi(argv[3]) != 0 ? CUBBY_VERIFY_ON : CUBBY_VERIFY_OFF;
  config.policy = "lru";
  cubby_handle *rt = nullptr;
  need(cubby_open(&config, &rt) == CUBBY_OK, "open");
  cubby_cuda::driver_table driver = cubby_test::idle_cuda::table(true);
  need(cubby::api::register_backend(rt, cubby_cuda_backend(), &driver) == CUBBY_OK, "backend");
  const cubby_tier device = add_tier(rt, "cuda", "device:0", 0, locker_count / 2 * bytes);
  add_tier(rt, "host", "host:0", 1, 2 * locker_count * bytes);
  const cubby_bank bank = add_bank(rt, bytes);
  // One after the other through twice of what fits: each use is a miss.
  for (uint32_t first = 0; first < 4 * locker_count; first += set_size)
    use(rt, bank, device, first);
  const uint64_t before = cubby_test::idle_cuda::bytes_copied;
  for (uint32_t i = 0; i < rounds; ++i) use(rt, bank, device, i * set_size);
  const uint64_t moved = (cubby_test::idle_cuda::bytes_copied - before) / bytes;
  need(cubby_close(rt) == CUBBY_OK, "close");
  std::printf("%llu\n", static_cast<unsigned long long>(moved));
  return 0;
}
