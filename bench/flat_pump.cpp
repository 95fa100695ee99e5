// What cubby_stats() and a pin that finds no frames cost with 10^3 to 10^6 lockers: neither may
// grow with them. Seven of the tier's eight frames are held by one set.
#include <cubby/cubby.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr uint32_t columns = 64, frames = 8, held_count = 7, rounds = 301;
constexpr uint64_t locker_bytes = 64, frame_bytes = 4096;

void need(bool good) {
  if (good) return;
  char text[512] = "";
  cubby_explain(nullptr, text, sizeof text);
  std::fprintf(stderr, "the bench could not be set up: %s\n", text);
  std::exit(1);
}

/// Nanoseconds, the median of all rounds.
template <class Work>
double median_ns(const Work &work) {
  std::vector<double> spent;
  for (uint32_t round = 0; round < rounds; ++round) {
    const auto begun = std::chrono::steady_clock::now();
    work();
    spent.push_back(
        std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begun).count());
  }
  std::nth_element(spent.begin(), spent.begin() + rounds / 2, spent.end());
  return spent[rounds / 2];
}

struct runtime {
  cubby *rt = nullptr;
  cubby_bank bank = 0;
  cubby_tier tier = 0;
  std::string path = "flat_pump_" + std::to_string(::getpid());

  explicit runtime(uint32_t rows) {
    FILE *const file = std::fopen(path.c_str(), "wb");
    const uint64_t count = uint64_t{rows} * columns;
    need(file != nullptr &&
         ::ftruncate(::fileno(file), static_cast<off_t>(count * locker_bytes)) == 0);
    std::fclose(file);
    cubby_config config{};
    config.struct_size = sizeof config;
    config.pump = CUBBY_PUMP_CALLER;
    config.policy = "lru";
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_OTHER;
    desc.name = "blocks";
    desc.rows = rows;
    desc.columns = columns;
    desc.locker_bytes = locker_bytes;
    need(cubby_open(&config, &rt) == CUBBY_OK && cubby_bank_add(rt, &desc, &bank) == CUBBY_OK);
    std::vector<cubby_extent> extents;
    for (uint64_t i = 0; i < count; ++i) {
      extents.push_back({CUBBY_ID(bank, i), 0, 0, i * locker_bytes, locker_bytes});
    }
    const char *const name = path.c_str();
    need(cubby_bank_map(rt, bank, &name, 1, extents.data(), count) == CUBBY_OK);
    cubby_tier_desc host{};
    host.struct_size = sizeof host;
    host.backend = "host";
    host.name = "host:0";
    host.budget_bytes = frames * frame_bytes;
    need(cubby_tier_add(rt, &host, &tier) == CUBBY_OK);
  }
  ~runtime() {
    cubby_close(rt);
    std::remove(path.c_str());
  }
  runtime(const runtime &) = delete;
  runtime &operator=(const runtime &) = delete;

  /// Pins `count` lockers from `first` on.
  cubby_ticket pin(uint32_t first, uint32_t count, cubby_pins &pins) const {
    std::vector<cubby_item> items(count);
    for (uint32_t i = 0; i < count; ++i) items[i].id = CUBBY_ID(bank, first + i);
    cubby_ticket ticket = 0;
    need(cubby_pin(rt, items.data(), count, tier, nullptr, &pins, nullptr, &ticket) ==
         CUBBY_PENDING);
    return ticket;
  }
};

void measure(uint32_t rows) {
  const runtime some(rows);
  cubby_pins held = 0;
  need(cubby_wait(some.rt, some.pin(rows * columns - held_count, held_count, held), -1) ==
       CUBBY_OK);
  const double stats_ns = median_ns([&] {
    cubby_stats_block block{};
    cubby_tier_stats tiers[2] = {};
    block.struct_size = sizeof block;
    for (cubby_tier_stats &one : tiers) one.struct_size = sizeof one;
    need(cubby_stats(some.rt, &block, tiers, 2) == CUBBY_OK);
    need(std::max(tiers[0].pinned_bytes, tiers[1].pinned_bytes) == held_count * frame_bytes);
  });
  const double grant_ns = median_ns([&] {
    cubby_pins pins = 0;
    const cubby_ticket ticket = some.pin(0, 2, pins);
    need(cubby_cancel(some.rt, ticket) == CUBBY_OK);
    need(cubby_wait(some.rt, ticket, -1) == CUBBY_ERR_CANCELED);
  });
  std::printf("%8u lockers: cubby_stats %9.0f ns, a pin without frames, cancelled %9.0f ns\n",
              rows * columns, stats_ns, grant_ns);
  need(cubby_unpin(some.rt, held, 0, 0, nullptr) == CUBBY_OK);
}

}  // namespace

int main() {
  for (const uint32_t rows : {16u, 160u, 1600u, 16000u}) measure(rows);
  return 0;
}
