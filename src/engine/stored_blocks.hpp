// KV blocks in stores on disk: which blocks are written there, where a fill reads one, which blocks
// go when a store is full, and which are found again in a store that was opened.
//
// A store is its budget's cache. When it is full, blocks go that no space in use lists, then those
// that were not asked for since they were looked at last: leaves of their chains before others,
// durable ones last; none that a lease holds.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/damaged_blocks.hpp"
#include "engine/disk_store.hpp"
#include "engine/residents.hpp"
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
  [[nodiscard]] bool has_frame() const { return tier != no_tier; }
};

/// A block on its way to a store. Its frame is pinned meanwhile.
struct block_write {
  block_place at;
  uint32_t space = 0;  // handle in the bank's directory
  std::string key, parent;
  uint8_t keep = CUBBY_KEEP_SESSION;
  std::vector<store::block_piece> from;  // where it has no frame: memory that stays as it is
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
  stored_blocks(engine_state &state, residents &copies) : state_(state), copies_(copies) {}

  // Stores and spaces.

  void add_store(std::unique_ptr<disk_store> made);
  /// From here on the blocks of the directory's space `handle` may be stored; those that the store
  /// has of it are found by their keys. Nothing is done where there is no store; one that is
  /// read-only takes a new space when it takes blocks again. After an error the space is not
  /// stored.
  result<void> open_space(locker_bank &bank, uint32_t handle, std::string_view fingerprint,
                          std::string_view domain);
  /// The handle is given back. Blocks of a space without handles are reclaimed by the directory;
  /// release() then says what becomes of each in the store.
  void close_space(locker_bank &bank, uint32_t handle) noexcept;
  void forget_bank(locker_bank &bank);

  // Blocks. Pump held.

  /// Why blocks of this space cannot be stored; nothing where they can.
  [[nodiscard]] std::optional<error> why_not_stored(const locker_bank &bank, uint32_t handle) const;
  /// Writes a block whose word is ready, and found by its key already. False: it lives in memory
  /// alone.
  bool write(block_write &&what);
  /// Writes one that is found once that is done, or is given up.
  void write_and_publish(block_write &&what, store_waiter &waiter, uint32_t request, uint32_t item);
  /// The store's copy goes; its pages are free a little later.
  void erase(locker_bank &bank, uint32_t number);
  /// The same where memory may keep its copy; without one the key goes, too. False: something moves
  /// the block.
  bool drop_copy(locker_bank &bank, uint32_t number);
  /// What block_place::replaced was to be replaced by is stored, or is not: then it is found in the
  /// space's next life.
  void end_replaced(const block_place &by, bool stored) noexcept;
  /// Of a number whose key is gone with its space: the store keeps what outlives the process.
  void release(locker_bank &bank, uint32_t number);
  /// A number without a key: free again, or once nobody reads its frame any more.
  void give_up_number(locker_bank &bank, uint32_t number, uint32_t tier);
  /// Gives up blocks that are only stored, until the bank has a free number. False: none may go.
  bool free_number(locker_bank &bank);
  /// Children whose parent was not known when they were found in the store are linked to it.
  void link_children(locker_bank &bank, uint32_t handle, const cubby_key &parent);

  // Reading.

  struct place {
    uint32_t tier = no_tier, backend_file = 0;
    uint64_t offset_bytes = 0;
    const std::string *path = nullptr;
  };
  /// CUBBY_KEEP_* of the store's block; nothing where there is none.
  [[nodiscard]] std::optional<uint8_t> keep_of(const locker_bank &bank, uint32_t number) const;
  /// Of a block that is stored.
  [[nodiscard]] place place_of(const locker_bank &bank, uint32_t number) const;
  /// Do the digests of its chunks, as they were read, make up that of the block? Without `read`
  /// those that are known of it.
  [[nodiscard]] bool agrees(locker_bank &bank, uint32_t number,
                            std::span<const uint64_t> read = {}) const;
  /// Blocks whose bytes are not those that were put.
  [[nodiscard]] damaged_blocks &damaged() { return damaged_; }

  // The pump.

