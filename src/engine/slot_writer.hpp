// Moves what slot tables are to say into their devices' memory, has what kernels did not find
// loaded, and gives back the frames that no kernel can find any more.
#pragma once

#include "engine/engine_state.hpp"
#include "engine/request_table.hpp"
#include "transfer/io_table.hpp"

namespace cubby::engine {

class slot_writer final : public transfer::io_owner {
 public:
  slot_writer(engine_state &state, request_table &requests, transfer::io_table &ios)
      : state_(state), requests_(requests), ios_(ios) {}

  /// True when something was done.
  bool step();
  /// The runtime ends: nothing more is loaded.
  void stop_loading() { ending_ = true; }
  /// When to look again at what kernels have listed, of which nothing tells.
  [[nodiscard]] uint64_t next_ns() const;
  /// Nothing of it is in flight.
  [[nodiscard]] bool idle() const;
  void io_done(uint32_t tag, const cubby_backend_done &done) override;

 private:
  bool serve(slot_table &table);
  bool read_misses(slot_table &table);
  [[nodiscard]] bool any_waits_too_long(const slot_table &table) const;
  void say_crowded(slot_table &table) const;
  bool start_writes(slot_table &table);
  void give_frame(slot_table &table, uint32_t number);

  engine_state &state_;
  request_table &requests_;
  transfer::io_table &ios_;
  uint64_t busy_ns_ = 0;  // when there was something to do
  bool ending_ = false;
};

}  // namespace cubby::engine
