// Blocks whose bytes in a store are not those that were put, and that something still moves: each
// goes once nothing does.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/engine_state.hpp"

namespace cubby::engine {

/// For whoever holds the pump.
class damaged_blocks {
 public:
  void note(locker_bank &bank, uint32_t number);
  [[nodiscard]] bool knows(const locker_bank &bank, uint32_t number) const noexcept;
  /// The number has another block from here on.
  void forget(const locker_bank &bank, uint32_t number) noexcept;
  void forget_bank(const locker_bank &bank) noexcept;
  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }

  /// Is `may_go(bank, number)` true of one of them?
  template <class MayGo>
  [[nodiscard]] bool any(const MayGo &may_go) const {
    return std::any_of(all_.begin(), all_.end(),
                       [&](const auto &one) { return may_go(*one.first, one.second); });
  }

  /// Those of which `may_go(bank, number)` is true, taken out one by one and given to `drop`, which
  /// may forget others.
  template <class MayGo, class Drop>
  void take(const MayGo &may_go, const Drop &drop) {
    for (size_t i = all_.size(); i-- > 0;) {
      const auto [bank, number] = all_[i];
      if (!may_go(*bank, number)) continue;
      drop(*bank, number);
      forget(*bank, number);
      i = std::min(i, all_.size());
    }
  }

 private:
  std::vector<std::pair<locker_bank *, uint32_t>> all_;
};

}  // namespace cubby::engine
