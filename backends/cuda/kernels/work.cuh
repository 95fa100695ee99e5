// What the kernels are given, one struct each by value, and what one block of threads does with it.
// Addresses are integers. A body reaches memory through `reach(address, bytes)`, which in a device
// is the address itself: so a driver without a GPU runs the same body over memory that lies
// elsewhere. Where the bodies need more than one thread, a warp's 32 lanes are walked over one by
// one on a processor, in the order in which a warp would add up, and the results are the same bits.
#pragma once
#include <cubby/cubby_device.cuh>

#include "digest.cuh"
#include "formats.cuh"

namespace cubby_kernels {

using cubby_device::lane;
using cubby_device::lane_count;

constexpr uint32_t warp_lanes = 32;

/// Memory of the device itself.
struct direct_reach {
  CUBBY_DEVICE void *operator()(uint64_t address, uint64_t) const {
    return reinterpret_cast<void *>(address);
  }
};

// ---- looking up, letting go
// -----------------------------------------------------------------------

struct acquire_work {
  cubby_slots slots;
  uint64_t chosen;   // int32_t[count], the router's choice; negative = none
  uint64_t words;    // uint64_t[count], what was found
  uint64_t outcome;  // int32_t: cubby_device::outcome
  uint32_t row, count, looks_max, reserved;
};
static_assert(sizeof(acquire_work) == sizeof(cubby_slots) + 3 * 8 + 4 * 4, "padding");

struct leave_work {
  cubby_slots slots;
};

/// The table where `reach` finds it, with what it shares with the host; addresses of parts stay
/// what they are.
template <class Reach>
CUBBY_DEVICE cubby_slots reached(const cubby_slots &slots, const Reach &reach) {
  const uint64_t bytes = slots.state + sizeof(cubby_device::device_state) - slots.entries;
  cubby_slots here = slots;
  here.entries = reinterpret_cast<uintptr_t>(reach(slots.entries, bytes));
  here.asked += here.entries - slots.entries;
  here.part_offsets += here.entries - slots.entries;
  here.state += here.entries - slots.entries;
  const uint64_t shared_bytes =
      sizeof(cubby_device::shared_state) + slots.miss_count_max * sizeof(uint64_t);
  here.shared = reinterpret_cast<uintptr_t>(reach(slots.shared, shared_bytes));
  return here;
}

/// One block.
template <class Reach>
CUBBY_DEVICE void acquire(const acquire_work &work, const Reach &reach) {
  const cubby_slots slots = reached(work.slots, reach);
  const auto *chosen = static_cast<const int32_t *>(reach(work.chosen, work.count * 4));
  auto *words = static_cast<uint64_t *>(reach(work.words, work.count * 8));
  const int got = cubby_device::acquire(slots, work.row, chosen, work.count, words, work.looks_max);
  if (lane() == 0) *static_cast<int32_t *>(reach(work.outcome, 4)) = got;
}
template <class Reach>
CUBBY_DEVICE void leave(const leave_work &work, const Reach &reach) {
  cubby_device::leave(reached(work.slots, reach));
}

// ---- products of experts
// --------------------------------------------------------------------------

struct gemv_work {
  cubby_slots slots;
  uint64_t words;  // uint64_t[count], as acquire() found them; 0 = none, whose output is zero
  uint64_t
      outcome;      // of acquire(): without cubby_device::found nothing is written; 0 = do not look
  uint64_t input;   // float[columns], or [count][columns] where input_stride is columns
  uint64_t output;  // float[count][rows]
  uint32_t row, part, count, type;  // row: of the bank
  uint32_t rows, columns;           // of the part's matrix; columns: a multiple of 32
  uint32_t input_stride, reserved;  // in floats; 0 = one input for all
};
static_assert(sizeof(gemv_work) == sizeof(cubby_slots) + 4 * 8 + 8 * 4, "padding");

/// What one lane of a warp adds up of a matrix row.
CUBBY_DEVICE float lane_sum(uint32_t type, const uint8_t *blocks, uint32_t columns,
                            const float *with, uint32_t of_lane) {
  float sum = 0;
  for (uint32_t b = of_lane; b < columns / block_weights; b += warp_lanes) {
    sum = add_block(type, blocks + uint64_t{b} * block_bytes(type), with + b * block_weights, sum);
  }
  return sum;
}

/// The product of a matrix row by a warp; every lane has it.
CUBBY_DEVICE float row_product(uint32_t type, const uint8_t *blocks, uint32_t columns,
                               const float *with) {
#if defined(__CUDA_ARCH__)
  float sum = lane_sum(type, blocks, columns, with, lane() % warp_lanes);
  for (uint32_t half = warp_lanes / 2; half != 0; half /= 2) {
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, half);
  }
  return sum;
#else
  float sums[warp_lanes];
  for (uint32_t i = 0; i < warp_lanes; ++i) sums[i] = lane_sum(type, blocks, columns, with, i);
  for (uint32_t half = warp_lanes / 2; half != 0; half /= 2) {
    for (uint32_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
#endif
}

/// Matrix row `out` of item `item`: one warp.
template <class Reach>
CUBBY_DEVICE void gemv(const gemv_work &work, uint32_t item, uint32_t out, const Reach &reach) {
  if (work.outcome != 0 &&
      *static_cast<const int32_t *>(reach(work.outcome, 4)) != cubby_device::found) {
    return;
  }
  const uint64_t word = static_cast<const uint64_t *>(reach(work.words, work.count * 8))[item];
  float product = 0;
  // 0: the locker is not there, or its row lacks the part.
  const uint64_t at =
      cubby_device::is_there(word)
          ? cubby_device::address(reached(work.slots, reach), work.row, work.part, word)
          : 0;
  if (at != 0) {
    const uint64_t row_bytes = uint64_t{work.columns / block_weights} * block_bytes(work.type);
    const auto *blocks = static_cast<const uint8_t *>(reach(at + out * row_bytes, row_bytes));
    const auto *input = static_cast<const float *>(
        reach(work.input + uint64_t{item} * work.input_stride * 4, work.columns * 4));
    product = row_product(work.type, blocks, work.columns, input);
  }
  const uint64_t to = work.output + (uint64_t{item} * work.rows + out) * 4;
  if (lane() % warp_lanes == 0) *static_cast<float *>(reach(to, 4)) = product;
}

// ---- scattered copies
// -----------------------------------------------------------------------------

struct span {
  uint64_t to, from, bytes;
};
struct copy_work {
  uint64_t spans;  // span[count]
  uint32_t count, reserved;
};
static_assert(sizeof(span) == 24 && sizeof(copy_work) == 16, "padding");

struct alignas(16) sixteen_bytes {
  uint64_t low, high;
};

/// One span: one block.
template <class Reach>
CUBBY_DEVICE void copy_span(const copy_work &work, uint32_t item, const Reach &reach) {
  const span what = static_cast<const span *>(reach(work.spans, work.count * sizeof(span)))[item];
  auto *to = static_cast<uint8_t *>(reach(what.to, what.bytes));
  const auto *from = static_cast<const uint8_t *>(reach(what.from, what.bytes));
  uint64_t done = 0;
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % 16 == 0) {
    const uint64_t whole = what.bytes / 16;
    auto *to16 = reinterpret_cast<sixteen_bytes *>(to);
    const auto *from16 = reinterpret_cast<const sixteen_bytes *>(from);
    for (uint64_t i = lane(); i < whole; i += lane_count()) to16[i] = from16[i];
    done = whole * 16;
  }
  for (uint64_t i = done + lane(); i < what.bytes; i += lane_count()) to[i] = from[i];
}

// ---- digests
// --------------------------------------------------------------------------------------

struct digest_chunk {
  uint64_t at, bytes, seed;
};
struct digest_work {
  uint64_t chunks;   // digest_chunk[count]
  uint64_t results;  // uint64_t[count]
  uint32_t count, reserved;
};
static_assert(sizeof(digest_chunk) == 24 && sizeof(digest_work) == 24, "padding");

/// One chunk: one warp.
template <class Reach>
CUBBY_DEVICE void digest(const digest_work &work, uint32_t item, const Reach &reach) {
  const digest_chunk chunk = static_cast<const digest_chunk *>(
      reach(work.chunks, work.count * sizeof(digest_chunk)))[item];
  const uint64_t value =
      xxh3_64(static_cast<const uint8_t *>(reach(chunk.at, chunk.bytes)), chunk.bytes, chunk.seed);
  auto *results = static_cast<uint64_t *>(reach(work.results, work.count * 8));
  if (lane() % warp_lanes == 0) results[item] = value;
}

}  // namespace cubby_kernels
