// Keys as Python has them: bytes, lists and tuples of bytes, or a Keys object made once.
#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <cubby/cubby.h>

namespace pycubby {

namespace nb = nanobind;

// Keys made once and used often: over a list of bytes, or over one buffer of keys of one length.
class key_array {
 public:
  explicit key_array(nb::handle bytes_list);
  key_array(nb::handle buffer, uint32_t key_bytes);
  key_array(const key_array &) = delete;
  key_array &operator=(const key_array &) = delete;
  ~key_array();

  const cubby_key *data() const noexcept { return keys_.data(); }
  uint32_t size() const noexcept { return static_cast<uint32_t>(keys_.size()); }

 private:
  std::vector<cubby_key> keys_;
  nb::object list_;
  std::unique_ptr<Py_buffer> buffer_;
};

// The keys of one call. Stands as long as the Python object that it was made from is held and, for
// a list, as long as the interpreter's lock is: hold() makes it independent of that.
class key_view {
 public:
  explicit key_view(nb::handle from);
  key_view(const key_view &) = delete;
  key_view &operator=(const key_view &) = delete;

  const cubby_key *data() const noexcept { return data_; }
  uint32_t size() const noexcept { return size_; }
  // Was one key, not several.
  bool single() const noexcept { return single_; }
  void hold();

 private:
  template <class Item>
  void fill(size_t count, const Item &item);

  std::array<cubby_key, 32> few_;
  std::vector<cubby_key> many_;
  nb::object held_;
  nb::handle from_;
  const cubby_key *data_ = nullptr;
  uint32_t size_ = 0;
  bool single_ = false;
};

// A key, or None: then {null, 0}.
cubby_key key_or_none(nb::handle from);

}  // namespace pycubby
