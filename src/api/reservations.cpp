#include "api/reservations.hpp"

#include <algorithm>

namespace cubby::api {

cubby_pins reservation_list::add(std::vector<reserved_block> &&blocks, uint32_t salt) {
  size_t index = 0;
  while (index < slots_.size() && slots_[index].left != 0) ++index;
  if (index == slots_.size()) slots_.emplace_back().generation = salt;
  slot &taken = slots_[index];
  taken.left = static_cast<uint32_t>(blocks.size());
  taken.blocks = std::move(blocks);
  return uint64_t{++taken.generation} << 32 | (index + 1);
}

const reservation_list::slot *reservation_list::find(cubby_pins handle) const noexcept {
  const size_t index = (handle & 0xFFFF'FFFF) - 1;
  if (index >= slots_.size()) return nullptr;
  const slot &one = slots_[index];
  return one.left != 0 && one.generation == handle >> 32 ? &one : nullptr;
}

uint8_t reservation_list::longest_keep(cubby_pins handle) const noexcept {
  uint8_t longest = CUBBY_KEEP_SESSION;
  const slot *const of = find(handle);
  if (of == nullptr) return longest;
  for (const reserved_block &one : of->blocks) {
    if (!one.over) longest = std::max(longest, one.keep);
  }
  return longest;
}

uint32_t reservation_list::count_of(const residency::locker_bank &bank) const noexcept {
  uint32_t count = 0;
  for (const slot &of : slots_) {
    for (const reserved_block &one : of.blocks) count += one.what && one.what->at.bank == &bank;
  }
  return count;
}

result<std::vector<reserved_block>> reservation_list::take(cubby_pins handle, uint32_t first,
                                                           uint32_t count) {
  const slot *const open = find(handle);
  if (open == nullptr) {
    return fail(CUBBY_ERR_STALE,
                "the reservation is not open: all of it was committed or given up before, or it "
                "belongs to another runtime");
  }
  slot &from = slots_[static_cast<size_t>(open - slots_.data())];
  const auto size = static_cast<uint32_t>(from.blocks.size());
  if (first >= size || count > size - first || (count == 0 && first != 0)) {
    return fail(CUBBY_ERR_INVALID, "the reservation has %u blocks, not %u from %u on", size, count,
                first);
  }
  const auto begin = from.blocks.begin() + first;
  const auto end = count == 0 ? from.blocks.end() : begin + count;
  if (count != 0 && std::any_of(begin, end, [](const reserved_block &one) { return one.over; })) {
    return fail(CUBBY_ERR_INVALID,
                "some of blocks %u to %u of the reservation were committed or given up before",
                first, first + count - 1);
  }
  std::vector<reserved_block> taken;
  taken.reserve(static_cast<size_t>(end - begin));
  for (auto one = begin; one != end; ++one) {
    if (one->over) continue;
    taken.push_back(std::move(*one));
    one->what.reset();
    one->over = true;
    --from.left;
  }
  if (from.left == 0) from.blocks.clear();
  return taken;
}

}  // namespace cubby::api
