// Who has come since the last use. A set of lockers gets all of its places or none: where the last
// one finds no room, those that came before it are taken back, and will come again. That is no
// eviction, and nothing is to be learned from it.
#pragma once

#include <cubby/policy.h>

#include <cstdint>
#include <optional>

namespace cubby::placement {

class newcomers {
 public:
  /// Whoever was there before has its place for good.
  void settle() { count_ = 0; }
  /// `from`: whatever the policy wants to know when it is taken back.
  void came(cubby_object object, uint8_t from) {
    if (count_ < count_max) list_[count_++] = {object, from};
  }
  /// Named as a victim: if it goes, it is evicted.
  void named(cubby_object object) { take(object); }
  /// Of one that came since the last use: what it came from. Once.
  std::optional<uint8_t> take(cubby_object object) {
    for (uint32_t i = count_; i-- > 0;) {
      if (list_[i].object != object) continue;
      const uint8_t from = list_[i].from;
      list_[i] = list_[--count_];
      return from;
    }
    return std::nullopt;
  }

 private:
  static constexpr uint32_t count_max = 128;  // of one set; of those beyond it is learned
  struct newcomer {
    cubby_object object;
    uint8_t from;
  };
  newcomer list_[count_max];
  uint32_t count_ = 0;
};

}  // namespace cubby::placement
