// The kernels themselves: the bodies of work.cuh over the device's own memory. They are found by
// name in the image that is loaded by the driver (kernel_image.hpp).
#include "work.cuh"

using namespace cubby_kernels;

namespace {

/// Which warp of the grid's first dimension this is.
__device__ uint32_t warp_number() { return (blockIdx.x * blockDim.x + threadIdx.x) / warp_lanes; }

}  // namespace

extern "C" {

/// One block.
__global__ void cubby_acquire(acquire_work work) { acquire(work, direct_reach{}); }
/// One block.
__global__ void cubby_leave(leave_work work) { leave(work, direct_reach{}); }
/// One block.
__global__ void cubby_foresee(foresee_work work) { foresee(work, direct_reach{}); }
/// A warp each row of a matrix, whole warps in a block; the second dimension is the item.
__global__ void cubby_gemv(gemv_work work) {
  if (warp_number() < work.rows) gemv(work, blockIdx.y, warp_number(), direct_reach{});
}
/// A thread each number.
__global__ void cubby_gate(gate_work work) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < work.count) gate(work, i, direct_reach{});
}
/// One warp.
__global__ void cubby_next_state(state_work work) { next_state(work, direct_reach{}); }
/// A block each span.
__global__ void cubby_copy_spans(copy_work work) {
  for (uint32_t i = blockIdx.x; i < work.count; i += gridDim.x) copy_span(work, i, direct_reach{});
}
/// A warp each chunk, whole warps in a block.
__global__ void cubby_digest(digest_work work) {
  if (warp_number() < work.count) digest(work, warp_number(), direct_reach{});
}
}
