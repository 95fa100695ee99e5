// READS lockers of BYTES, none of which is in memory, pinned one by one with DEPTH of them under
// way, as `cubby bench read` does it, by a caller's pump. read_cost.py counts what that takes.
// Prints how many were read.
#include <cubby/cubby.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

void need(bool right, const char *what) {
  if (right) return;
  char text[256] = "";
  cubby_explain(nullptr, text, sizeof text);
  std::fprintf(stderr, "read_cost: %s: %s\n", what, text);
  std::exit(1);
}

struct reads {
  cubby *rt = nullptr;
  cubby_tier tier = 0;
  cubby_bank bank = 0;
  cubby_cq *queue = nullptr;
  uint32_t locker_count = 0;
  std::vector<cubby_pins> pins;
  uint64_t done_count = 0;

  void open(uint64_t locker_bytes, uint32_t depth, bool verify);
  void map(uint64_t locker_bytes);
  void start(uint32_t slot, uint32_t number);
  void run(uint64_t count);
};

void reads::open(uint64_t locker_bytes, uint32_t depth, bool verify) {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = CUBBY_PUMP_CALLER;
  config.verify = verify ? CUBBY_VERIFY_ON : CUBBY_VERIFY_OFF;
  need(cubby_open(&config, &rt) == CUBBY_OK, "open");
  cubby_tier_desc host{};
  host.struct_size = sizeof host;
  host.backend = "host";
  host.name = "host:0";
  host.budget_bytes = 2 * depth * locker_bytes;
  need(cubby_tier_add(rt, &host, &tier) == CUBBY_OK, "tier");
  // What is read has left memory again before its turn comes once more.
  locker_count = 4 * depth;
  pins.resize(depth);
  need(cubby_cq_add(rt, depth, &queue) == CUBBY_OK, "queue");
  map(locker_bytes);
}

/// A bank over a file in the current folder, which is gone once it is open.
void reads::map(uint64_t locker_bytes) {
  const char *const path = "cubby_read_cost.bin";
  std::ofstream(path, std::ios::binary) << std::string(locker_count * locker_bytes, 'r');
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_OTHER;
  desc.name = "blocks";
  desc.rows = 1;
  desc.columns = locker_count;
  desc.locker_bytes = locker_bytes;
  desc.align_bytes = 16;
  need(cubby_bank_add(rt, &desc, &bank) == CUBBY_OK, "bank");
  std::vector<cubby_extent> extents;
  for (uint32_t i = 0; i < locker_count; ++i) {
    extents.push_back({CUBBY_ID(bank, i), 0, 0, i * locker_bytes, locker_bytes});
  }
  const cubby_status mapped = cubby_bank_map(rt, bank, &path, 1, extents.data(), extents.size());
  std::filesystem::remove(path);
  need(mapped == CUBBY_OK, "map");
}

void reads::start(uint32_t slot, uint32_t number) {
  cubby_item item{};
  item.id = CUBBY_ID(bank, number % locker_count);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_VISIT | CUBBY_BYPASS;
  how.user = slot;
  how.cq = queue;
  const void *address = nullptr;
  cubby_ticket ticket = 0;
  const cubby_status status = cubby_pin(rt, &item, 1, tier, &how, &pins[slot], &address, &ticket);
  need(status == CUBBY_PENDING, "pin of what is not there");
}

void reads::run(uint64_t count) {
  uint64_t begun = 0;
  for (uint32_t slot = 0; slot < pins.size() && begun < count; ++slot)
    start(slot, static_cast<uint32_t>(begun++));
  std::vector<cubby_done> completed(pins.size());
  for (uint64_t ended = 0; ended < count;) {
    need(cubby_cq_wait(queue, -1) == CUBBY_OK, "wait");
    const uint32_t came =
        cubby_cq_take(queue, completed.data(), static_cast<uint32_t>(completed.size()));
    for (uint32_t i = 0; i < came; ++i) {
      need(completed[i].status == CUBBY_OK, "read");
      const auto slot = static_cast<uint32_t>(completed[i].user);
      need(cubby_unpin(rt, pins[slot], 0, 0, nullptr) == CUBBY_OK, "unpin");
      if (begun < count) start(slot, static_cast<uint32_t>(begun++));
    }
    ended += came;
  }
  done_count += count;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: read_cost BYTES DEPTH READS VERIFY(0 or 1)\n");
    return 2;
  }
  const auto bytes = static_cast<uint64_t>(std::atoll(argv[1]));
  const auto depth = static_cast<uint32_t>(std::atoi(argv[2]));
  const auto count = static_cast<uint64_t>(std::atoll(argv[3]));
  if (bytes < 4096 || bytes > (4 << 20) || bytes % 4096 != 0) return 2;
  if (depth < 1 || depth > 128 || count < 1) return 2;
  reads all;
  all.open(bytes, depth, std::atoi(argv[4]) != 0);
  all.run(count);
  need(cubby_close(all.rt) == CUBBY_OK, "close");
  std::printf("%llu\n", static_cast<unsigned long long>(all.done_count));
  return 0;
}