  /// The runtime closes: blocks that nobody finds in another life of the process are not written.
  void forget_unrequested();
  bool step();
  /// Any thread: is there something that step() has not seen?
  [[nodiscard]] bool has_news() const { return news_.load(std::memory_order_seq_cst); }
  [[nodiscard]] bool idle() const;
  /// Are blocks on their way to a store?
  [[nodiscard]] bool busy() const { return write_count_ != 0; }
  /// Any thread: how many have ended so far, well or not.
  [[nodiscard]] uint64_t ended_count() const { return ended_count_.load(); }
  /// NULL when the tier has none.
  [[nodiscard]] const disk_store *store_of(uint32_t tier) const;

 private:
  struct job {
    block_write what;
    uint32_t stored_id = 0;  // of the space, in the store
    bool publish = false;
    store_waiter *waiter = nullptr;
    uint32_t request = 0, item = 0;
    std::unique_ptr<store::page_buffer> copy;  // of a frame that is not whole pages in a row
  };
  /// A space that the store did not take, because it was read-only.
  struct waiting_space {
    uint32_t handle = 0;
    std::string fingerprint, domain;
  };
  struct bank_state {
    [[nodiscard]] bool waits(uint32_t handle) const {
      return std::any_of(waiting.begin(), waiting.end(),
                         [=](const waiting_space &one) { return one.handle == handle; });
    }

    std::vector<waiting_space> waiting;
    std::map<uint32_t, uint32_t> stored_id;   // by handle
    std::map<uint32_t, uint32_t> handles_of;  // by id: how many
    // By orphan_mark(): lockers whose parent was not there when they were listed.
    std::unordered_multimap<uint64_t, uint32_t> orphans;
    uint32_t hand = 0;  // of the clock over its numbers
  };
  struct store_state {
    std::unique_ptr<disk_store> disk;
    std::deque<uint32_t> to_write;  // jobs the store has not accepted
    std::deque<uint32_t> to_erase;  // numbers of the store
    uint32_t erasing_count = 0;
    std::vector<bool> spoken_for;  // by number of the store: listed in a bank, or going
    uint32_t hand = 0;             // over numbers that nobody speaks for
  };
  enum class pass { leaves, others, durable };
  /// What a completion of the store belongs to; the rest of its mark is the number of a job.
  static constexpr uint64_t of_write = uint64_t{1} << 32, of_erase = uint64_t{2} << 32,
                            of_space = uint64_t{3} << 32;

  [[nodiscard]] store_state *store_for(const locker_bank &bank);
  [[nodiscard]] const store_state *store_for(const locker_bank &bank) const;
  uint32_t new_job(block_write &&what);
  void end_job(uint32_t index, const store::store_completion *done, const error *why);
  [[nodiscard]] const void *image_of(job &one);
  result<uint32_t> accept(store_state &to, uint32_t index);
  bool write_some(store_state &to);
  bool erase_some(store_state &of);
  bool take_completions(store_state &of);
  bool make_room(store_state &in);
  bool give_up_unlisted(store_state &in);
  bool give_up_next(locker_bank &bank, uint32_t &hand, pass how, bool not_in_memory);
  bool give_up_listed(store_state &in, pass how);
  [[nodiscard]] bool may_go(const locker_bank &bank, uint32_t number, pass how) const;
  void drop_stored(locker_bank &bank, uint32_t number);
  void open_waiting(store_state &in);
  result<void> list_space(locker_bank &bank, store_state &from, uint32_t handle, uint32_t id);
  void list_blocks(locker_bank &bank, bank_state &of, store_state &from, uint32_t handle,
                   uint32_t stored_id);
  bool list_block(locker_bank &bank, store_state &from, uint32_t handle,
                  const store::block_body &body, const cubby_key *parent);
  void list_again(const block_write &by) noexcept;
  void look_at_damage();
  [[nodiscard]] bool is_unreadable(const locker_bank &bank, uint32_t number) const;
  [[nodiscard]] bool at_rest(const locker_bank &bank, uint32_t number) const;

  engine_state &state_;
  residents &copies_;
  std::vector<store_state> stores_;
  std::map<const locker_bank *, bank_state> banks_;
  std::deque<job> jobs_;  // stable
  std::vector<uint32_t> free_jobs_;
  uint32_t write_count_ = 0;
  std::atomic<uint64_t> ended_count_{0};
  std::atomic<bool> news_{false};
  damaged_blocks damaged_;
};

}  // namespace cubby::engine
