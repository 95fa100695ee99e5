// A runtime in which every locker is resident: 64 of 4 KiB in a host tier.
#pragma once

#include <cubby/cubby.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

class resident {
 public:
  static constexpr uint32_t count = 64, locker_bytes = 4096;

  explicit resident(uint32_t pump = CUBBY_PUMP_THREAD) {
    path_ = "pin_bench_" + std::to_string(::getpid());
    FILE *file = std::fopen(path_.c_str(), "wb");
    const std::vector<char> bytes(size_t{count} * locker_bytes, 'x');
    need(file != nullptr && std::fwrite(bytes.data(), bytes.size(), 1, file) == 1);
    std::fclose(file);
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_EXPERTS;
    desc.name = "experts";
    desc.rows = 1;
    desc.columns = count;
    desc.locker_bytes = locker_bytes;
    cubby_tier_desc host{};
    host.struct_size = sizeof host;
    host.backend = "host";
    host.name = "host:0";
    host.budget_bytes = uint64_t{4} * count * locker_bytes;
    std::vector<cubby_extent> extents;
    const char *name = path_.c_str();
    cubby_config config{};
    config.struct_size = sizeof config;
    config.pump = pump;
    need(cubby_open(&config, &rt) == CUBBY_OK && cubby_bank_add(rt, &desc, &bank) == CUBBY_OK);
    for (uint64_t i = 0; i < count; i++) {
      extents.push_back({CUBBY_ID(bank, i), 0, 0, i * locker_bytes, locker_bytes});
    }
    need(cubby_bank_map(rt, bank, &name, 1, extents.data(), count) == CUBBY_OK);
    need(cubby_tier_add(rt, &host, &tier) == CUBBY_OK);
    items_.resize(count);
    for (uint32_t i = 0; i < count; i++) items_[i].id = CUBBY_ID(bank, i);
    cubby_ticket ticket = 0;
    need(cubby_prefetch(rt, items_.data(), count, tier, nullptr, &ticket) == CUBBY_PENDING);
    need(cubby_wait(rt, ticket, -1) == CUBBY_OK && cubby_drain(rt, -1) == CUBBY_OK);
    // Used once: until then the policy's decision on a prefetched locker is awaited at every unpin.
    for (uint32_t i = 0; i < count; i += 8) pin_and_unpin(i, 8);
    need(cubby_drain(rt, -1) == CUBBY_OK);
  }
  ~resident() {
    cubby_close(rt);
    std::remove(path_.c_str());
  }
  resident(const resident &) = delete;
  resident &operator=(const resident &) = delete;

  /// Pins and unpins lockers first, first + 1, … (at most 8).
  void pin_and_unpin(uint32_t first, uint32_t size) const {
    const void *addresses[8];
    cubby_how how{};
    how.struct_size = sizeof how;
    how.flags = CUBBY_NO_WAIT;
    cubby_pins pins = 0;
    need(cubby_pin(rt, &items_[first], size, tier, &how, &pins, addresses, nullptr) == CUBBY_OK);
    need(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }

  static void need(bool good) {
    if (good) return;
    char text[512] = "";
    cubby_explain(nullptr, text, sizeof text);
    std::fprintf(stderr, "the bench could not be set up: %s\n", text);
    std::exit(1);
  }

  cubby *rt = nullptr;
  cubby_bank bank = 0;
  cubby_tier tier = 0;

 private:
  std::vector<cubby_item> items_;
  std::string path_;
};
