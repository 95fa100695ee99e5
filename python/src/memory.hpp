// Memory that Python objects lend: buffers, DLPack tensors, (address, length) pairs, pieces of
// regions. Never a copy: what cannot be used in place is an exception.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <vector>

#include <cubby/cubby.h>

namespace pycubby {

namespace nb = nanobind;

// A piece of a region, as Region.span() makes it.
struct region_span {
  cubby_region region = 0;
  uint64_t offset_bytes = 0, bytes = 0;
  int32_t device = -1;  // of the region; -1 = the host's
};

// Spans of one or several items, and what holds their memory.
class memory_list {
 public:
  memory_list() = default;
  memory_list(const memory_list &) = delete;
  memory_list &operator=(const memory_list &) = delete;
  ~memory_list() { release(); }

  // Adds one item's memory: one object, or a list of several (scatter and gather).
  void add_item(nb::handle from, bool writable);
  // Adds `count` items' memory: a list of as many, or one object cut into equal parts.
  void add_items(nb::handle from, uint32_t count, bool writable);
  // Memory whose place the caller knows is not given up before release().
  void hold(nb::handle what) { held_.push_back(nb::borrow(what)); }
  // Gives the memory back to its owners. The spans stay.
  void release();

  // For item i. Stand until the list is changed.
  const cubby_span *spans(uint32_t item) const { return spans_.data() + first_[item]; }
  // Whose memory the first piece is; -1 = the host's.
  int32_t device() const { return device_; }
  uint32_t span_count(uint32_t item) const { return first_[item + 1] - first_[item]; }

 private:
  void add_piece(nb::handle from, bool writable);
  bool add_buffer(nb::handle from, bool writable);
  bool add_dlpack(nb::handle from, bool writable);
  void add_address(uint64_t address, uint64_t bytes);
  void end_item() { first_.push_back(static_cast<uint32_t>(spans_.size())); }

  std::vector<cubby_span> spans_;
  std::vector<uint32_t> first_{0};
  std::vector<Py_buffer> buffers_;
  std::vector<nb::object> held_;
  int32_t device_ = -1;
};

}  // namespace pycubby
