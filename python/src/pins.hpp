// Pins and reservations: frames used in place; View: one part of one of them as a Python buffer.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <cubby/cubby.h>

#include "handles.hpp"
#include "request.hpp"

namespace pycubby {

// A set of pins, or of reserved frames. Given up when Python asks for it and no buffer of a view is
// in use any more.
struct pin_set {
  std::shared_ptr<core> owner;
  std::shared_ptr<request> what;
  cubby_pins handle = 0;
  uint32_t count = 0, part_count = 1;
  std::vector<uint64_t> part_bytes;  // [count * part_count]
  uint32_t exports = 0;
  bool released = false;
  bool reserved = false;          // frames to write to, and no pins
  std::vector<uint32_t> writers;  // of reserved ones: [count], buffers in use
  std::vector<bool> over;         // of reserved ones: [count], committed or abandoned
  std::vector<bool> ending;       // of reserved ones: [count], a call is about to do so
  int32_t device = -1;            // whose memory the frames are, where no processor reaches it
  std::optional<cubby_sync> given_up_in;  // the stream that release() named

  pin_set() = default;
  pin_set(const pin_set &) = delete;
  pin_set &operator=(const pin_set &) = delete;
  ~pin_set() { let_go(); }

  // Raises what a stream's refusal is, and then nothing was given up: its kernels may read there.
  void release(std::optional<cubby_sync> in = std::nullopt);
  // At the end of a `with`: a stream that was named before stands, and so do frames it refused.
  void release_at_exit() {
    if (!given_up_in) release();
  }
  void add_export(uint32_t item) {
    ++exports;
    if (reserved) ++writers[item];
    ++what->owner->exports;
  }
  void end_export(uint32_t item) {
    --what->owner->exports;
    if (reserved) --writers[item];
    if (--exports == 0 && released) let_go();
  }

 private:
  // An error is one of the stream, and then the set is held as before.
  cubby_status let_go() noexcept;
};

// Python's handle of a set; several views share it.
struct pins {
  std::shared_ptr<pin_set> set;
};

// Keys held findable, with their bytes where they are. One that is dropped ends, with a
// ResourceWarning.
struct lease {
  std::shared_ptr<core> owner;
  cubby_pins handle = 0;

  lease() = default;
  lease(const lease &) = delete;
  lease &operator=(const lease &) = delete;
  ~lease();
  void end();
};

// Pins `items` in the tier; waits for all of them where `wait` is set.
pins pin(const std::shared_ptr<core> &owner, const std::vector<cubby_item> &items,
         const struct tier &in, uint32_t part_count, std::vector<uint64_t> part_bytes,
         const options &with, bool wait);

// BufferError where the set was released or its runtime closed.
void check_open(const pin_set &set);
// A View of a part; None where there is none.
nb::object view_of(const std::shared_ptr<pin_set> &set, uint32_t item, uint32_t part);
// The address of a part; 0 while it is not there.
uint64_t address_of(const pin_set &set, uint32_t item, uint32_t part);

// Reserves frames for blocks that are written in place.
nb::object reserve(const std::shared_ptr<core> &owner, const std::vector<cubby_item> &items,
                   cubby_tier tier, uint32_t part_count, std::vector<uint64_t> part_bytes,
                   const options &with);

void bind_pins(nb::module_ &m);
void bind_reservations(nb::module_ &m);

}  // namespace pycubby
