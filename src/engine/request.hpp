// An accepted request: its ticket, what every verb has in common, and the state of its own verb.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "engine/fill.hpp"
#include "engine/gather_plan.hpp"
#include "engine/region_uses.hpp"
#include "engine/seal_job.hpp"
#include "engine/stored_blocks.hpp"
#include "transfer/channel.hpp"
#include "transfer/pieces.hpp"

namespace cubby::engine {

enum class item_state : uint8_t {
  waiting,
  loading,
  reading,  // past the tiers of memory
  copying,  // to where a get wants it
  landed,
  failed,
  withdrawn,
};

/// One locker that a request names.
struct request_item {
  locker_bank *bank = nullptr;
  uint32_t number = 0;
  uint32_t fill = no_index;          // while loading; the direct read while reading
  uint64_t next_waiter = no_waiter;  // of the fill
  item_state state = item_state::waiting;
  bool joined = false;                 // a fill that another request began
  bool through_tier = false;           // it is not read past the tiers
  bool metered = false;                // its arrival is awaited by tier_slot::arrivals
  cubby_status known = CUBBY_PENDING;  // what the call itself has found, else PENDING
  directory::key_view seen;            // where a key named it: what the key had then

  /// The key that named it has another block by now, or none.
  [[nodiscard]] bool is_another() const {
    return seen.entry && !bank->blocks->keys.still_holds(seen);
  }
};

struct pin_verb {
  uint32_t set = no_index;  // of pins
  const void **addr = nullptr;
};
struct prefetch_verb {
  bool for_kernels = false;  // which list it as missing and may wait in the device
};
struct resize_verb {};
/// Memory of a device that an item names.
struct device_memory {
  std::vector<transfer::memory_piece> pieces;
  uint32_t tier = no_tier;  // of that device; no_tier: the item names none
  region_uses in_use;       // until it has been copied
};
/// Of a put of blocks that are found once they are stored on disk, or have come from a device.
struct put_item {
  put_item() = default;
  explicit put_item(block_write &&what)
      : block(std::move(what)),
        bank(block->at.bank),
        number(block->at.number),
        tier(block->at.has_frame() ? block->at.tier : bank->file_tier) {}

  std::optional<block_write> block;  // which is to be written yet
  uint32_t job = no_index;           // of stored_blocks, where the call has begun to write it
  locker_bank *bank = nullptr;       // nothing where it is over already
  uint32_t number = 0, tier = 0;
};
struct put_verb {
  std::vector<put_item> items;      // one an item
  region_uses in_use;               // until it is over
  std::vector<device_memory> from;  // one an item, or none; of blocks with a frame

  /// The item's bytes are copied by the request.
  [[nodiscard]] bool comes_from_device(uint32_t item) const {
    return !from.empty() && from[item].tier != no_tier;
  }
};
/// Where the bytes of one item go.
struct get_target {
  std::vector<transfer::memory_piece> into;
  uint64_t at_bytes = 0;
  uint32_t device = no_tier;  // a tier of the device that `into` is memory of
  region_uses in_use;         // then: until the request is over, for it may be copied once more
};
/// Gets of blocks that have to be read from disk first.
struct get_verb {
  std::vector<get_target> targets;  // one an item
  region_uses in_use;               // until it is over
};
struct seal_verb {
  std::unique_ptr<seal_job> job;
};
/// Rows of a table; the request's items are the pages that have to come first, each once.
struct gather_verb {
  std::unique_ptr<gather_plan> plan;
  region_uses in_use;  // until it is over
};
/// Are the bytes in a tier those that came there?
struct verify_verb {};
/// In the order of request_kind.
using request_verb = std::variant<pin_verb, prefetch_verb, resize_verb, seal_verb, put_verb,
                                  get_verb, gather_verb, verify_verb>;
enum class request_kind : uint8_t { pin, prefetch, resize, seal, put, get, gather, verify };

/// Life: unused → accepted (in the inbox) → open (the controller's) → done → unused.
enum class request_state : uint32_t { unused, accepted, open, done };

struct request {
  // The ticket: state in the low 8 bits, generation above.
  std::atomic<uint64_t> life{0};
  std::atomic<bool> cancel_wanted{false};
  bool forget = false;  // nobody holds the ticket
  request_verb verb;
  uint32_t tier = 0;  // slot
  uint32_t flags = 0;
  uint32_t io_class = CUBBY_DEMAND;
  uint64_t deadline_ns = 0;
  std::vector<request_item> items;
  int8_t *item_status = nullptr;
  bool in_stream = false;  // what lands is used behind the copies, in this stream's order
  uint64_t stream = 0;
  uint64_t mark =
      0;  // in the stream, when the call was made: copies of its regions begin behind it
  uint32_t mark_tier = no_tier;
  uint64_t user = 0;
  void *queue = nullptr;  // where its completion goes; the runtime's business

  // The controller's from here on.
  transfer::urgency order;
  bool waiting = false;  // for frames
  bool frame_waited = false;
  uint32_t next_item = 0;   // of verbs that find frames item by item: up to which they were found
  bool names_keys = false;  // by which some item was named
  uint32_t open_count = 0, ok_count = 0;
  uint64_t bytes = 0;
  cubby_status first_failure = CUBBY_OK;
  error failure;  // of the first item that failed
  uint64_t issued_ns = 0, begun_ns = 0, granted_ns = 0, done_ns = 0;

  // The result, once done.
  cubby_status status = CUBBY_PENDING;

  [[nodiscard]] request_kind kind() const { return static_cast<request_kind>(verb.index()); }
  [[nodiscard]] bool is_pin() const { return kind() == request_kind::pin; }
  [[nodiscard]] bool is_demand_pin() const { return is_pin() && io_class == CUBBY_DEMAND; }
  [[nodiscard]] bool is_demand_load() const {
    const bool delivers = kind() == request_kind::get || kind() == request_kind::gather;
    return (is_pin() || delivers) && io_class == CUBBY_DEMAND;
  }
  [[nodiscard]] pin_verb &pin() { return std::get<pin_verb>(verb); }
  /// Of a gather: which rows it takes from which page; nullptr of the others.
  [[nodiscard]] const gather_plan *gathers() const {
    const auto *gather = std::get_if<gather_verb>(&verb);
    return gather == nullptr ? nullptr : gather->plan.get();
  }
  /// Items that wait are from here on, where a key may have another block since the call: locker
  /// numbers stay what they are, so requests that name no key need not be walked over.
  [[nodiscard]] uint32_t first_movable() const {
    return names_keys ? next_item : static_cast<uint32_t>(items.size());
  }
  /// As callers count: of a seal its chunks, of a gather its rows, of the others their items.
  [[nodiscard]] uint32_t item_count() const;
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
/// Of an item, as callers count.
inline void set_status_at(int8_t *item_status, uint32_t item, cubby_status status) {
  if (item_status == nullptr) return;
  // Release: what belongs to the item is written before.
  std::atomic_ref(item_status[item]).store(static_cast<int8_t>(status), std::memory_order_release);
}
inline void set_item_status(const request &r, uint32_t item, cubby_status status) {
  if (r.item_status == nullptr) return;
  const gather_plan *gather = r.gathers();
  if (gather == nullptr) return set_status_at(r.item_status, item, status);
  for (const auto &row : gather->rows_of(item)) set_status_at(r.item_status, row.index, status);
}

/// Hears of completions: the runtime, which has queues and waiters.
class completion_sink {
 public:
  virtual ~completion_sink() = default;
  /// `stays`: the request is not given back by a waiter, but by the sink.
  virtual void completed(uint32_t index, bool stays) = 0;
};

}  // namespace cubby::engine
