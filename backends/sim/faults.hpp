// The fault model of the simulated world.
//
// What it does, to single I/Os, each at a rate of its own (parts in a million; 0 = never) or by
// force ("the next N I/Os that touch this range"):
//
//   eio_transient    a read, write or flush ends with EIO; asking again may succeed
//   eio_sticky       a range of a file goes bad: every I/O that touches it ends with EIO until
//   heal;
//                    at most sticky_max ranges at once
//   short_read       a read ends early, without an error, at a block that is not the file's end
//   flip_transit     one bit of what a read brings is wrong, this once
//   flip_rest        one bit of a file turns and stays so until heal
//   misdirected      a read brings the bytes of another place of the same file
//   stale_block      one block of a read is what was there before its last overwriting
//   late             an I/O takes late_ns longer
//   stuck            an I/O completes only at heal, or after stuck_ns; at most stuck_max at once
//   open_failure     a file cannot be opened: EIO
//   reserve_failure  memory_reserve answers ENOMEM
//   copy_failure     a copy ends with EIO, its destination half written
//   copy_flip        one bit of what a copy brings is wrong, this once
//   frame_flip       one bit of the frame a copy reads turns, and stays so
//
// A frame at rest can also be flipped by the world's owner at a time of its choice.
//
// And always: completions come out of order, a destination holds noise from submit until its I/O
// completes, sources are read at completion and not before, released memory holds noise.
//
// Silent faults (flip_*, misdirected, stale_block) happen by rate only where silent_allowed() says
// so: nobody can notice a lie in bytes that were never seen before and have no digest. By force
// they happen anywhere.
//
// What it never does: complete an I/O twice or not at all once healed; write outside the memory an
// I/O names; report an error and deliver; lose a completed write; change a file's identity by
// itself (the world's owner does that); more than one data fault in one I/O.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace cubby_sim {

enum class fault : uint32_t {
  eio_transient,
  eio_sticky,
  short_read,
  flip_transit,
  flip_rest,
  misdirected,
  stale_block,
  late,
  stuck,
  open_failure,
  reserve_failure,
  copy_failure,
  copy_flip,
  frame_flip
};
inline constexpr std::size_t fault_count = 14;

const char *fault_name(fault which);

/// Parts in a million, by fault.
using fault_rates = std::array<uint32_t, fault_count>;

inline uint32_t &rate_of(fault_rates &rates, fault which) {
  return rates[static_cast<std::size_t>(which)];
}

/// Rates at which a few thousand I/Os see every fault several times and most I/Os are well.
fault_rates lively_rates();

}  // namespace cubby_sim
