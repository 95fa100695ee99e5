#include "directory/prefix.hpp"

#include <algorithm>

namespace cubby::directory {

prefix_meter::prefix_meter(const match_rule &rule, uint16_t bank_parts) {
  const uint32_t needed = rule.parts != 0 ? rule.parts : bank_parts;
  for (uint32_t part = 0; part < rule.of.size(); ++part) {
    const uint32_t bit = 1u << part;
    if ((needed & bit) == 0) continue;
    const uint32_t every = std::max(rule.of[part].every, 1u);
    const uint32_t trailing = rule.of[part].trailing;
    if (every == 1 && trailing == 0) {
      simple_ = static_cast<uint16_t>(simple_ | bit);
    } else {
      others_[others_count_++] = {static_cast<uint16_t>(bit), every, trailing, every, 0, 0};
    }
  }
}

bool prefix_meter::add(uint16_t present) noexcept {
  if ((present & simple_) != simple_) simple_broken_ = true;
  bool usable = !simple_broken_;
  for (uint32_t i = 0; i < others_count_; ++i) {
    other_rule &one = others_[i];
    if (--one.left != 0) {
      usable = false;
      continue;
    }
    one.left = one.every;
    ++one.groups;
    one.run = (present & one.part) != 0 ? one.run + 1 : 0;
    const uint32_t needed = one.trailing != 0 ? std::min(one.trailing, one.groups) : one.groups;
    usable = usable && one.run >= needed;
  }
  return usable;
}

}  // namespace cubby::directory
