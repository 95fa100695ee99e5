// How long a trace of tokens and requests would have taken, one after the other: the models of
// experts and of KV blocks take turns at one clock. docs/timing.md has their equations.
#pragma once

#include "cli/replay/timing/kv_timing.hpp"

namespace cubby_cli::replay {

/// Watches a simulation of a mixed trace and keeps its clock.
class mixed_timing final : public reporter {
 public:
  mixed_timing(const course &of, const kv_trace &requests, const timing_rules &rules);
  void used(uint64_t number, std::span<const cubby_object> used,
            std::span<const cubby_object> missing) override;
  void came(cubby_object object) override;
  void left(cubby_object object) override;
  void ended() override;
  /// The fields that a result gets.
  [[nodiscard]] nlohmann::json report() override;

 private:
  [[nodiscard]] cubby_object number_of(cubby_object block) const {
    return block - of_.requests->first_block;
  }

  const course of_;
  timing experts_;
  kv_timing blocks_;
  std::vector<cubby_object> request_;  // blocks under way, as the trace numbers them
  bool in_request_ = false;
};

}  // namespace cubby_cli::replay
