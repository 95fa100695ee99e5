// The events of a piece of a simulation, stored for its observers: they get them when the piece is
// over, so that their time is not counted as the policy's.
#pragma once

#include "cli/replay/walk/simulate.hpp"

namespace cubby_cli::replay {

class event_log final : public observer {
 public:
  void used(uint64_t number, std::span<const cubby_object> used,
            std::span<const cubby_object> missing) override {
    visits_.push_back({number, used, missing_.size(), missing.size(), 0});
    missing_.insert(missing_.end(), missing.begin(), missing.end());
  }
  void came(cubby_object object) override { moves_.push_back({object, true}); }
  void left(cubby_object object) override { moves_.push_back({object, false}); }
  void ended() override { visits_.back().moves_end = moves_.size(); }

  void deliver(observer &to) const {
    size_t at = 0;
    for (const visit &one : visits_) {
      to.used(one.number, one.used, std::span(missing_).subspan(one.missing_at, one.missing_count));
      for (; at < one.moves_end; ++at) {
        if (moves_[at].came)
          to.came(moves_[at].object);
        else
          to.left(moves_[at].object);
      }
      to.ended();
    }
  }
  void clear() {
    visits_.clear();
    missing_.clear();
    moves_.clear();
  }

 private:
  struct visit {
    uint64_t number;
    std::span<const cubby_object> used;  // of the trace, which stays
    size_t missing_at, missing_count, moves_end;
  };
  struct move {
    cubby_object object;
    bool came;
  };
  std::vector<visit> visits_;
  std::vector<cubby_object> missing_;
  std::vector<move> moves_;
};

}  // namespace cubby_cli::replay
