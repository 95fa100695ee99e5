// A store has a place for so many spaces, and tenants and models come and go: spaces that nobody
// has open give way before all places are taken.
#pragma once

#include <functional>
#include <vector>

#include "engine/store_set.hpp"

namespace cubby::engine {

/// For whoever holds the pump.
class space_room {
 public:
  /// Says of a space's id in the store whether a bank has it open.
  using open_test = std::function<bool(uint32_t)>;

  explicit space_room(engine_state &state) : state_(state) {}

  /// The store has one more.
  void note_added() { look_ = true; }
  /// Chooses spaces that go, empty ones first, then those that nothing was put in for longest, with
  /// durable blocks last; and goes on with them, a step of the pump each: blocks, then the space.
  void step(store_state &in, const open_test &is_open);
  /// All places are taken: will there be one a little later? False: all of them are open.
  [[nodiscard]] static bool may_come(const store_state &in, const open_test &is_open);

 private:
  void choose(const store_state &in, const open_test &is_open);
  void erase_blocks(store_state &in);

  engine_state &state_;
  std::vector<uint32_t> going_;  // ids
  bool look_ = false;
  uint64_t next_pass_ns_ = 0;  // over the blocks of those
};

}  // namespace cubby::engine
