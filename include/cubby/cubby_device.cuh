// Lockers found by kernels: what a slot table (cubby_slots_add of cubby.h) looks like in a device's
// memory, and the functions that look a router's choice up there. Plain CUDA C++ of any toolkit
// since 11, and plain C++17 for a processor, where a "block of threads" is one thread: so the same
// lines run, and are tested, without a GPU.
//
// A kernel, in its simplest form (one block; the words it finds are for the kernels behind it):
//
//   __global__ void look_up(cubby_slots slots, uint32_t row, const int32_t *chosen, uint32_t count,
//                           uint64_t *words, int32_t *outcome) {
//     const int got = cubby_device::acquire(slots, row, chosen, count, words, 1u << 22);
//     if (threadIdx.x == 0) *outcome = got;
//   }
//   ... kernels that compute, on cubby_device::address(slots, row, part, words[i]) ...
//   __global__ void let_go(cubby_slots slots) { cubby_device::leave(slots); }
//
// Nothing here is a call of the host, so all of it may be captured in a graph and launched again.
//
// How frames stay while they are used. acquire() says "my work number n has begun" before it looks,
// and leave() says "everything up to number n is over"; both are counters in host memory. The
// runtime takes a locker that is to leave out of the table, sees that the device has that, looks
// which work had begun by then, and uses the frame again when all of that is over. So work that
// finds an address may use it until leave(), and who waits for a locker holds nothing meanwhile.
// Work of one table is in one order: one stream, or streams that wait for each other.
//
// While a kernel waits nothing may wait for the device. CUDA loads a kernel at its first launch,
// and may synchronise for that: set CUDA_MODULE_LOADING=EAGER, or launch every kernel once before.
// docs/threading.md lists what else to leave alone meanwhile.
//
// A file that also calls the runtime includes cubby.h, or cubby.hpp, before this header.
#pragma once
#include <stdint.h>
#if !defined(__CUDACC__)
#include <thread>
#endif

#if !defined(CUBBY_CUBBY_H)  // the handle's name is a namespace in C++
#define cubby cubby_handle
#include <cubby/cubby.h>
#undef cubby
#endif

#if defined(__CUDACC__)
#define CUBBY_DEVICE __host__ __device__ inline
#else
#define CUBBY_DEVICE inline
#endif

namespace cubby_device {

// ---- what lies where ----------------------------------------------------------------------------

// An entry of cubby_slots.entries, eight bytes that change together:
//   bits  0–26  generation: another one each time the locker comes or is refused
//   bit  27     refused: it is not there, and could not be brought
//   bits 28–63  its frame's number + 1; 0 = it is not there
constexpr uint64_t generation_mask = (uint64_t{1} << 27) - 1;
constexpr uint64_t refused_bit = uint64_t{1} << 27;
constexpr uint32_t frame_shift = 28;
constexpr uint64_t frame_max = (uint64_t{1} << 36) - 2;

CUBBY_DEVICE constexpr uint64_t word_of(uint64_t frame, uint64_t generation) {
  return (frame + 1) << frame_shift | (generation & generation_mask);
}
CUBBY_DEVICE constexpr uint64_t absent_word(uint64_t generation, bool refused) {
  return (generation & generation_mask) | (refused ? refused_bit : 0);
}
CUBBY_DEVICE constexpr bool is_there(uint64_t word) { return word >> frame_shift != 0; }
CUBBY_DEVICE constexpr bool is_refused(uint64_t word) { return (word & refused_bit) != 0; }
CUBBY_DEVICE constexpr uint64_t frame_of(uint64_t word) { return (word >> frame_shift) - 1; }

/// At cubby_slots.state.
struct device_state {
  uint64_t work_number;   // of the work begun last
  uint64_t listed_count;  // of all that was listed as missing, since the table was made
};
static_assert(sizeof(device_state) == 16, "padding");

/// At cubby_slots.shared; the list of misses follows, uint64_t[miss_count_max]. What was listed as
/// number n (from 1 on) is in place (n - 1) % miss_count_max, as (n mod 2^32) << 32 | locker.
struct shared_state {
  uint64_t begun;  // number of the work begun last
  uint64_t over;   // and of the work that is over, with all before it
  uint64_t reserved[6];
};
static_assert(sizeof(shared_state) == 64, "padding");
static_assert(sizeof(cubby_slots) == 6 * 4 + 5 * 8 + 2 * 16 * 8, "padding");

// ---- a block of threads, and memory that others see
// -----------------------------------------------

CUBBY_DEVICE uint32_t lane() {
#if defined(__CUDA_ARCH__)
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
#else
  return 0;
#endif
}
CUBBY_DEVICE uint32_t lane_count() {
#if defined(__CUDA_ARCH__)
  return blockDim.x * blockDim.y * blockDim.z;
#else
  return 1;
#endif
}
/// Is it so for any thread of the block? All of them call it.
CUBBY_DEVICE bool any_of_block(bool mine) {
#if defined(__CUDA_ARCH__)
  return __syncthreads_or(mine) != 0;
#else
  return mine;
#endif
}
/// What was written before is seen, by the host too, before what is written or read after it.
CUBBY_DEVICE void fence() {
#if defined(__CUDA_ARCH__)
  __threadfence_system();
#elif defined(__SANITIZE_THREAD__)  // which sees no fences
  uint32_t any = 0;
  __atomic_exchange_n(&any, 1u, __ATOMIC_SEQ_CST);
#else
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}
CUBBY_DEVICE uint64_t load(uint64_t at) {
#if defined(__CUDA_ARCH__)
  return *reinterpret_cast<const volatile uint64_t *>(at);
#else
  return __atomic_load_n(reinterpret_cast<const uint64_t *>(at), __ATOMIC_ACQUIRE);
#endif
}
CUBBY_DEVICE void store(uint64_t at, uint64_t value) {
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<volatile uint64_t *>(at) = value;
#else
  __atomic_store_n(reinterpret_cast<uint64_t *>(at), value, __ATOMIC_RELEASE);
#endif
}
/// The value that was there.
CUBBY_DEVICE uint64_t exchange(uint64_t at, uint64_t value) {
#if defined(__CUDA_ARCH__)
  return atomicExch(reinterpret_cast<unsigned long long *>(at), value);
#else
  return __atomic_exchange_n(reinterpret_cast<uint64_t *>(at), value, __ATOMIC_ACQ_REL);
#endif
}
/// One more; the new value.
CUBBY_DEVICE uint64_t count_up(uint64_t at) {
#if defined(__CUDA_ARCH__)
  return atomicAdd(reinterpret_cast<unsigned long long *>(at), 1ull) + 1;
#else
  return __atomic_add_fetch(reinterpret_cast<uint64_t *>(at), 1, __ATOMIC_ACQ_REL);
#endif
}
CUBBY_DEVICE void pause() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 700
  __nanosleep(200);
#elif !defined(__CUDACC__)
  std::this_thread::yield();  // who is waited for may need this processor
#endif
}

