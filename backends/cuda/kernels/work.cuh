// What the kernels are given, one struct each by value, and what one block of threads does with it.
// Addresses are integers. A body reaches memory through `reach(address, bytes)`, which in a device
// is the address itself: so a driver without a GPU runs the same body over memory that lies
// elsewhere. Where the bodies need more than one thread, a warp's 32 lanes are walked over one by
// one on a processor, in the order in which a warp would add up, and the results are the same bits.
#pragma once
#include <time.h>
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

/// What work has waited for, added up by acquire().
struct wait_counts {
  uint64_t missing_count;  // of what was chosen, not there at the first look
  uint64_t waited_ns;      // until it was, by the device's clock
};

struct acquire_work {
  cubby_slots slots;
  uint64_t chosen;   // int32_t[count], the router's choice; negative = none
  uint64_t words;    // uint64_t[count], what was found
  uint64_t outcome;  // int32_t: cubby_device::outcome
  uint64_t waits;    // wait_counts; 0 = nobody counts
  uint32_t row, count, looks_max, reserved;
};
static_assert(sizeof(acquire_work) == sizeof(cubby_slots) + 4 * 8 + 4 * 4, "padding");

struct foresee_work {
  cubby_slots slots;
  uint64_t chosen;  // int32_t[count], what a later acquire() is going to look up
  uint32_t row, count;
};
static_assert(sizeof(foresee_work) == sizeof(cubby_slots) + 8 + 2 * 4, "padding");

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
  if (slots.shared == 0) return here;  // a table that no runtime serves
  const uint64_t shared_bytes =
      sizeof(cubby_device::shared_state) + slots.miss_count_max * sizeof(uint64_t);
  here.shared = reinterpret_cast<uintptr_t>(reach(slots.shared, shared_bytes));
  return here;
}

/// Of the device, or the processor; the two have nothing to do with each other.
CUBBY_DEVICE uint64_t clock_ns() {
#if defined(__CUDA_ARCH__)
  uint64_t now = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
#else
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
#endif
}

/// acquire() of cubby_device.cuh; counts what it waits for.
CUBBY_DEVICE int acquire_counted(const acquire_work &work, const cubby_slots &slots,
                                 const int32_t *chosen, uint64_t *words, wait_counts *waits) {
  const int first = cubby_device::look(slots, work.row, chosen, work.count, words);
  if (first == cubby_device::found) return first;
  const uint64_t start_ns = clock_ns();
  if (lane() == 0) {
    for (uint32_t i = 0; i < work.count; ++i) {
      const bool any = chosen[i] >= 0 && static_cast<uint32_t>(chosen[i]) < slots.columns;
      if (any && !cubby_device::is_there(words[i])) ++waits->missing_count;
    }
  }
  cubby_device::any_of_block(false);  // it is counted before the words are others
  const int got = cubby_device::acquire(slots, work.row, chosen, work.count, words, work.looks_max);
  if (lane() == 0) waits->waited_ns += clock_ns() - start_ns;
  return got;
}

