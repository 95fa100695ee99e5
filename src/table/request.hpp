// An accepted request on its way: what was asked, what has become of each item, and who waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "table/bank.hpp"
#include "transfer/channel.hpp"

namespace cubby::table {

inline constexpr uint32_t no_index = ~uint32_t{0};

enum class item_state : uint8_t { waiting, loading, landed, failed, withdrawn };

struct request_item {
  bank *where = nullptr;
  uint32_t number = 0;
  uint32_t move = no_index;             // while loading
  uint64_t next_waiter = ~uint64_t{0};  // of the move: request << 32 | item
  item_state state = item_state::waiting;
  bool joined = false;  // somebody else's move
};

enum class request_kind : uint8_t { pin, prefetch, resize, seal };

/// Life: unused → accepted (in the inbox) → open (the controller's) → done → unused.
enum class request_state : uint32_t { unused, accepted, open, done };

struct request {
  // The ticket: state in the low 8 bits, generation above.
  std::atomic<uint64_t> life{0};
  std::atomic<bool> cancel_wanted{false};
  request_kind kind = request_kind::pin;
  uint32_t tier = 0;  // slot
  uint32_t flags = 0;
  uint32_t io_class = CUBBY_DEMAND;
  uint64_t deadline_ns = 0;
  std::vector<request_item> items;
  uint32_t set = no_index;  // of pins
  const void **addr = nullptr;
  int8_t *item_status = nullptr;
  bool forget = false;  // nobody holds the ticket
  uint64_t user = 0;
  void *queue = nullptr;  // where its completion goes; the runtime's business

  uint64_t new_budget_bytes = 0;  // of a resize
  void *job = nullptr;            // of a seal
  uint32_t total_count = 0;       // of its chunks

  // The controller's from here on.
  transfer::urgency order;
  bool waiting = false;  // in the controller's list of those without frames
  uint32_t open_count = 0, ok_count = 0;
  uint32_t next_item = 0;  // of a prefetch: up to which frames were found
  uint64_t bytes = 0;
  cubby_status first_failure = CUBBY_OK;
  error failure;  // of the first item that failed
  uint64_t issued_ns = 0, begun_ns = 0, granted_ns = 0, done_ns = 0;
  bool frame_waited = false;

  // The result, once done.
  cubby_status status = CUBBY_PENDING;
};

[[nodiscard]] constexpr uint64_t life_of(uint32_t generation, request_state state) {
  return uint64_t{generation} << 8 | static_cast<uint64_t>(state);
}
[[nodiscard]] constexpr request_state state_of(uint64_t life) {
  return static_cast<request_state>(life & 0xFF);
}
[[nodiscard]] constexpr uint32_t generation_of(uint64_t life) {
  return static_cast<uint32_t>(life >> 8);
}

/// Who hears of completions: the runtime, which has queues and waiters.
class completion_sink {
 public:
  virtual ~completion_sink() = default;
  virtual void completed(uint32_t index, bool stays_ours) = 0;
};

}  // namespace cubby::table
