// Doubly linked lists of objects by number. Several lists share one table of links; an object is in
// one of them or in none.
#pragma once

#include <cubby/policy.h>

#include <cstdint>
#include <vector>

namespace cubby::placement {

class object_lists {
 public:
  static constexpr uint8_t nowhere = 0xFF;

  object_lists(uint32_t list_count, uint32_t object_count)
      : heads_(list_count), links_(object_count) {}

  [[nodiscard]] uint8_t list_of(cubby_object object) const { return links_[object].list; }
  [[nodiscard]] cubby_object oldest(uint32_t list) const { return heads_[list].oldest; }
  [[nodiscard]] cubby_object newest(uint32_t list) const { return heads_[list].newest; }
  [[nodiscard]] uint32_t size(uint32_t list) const { return heads_[list].size; }
  [[nodiscard]] cubby_object newer(cubby_object object) const { return links_[object].newer; }
  [[nodiscard]] cubby_object older(cubby_object object) const { return links_[object].older; }

  /// To the newest end of a list, from wherever it was.
  void renew(uint8_t list, cubby_object object) {
    take(object);
    head &h = heads_[list];
    links_[object] = {h.newest, CUBBY_NO_OBJECT, list};
    (h.newest == CUBBY_NO_OBJECT ? h.oldest : links_[h.newest].newer) = object;
    h.newest = object;
    ++h.size;
  }

  /// Out of its list.
  void take(cubby_object object) {
    link &l = links_[object];
    if (l.list == nowhere) return;
    head &h = heads_[l.list];
    (l.older == CUBBY_NO_OBJECT ? h.oldest : links_[l.older].newer) = l.newer;
    (l.newer == CUBBY_NO_OBJECT ? h.newest : links_[l.newer].older) = l.older;
    l = {};
    --h.size;
  }

  void grow(uint32_t object_count) {
    if (object_count > links_.size()) links_.resize(object_count);
  }
  /// Of objects that are in no list.
  void shrink(uint32_t object_count) noexcept {
    if (object_count >= links_.size()) return;
    links_.resize(object_count);
    links_.shrink_to_fit();
  }
  [[nodiscard]] uint64_t bytes() const {
    return heads_.capacity() * sizeof(head) + links_.capacity() * sizeof(link);
  }

 private:
  struct link {
    cubby_object older = CUBBY_NO_OBJECT, newer = CUBBY_NO_OBJECT;
    uint8_t list = nowhere;
  };
  struct head {
    cubby_object oldest = CUBBY_NO_OBJECT, newest = CUBBY_NO_OBJECT;
    uint32_t size = 0;
  };
  std::vector<head> heads_;
  std::vector<link> links_;
};

/// Walks a list from its oldest end; survives the removal of what it has named, and of what it
/// would name next where leaving() is called before.
class list_walk {
 public:
  void begin(const object_lists &lists, uint32_t list) { at_ = lists.oldest(list); }
  void end() { at_ = CUBBY_NO_OBJECT; }
  cubby_object next(const object_lists &lists) {
    const cubby_object object = at_;
    if (object != CUBBY_NO_OBJECT) at_ = lists.newer(object);
    return object;
  }
  void leaving(const object_lists &lists, cubby_object object) {
    if (at_ == object) at_ = lists.newer(object);
  }

 private:
  cubby_object at_ = CUBBY_NO_OBJECT;
};

}  // namespace cubby::placement
