// KV blocks on their way to stores on disk, and where a fill reads one. Which go when a store is
// full is for store_room, which are found again in a store that was opened for stored_spaces.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/residents.hpp"
#include "engine/store_room.hpp"
#include "engine/stored_spaces.hpp"
#include "store/durable/pages.hpp"

namespace cubby::engine {

/// Where a put writes. The frame is its own until it is published or abandoned.
struct block_place {
  locker_bank *bank = nullptr;
  uint32_t number = 0;
  uint32_t tier = no_tier;  // as it stays for what goes to the store alone, and has no frame
  uint64_t frame = 0;
  directory::entry_ref entry;
  uint16_t parts = 0;
  /// The store's block that this one takes the place of: it goes once this one is stored.
  uint32_t replaced = residency::not_stored;
  bool replaced_good = false;  // its bytes could be had when it gave way
  [[nodiscard]] bool has_frame() const { return tier != no_tier; }
};

/// A block on its way to a store. Its frame is pinned meanwhile.
struct block_write {
  block_place at;
  uint32_t space = 0;  // handle in the bank's directory
  std::string key, parent;
  uint8_t keep = CUBBY_KEEP_SESSION;
  std::vector<store::block_piece> from;  // where it has no frame: memory that stays as it is
  uint64_t group = 0;                    // of a put call; 0: of none
};

/// Hears what has become of the blocks that a request puts.
class store_waiter {
 public:
  /// `why` is NULL when the block is stored.
  virtual void block_stored(uint32_t request, uint32_t item, const error *why) = 0;

 protected:
  ~store_waiter() = default;
};

class stored_blocks {
 public:
  stored_blocks(engine_state &state, residents &copies)
      : state_(state),
        copies_(copies),
        stores_(state),
        room_(state, stores_),
        spaces_(state, stores_) {}

  void add_store(std::unique_ptr<disk_store> made) { stores_.add(std::move(made)); }
  void forget_bank(locker_bank &bank);
  [[nodiscard]] stored_spaces &spaces() { return spaces_; }

  // Blocks. Pump held.

  /// Why blocks of this space cannot be stored; nothing where they can.
  [[nodiscard]] std::optional<error> why_not_stored(const locker_bank &bank, uint32_t handle) const;
  /// Writes a block whose word is ready, and found by its key already. False: it lives in memory
  /// alone.
  bool write(block_write &&what);
  /// Writes one that is found once that is done, or is given up. Somebody has to claim() it; until
  /// then it does not give way to others, such as later ones of the same call, and before there is
  /// a request, nobody hears of it. May throw, and then nothing has begun.
  uint32_t begin_write(block_write &&what);
  struct outcome {
    bool over = false;
    std::optional<error> why;  // it is not stored
  };
  /// What has become of one that was begun; while it is not over, the waiter hears of it.
  outcome claim(uint32_t job, store_waiter &waiter, uint32_t request, uint32_t item) noexcept;
  /// store_set::erase()
  void erase(locker_bank &bank, uint32_t number) { stores_.erase(bank, number); }
  /// The same where memory may keep its copy; without one the key goes, too. False: something moves
  /// the block.
  bool drop_copy(locker_bank &bank, uint32_t number);
  /// What block_place::replaced was to be replaced by is stored, or lives in memory alone.
  void end_replaced(const block_place &by) noexcept;
  /// What was to be replaced is not: it is found again under its key, if its bytes were good.
  /// The put has left the directory.
  void put_back(const block_place &by, uint32_t space, std::string_view parent) noexcept;
  /// Of a number whose key is gone with its space: the store keeps what outlives the process.
  void release(locker_bank &bank, uint32_t number) { stores_.release(bank, number); }
  /// Gives up blocks that are only stored, until the bank has a free number. False: none may go.
  bool free_number(locker_bank &bank) { return room_.free_number(bank); }

  // Reading.

  struct place {
    uint32_t tier = no_tier, backend_file = 0;
    uint64_t offset_bytes = 0;
    const std::string *path = nullptr;
  };
  /// CUBBY_KEEP_* of the store's block; nothing where there is none.
  [[nodiscard]] std::optional<uint8_t> keep_of(const locker_bank &bank, uint32_t number) const;
  /// Is nothing known to be wrong with the stored block's bytes?
  [[nodiscard]] bool is_good(const locker_bank &bank, uint32_t number) const;
  /// Of a block that is stored.
  [[nodiscard]] place place_of(const locker_bank &bank, uint32_t number) const;
  /// Do the digests of its chunks, as they were read, make up that of the block? Without `read`
  /// those that are known of it.
  [[nodiscard]] bool agrees(locker_bank &bank, uint32_t number,
                            std::span<const uint64_t> read = {}) const;
  /// Blocks whose bytes are not those that were put.
  [[nodiscard]] damaged_blocks &damaged() { return stores_.damaged; }

  // The pump.

  /// The runtime closes: blocks that nobody finds in another life of the process are not written.
  void forget_unrequested();
  bool step();
  /// Any thread: is there something that step() has not seen?
  [[nodiscard]] bool has_news() const { return stores_.has_news(); }
  [[nodiscard]] bool idle() const;
  /// Are blocks on their way to a store?
  [[nodiscard]] bool busy() const { return write_count_ != 0; }
  /// Any thread: how many have ended so far, well or not.
  [[nodiscard]] uint64_t ended_count() const { return ended_count_.load(); }
  /// NULL when the tier has none.
  [[nodiscard]] const disk_store *store_of(uint32_t tier) const { return stores_.of_tier(tier); }

 private:
  struct job {
    block_write what;
    uint32_t stored_id = 0;  // of the space, in the store
    bool publish = false;
    bool unclaimed = false;  // a request is to come for it
    bool held = false;       // until then it is stored, and does not go
    outcome ended;           // of one that nobody has come for yet
    store_waiter *waiter = nullptr;
    uint32_t request = 0, item = 0;
    std::unique_ptr<store::page_buffer> copy;  // of a frame that is not whole pages in a row
  };

  uint32_t new_job(block_write &&what);
  static void note_outcome(job &of, const error *why);
  static void hold_unclaimed(job &of, const block_place &at) noexcept;
  void end_job(uint32_t index, const store::store_completion *done, const error *why);
  [[nodiscard]] const void *image_of(job &one);
  result<uint32_t> accept(store_state &to, uint32_t index);
  [[nodiscard]] const std::byte *first_byte(const job &one) const;
  void put_in_order(store_state &to);
  bool write_some(store_state &to);
  bool take_completions(store_state &of);
  [[nodiscard]] bool is_unreadable(const locker_bank &bank, uint32_t number) const;

  engine_state &state_;
  residents &copies_;
  store_set stores_;
  store_room room_;
  stored_spaces spaces_;
  std::deque<job> jobs_;  // stable
  std::vector<uint32_t> free_jobs_;
  uint32_t write_count_ = 0;
  std::map<const locker_bank *, std::vector<bool>> written_;  // by number: it has a job
  std::atomic<uint64_t> ended_count_{0};
};

}  // namespace cubby::engine
