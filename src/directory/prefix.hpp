// Which prefixes of a chain of keys can be used, by the parts of each key that are present.
#pragma once

#include <array>
#include <cstdint>

#include "base/abi.hpp"

namespace cubby::directory {

/// Where one part has to be present for a prefix to be usable.
struct part_rule {
  uint32_t trailing = 0;  // in the last so many groups of the prefix; 0 = in all
  uint32_t every = 1;     // keys of a group: the part is that of its last key; a usable prefix ends
                          // with a whole group
};

struct match_rule {
  uint16_t parts = 0;  // that are needed; 0 = all that the bank has
  std::array<part_rule, CUBBY_PARTS_MAX> of{};

  /// Every block has it.
  static match_rule first_part() {
    match_rule made;
    made.parts = 1;
    return made;
  }
};

/// Takes the keys of a chain in their order and says after each whether the prefix up to it is
/// usable.
class prefix_meter {
 public:
  prefix_meter(const match_rule &rule, uint16_t bank_parts);

  /// `present`: parts of the next key. True: a prefix that ends here is usable.
  bool add(uint16_t present) noexcept;
  /// Is any longer prefix out of the question, whatever comes?
  [[nodiscard]] bool is_over() const noexcept { return simple_broken_; }

 private:
  struct other_rule {
    uint16_t part = 0;  // its bit
    uint32_t every = 1, trailing = 0;
    uint32_t left = 0;    // keys until the group at hand is whole
    uint32_t groups = 0;  // whole ones so far
    uint32_t run = 0;     // of them, the last so many have the part
  };

  uint16_t simple_ = 0;  // parts that every key needs
  bool simple_broken_ = false;
  uint32_t others_count_ = 0;
  std::array<other_rule, CUBBY_PARTS_MAX> others_{};
};

}  // namespace cubby::directory
