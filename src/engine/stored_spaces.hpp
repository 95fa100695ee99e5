// Spaces of keys whose blocks are stored: their names in the store, and the blocks that are found
// there when a space is opened.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/space_room.hpp"

namespace cubby::engine {

/// For whoever holds the pump.
class stored_spaces {
 public:
  stored_spaces(engine_state &state, store_set &stores)
      : state_(state), stores_(stores), room_(state) {}

  /// From here on the blocks of the directory's space `handle` may be stored; those that the store
  /// has of it are found by their keys. Nothing is done where there is no store; one that is
  /// read-only takes a new space when it takes blocks again, and one whose places are all taken
  /// when it has given up a space that nobody has open. After an error the space is not stored.
  result<void> open(locker_bank &bank, uint32_t handle, std::string_view fingerprint,
                    std::string_view domain);
  /// Those that were opened while the store took none; and those that nobody has open give way.
  void step(store_state &in);
  /// When the next step is due.
  [[nodiscard]] uint64_t next_ns() const { return room_.next_ns(); }
  /// The handle is given back. Blocks of a space without handles are reclaimed by the directory.
  void close(locker_bank &bank, uint32_t handle) noexcept;
  void forget_bank(locker_bank &bank);

  /// Why the bank's blocks cannot lie in a store, where each part is on pages of its own and has
  /// the store's digests.
  [[nodiscard]] static std::optional<error> unfit(const locker_bank &bank);
  /// In the store; nothing where the space is not stored.
  [[nodiscard]] std::optional<uint32_t> id_of(const locker_bank &bank, uint32_t handle) const;
  /// For the store to take blocks again, or to have a place?
  [[nodiscard]] bool waits(const locker_bank &bank, uint32_t handle) const;
  /// For another to give way to it?
  [[nodiscard]] bool waits_for_place(const locker_bank &bank, uint32_t handle) const;

  /// A block of the store that nobody lists, and the key before it in its chain.
  void list_again(locker_bank &bank, uint32_t handle, uint32_t stored,
                  std::string_view parent) noexcept;
  /// Children whose parent was not known when they were found in the store are linked to it.
  void link_children(locker_bank &bank, uint32_t handle, const cubby_key &parent);

 private:
  /// A space that the store did not take: it was read-only, or had no place.
  struct waiting_space {
    uint32_t handle = 0;
    bool for_place = false;
    std::string fingerprint, domain;
  };
  struct bank_state {
    std::vector<waiting_space> waiting;
    std::map<uint32_t, uint32_t> stored_id;   // by handle
    std::map<uint32_t, uint32_t> handles_of;  // by id: how many
    // By id, and the parent's digest: lockers whose parent was not there when they were listed.
    std::map<uint32_t, std::unordered_multimap<uint64_t, uint32_t>> orphans;
  };

  void open_waiting(store_state &in);
  /// NULL when it does not wait.
  [[nodiscard]] const waiting_space *find_waiting(const locker_bank &bank, uint32_t handle) const;
  /// Has some bank a handle of it?
  [[nodiscard]] bool is_open(const store_state &in, uint32_t id) const;
  [[nodiscard]] space_room::open_test open_test(const store_state &in) const {
    return [this, &in](uint32_t id) { return is_open(in, id); };
  }
  result<void> list_space(locker_bank &bank, store_state &from, uint32_t handle, uint32_t id);
  void list_blocks(locker_bank &bank, bank_state &of, store_state &from, uint32_t handle,
                   uint32_t stored_id);
  bool list_block(locker_bank &bank, store_state &from, uint32_t handle,
                  const store::block_body &body, const cubby_key *parent);

  engine_state &state_;
  store_set &stores_;
  space_room room_;
  std::map<const locker_bank *, bank_state> banks_;
};

}  // namespace cubby::engine
