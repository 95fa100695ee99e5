// The arithmetic of one layer visit, eight experts at a time. Three builds of one text: for
// processors with AVX2, for all others, and lane by lane as the reference. All give the same bits:
// every operation is IEEE single precision or a whole number, in one fixed order, and nothing is
// fused. Tables are whole numbers of sixteen bits: what they say is added up sixteen at a time.
#pragma once

#include <cstdint>

namespace cubby::placement::moe {

inline constexpr uint32_t lanes = 8;
inline constexpr uint32_t words = 16;  // numbers of a table's row that are added at once
inline constexpr uint32_t average_count = 4;
inline constexpr uint32_t input_count = 2 + average_count;  // 1, on, logarithms of the averages

/// A table's unit: rows reach from -8 to 8 and so does their sum.
inline constexpr float table_scale = 4096;
/// An error is handed to the tables in these units; a rate times it, over 2^15, is a table's step.
inline constexpr float error_scale = 8192;
inline constexpr float rate_scale = table_scale * 32768 / error_scale;

/// The experts used in one visit, as rows of a table: the row, and in the upper half its learning
/// rate.
struct used_rows {
  const uint32_t *rows;
  uint32_t count;
};

/// One slot's visit of one layer. Arrays have `width` elements, a multiple of `words`.
struct learn_step {
  uint32_t width, experts;  // behind the last expert nothing is learned
  float gamma;
  bool learn;           // false on the first visit: there is nothing to learn from
  const float *on;      // 1 for chosen experts
  const float *was_on;  // of the visit before
  float *averages;      // [average_count][width]
  float *logarithms;    // [average_count][width]: inputs of the visit before; become new ones
  float *value;         // forecast of the visit before; becomes the new one
  int16_t *tables;      // [source_count][table_rows][width]
  uint32_t table_rows;
  const used_rows *said_by;  // [said_by_count]: experts just used, by source
  uint32_t said_by_count;
  const used_rows *trained;  // [trained_count]: those used at the visit before
  uint32_t trained_count;
  uint32_t dither;           // where rounding up and down begins: small steps count on the whole
  float *weights, *squares;  // [input_count], and the sums of their squared gradients
  int16_t *said, *error;     // scratch
};

/// The keys of a layer out of its forecasts: base - ln(V + tiny), V of several slots together.
struct rank_step {
  uint32_t width;
  const float *const *values;  // [value_count]
  uint32_t value_count;
  float base;
  float *key;
};

/// The largest key, and the first lane that has it; -infinity when there is none.
struct largest_key {
  float key;
  uint32_t at;
};

struct kernel {
  void (*learn)(const learn_step &);
  void (*rank)(const rank_step &);
  /// Among those whose bit is set in `visible`, a byte for eight lanes.
  largest_key (*largest)(const float *key, const uint8_t *visible, uint32_t width);
};

/// The fastest that this processor has.
const kernel &best_kernel();
/// For processors without AVX2.
const kernel &plain_kernel();
/// Lane by lane.
const kernel &scalar_kernel();

}  // namespace cubby::placement::moe
