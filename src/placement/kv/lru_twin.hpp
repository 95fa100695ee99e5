// What LRU would hold after the same requests, by names alone, beside what is resident: who of the
// residents it would have given up, and how many it holds that are not resident. Each of those can
// be lost once, should LRU decide from here on.
#pragma once

#include "placement/kv/blocks.hpp"
#include "placement/kv/chooser.hpp"
#include "placement/object_list.hpp"

namespace cubby::placement::kv {

class lru_twin {
 public:
  lru_twin(uint32_t object_count, uint64_t seed)
      : lists_(2, object_count), spare_(object_count), chooser_(seed) {}

  /// Resident blocks, and those that the index holds or would hold.
  struct held {
    const block_set &real, &index;
  };
  /// A use, told before the block comes in. False: LRU has to fetch it.
  bool used(cubby_object who, const blocks &known, const held &now, uint32_t capacity);
  /// Among equals the end of a request leaves before the beginning.
  void request_ended(const std::vector<cubby_object> &touched, const held &now);

  void inserted(cubby_object who, cubby_object parent);
  void removed(cubby_object who, cubby_object parent);
  /// The number stands for something else; it is not resident.
  void forget(cubby_object who);
  /// Hangs on another now.
  void moved(cubby_object who, cubby_object from, cubby_object to) { spare_.move(who, from, to); }

  /// The least worth of the residents that LRU would have given up; CUBBY_NO_OBJECT: none may go.
  cubby_object spare(blocks &known) { return chooser_.choose(spare_, known); }
  /// The resident that LRU gives up next. What the request under way has passed over is not looked
  /// at again before it ends.
  cubby_object oldest(const blocks &known, const block_set &real);
  /// So many blocks may be lost, should LRU decide from here on.
  [[nodiscard]] double at_stake() const;

  void grow(uint32_t object_count) {
    lists_.grow(object_count);
    spare_.grow(object_count);
  }
  [[nodiscard]] uint64_t bytes() const { return lists_.bytes() + spare_.bytes(); }

 private:
  static constexpr uint8_t kept = 0, leaving = 1;  // leaving: when the request has ended

  void renew(uint8_t list, cubby_object who);
  bool make_room(const blocks &known, const block_set &real, uint32_t capacity);

  object_lists lists_;
  cubby_object walked_to_ = CUBBY_NO_OBJECT;
  block_set spare_;  // residents that are not kept
  chooser chooser_;
  double missing_ = 0;          // kept, and not resident
  double left_ = 0, used_ = 0;  // of those that the index did not hold; and used before they left
};

}  // namespace cubby::placement::kv
