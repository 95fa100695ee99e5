#include "placement/kv/chooser.hpp"

#include <bit>

namespace cubby::placement::kv {
namespace {

bool may_leave(cubby_object object, const block_set &of, const blocks &known) {
  return of.is_leaf(object) && !known.in_use(object);
}

}  // namespace

chooser::candidate chooser::look_up(cubby_object object, blocks &known) const {
  // An index is never negative: its bits are in the order of its value.
  const uint64_t index = std::bit_cast<uint32_t>(known.index(object));
  return {index << 32 | known.at(object).last_ms, object, round_};
}

/// Puts it into the hole at `at`, or nearer to the least where it belongs there.
void chooser::place(uint32_t at, const candidate &one) {
  for (; at + 1 < size_ && pool_[at + 1].key > one.key; ++at) pool_[at] = pool_[at + 1];
  for (; at > 0 && pool_[at - 1].key < one.key; --at) pool_[at] = pool_[at - 1];
  pool_[at] = one;
}

/// A leaf joins a full pool only where it is worth less than a candidate in it.
void chooser::join(cubby_object object, blocks &known) {
  if (known.in_use(object)) return;
  const candidate one = look_up(object, known);
  if (size_ == pool_max && one.key >= pool_[0].key) return;
  for (uint32_t i = 0; i < size_; ++i)
    if (pool_[i].object == object) return place(i, one);
  place(size_ < pool_max ? size_++ : 0, one);
}

void chooser::look_up_all(const block_set &of, blocks &known) {
  looked_up_ms_ = known.now_ms();
  const std::array<candidate, pool_max> was = pool_;
  const uint32_t count = size_;
  for (uint32_t i = 0; i < count; ++i) known.fetch(was[i].object);
  size_ = 0;
  for (uint32_t i = 0; i < count; ++i)
    if (may_leave(was[i].object, of, known)) place(size_++, look_up(was[i].object, known));
}

cubby_object chooser::choose(const block_set &of, blocks &known) {
  ++round_;
  const auto &leaves = of.leaves();
  cubby_object drawn[drawn_max];
  const bool few = leaves.size() <= drawn_max;
  const size_t count = few ? leaves.size() : drawn_max;
  for (size_t i = 0; i < count; ++i) {
    drawn[i] = leaves[few ? i : prng_.below(leaves.size())];
    known.fetch(drawn[i]);
  }
  if (parent_ != CUBBY_NO_OBJECT && of.is_leaf(parent_)) join(parent_, known);
  parent_ = CUBBY_NO_OBJECT;
  if (known.now_ms() - looked_up_ms_ >= look_up_every_ms) look_up_all(of, known);
  for (size_t i = 0; i < count; ++i) join(drawn[i], known);
  while (size_ > 0) {
    const candidate &least = pool_[size_ - 1];
    if (!may_leave(least.object, of, known))
      --size_;
    else if (least.round == round_)
      return least.object;
    else
      place(size_ - 1, look_up(least.object, known));
  }
  return CUBBY_NO_OBJECT;
}

uint32_t chooser::others(const block_set &of, const blocks &known, cubby_object chosen,
                         cubby_object *to) const {
  uint32_t count = 0;
  for (uint32_t i = 0; i < size_; ++i)
    if (pool_[i].object != chosen && may_leave(pool_[i].object, of, known))
      to[count++] = pool_[i].object;
  return count;
}

}  // namespace cubby::placement::kv