// ---- looking up
// -----------------------------------------------------------------------------------

/// The entry of a locker, as it is now.
CUBBY_DEVICE uint64_t find(const cubby_slots &slots, uint64_t number) {
  return load(slots.entries + number * sizeof(uint64_t));
}
/// Is the locker still what it was when `word` was found? Between acquire() and leave() its bytes
/// are there either way; after leave() this says whether a word that was put by may be used again,
/// in work that has begun anew.
CUBBY_DEVICE bool is_same(const cubby_slots &slots, uint64_t number, uint64_t word) {
  return find(slots, number) == word;
}
/// Where a part begins of the locker of `row` that was found as `word`; 0 = the row lacks it, or
/// the word says that the locker is not there.
CUBBY_DEVICE uint64_t address(const cubby_slots &slots, uint32_t row, uint32_t part,
                              uint64_t word) {
  if (!is_there(word)) return 0;
  const uint64_t at = uint64_t{row} * slots.part_count + part;
  const uint64_t offset = load(slots.part_offsets + at * sizeof(uint64_t));
  if (offset == ~uint64_t{0}) return 0;
  return slots.base[part] + frame_of(word) * slots.stride_bytes[part] + offset;
}

/// Work of the table begins. One block at a time; all its threads call it.
CUBBY_DEVICE void enter(const cubby_slots &slots) {
  any_of_block(false);
  if (lane() == 0) {
    const uint64_t number = load(slots.state) + 1;
    store(slots.state, number);
    store(slots.shared, number);
    fence();  // the runtime sees it before an entry is looked at here
  }
  any_of_block(false);
}
/// The work that has begun is over. In stream order behind the kernels that use what was found, or
/// at the end of the one that does, once all blocks of it are done.
CUBBY_DEVICE void leave(const cubby_slots &slots) {
  any_of_block(false);
  fence();
  if (lane() == 0) store(slots.shared + sizeof(uint64_t), load(slots.state));
}

/// A locker that was found as `word` is not there: the runtime is to bring it. It is listed once
/// for each time that it is missing, so the list has room for all.
CUBBY_DEVICE void ask(const cubby_slots &slots, uint64_t number, uint64_t word) {
  if (exchange(slots.asked + number * sizeof(uint64_t), word + 1) == word + 1) return;
  const uint64_t n = count_up(slots.state + sizeof(uint64_t));
  const uint64_t place = (n - 1) & (slots.miss_count_max - 1);
  fence();
  store(slots.shared + sizeof(shared_state) + place * sizeof(uint64_t),
        (n & 0xFFFFFFFF) << 32 | number);
}

