// Experts in a file, some of them in a small near tier, with or without a tier between the two.
#pragma once

#include <cubby/cubby.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

class expert_tiers {
 public:
  static constexpr uint32_t layers = 4, experts = 16, used = 2;
  static constexpr uint64_t expert_bytes = uint64_t{1} << 20;

  /// The file that all of them read.
  static void make_file(const std::string &path) {
    const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    std::vector<char> bytes(expert_bytes, 'e');
    for (uint32_t i = 0; i < layers * experts; ++i) {
      bytes[0] = static_cast<char>(i);
      need(file >= 0 &&
           ::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    }
    need(::fsync(file) == 0 && ::close(file) == 0);
  }

  /// `between_bytes_per_s`: of the tier between, exclusive, half of the experts large; 0 = there is
  /// none.
  expert_tiers(const std::string &path, uint64_t between_bytes_per_s) {
    cubby_config config{};
    config.struct_size = sizeof config;
    config.pump = CUBBY_PUMP_THREAD;
    config.policy = "lru";
    need(cubby_open(&config, &rt_) == CUBBY_OK);
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_EXPERTS;
    desc.name = "experts";
    desc.rows = layers;
    desc.columns = experts;
    desc.routed_count = used;
    desc.locker_bytes = expert_bytes;
    need(cubby_bank_add(rt_, &desc, &bank_) == CUBBY_OK);
    std::vector<cubby_extent> extents;
    for (uint64_t i = 0; i < uint64_t{layers} * experts; ++i)
      extents.push_back({CUBBY_ID(bank_, i), 0, 0, i * expert_bytes, expert_bytes});
    const char *name = path.c_str();
    need(cubby_bank_map(rt_, bank_, &name, 1, extents.data(), extents.size()) == CUBBY_OK);
    near_ = add("near", 0, 8 * (expert_bytes + 4096), 0, 0);
    if (between_bytes_per_s == 0) return;
    between_ = add("between", 1, layers * experts / 2 * (expert_bytes + 4096), between_bytes_per_s,
                   CUBBY_TIER_EXCLUSIVE);
  }
  ~expert_tiers() { cubby_close(rt_); }
  expert_tiers(const expert_tiers &) = delete;
  expert_tiers &operator=(const expert_tiers &) = delete;

  /// One after the other, as a layer of a token uses them.
  void use(const std::vector<uint32_t> &numbers) {
    std::vector<cubby_item> items(numbers.size());
    std::vector<const void *> addresses(numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) items[i].id = CUBBY_ID(bank_, numbers[i]);
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = cubby_pin(rt_, items.data(), static_cast<uint32_t>(items.size()), near_,
                                    nullptr, &pins, addresses.data(), &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(rt_, ticket, -1);
    need(status == CUBBY_OK);
    for (size_t i = 0; i < numbers.size(); ++i)
      need(*static_cast<const char *>(addresses[i]) == static_cast<char>(numbers[i]));
    need(cubby_unpin(rt_, pins, 0, 0, nullptr) == CUBBY_OK);
  }
  /// Is the tier between gone past?
  [[nodiscard]] bool stands_aside() const {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    cubby_tier_stats tiers[4]{};
    for (auto &one : tiers) one.struct_size = sizeof one;
    need(cubby_stats(rt_, &block, tiers, 4) == CUBBY_OK);
    for (const auto &one : tiers)
      if (between_ != 0 && one.tier == between_) return one.health == 3;
    return false;
  }

 private:
  static void need(bool good) {
    if (good) return;
    char text[512] = "";
    cubby_explain(nullptr, text, sizeof text);
    std::fprintf(stderr, "experts: %s\n", text);
    std::exit(1);
  }
  cubby_tier add(const char *name, uint32_t rank, uint64_t bytes, uint64_t bytes_per_s,
                 uint32_t flags) {
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "host";
    desc.name = name;
    desc.rank = rank;
    desc.budget_bytes = bytes;
    desc.emulated_bytes_per_s = bytes_per_s;
    desc.flags = flags;
    cubby_tier made = 0;
    need(cubby_tier_add(rt_, &desc, &made) == CUBBY_OK);
    return made;
  }

  cubby *rt_ = nullptr;
  cubby_bank bank_ = 0;
  cubby_tier near_ = 0, between_ = 0;
};
