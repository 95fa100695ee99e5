// Copies of blocks from frames to where gets want them, made by threads that have nothing else to
// do. A frame stays pinned while it is copied from.
#pragma once

#include <span>
#include <vector>

#include "base/stable_list.hpp"
#include "engine/delivery_sink.hpp"
#include "engine/engine_state.hpp"
#include "transfer/work_queue.hpp"

namespace cubby::engine {

class block_deliveries final : public transfer::job_owner {
 public:
  using memory_piece = transfer::memory_piece;
  /// For which item of which request the block is, where it lies and where it goes.
  struct delivery {
    uint32_t request = 0, item = 0;
    locker_word *word = nullptr;
    std::vector<memory_piece> from;
    std::span<const memory_piece> into;  // stays valid until it is delivered
  };

  block_deliveries(engine_state &state, transfer::work_queue &work) : state_(state), work_(work) {}

  /// Copies at once (true), or leaves it to another thread (false), and then the sink hears of it.
  bool deliver(delivery &&what, delivery_sink &sink);
  void job_done(uint32_t tag) override;

 private:
  struct delivery_under_way {
    delivery what;
    delivery_sink *sink = nullptr;
  };
  bool hand_over(delivery &what, delivery_sink &sink);

  engine_state &state_;
  transfer::work_queue &work_;
  base::stable_list<delivery_under_way> under_way_;
  std::vector<uint32_t> free_;
};

}  // namespace cubby::engine
