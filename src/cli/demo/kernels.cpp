#include "cli/demo/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define CUBBY_DEMO_AVX2 1
#endif

namespace cubby_cli::demo {
namespace {

using model::half_to_float;
using model::q4_0_block;
using model::q8_0_block;

float dot_portable(const q8_0_block *row, uint32_t blocks, const quantised &vector) {
  float sum = 0;
  for (uint32_t b = 0; b < blocks; ++b) {
    q8_0_block block;
    std::memcpy(&block, row + b, sizeof block);
    int32_t whole = 0;
    for (uint32_t i = 0; i < 32; ++i) whole += block.weights[i] * vector.values[b * 32 + i];
    sum += half_to_float(block.scale) * vector.scales[b] * static_cast<float>(whole);
  }
  return sum;
}

float dot_portable(const q4_0_block *row, uint32_t blocks, const quantised &vector) {
  float sum = 0;
  for (uint32_t b = 0; b < blocks; ++b) {
    q4_0_block block;
    std::memcpy(&block, row + b, sizeof block);
    int32_t whole = 0;
    for (uint32_t i = 0; i < 16; ++i) {
      whole += ((block.pairs[i] & 15) - 8) * vector.values[b * 32 + i];
      whole += ((block.pairs[i] >> 4) - 8) * vector.values[b * 32 + 16 + i];
    }
    sum += half_to_float(block.scale) * vector.scales[b] * static_cast<float>(whole);
  }
  return sum;
}

#ifdef CUBBY_DEMO_AVX2

#define CUBBY_AVX2 __attribute__((target("avx2,fma,f16c")))

/// Eight sums of four products each of signed bytes.
CUBBY_AVX2 inline __m256i products(__m256i weights, __m256i values) {
  const __m256i magnitude = _mm256_sign_epi8(weights, weights);
  const __m256i signed_values = _mm256_sign_epi8(values, weights);
  const __m256i pairs = _mm256_maddubs_epi16(magnitude, signed_values);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

CUBBY_AVX2 inline float scale_of(const void *block) {
  uint16_t half = 0;
  std::memcpy(&half, block, sizeof half);
  return _cvtsh_ss(half);
}

CUBBY_AVX2 inline float sum_of(__m256 eight) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  four = _mm_add_ss(four, _mm_movehdup_ps(four));
  return _mm_cvtss_f32(four);
}

CUBBY_AVX2 inline __m256i weights_of(const q8_0_block *block) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(block->weights));
}

CUBBY_AVX2 inline __m256i weights_of(const q4_0_block *block) {
  const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i *>(block->pairs));
  const __m256i both =
      _mm256_inserti128_si256(_mm256_castsi128_si256(packed), _mm_srli_epi16(packed, 4), 1);
  const __m256i low = _mm256_and_si256(both, _mm256_set1_epi8(15));
  return _mm256_sub_epi8(low, _mm256_set1_epi8(8));
}

template <class Block>
CUBBY_AVX2 float dot_avx2(const Block *row, uint32_t blocks, const quantised &vector) {
  __m256 sum = _mm256_setzero_ps();
  for (uint32_t b = 0; b < blocks; ++b) {
    const __m256i values =
        _mm256_loadu_si256(reinterpret_cast<const __m256i *>(vector.values.data() + b * 32));
    const __m256 whole = _mm256_cvtepi32_ps(products(weights_of(row + b), values));
    const float scale = scale_of(row + b) * vector.scales[b];
    sum = _mm256_fmadd_ps(_mm256_set1_ps(scale), whole, sum);
  }
  return sum_of(sum);
}

bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
}

#endif

template <class Block>
void rows_portable(const void *weights, uint32_t rows, uint32_t blocks, const quantised &vector,
                   float *out) {
  const auto *row = static_cast<const Block *>(weights);
  for (uint32_t r = 0; r < rows; ++r)
    out[r] = dot_portable(row + uint64_t{r} * blocks, blocks, vector);
}

}  // namespace

void quantise(const float *from, uint32_t count, quantised &to) {
  to.scales.resize(count / 32);
  to.values.resize(count);
  for (uint32_t b = 0; b < count / 32; ++b) {
    float largest = 0;
    for (uint32_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(from[b * 32 + i]));
    const float scale = largest / 127;
    to.scales[b] = scale;
    for (uint32_t i = 0; i < 32; ++i) {
      const float value = scale == 0 ? 0 : from[b * 32 + i] / scale;
      to.values[b * 32 + i] = static_cast<int8_t>(std::lrintf(value));
    }
  }
}

void multiply_portable(model::weight_type type, const void *weights, uint32_t rows,
                       uint32_t columns, const quantised &vector, float *out) {
  if (type == model::weight_type::q8_0) {
    rows_portable<q8_0_block>(weights, rows, columns / 32, vector, out);
  } else {
    rows_portable<q4_0_block>(weights, rows, columns / 32, vector, out);
  }
}

void multiply(model::weight_type type, const void *weights, uint32_t rows, uint32_t columns,
              const quantised &vector, float *out) {
#ifdef CUBBY_DEMO_AVX2
  if (has_avx2()) {
    const uint32_t blocks = columns / 32;
    for (uint32_t r = 0; r < rows; ++r) {
      const uint64_t at = uint64_t{r} * blocks;
      out[r] = type == model::weight_type::q8_0
                   ? dot_avx2(static_cast<const q8_0_block *>(weights) + at, blocks, vector)
                   : dot_avx2(static_cast<const q4_0_block *>(weights) + at, blocks, vector);
    }
    return;
  }
#endif
  multiply_portable(type, weights, rows, columns, vector, out);
}

void gate_by_silu(std::vector<float> &gate, const std::vector<float> &up) {
  for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
}

const char *kernel_name() {
#ifdef CUBBY_DEMO_AVX2
  if (has_avx2()) return "avx2";
#endif
  return "portable";
}

}  // namespace cubby_cli::demo
