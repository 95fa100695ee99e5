#include "engine/damaged_blocks.hpp"

#include <algorithm>

namespace cubby::engine {

void damaged_blocks::note(locker_bank &bank, uint32_t number) {
  if (!knows(bank, number)) all_.emplace_back(&bank, number);
}

bool damaged_blocks::knows(const locker_bank &bank, uint32_t number) const noexcept {
  return std::any_of(all_.begin(), all_.end(),
                     [&](const auto &one) { return one.first == &bank && one.second == number; });
}

void damaged_blocks::forget(const locker_bank &bank, uint32_t number) noexcept {
  std::erase_if(all_, [&](const auto &one) { return one.first == &bank && one.second == number; });
}

void damaged_blocks::forget_bank(const locker_bank &bank) noexcept {
  std::erase_if(all_, [&](const auto &one) { return one.first == &bank; });
}

}  // namespace cubby::engine
