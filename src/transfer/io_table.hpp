// The I/Os under way: which completion belongs to which, and whose each one is. An owner (fills,
// seals) starts I/Os through the table and is called when each has come back; the table knows
// nothing of what they are for.
#pragma once

#include <cubby/backend.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "transfer/channel.hpp"

namespace cubby::transfer {

/// Hears of the end of each I/O that it started.
class io_owner {
 public:
  /// `tag` is the owner's number for the I/O.
  virtual void io_done(uint32_t tag, const cubby_backend_done &done) = 0;

 protected:
  ~io_owner() = default;
};

/// One at a time.
class io_table {
 public:
  struct finished_io {
    io_owner *owner = nullptr;
    uint32_t tag = 0;
  };

  /// One more I/O can be started without memory for the table. May throw.
  void make_room();
  /// Puts the I/O on the channel, which starts it with its next flush() at the latest. The cookie
  /// is set here. May throw for lack of memory; nothing was started then.
  void start(channel &path, cubby_backend_io &io, io_owner &owner, uint32_t tag, uint64_t now_ns);
  /// Ends the I/O of this cookie and counts it in the channel. Nothing when no such I/O is under
  /// way on this channel: a backend may report one twice, or one that never was.
  std::optional<finished_io> finish(channel &path, uint64_t cookie, uint64_t now_ns);

 private:
  struct slot {
    uint32_t flight = 0;  // of the I/O in this slot; 0 = free
    uint32_t tag = 0;
    io_owner *owner = nullptr;
    const channel *path = nullptr;
    uint64_t bytes = 0;
    uint32_t io_class = 0;
  };

  std::vector<slot> slots_;
  std::vector<uint32_t> free_;
  uint32_t last_flight_ = 0;
};

}  // namespace cubby::transfer
