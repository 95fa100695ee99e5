// A store has a place for so many spaces, and tenants and models come and go: when all places are
// taken, one that nobody has open gives way to one that is opened.
#pragma once

#include <functional>

#include "base/clock.hpp"
#include "engine/store_set.hpp"

namespace cubby::engine {

/// Of one store. For whoever holds the pump.
class space_room {
 public:
  /// Says of a space's id in the store whether a bank has it open.
  using open_test = std::function<bool(uint32_t)>;

  explicit space_room(engine_state &state) : state_(state) {}

  /// A space waits for a place.
  void note_wanted() { wanted_ = true; }
  /// Chooses the space that goes: an empty one, or the one that nothing was put in for longest,
  /// with durable blocks last. Its blocks go, then the space, a step of the pump each.
  void step(store_state &in, const open_test &is_open);
  /// When the next step is due.
  [[nodiscard]] uint64_t next_ns() const { return going_ == 0 ? base::never_ns : next_pass_ns_; }
  /// All places are taken: will there be one a little later? False: all of them are open.
  [[nodiscard]] static bool may_come(const store_state &in, const open_test &is_open);

 private:
  void choose(const store_state &in, const open_test &is_open);
  void erase_blocks(store_state &in);

  engine_state &state_;
  bool wanted_ = false;
  uint32_t going_ = 0;  // its id, or 0
  uint64_t next_pass_ns_ = 0;
};

}  // namespace cubby::engine
