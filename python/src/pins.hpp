// Pins: frames used in place; View: one part of one of them as a Python buffer.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <vector>

#include <cubby/cubby.h>

#include "request.hpp"

namespace pycubby {

// A set of pins. Released when Python asks for it and no buffer of a view is in use any more.
struct pin_set {
  std::shared_ptr<request> what;
  cubby_pins handle = 0;
  uint32_t count = 0, part_count = 1;
  std::vector<uint64_t> part_bytes;  // [count * part_count]
  uint32_t exports = 0;
  bool released = false;

  pin_set() = default;
  pin_set(const pin_set &) = delete;
  pin_set &operator=(const pin_set &) = delete;
  ~pin_set() { let_go(); }

  void release() {
    released = true;
    if (exports == 0) let_go();
  }
  void add_export() {
    ++exports;
    ++what->owner->exports;
  }
  void end_export() {
    --what->owner->exports;
    if (--exports == 0 && released) let_go();
  }

 private:
  void let_go() noexcept;
};

// Python's handle of a set; several views share it.
struct pins {
  std::shared_ptr<pin_set> set;
};

// Keys held findable, with their bytes where they are.
struct lease {
  std::shared_ptr<core> owner;
  cubby_pins handle = 0;
  void end();
};

// Pins `items` in `tier`; waits for all of them where `wait` is set.
pins pin(const std::shared_ptr<core> &owner, const std::vector<cubby_item> &items, cubby_tier tier,
         uint32_t part_count, std::vector<uint64_t> part_bytes, const options &with, bool wait);

void bind_pins(nb::module_ &m);

}  // namespace pycubby
