// Formats of quantised weights, block by block, as GGUF files have them: products of a block with
// 32 floats. The same lines for a device and for a processor, with every operation written out
// (fmaf), so both give the same bits.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <cubby/cubby_device.cuh>

namespace cubby_kernels {

/// Numbers are those of the GGUF format.
enum weight_type : uint32_t { q4_0 = 2, q8_0 = 8, bf16 = 30, mxfp4 = 39 };

constexpr uint32_t block_weights = 32;

/// Of 32 weights; 0 = the type is not known.
CUBBY_DEVICE constexpr uint32_t block_bytes(uint32_t type) {
  return type == q4_0 ? 18 : type == q8_0 ? 34 : type == bf16 ? 64 : type == mxfp4 ? 17 : 0;
}

CUBBY_DEVICE float float_of_bits(uint32_t bits) {
  float out;
  memcpy(&out, &bits, sizeof out);
  return out;
}
/// Parts of a file lie anywhere, and so do blocks.
CUBBY_DEVICE uint32_t two_bytes(const uint8_t *at) { return at[0] | uint32_t{at[1]} << 8; }

/// Half precision to single, exactly.
CUBBY_DEVICE float half_to_float(uint32_t half) {
  const uint32_t sign = half >> 15 << 31, exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
  const float small = static_cast<float>(mantissa) * 5.9604644775390625e-8f;  // 2^-24
  return sign != 0 ? -small : small;
}
/// Half of 2^(e - 127): the values of MXFP4 are counted in halves.
CUBBY_DEVICE float half_of_scale(uint32_t e) {
  return float_of_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}
/// Twice the value of four bits: sign, two of exponent, one of mantissa.
CUBBY_DEVICE int32_t twice_fp4(uint32_t bits) {
  const uint32_t exponent = bits >> 1 & 3, mantissa = bits & 1;
  const int32_t magnitude =
      static_cast<int32_t>(exponent == 0 ? mantissa : (2 + mantissa) << (exponent - 1));
  return (bits & 8) != 0 ? -magnitude : magnitude;
}

/// sum + the product of a block with the 32 floats at `with`.
CUBBY_DEVICE float add_block(uint32_t type, const uint8_t *block, const float *with, float sum) {
  if (type == bf16) {
    for (uint32_t i = 0; i < block_weights; ++i) {
      sum = fmaf(float_of_bits(two_bytes(block + 2 * i) << 16), with[i], sum);
    }
    return sum;
  }
  float inner = 0;
  if (type == q8_0) {
    for (uint32_t i = 0; i < block_weights; ++i) {
      inner = fmaf(static_cast<float>(static_cast<int8_t>(block[2 + i])), with[i], inner);
    }
    return fmaf(half_to_float(two_bytes(block)), inner, sum);
  }
  // Two weights a byte: number i in its low half, number i + 16 in the high one.
  const bool four = type == q4_0;
  const uint8_t *const pairs = block + (four ? 2 : 1);
  for (uint32_t i = 0; i < block_weights; ++i) {
    const uint32_t bits = i < 16 ? pairs[i] & 15u : uint32_t{pairs[i - 16]} >> 4;
    const int32_t whole = four ? static_cast<int32_t>(bits) - 8 : twice_fp4(bits);
    inner = fmaf(static_cast<float>(whole), with[i], inner);
  }
  return fmaf(four ? half_to_float(two_bytes(block)) : half_of_scale(block[0]), inner, sum);
}

}  // namespace cubby_kernels
