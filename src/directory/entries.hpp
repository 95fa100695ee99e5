// The entries of a directory as its one writer changes them: puts begin, are published or
// abandoned; entries are erased, reclaimed.
//
// A node is an entry while it has a locker. Without one it stands for a parent that is not here,
// because it was put after its child or was evicted before it: the child's link then still names
// one key and no other. Such a node goes with its last child.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "directory/key_index.hpp"
#include "directory/space_table.hpp"
#include "directory/withheld_lockers.hpp"

namespace cubby::directory {

struct put_order {
  packed_key key;
  bool has_parent = false;
  packed_key parent;
  uint16_t parts = 0;
  uint32_t locker = 0;  // a free number, for a key that has none
  uint8_t keep = 0;     // CUBBY_KEEP_*
};

struct put_answer {
  entry_ref entry;
  uint32_t locker = no_locker;  // the entry's
  uint16_t known = 0;           // of the parts put: present, nothing to do
  uint16_t joined = 0;          // another put brings them
  uint16_t fresh = 0;           // this put brings them: publish or abandon follows
  bool took_locker = false;     // the order's number is the entry's now
  uint8_t lived_as = 0;         // CUBBY_KEEP_* of an entry that was there
};

struct put_end {
  bool visible = false;           // the parts are found from here on
  uint32_t released = no_locker;  // the entry is gone and its number free again
};

enum class erase_rule { leaf, any };

struct entry_info {
  uint32_t locker = no_locker,
           parent_locker = no_locker;  // parent_locker: of a parent that is here
  uint32_t children = 0;
  uint16_t present = 0, pending = 0, leases = 0;
  uint8_t keep = 0;
};

class entries {
 public:
  entries(node_pool &pool, key_index &index, space_table &spaces, uint32_t locker_count);

  result<put_answer> begin(const put_order &order);
  result<put_end> publish(entry_ref entry, uint32_t locker, uint16_t parts);
  result<put_end> abandon(entry_ref entry, uint32_t locker, uint16_t parts);
  /// Its number, free again.
  result<uint32_t> erase(entry_ref entry, erase_rule rule);
  /// It hangs on another key from here on, whoever holds or puts it.
  result<void> set_parent(entry_ref entry, const packed_key &parent);
  /// Forgets entries of removed spaces: looks at up to `node_max` nodes and appends the numbers
  /// that are free again. May throw, and then has done nothing.
  void reclaim(uint32_t node_max, std::vector<uint32_t> &released);

  [[nodiscard]] entry_ref at_locker(uint32_t locker) const noexcept;
  [[nodiscard]] bool is_entry(entry_ref entry) const noexcept;
  [[nodiscard]] entry_info describe(entry_ref entry) const noexcept;
  [[nodiscard]] uint32_t count() const noexcept { return count_; }
  /// An entry that is over takes its locker out of these.
  [[nodiscard]] withheld_lockers &withheld() noexcept { return withheld_; }
  [[nodiscard]] const withheld_lockers &withheld() const noexcept { return withheld_; }
  [[nodiscard]] uint64_t bytes() const noexcept {
    return by_locker_.capacity() * sizeof(uint32_t) + withheld_.bytes();
  }

 private:
  static constexpr uint32_t no_node = ~uint32_t{0};

  [[nodiscard]] node_state state_of(uint32_t index) const noexcept;
  void set_state(uint32_t index, node_state state) noexcept;
  [[nodiscard]] uint32_t space_of(uint32_t index) const noexcept;
  result<void> check_free(uint32_t locker) const;
  result<put_answer> join(const probe &own, const put_order &order);
  result<put_answer> enter(const probe &own, const probe &parent, const put_order &order);
  uint32_t make_node(const packed_key &key) noexcept;
  result<node_state> pending_put(entry_ref entry, uint32_t locker, uint16_t parts) const;
  result<uint32_t> erasable(entry_ref entry, erase_rule rule) const;
  uint32_t drop(uint32_t index) noexcept;
  void give_if_unused(uint32_t index) noexcept;

  node_pool &pool_;
  key_index &index_;
  space_table &spaces_;
  withheld_lockers withheld_;
  std::vector<uint32_t> by_locker_;  // the node of each number
  uint32_t count_ = 0;
  uint32_t reclaim_next_ = 0;  // node that reclaim() looks at next
};

}  // namespace cubby::directory
