// Where a policy hits and what it evicts too early, at one capacity.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/replay/walk/simulate.hpp"
#include "cli/replay/walk/workload.hpp"

namespace cubby_cli::replay {

/// Too early: evicted, and missing within this many requests. Of experts it is one token cycle, as
/// many visits as there are layers.
inline constexpr uint32_t soon_requests = 32;

/// Watches a simulation.
class detail_watch final : public reporter {
 public:
  explicit detail_watch(const workload &of);
  void used(uint64_t number, std::span<const cubby_object> used,
            std::span<const cubby_object> missing) override;
  void came(cubby_object object) override { state_[object].resident = true; }
  void left(cubby_object object) override;
  void ended() override {}
  /// "places": uses and hits of each layer, or of blocks by their depth; "evicted_too_early".
  [[nodiscard]] nlohmann::json report() override;

 private:
  struct state {
    uint64_t left_at = ~uint64_t{0};  // visit or request
    uint32_t early = 0;
    bool resident = false;
  };
  struct place {
    uint64_t uses = 0, hits = 0;
  };
  [[nodiscard]] nlohmann::json top_early() const;

  const workload &of_;
  uint64_t soon_;
  std::vector<state> state_;
  std::vector<place> places_;
  uint64_t number_ = 0, evictions_ = 0, early_ = 0;
};

}  // namespace cubby_cli::replay
