// A runtime for KV blocks in host memory and, with a directory, in a store there; and what the
// benches over it have in common.
#pragma once

#include <cubby/cubby.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

[[noreturn]] inline void fail(const char *call) {
  char text[400];
  cubby_explain(nullptr, text, sizeof text);
  std::fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, call, text);
  std::exit(1);
}

inline double quantile(std::vector<double> all, double share) {
  std::sort(all.begin(), all.end());
  return all[std::min(all.size() - 1,
                      static_cast<size_t>(share * static_cast<double>(all.size())))];
}
inline double median(std::vector<double> all) { return quantile(std::move(all), 0.5); }

class kv_cache {
 public:
  kv_cache(uint64_t block_bytes, uint32_t columns, uint64_t host_bytes,
           const char *policy = nullptr, const std::string &directory = {},
           uint64_t store_bytes = 0) {
    cubby_config config{};
    config.struct_size = sizeof config;
    config.policy = policy;
    if (cubby_open(&config, &rt_) != CUBBY_OK) fail("open");
    host_ = add_tier("host", "host:0", 0, host_bytes, nullptr);
    if (!directory.empty()) add_tier("file", "disk:0", 1, store_bytes, directory.c_str());
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_KV;
    desc.name = "kv";
    desc.rows = 1;
    desc.columns = columns;
    desc.locker_bytes = block_bytes;
    if (cubby_bank_add(rt_, &desc, &bank_) != CUBBY_OK) fail("bank_add");
    open_space();
  }
  kv_cache(const kv_cache &) = delete;
  kv_cache &operator=(const kv_cache &) = delete;
  ~kv_cache() { cubby_close(rt_); }

  void open_space() {
    cubby_space_desc of{};
    of.struct_size = sizeof of;
    of.bank = bank_;
    if (cubby_space_add(rt_, &of, &space_) != CUBBY_OK) fail("space_add");
  }
  void close_space() {
    if (cubby_space_remove(rt_, space_) != CUBBY_OK) fail("space_remove");
  }
  [[nodiscard]] cubby *rt() const { return rt_; }
  [[nodiscard]] cubby_tier host() const { return host_; }
  [[nodiscard]] cubby_space space() const { return space_; }

 private:
  cubby_tier add_tier(const char *backend, const char *name, uint32_t rank, uint64_t budget_bytes,
                      const char *path) {
    cubby_tier_desc tier{};
    tier.struct_size = sizeof tier;
    tier.backend = backend;
    tier.name = name;
    tier.rank = rank;
    tier.device = -1;
    tier.budget_bytes = budget_bytes;
    tier.paths = &path;
    tier.path_count = path == nullptr ? 0 : 1;
    cubby_tier made = 0;
    if (cubby_tier_add(rt_, &tier, &made) != CUBBY_OK) fail(name);
    return made;
  }

  cubby *rt_ = nullptr;
  cubby_tier host_ = 0;
  cubby_bank bank_ = 0;
  cubby_space space_ = 0;
};