/// One block.
template <class Reach>
CUBBY_DEVICE void acquire(const acquire_work &work, const Reach &reach) {
  const cubby_slots slots = reached(work.slots, reach);
  const auto *chosen = static_cast<const int32_t *>(reach(work.chosen, work.count * 4));
  auto *words = static_cast<uint64_t *>(reach(work.words, work.count * 8));
  int got = 0;
  if (work.waits != 0) {
    auto *waits = static_cast<wait_counts *>(reach(work.waits, sizeof(wait_counts)));
    got = acquire_counted(work, slots, chosen, words, waits);
  } else {
    got = cubby_device::acquire(slots, work.row, chosen, work.count, words, work.looks_max);
  }
  if (lane() == 0) *static_cast<int32_t *>(reach(work.outcome, 4)) = got;
}
/// One block.
template <class Reach>
CUBBY_DEVICE void foresee(const foresee_work &work, const Reach &reach) {
  const auto *chosen = static_cast<const int32_t *>(reach(work.chosen, work.count * 4));
  cubby_device::foresee(reached(work.slots, reach), work.row, chosen, work.count);
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

// ---- between the products
// -------------------------------------------------------------------------

struct gate_work {
  uint64_t gate, up, to;  // float[count]; to may be one of the others
  uint32_t count, reserved;
};
static_assert(sizeof(gate_work) == 3 * 8 + 2 * 4, "padding");

/// to = silu(gate) * up, number `i`.
template <class Reach>
CUBBY_DEVICE void gate(const gate_work &work, uint32_t i, const Reach &reach) {
  const float with = *static_cast<const float *>(reach(work.gate + uint64_t{i} * 4, 4));
  const float up = *static_cast<const float *>(reach(work.up + uint64_t{i} * 4, 4));
  *static_cast<float *>(reach(work.to + uint64_t{i} * 4, 4)) = with / (1.0f + expf(-with)) * up;
}

struct state_work {
  uint64_t from;       // float[width]
  uint64_t embedding;  // float[width], of a token that begins: to = from / 2 + embedding; 0 = none
  uint64_t outputs;    // float[count][width], of experts: to = from + their mean; 0 = none
  uint64_t to;         // float[width]; may be from
  uint64_t normal;     // float[width]: to, with a mean square of one; may be from
  uint32_t width, count;
};
static_assert(sizeof(state_work) == 5 * 8 + 2 * 4, "padding");

/// The values of one lane of a warp; the sum of their squares.
CUBBY_DEVICE float lane_state(const state_work &work, const float *from, const float *embedding,
                              const float *outputs, float *to, uint32_t of_lane) {
  const float share = work.count == 0 ? 0.0f : 1.0f / static_cast<float>(work.count);
  float squares = 0;
  for (uint32_t i = of_lane; i < work.width; i += warp_lanes) {
    float value = from[i];
    if (embedding != nullptr) value = fmaf(value, 0.5f, embedding[i]);
    for (uint32_t n = 0; outputs != nullptr && n < work.count; ++n) {
      value = fmaf(outputs[uint64_t{n} * work.width + i], share, value);
    }
    to[i] = value;
    squares = fmaf(value, value, squares);
  }
  return squares;
}

/// The state that a model's layers hand on, and its normal form for the next: one warp.
template <class Reach>
CUBBY_DEVICE void next_state(const state_work &work, const Reach &reach) {
  const uint64_t bytes = uint64_t{work.width} * 4;
  const auto *from = static_cast<const float *>(reach(work.from, bytes));
  const float *embedding = nullptr, *outputs = nullptr;
  if (work.embedding != 0) embedding = static_cast<const float *>(reach(work.embedding, bytes));
  if (work.outputs != 0) {
    outputs = static_cast<const float *>(reach(work.outputs, bytes * work.count));
  }
  auto *to = static_cast<float *>(reach(work.to, bytes));
  auto *normal = static_cast<float *>(reach(work.normal, bytes));
#if defined(__CUDA_ARCH__)
  float sum = lane_state(work, from, embedding, outputs, to, lane() % warp_lanes);
  for (uint32_t half = warp_lanes / 2; half != 0; half /= 2) {
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, half);
  }
  const uint32_t first = lane() % warp_lanes, step = warp_lanes;
#else
  float sums[warp_lanes];
  for (uint32_t i = 0; i < warp_lanes; ++i) {
    sums[i] = lane_state(work, from, embedding, outputs, to, i);
  }
  for (uint32_t half = warp_lanes / 2; half != 0; half /= 2) {
    for (uint32_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  const float sum = sums[0];
  const uint32_t first = 0, step = 1;
#endif
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(work.width) + 1e-6f);
  for (uint32_t i = first; i < work.width; i += step) normal[i] = to[i] * scale;
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
