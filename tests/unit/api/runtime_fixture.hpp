// A runtime over a real file of known bytes, for tests of the calls.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/prng.hpp"
#include "support/catch.hpp"

namespace api_test {

inline std::string explain() {
  char text[512];
  cubby_explain(nullptr, text, sizeof text);
  return text;
}

/// rows x columns lockers of two parts; rows differ in size; extents are unaligned.
struct weights {
  static constexpr uint32_t rows = 3, columns = 8, parts = 2;
  std::string path;
  std::string bytes;
  std::vector<uint64_t> row_bytes, part_bytes;
  std::vector<cubby_extent> extents;

  explicit weights(uint64_t seed = 1, uint64_t skew = 32) {
    static int serial = 0;
    path = "api_test_" + std::to_string(getpid()) + "_" + std::to_string(++serial);
    cubby::base::prng random(seed);
    uint64_t at = 64;
    for (uint32_t row = 0; row < rows; ++row) {
      const uint64_t first = 300'000 + 4096 * row + skew;
      const uint64_t second = 70'016 + 64 * row;
      part_bytes.insert(part_bytes.end(), {first, second});
      row_bytes.push_back(first + second);
      for (uint32_t part = 0; part < parts; ++part) {
        for (uint32_t column = 0; column < columns; ++column) {
          const uint64_t size = part == 0 ? first : second;
          extents.push_back({row * columns + column, part, 0, at, size});
          at = (at + size + skew - 1) / skew * skew;
        }
      }
    }
    bytes.resize(at + 5);
    for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      const uint64_t word = random.next();
      std::memcpy(bytes.data() + i, &word, 8);
    }
    std::ofstream(path, std::ios::binary) << bytes;
  }
  weights(const weights &) = delete;
  weights &operator=(const weights &) = delete;
  ~weights() { std::remove(path.c_str()); }

  [[nodiscard]] const cubby_extent &extent(uint32_t number, uint32_t part) const {
    for (const cubby_extent &e : extents) {
      if ((e.id & 0xFFFFFFFF) == number && e.part == part) return e;
    }
    std::abort();
  }
  /// Are these the bytes of the part?
  [[nodiscard]] bool same(const void *seen, uint32_t number, uint32_t part) const {
    const cubby_extent &e = extent(number, part);
    return seen != nullptr && std::memcmp(seen, bytes.data() + e.offset_bytes, e.bytes) == 0;
  }
  /// As a failing device would: the file's time of change stays what it was.
  void flip(uint32_t number, uint32_t part) const {
    const auto time = std::filesystem::last_write_time(path);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(extent(number, part).offset_bytes + 1000);
    file.seekp(at);
    file.put(static_cast<char>(bytes[static_cast<size_t>(at)] ^ 4));
    file.close();
    std::filesystem::last_write_time(path, time);
  }
};

struct runtime_fixture {
  cubby_handle *rt = nullptr;
  cubby_bank bank = 0;
  uint32_t routed_count = 0;  // of banks that are mapped from here on

  explicit runtime_fixture(uint32_t pump, uint32_t tickets_max = 0, const char *policy = "lru") {
    cubby_config config{};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_ABI_VERSION;
    config.pump = pump;
    config.tickets_max = tickets_max;
    config.policy = policy;
    REQUIRE(cubby_open(&config, &rt) == CUBBY_OK);
  }
  explicit runtime_fixture(cubby_handle *opened) : rt(opened) {}
  runtime_fixture(const runtime_fixture &) = delete;
  runtime_fixture &operator=(const runtime_fixture &) = delete;
  ~runtime_fixture() { cubby_close(rt); }

  cubby_tier tier(const char *name, uint32_t rank, uint64_t budget, uint64_t speed = 0,
                  uint32_t flags = 0) {
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "host";
    desc.name = name;
    desc.rank = rank;
    desc.device = -1;
    desc.budget_bytes = budget;
    desc.flags = flags;
    desc.emulated_bytes_per_s = speed;
    cubby_tier made = 0;
    INFO(explain());
    REQUIRE(cubby_tier_add(rt, &desc, &made) == CUBBY_OK);
    return made;
  }

  void map(weights &w, uint32_t align_bytes = 32) {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "weights";
    desc.rows = weights::rows;
    desc.columns = weights::columns;
    desc.row_bytes = w.row_bytes.data();
    desc.part_count = weights::parts;
    desc.part_bytes = w.part_bytes.data();
    desc.align_bytes = align_bytes;
    desc.chunk_bytes = 65536;
    desc.routed_count = routed_count;
    REQUIRE(cubby_bank_add(rt, &desc, &bank) == CUBBY_OK);
    for (cubby_extent &e : w.extents) e.id = CUBBY_ID(bank, e.id & 0xFFFFFFFF);
    const char *file = w.path.c_str();
    const cubby_status mapped =
        cubby_bank_map(rt, bank, &file, 1, w.extents.data(), w.extents.size());
    INFO(explain());
    REQUIRE(mapped == CUBBY_OK);
  }

  [[nodiscard]] std::vector<cubby_item> items(const std::vector<uint32_t> &numbers) const {
    std::vector<cubby_item> out(numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) out[i].id = CUBBY_ID(bank, numbers[i]);
    return out;
  }

  /// Pins and waits; the status, with the set and its addresses.
  cubby_status pin(const std::vector<uint32_t> &numbers, cubby_tier at, cubby_pins &pins,
                   std::vector<const void *> &addr) {
    const auto wanted = items(numbers);
    addr.assign(numbers.size() * weights::parts, nullptr);
    cubby_ticket ticket = 0;
    const cubby_status status = cubby_pin(rt, wanted.data(), static_cast<uint32_t>(wanted.size()),
                                          at, nullptr, &pins, addr.data(), &ticket);
    if (status != CUBBY_PENDING) return status;
    return cubby_wait(rt, ticket, 20'000'000'000);
  }

  cubby_tier_stats stats(cubby_tier tier) const {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    cubby_tier_stats all[8]{};
    for (auto &one : all) one.struct_size = sizeof one;
    REQUIRE(cubby_stats(rt, &block, all, 8) == CUBBY_OK);
    for (uint32_t i = 0; i < block.tier_count; ++i) {
      if (all[i].tier == tier) return all[i];
    }
    return {};
  }
};

}  // namespace api_test
