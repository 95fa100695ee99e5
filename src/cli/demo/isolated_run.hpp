// Runs one way of decoding in a process of its own, under a limit of memory where one can be set.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/limit_places.hpp"
#include "cli/outcome.hpp"

namespace cubby_cli::demo {

/// A memory cgroup for one run after the other; "none" where there can be none.
class memory_limit {
 public:
  explicit memory_limit(uint64_t bytes);
  ~memory_limit();
  memory_limit(const memory_limit &) = delete;
  memory_limit &operator=(const memory_limit &) = delete;
  /// "cgroup-v2", "cgroup-v1" or "none".
  [[nodiscard]] const std::string &by() const { return by_; }
  /// Why there is none.
  [[nodiscard]] const std::string &trouble() const { return trouble_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  /// Puts the calling process under it.
  bool enter() const;

 private:
  bool make(const limit_place &place);

  std::string folder_, by_ = "none", trouble_;
  uint64_t bytes_;
};

/// Forks; the child enters the limit (where there is one), runs `body` and hands its object back.
/// Adds "peak_rss_bytes" and "cpu_s" of the child. Called before this process has threads.
outcome<nlohmann::json> run_isolated(const memory_limit *limit,
                                     const std::function<outcome<nlohmann::json>()> &body);

}  // namespace cubby_cli::demo
