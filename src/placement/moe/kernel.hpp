// The arithmetic of one layer visit, eight experts at a time. Three builds of one text: for
// processors with AVX2, for all others, and lane by lane as the reference. All give the same bits:
// every operation is IEEE single precision in one fixed order, and nothing is fused.
#pragma once

#include <cstdint>

namespace cubby::placement::moe {

inline constexpr uint32_t lanes = 8;
inline constexpr uint32_t average_count = 4;
inline constexpr uint32_t input_count = 2 + average_count;  // 1, on, logarithms of the averages

/// One slot's visit of one layer. Arrays have `width` elements, a multiple of `lanes`.
struct learn_step {
  uint32_t width;
  float gamma;
  bool learn;                // false on the first visit: there is nothing to learn from
  const float *on;           // 1 for who was chosen
  const float *exists;       // 0 behind the last expert
  float *was_on;             // of the visit before; becomes `on`
  float *averages;           // [average_count][width]
  float *logarithms;         // [average_count][width]: inputs of the visit before; become new ones
  float *value;              // forecast of the visit before; becomes the new one
  const float *const *rows;  // [row_count]: what those who were just used say of each expert
  uint32_t row_count;
  float *const *trained;  // [trained_count]: the rows of the visit before
  const float *rates;     // [trained_count]
  uint32_t trained_count;
  float *weights, *squares;  // [input_count], and the sums of their squared gradients
  float *error;              // scratch
};

/// The keys of a layer out of its forecasts: base - ln(V + tiny), V of several slots together.
struct rank_step {
  uint32_t width;
  const float *const *values;  // [value_count]
  uint32_t value_count;
  float base;
  float *key;
};

struct kernel {
  void (*learn)(const learn_step &);
  void (*rank)(const rank_step &);
  /// The largest of key + bias.
  float (*largest)(const float *key, const float *bias, uint32_t width);
};

/// The fastest that this processor has.
const kernel &best_kernel();
/// Lane by lane.
const kernel &scalar_kernel();

}  // namespace cubby::placement::moe
