// kernel.hpp once more, for processors with AVX2. Nothing may be included here that defines inline
// functions: they would be compiled for these processors too, and might be linked for all.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2")
#pragma GCC optimize("O3", "fp-contract=off")

#define CUBBY_KERNEL_AVX2 1
#include "placement/moe/kernel.hpp"

namespace cubby::placement::moe {
namespace avx2 {
namespace {

#include "placement/moe/kernel_vector.hpp"
//
#include "placement/moe/kernel_body.hpp"

}  // namespace

extern const kernel functions;
const kernel functions = {learn<vector_lanes, vector_words>, rank<vector_lanes>,
                          largest<vector_lanes>};

}  // namespace avx2
}  // namespace cubby::placement::moe
#endif
