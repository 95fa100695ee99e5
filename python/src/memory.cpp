#include "memory.hpp"

#include <string>

#include "dlpack.hpp"
#include "errors.hpp"

namespace pycubby {

namespace {

constexpr const char *is_a_devices =
    "this memory is a device's: add a tier of that device, make it known by add_region(), and name "
    "spans of the region";

[[noreturn]] void buffer_error(const std::string &text) {
  PyErr_SetString(PyExc_BufferError, text.c_str());
  throw nb::python_error();
}

bool packed(const dlpack::tensor &t) {
  if (t.strides == nullptr) return true;
  int64_t step = 1;
  for (int32_t d = t.ndim - 1; d >= 0; --d) {
    if (t.shape[d] != 1 && t.strides[d] != step) return false;
    step *= t.shape[d];
  }
  return true;
}

uint64_t bytes_of(const dlpack::tensor &t) {
  uint64_t count = 1;
  for (int32_t d = 0; d < t.ndim; ++d) count *= static_cast<uint64_t>(t.shape[d]);
  return count * (uint64_t{t.dtype.bits} * t.dtype.lanes / 8);
}

// The capsule of a tensor: of version 1 where its owner makes them, else of version 0.
nb::object capsule_of(nb::handle from) {
  nb::object make = from.attr("__dlpack__");
  try {
    return make(nb::arg("max_version") = nb::make_tuple(1, 0));
  } catch (const nb::python_error &e) {
    if (!e.matches(PyExc_TypeError)) throw;
  }
  return make();
}

struct seen {
  const dlpack::tensor *tensor;
  bool read_only;
};

seen look_into(nb::handle capsule) {
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    auto *m = static_cast<dlpack::managed_versioned *>(
        PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    if (m->major > 1) buffer_error("this version of DLPack is not known");
    return {&m->tensor, (m->flags & dlpack::flag_read_only) != 0};
  }
  auto *m = static_cast<dlpack::managed *>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (m == nullptr) throw nb::python_error();
  return {&m->tensor, false};
}

uint64_t unsigned_of(nb::handle number) {
  const uint64_t value = PyLong_AsUnsignedLongLong(number.ptr());
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  return value;
}

// Code of the memory's owner may run while a list is read, and change it.
nb::object as_it_is(nb::handle list) {
  nb::object items = nb::steal(PyList_AsTuple(list.ptr()));
  if (!items.is_valid()) throw nb::python_error();
  return items;
}

bool is_address(nb::handle from) {
  return PyTuple_Check(from.ptr()) && PyTuple_Size(from.ptr()) == 2 &&
         PyLong_Check(PyTuple_GetItem(from.ptr(), 0)) &&
         PyLong_Check(PyTuple_GetItem(from.ptr(), 1));
}

}  // namespace

void memory_list::add_address(uint64_t address, uint64_t bytes) {
  if (bytes == 0) buffer_error("memory of no bytes");
  if (address == 0) buffer_error("memory at address 0");
  spans_.push_back({0, 0, address, bytes});
}

bool memory_list::add_buffer(nb::handle from, bool writable) {
  if (!PyObject_CheckBuffer(from.ptr())) return false;
  Py_buffer view;
  if (PyObject_GetBuffer(from.ptr(), &view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) != 0) {
    throw nb::python_error();
  }
  buffers_.push_back(view);
  add_address(reinterpret_cast<uintptr_t>(view.buf), static_cast<uint64_t>(view.len));
  return true;
}

bool memory_list::add_dlpack(nb::handle from, bool writable) {
  if (!nb::hasattr(from, "__dlpack__")) return false;
  nb::object capsule = capsule_of(from);
  const auto [tensor, read_only] = look_into(capsule);
  const int32_t device = tensor->device.type;
  if (device != dlpack::device_cpu && device != dlpack::device_cuda_host &&
      device != dlpack::device_rocm_host) {
    raise_plain(CUBBY_ERR_NOT_SUPPORTED, is_a_devices);
  }
  if (tensor->dtype.bits * tensor->dtype.lanes % 8 != 0) {
    buffer_error("the tensor has elements that are no whole bytes; view it as bytes");
  }
  if (!packed(*tensor)) buffer_error("the tensor is not contiguous; nothing is copied here");
  if (read_only && writable) buffer_error("the tensor is read-only and was to be written");
  held_.push_back(std::move(capsule));
  add_address(reinterpret_cast<uintptr_t>(tensor->data) + tensor->byte_offset, bytes_of(*tensor));
  return true;
}

void memory_list::add_piece(nb::handle from, bool writable) {
  if (is_address(from)) {
    return add_address(unsigned_of(PyTuple_GetItem(from.ptr(), 0)),
                       unsigned_of(PyTuple_GetItem(from.ptr(), 1)));
  }
  if (nb::isinstance<region_span>(from)) {
    const auto &piece = nb::cast<const region_span &>(from);
    held_.push_back(nb::borrow(from));
    if (spans_.empty()) device_ = piece.device;
    spans_.push_back({piece.region, 0, piece.offset_bytes, piece.bytes});
    return;
  }
  if (add_buffer(from, writable) || add_dlpack(from, writable)) return;
  if (nb::hasattr(from, "__cuda_array_interface__")) {
    raise_plain(CUBBY_ERR_NOT_SUPPORTED, is_a_devices);
  }
  throw nb::type_error(
      "memory is an object with the buffer protocol or __dlpack__, an (address, length) pair, a "
      "span of a region, or a list of those");
}

void memory_list::add_item(nb::handle from, bool writable) {
  if (PyList_Check(from.ptr())) {
    const nb::object pieces = as_it_is(from);
    for (Py_ssize_t i = 0; i < PyTuple_Size(pieces.ptr()); ++i) {
      add_piece(PyTuple_GetItem(pieces.ptr(), i), writable);
    }
  } else {
    add_piece(from, writable);
  }
  end_item();
}

void memory_list::add_items(nb::handle from, uint32_t count, bool writable) {
  if (PyList_Check(from.ptr())) {
    const nb::object items = as_it_is(from);
    if (static_cast<size_t>(PyTuple_Size(items.ptr())) != count) {
      throw nb::value_error("memory is a list of another length than keys");
    }
    buffers_.reserve(count);
    spans_.reserve(count);
    first_.reserve(count + 1);
    for (uint32_t i = 0; i < count; ++i) add_item(PyTuple_GetItem(items.ptr(), i), writable);
    return;
  }
  add_piece(from, writable);
  const cubby_span whole = spans_.back();
  if (count == 0 || whole.bytes % count != 0) {
    throw nb::value_error("the memory cannot be cut into as many equal parts as there are keys");
  }
  spans_.clear();
  const uint64_t each = whole.bytes / count;
  for (uint32_t i = 0; i < count; ++i) {
    spans_.push_back({whole.region, 0, whole.offset_bytes + i * each, each});
    end_item();
  }
}

void memory_list::release() {
  for (Py_buffer &view : buffers_) PyBuffer_Release(&view);
  buffers_.clear();
  held_.clear();
}

}  // namespace pycubby
