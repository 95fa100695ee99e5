// Products of quantised weights with a vector, as decoding needs them. The vector is quantised to
// eight bits in blocks of 32 first. Results do not depend on the order in which experts come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cli/model/blocks.hpp"

namespace cubby_cli::demo {

/// A vector in blocks of 32 eight-bit numbers with one scale each.
struct quantised {
  std::vector<float> scales;
  std::vector<int8_t> values;
};

void quantise(const float *from, uint32_t count, quantised &to);

/// out[row] = weights[row] · vector. `columns` is a multiple of 32.
void multiply(model::weight_type type, const void *weights, uint32_t rows, uint32_t columns,
              const quantised &vector, float *out);

/// The same by the portable way, for tests and for processors without AVX2.
void multiply_portable(model::weight_type type, const void *weights, uint32_t rows,
                       uint32_t columns, const quantised &vector, float *out);

/// What comes between the products of an expert: gate[i] = silu(gate[i]) * up[i].
void gate_by_silu(std::vector<float> &gate, const std::vector<float> &up);

/// "avx2" or "portable": what multiply() uses on this processor.
const char *kernel_name();

}  // namespace cubby_cli::demo
