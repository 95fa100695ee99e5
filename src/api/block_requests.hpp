// What the calls that bring or take the bytes of KV blocks have in common: which block an item
// names, what a batch comes to, and the request that goes on with what a call could not finish.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "api/completion_queue.hpp"
#include "api/requests.hpp"
#include "transfer/pieces.hpp"

namespace cubby::api {

/// Where the parts of a locker lie.
std::array<transfer::memory_piece, CUBBY_PARTS_MAX> parts_at(const residency::locker_bank &bank,
                                                             const void *const *addresses);
uint64_t block_bytes_of(const residency::locker_bank &bank);
/// Of a block with so many bytes: a bit a part.
uint16_t parts_reached(const residency::locker_bank &bank, uint64_t length_bytes);

/// The tier that blocks and rows are read into on their way to the caller: the nearest of host
/// memory; no_tier where there is none.
uint32_t reading_tier(const engine::parts &engine);

/// As read_how(), with a keep that is one.
result<cubby_how> read_block_how(runtime &self, const cubby_how *how,
                                 order_of may = order_of::host);

/// Whether a block is stored before it is found.
[[nodiscard]] inline bool is_stored_first(uint8_t keep) { return keep >= CUBBY_KEEP_RESTART; }

/// The block is settled, and found from here on (OK), or once it is stored (PENDING, and `later` is
/// to be handed to a request). When it throws, the put is abandoned.
cubby_status finish_block(runtime &self, engine::block_write &&what,
                          std::optional<engine::block_write> &later);
/// Gives up what was not handed over.
void abandon_blocks(runtime &self, std::span<engine::put_item> items);

/// The end of a request whose call waits for it. In caller pump a wait may find no memory for
/// itself; the request goes on.
cubby_status wait_for_end(cubby_handle *rt, cubby_ticket ticket);

/// What a batch comes to. Each item's status is final once it is written, and is not PENDING.
class batch {
 public:
  batch(const cubby_how &how, uint32_t count) : item_status_(how.item_status), known_(count) {}

  void ended(uint32_t item, const result<cubby_status> &with);
  /// For lack of memory, whatever it had come to.
  void ran_out(uint32_t item) noexcept;
  [[nodiscard]] bool is_pending() const { return pending_count_ != 0; }
  [[nodiscard]] cubby_status result_now() const {
    if (ok_count_ == known_.size()) return CUBBY_OK;
    return ok_count_ == 0 ? first_ : CUBBY_PARTIAL;
  }
  /// For a request that brings the rest. Throws only where that has no room for its items.
  void hand_over(engine::request &r);

 private:
  int8_t *const item_status_;
  void set(uint32_t item, cubby_status status) noexcept;

  std::vector<cubby_status> known_;
  size_t ok_count_ = 0, pending_count_ = 0;
  cubby_status first_ = CUBBY_OK;
  error failure_{.status = CUBBY_OK, .text = {}};
};

/// Where in a caller's stream a call was made: what it copies from or to memory of the stream's
/// device begins behind that. It is marked once something of a device is named, and goes to the
/// request.
class stream_order {
 public:
  stream_order(runtime &self, const cubby_how &how) : self_(self), how_(how) {}
  stream_order(const stream_order &) = delete;
  stream_order &operator=(const stream_order &) = delete;
  ~stream_order();

  /// For an item whose memory is of the tier's device; no_tier: it is the host's. An error where
  /// that does not go with the stream that was named.
  result<void> take(uint32_t tier, uint32_t item);
  void hand_over(engine::request &r);

 private:
  result<void> record(uint32_t tier);

  runtime &self_;
  const cubby_how &how_;
  uint32_t tier_ = engine::no_tier;
  bool in_stream_ = false;
  uint64_t stream_ = 0, mark_ = 0;
};

/// The request that goes on with what a call could not finish. Nothing is taken before it is
/// wanted.
class rest_of_call {
 public:
  rest_of_call(runtime &self, const cubby_how &how) : self_(self), how_(how) {}
  rest_of_call(const rest_of_call &) = delete;
  rest_of_call &operator=(const rest_of_call &) = delete;
  ~rest_of_call();

  /// BUSY where no ticket, or no place in the queue, is left.
  result<void> want();
  engine::request &request() { return self_.engine().requests[place_->index]; }
  cubby_status submit(engine::request_verb verb, uint32_t tier, cubby_ticket *ticket,
                      stream_order *order = nullptr);
  /// The blocks of a put that are not over yet; `all` and `verb` say which.
  cubby_status submit_put(batch &all, engine::put_verb &&verb, cubby_ticket *ticket,
                          stream_order *order = nullptr);

 private:
  runtime &self_;
  const cubby_how &how_;
  bool queued_ = false;
  std::optional<request_place> place_;
};

}  // namespace cubby::api
