// What the engine expects of coming tokens, as evidence: how much likelier an expert is used when
// it was named (or was not) is measured, so that good forecasts decide and bad ones change nothing.
#pragma once

#include <cubby/policy.h>

#include <cstdint>
#include <vector>

namespace cubby::placement::moe {

class forecasts {
 public:
  forecasts(uint32_t slot_count, uint32_t layer_count, uint32_t lane_count);

  /// A slot runs a layer: which token of the slot that is, from 1.
  void run(uint32_t slot, uint32_t layer);
  /// The experts of a layer that a slot used in run(), and in the whole layer: what was expected of
  /// it is compared with that, and gone.
  void compare(uint32_t slot, uint32_t layer, uint32_t first_lane, const float *on,
               uint32_t experts);
  /// Begins a forecast of the layer's experts `ahead` tokens after the one under way. False: that
  /// is too far, or past.
  bool begin(uint32_t slot, uint32_t layer, uint32_t first_lane, uint32_t experts, uint32_t ahead);
  /// One of them.
  void expect(uint32_t slot, uint32_t lane, uint32_t ahead, float probability);

  /// Anything known of the slot's next visits of the layer?
  [[nodiscard]] bool any(uint32_t slot, uint32_t layer) const;
  /// Values with what is known in place of what was learned, for the next visits.
  void apply(uint32_t slot, uint32_t layer, uint32_t first_lane, const float *values, float gamma,
             uint32_t experts, float *to) const;
  [[nodiscard]] uint64_t bytes() const;

 private:
  static constexpr uint32_t tokens_stored = 4;  // coming ones of a layer: a code of four bits each
  static constexpr uint32_t levels = 5;  // not named, or named with a probability of a quarter
  static constexpr uint32_t far = 3;     // visits ahead that have records of their own

  struct coming {
    uint32_t token : 29 = 0;  // that something is known of; 0 = none
    uint32_t visits : 3 = 1;  // from the last visit to it when it was named
  };
  /// How often experts were used and not, by level.
  struct record {
    float used[levels], unused[levels];
  };
  [[nodiscard]] coming &of(uint32_t slot, uint32_t layer, uint32_t token) {
    return coming_[(size_t{slot} * layers_ + layer) * tokens_stored + token % tokens_stored];
  }
  [[nodiscard]] const coming *known(uint32_t slot, uint32_t layer, uint32_t token) const;
  void ratios(const record &from, float (&to)[levels]) const;

  uint32_t layers_, lanes_;
  std::vector<uint32_t> token_, last_layer_;  // [slot]: under way
  std::vector<uint32_t> run_;                 // [slot][layer]: the token it ran last
  std::vector<coming> coming_;                // [slot][layer][tokens_stored]
  std::vector<uint16_t> codes_;               // [slot][lane]: a level for each token stored
  record records_[far];
};

}  // namespace cubby::placement::moe
