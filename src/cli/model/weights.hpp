// Random weights, written straight as quantised blocks. The same seed and tensor give the same
// bytes on every machine: integer arithmetic and exactly rounded floating point only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cli/model/geometry.hpp"

namespace cubby_cli::model {

/// xoshiro256++ seeded by splitmix64: fast enough that the disk is what limits.
class random_stream {
 public:
  random_stream(uint64_t seed, uint64_t stream);
  uint64_t next();
  uint32_t below(uint32_t limit);  // 0 … limit-1
  float unit();                    // [0, 1)

 private:
  std::array<uint64_t, 4> state_;
};

/// The numbers of one tensor, taken piece by piece. Weights have a spread of 1/sqrt(columns), so
/// that a product with a normalised vector is about one and activations stay finite.
class weight_stream {
 public:
  weight_stream(const tensor &made, uint64_t seed, uint64_t tensor_index);
  /// Bytes of a whole number of blocks (or floats). Never more than piece.size().
  void fill(std::span<std::byte> piece);
  uint64_t unit_bytes() const;

 private:
  uint16_t scale();
  std::byte *fill_bf16(std::byte *at);
  random_stream random_;
  weight_type type_;
  filling fill_;
  float spread_;
};

}  // namespace cubby_cli::model