/// What later work is going to look up: what of it is not there is asked for, and nothing is waited
/// for or held. The arguments of look(); any number of threads of one block call it.
CUBBY_DEVICE void foresee(const cubby_slots &slots, uint32_t row, const int32_t *chosen,
                          uint32_t count) {
  for (uint32_t i = lane(); i < count; i += lane_count()) {
    if (chosen[i] < 0 || static_cast<uint32_t>(chosen[i]) >= slots.columns) continue;
    const uint64_t number = uint64_t{row} * slots.columns + static_cast<uint32_t>(chosen[i]);
    const uint64_t word = find(slots, number);
    if (!is_there(word)) ask(slots, number, word);
  }
}

enum outcome : int {
  found = 0,    // all are there, and stay until leave()
  missing = 1,  // words[i] of those that are not has no frame; they were asked for; nothing is held
  refused = 2,  // the runtime could not bring one: its word has refused_bit; nothing is held
};

/// One look: words[i] becomes the entry of column chosen[i] of the row; a negative choice is none,
/// its word is 0, and it is not missed. What is not there is asked for. All threads of one block
/// call it, with the same arguments; `words` is memory that all of them see.
CUBBY_DEVICE int look(const cubby_slots &slots, uint32_t row, const int32_t *chosen, uint32_t count,
                      uint64_t *words) {
  enter(slots);
  bool lacks = false;
  for (uint32_t i = lane(); i < count; i += lane_count()) {
    words[i] = 0;
    if (chosen[i] < 0 || static_cast<uint32_t>(chosen[i]) >= slots.columns) continue;
    words[i] = find(slots, uint64_t{row} * slots.columns + static_cast<uint32_t>(chosen[i]));
    if (!is_there(words[i])) lacks = true;
  }
  fence();
  if (!any_of_block(lacks)) return found;
  leave(slots);
  for (uint32_t i = lane(); i < count; i += lane_count()) {
    if (chosen[i] < 0 || static_cast<uint32_t>(chosen[i]) >= slots.columns) continue;
    if (is_there(words[i])) continue;
    ask(slots, uint64_t{row} * slots.columns + static_cast<uint32_t>(chosen[i]), words[i]);
  }
  any_of_block(false);
  return missing;
}

/// As wait(), for looks that are counted from `looks` on.
CUBBY_DEVICE bool wait_on(const cubby_slots &slots, uint32_t row, const int32_t *chosen,
                          uint32_t count, const uint64_t *words, uint32_t looks_max,
                          uint32_t &looks) {
  for (;; ++looks) {
    bool waits = false;
    for (uint32_t i = lane(); i < count; i += lane_count()) {
      if (chosen[i] < 0 || static_cast<uint32_t>(chosen[i]) >= slots.columns) continue;
      const uint64_t number = uint64_t{row} * slots.columns + static_cast<uint32_t>(chosen[i]);
      if (!is_there(words[i]) && is_same(slots, number, words[i])) waits = true;
    }
    if (!any_of_block(waits)) return true;
    if (looks_max != 0 && looks >= looks_max) return false;
    pause();
  }
}
/// Waits, in the device, until nothing of what look() missed is as it was then: found, or refused,
/// of which the caller learns by looking again. False: so many looks were not enough; 0 = for ever.
CUBBY_DEVICE bool wait(const cubby_slots &slots, uint32_t row, const int32_t *chosen,
                       uint32_t count, const uint64_t *words, uint32_t looks_max) {
  uint32_t looks = 1;
  return wait_on(slots, row, chosen, count, words, looks_max, looks);
}

/// So often all that was missed comes, and is not there together, before acquire() gives it up.
constexpr uint32_t rounds_max = 256;

/// Looks until all are there, and waits in between. Holds them where it says `found`; otherwise
/// nothing is held, also nothing that an earlier acquire() of the same work found. `missing`: not
/// within so many looks at memory (0 = no bound), each of which takes about a microsecond; waits
/// and the looks between them count together. Also where the tier has no room for the choice: its
/// lockers have come and gone `rounds_max` times, and were never there together. `refused` also
/// where no frame came free for one within a second: all are pinned, or found by work that is not
/// over.
CUBBY_DEVICE int acquire(const cubby_slots &slots, uint32_t row, const int32_t *chosen,
                         uint32_t count, uint64_t *words, uint32_t looks_max) {
  uint32_t looks = 1;
  for (uint32_t round = 0; round < rounds_max; ++round, ++looks) {
    if (look(slots, row, chosen, count, words) == found) return found;
    if (!wait_on(slots, row, chosen, count, words, looks_max, looks)) return missing;
    bool never = false;
    for (uint32_t i = lane(); i < count; i += lane_count()) {
      if (chosen[i] < 0 || static_cast<uint32_t>(chosen[i]) >= slots.columns) continue;
      if (is_there(words[i])) continue;
      const uint64_t number = uint64_t{row} * slots.columns + static_cast<uint32_t>(chosen[i]);
      const uint64_t now = find(slots, number);
      if (is_refused(now)) words[i] = now, never = true;
    }
    if (any_of_block(never)) return refused;
    if (looks_max != 0 && looks >= looks_max) return missing;
  }
  return missing;
}

}  // namespace cubby_device
