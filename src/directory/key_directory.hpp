// The keys of one KV bank: which locker has the block of which key, which prefixes of a chain of
// keys can be used, and which entries may go. No I/O, no clock, no threads.
//
// The calls under "Any thread" may be made by any number of threads beside the one writer; none of
// them waits, takes a lock or allocates (an error's sentence apart). All others are the writer's,
// one at a time. They may throw std::bad_alloc, and then nothing has changed.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "directory/entries.hpp"
#include "directory/key_index.hpp"
#include "directory/lease_table.hpp"
#include "directory/prefix.hpp"
#include "directory/space_table.hpp"

namespace cubby::directory {

struct directory_config {
  uint32_t locker_count = 0;  // of the bank
  uint32_t part_count = 1;    // of a locker, 1 to 16
  uint64_t seed = 0;          // of the hash; any that callers do not know
  uint32_t space_max = 1024;  // handles of spaces at once, at most 65,535
  uint32_t lease_max = 65536;
  uint64_t bucket_count = 0;  // a power of two; 0 = as the lockers want it
};

/// What is known of one key. Locker and parts are of one moment during the call.
struct key_view {
  entry_ref entry;
  uint32_t locker = no_locker;
  uint16_t present = 0;  // parts that can be had
  uint16_t pending = 0;  // parts that a put is bringing
};

struct match_query {
  uint32_t space = 0;
  const cubby_key *keys = nullptr;
  uint32_t count = 0;
  const cubby_key *after = nullptr;  // the key before keys[0]; NULL: keys[0] is a root
  const match_rule *rule = nullptr;  // NULL: every part of every key
  key_view *views = nullptr;         // NULL or [count], also behind the first miss
  uint64_t *restorable = nullptr;    // NULL or [(count + 63) / 64]: bit n - 1: a prefix of n is
                                     // usable
  uint64_t now_ns = 0;               // needed where any_withheld()
};

struct put_request {
  uint32_t space = 0;
  cubby_key key{};
  const cubby_key *parent = nullptr;  // NULL = a root
  uint16_t parts = 0;                 // 0 = all that the bank has
  uint32_t locker = no_locker;        // a free number, in case the key needs one
  uint8_t keep = 0;                   // CUBBY_KEEP_*
};

struct directory_counts {
  uint64_t entries = 0, parents_absent = 0, spaces = 0, leases = 0, reclaimable = 0;
};

class key_directory {
 public:
  /// INVALID: no lockers, too many, or sizes that are out of range.
  static result<void> check(const directory_config &config);
  /// Of a config that passes check().
  explicit key_directory(const directory_config &config);

  // Any thread.

  /// Length of the longest usable prefix. A key counts only where the key before it in the query is
  /// its recorded parent. Each key is looked at once, so keys that come and go during the call may
  /// be seen from different moments; each view is true of its own.
  [[nodiscard]] result<uint32_t> match(const match_query &query) const;
  [[nodiscard]] bool any_withheld() const noexcept { return entries_.withheld().any(); }
  [[nodiscard]] result<key_view> find(uint32_t space, const cubby_key &key) const;
  /// Has the view's key still that locker with those parts? Asked once the locker is pinned, this
  /// makes the bytes the key's.
  [[nodiscard]] bool still_holds(const key_view &view) const noexcept;

  // The writer: spaces.

  result<uint32_t> add_space(space_table::bytes fingerprint, space_table::bytes domain) {
    return spaces_.add(fingerprint, domain);
  }
  /// With a space's last handle none of its keys is found again; reclaim() frees their numbers.
  result<void> remove_space(uint32_t space) { return spaces_.remove(space); }
  void reclaim(uint32_t node_max, std::vector<uint32_t> &released) {
    entries_.reclaim(node_max, released);
  }

  // The writer: entries.

  result<put_answer> begin_put(const put_request &request);
  /// STALE: no such put is under way.
  result<put_end> publish(entry_ref entry, uint32_t locker, uint16_t parts) {
    return entries_.publish(entry, locker, parts);
  }
  result<put_end> abandon(entry_ref entry, uint32_t locker, uint16_t parts) {
    return entries_.abandon(entry, locker, parts);
  }
  /// The number that is free again. BUSY: a put is under way, a lease holds it, or (leaf) others
  /// hang on it.
  result<uint32_t> erase(entry_ref entry, erase_rule rule) { return entries_.erase(entry, rule); }
  /// The entry hangs on another key of its space from here on; readers see it on one or the other.
  result<void> set_parent(entry_ref entry, uint32_t space, const cubby_key &parent);
  /// A match passes over the key whose locker this is until then, or until it is offered again or
  /// another key has the locker.
  void withhold(uint32_t locker, uint64_t until_ns) noexcept {
    entries_.withheld().withhold(locker, until_ns);
  }
  void offer(uint32_t locker) noexcept { entries_.withheld().offer(locker); }
  [[nodiscard]] entry_ref at_locker(uint32_t locker) const noexcept {
    return entries_.at_locker(locker);
  }
  [[nodiscard]] entry_info describe(entry_ref entry) const noexcept {
    return entries_.describe(entry);
  }

  // The writer: leases and time.

  /// All keys or none: MISS where a key has no part present.
  result<uint64_t> lease(uint32_t space, const cubby_key *keys, uint32_t count,
                         uint64_t expires_ns);
  result<void> end_lease(uint64_t lease, uint32_t first, uint32_t count) {
    return leases_.release(lease, first, count);
  }
  /// Ends leases whose time is over, about `max`. True: more are due.
  bool expire(uint64_t now_ns, uint32_t max) noexcept;
  /// When expire() has something to do; the largest number = never.
  [[nodiscard]] uint64_t next_expiry_ns() const noexcept;

  [[nodiscard]] directory_counts counts() const noexcept;
  [[nodiscard]] uint64_t bytes() const noexcept;

 private:
  struct chain;

  [[nodiscard]] result<uint32_t> open_space(uint32_t handle) const;
  enum class link { right, other, unknown };
  [[nodiscard]] link link_of(const chain &at, const probe &one) const noexcept;
  [[nodiscard]] uint16_t usable_parts(chain &at, const probe &one) const noexcept;
  void hide_withheld(probe &one, uint64_t now_ns) const noexcept;
  void walk(const match_query &query, uint32_t space, prefix_meter &meter, chain &at) const;

  const uint16_t all_parts_;
  node_pool pool_;
  key_index index_;
  space_table spaces_;
  entries entries_;
  lease_table leases_;
};

}  // namespace cubby::directory
