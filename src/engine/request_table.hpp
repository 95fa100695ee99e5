// The requests of a runtime: places in a table, taken and given back by any thread, and the inbox
// through which accepted ones reach whoever holds the pump.
#pragma once

#include <atomic>
#include <memory>

#include "base/index_list.hpp"
#include "engine/request.hpp"

namespace cubby::engine {

class request_table {
 public:
  request_table(uint32_t tickets_max, uint32_t salt);

  [[nodiscard]] request &operator[](uint32_t index) { return requests_[index]; }
  [[nodiscard]] const request &operator[](uint32_t index) const { return requests_[index]; }
  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] uint64_t table_bytes() const { return size_ * sizeof(request); }

  /// Any thread. no_index when all are taken. Those that nobody will hear of have at most half of
  /// the places, so that hints on a slow device never leave demand without one.
  uint32_t take(bool forget);
  /// Any thread.
  void give(uint32_t index);
  /// Any thread: hands an accepted request over; there is always room.
  void submit(uint32_t index) noexcept;
  /// The pump: the next accepted request; no_index when there is none.
  uint32_t accept();
  [[nodiscard]] bool has_accepted() const { return accepted_count() != 0; }
  [[nodiscard]] uint32_t accepted_count() const {
    return inbox_count_.load(std::memory_order_seq_cst);
  }

 private:
  const uint32_t size_;
  std::unique_ptr<request[]> requests_;
  base::index_stack free_;
  base::index_inbox inbox_;
  std::atomic<uint32_t> forgotten_count_{0};
  std::atomic<uint32_t> inbox_count_{0};
};

}  // namespace cubby::engine
