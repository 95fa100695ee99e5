// Visits as the policies get them, in the format of trace.h, in memory that was taken once. Driven
// by the holder of the pump.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/abi.hpp"
#include "engine/names.hpp"
#include "placement/policy.hpp"

namespace cubby::engine {

class recorder {
 public:
  explicit recorder(uint64_t ring_bytes);

  /// Experts of one row that one sequence used together.
  void visit(const locker_bank &bank, uint32_t row, uint32_t slot,
             std::span<const cubby_object> objects);
  /// Visits that never arrived here.
  void lose(uint64_t count) { lost_unwritten_ += count, lost_ += count; }
  void stop() { running_ = false; }
  /// Takes what there is, up to max_bytes.
  uint64_t read(std::byte *to, uint64_t max_bytes);

  [[nodiscard]] bool running() const { return running_; }
  [[nodiscard]] cubby_trace_info describe() const;

 private:
  static constexpr uint32_t head_bytes = CUBBY_TRACE_HEAD_BYTES;
  static constexpr uint32_t payload_max = 4096, record_bytes_max = 640;

  /// A bank whose layers have their place among the layers of the trace.
  struct grid {
    uint32_t bank = 0, first_layer = 0, layers = 0, experts = 0, top_k = 0;
    bool written = false;
  };
  struct place {
    uint64_t token = 0;
    uint32_t next_layer = 0;
    bool begun = false;
  };

  grid *grid_of(const locker_bank &bank);
  bool write_grid(grid &which);
  void append(uint32_t layer, uint32_t slot, uint64_t token, bool begins,
              std::span<const cubby_object> objects, uint32_t first_object);
  void seal();
  bool push_lost(uint64_t bytes_behind);
  void push_block(uint32_t kind, const std::byte *payload, uint32_t bytes);
  void push(const void *bytes, uint64_t count);
  [[nodiscard]] uint64_t room() const { return ring_bytes_ - used_; }

  uint64_t ring_bytes_;
  std::unique_ptr<std::byte[]> ring_;
  uint64_t first_ = 0, used_ = 0;            // what waits to be read
  std::array<std::byte, payload_max> open_;  // records of the block that is being filled
  uint32_t open_bytes_ = 0, open_records_ = 0;
  uint32_t blocks_ = 0, layers_ = 0;
  std::vector<grid> grids_;
  std::vector<place> places_;  // by slot
  uint64_t visits_ = 0, lost_ = 0, lost_unwritten_ = 0;
  bool running_ = true, ended_ = false;
};

}  // namespace cubby::engine
