// Puts of KV blocks: a key gets a locker with a frame, the caller's thread writes it, and from then
// on it is found. What was not published has left no trace.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "directory/key_directory.hpp"
#include "engine/block_uses.hpp"
#include "engine/stored_blocks.hpp"

namespace cubby::engine {

/// For whoever holds the pump, but for calls that say otherwise.
class blocks {
 public:
  blocks(engine_state &state, residents &copies, stored_blocks &stored)
      : state_(state), copies_(copies), stored_(stored), uses_(state) {}

  enum class start {
    begun,   // the caller writes, and then publishes or abandons
    known,   // nothing to do
    joined,  // another put of the same key is under way
    full,    // no frame or no number can be had just now
  };
  /// Where a put's frame is to be.
  struct frame_wish {
    uint32_t only_tier = no_tier;  // else in the nearest tier of host memory
    bool none = false;             // it is written to the store from the caller's memory
  };
  /// The request's locker is chosen here, and its frame. BUDGET where a block can never fit.
  /// `call`: put_uses::note().
  result<start> begin(locker_bank &bank, directory::put_request request, block_place &out,
                      uint64_t call, frame_wish wish);
  /// Any thread that has written all of the frame: its length, and the digests of its chunks. From
  /// then on publish(), or stored_blocks::begin_write(), may make it known.
  void settle(const block_place &at, uint64_t length_bytes) const;
  /// The same of a block without a frame, whose bytes lie_on_pages().
  void settle(const block_place &at, std::span<const transfer::memory_piece> from) const;
  /// The same, and what of the frame lies behind becomes zero: nobody reads what it was before.
  void settle_written(const block_place &at, uint64_t length_bytes) const;
  void publish(const block_place &at);
  /// A settled block that memory alone has to have before it is found; its store is written behind,
  /// where it has one. Publishes it in any case.
  void publish_and_write(block_write &&what);
  /// What the block was to take the place of is there again.
  void abandon(const block_place &at, uint32_t space, std::string_view parent) noexcept;
  void abandon(const block_write &what) noexcept { abandon(what.at, what.space, what.parent); }
  /// The block of the key is given up, in every tier or in one, and with its last copy the key.
  /// BUSY while it is pinned, leased or being put.
  result<void> drop(locker_bank &bank, const directory::key_view &what,
                    uint32_t only_tier = no_tier);
  /// After a space was removed: its blocks go, and their numbers are free again; those that are
  /// pinned go with a later begin().
  void reclaim(locker_bank &bank);
  /// Ends leases whose time is over, a few at a time.
  void expire(uint64_t now_ns);
  /// All of them: the pump may have been at rest since.
  void expire_all(uint64_t now_ns) {
    while (next_expiry_ns() <= now_ns) expire(now_ns);
  }
  /// When the next one is.
  [[nodiscard]] uint64_t next_expiry_ns() const;

 private:
  bool evict_any(locker_bank &bank);
  result<bool> lacks_parts(locker_bank &bank, const directory::put_request &request) const;
  result<start> enter(locker_bank &bank, directory::put_request &request, block_place &out,
                      uint64_t call, frame_wish wish);
  bool has_frame_instead(locker_bank &bank, const directory::key_view &of, uint32_t new_number,
                         uint32_t only_tier);
  result<start> displace(locker_bank &bank, const directory::put_request &request, frame_wish wish,
                         block_place &out);
  [[nodiscard]] static bool is_held(const locker_bank &bank, const directory::key_view &what);
  [[nodiscard]] bool lives_as_long(const locker_bank &bank, uint32_t number, uint8_t keep) const;
  result<bool> take_frame(block_place &out, uint32_t only_tier);
  [[nodiscard]] std::optional<error> why_never(const locker_bank &bank, uint32_t number,
                                               uint32_t only_tier) const;
  template <class Digest>
  void make_digests(const block_place &at, uint32_t part, const Digest &digest_of) const;
  void end_put(const block_place &at, uint32_t space, std::string_view parent) noexcept;
  void give_frame(const block_place &at) noexcept;
  void store_known(locker_bank &bank, const directory::put_request &request,
                   const directory::put_answer &known);
  void forget(locker_bank &bank, const directory::entry_ref &entry);

  engine_state &state_;
  residents &copies_;
  stored_blocks &stored_;
  put_uses uses_;
};

}  // namespace cubby::engine
