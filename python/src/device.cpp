#include "device.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace pycubby {

namespace {

[[noreturn]] void not_this_memory(const char *why) {
  PyErr_SetString(PyExc_BufferError, why);
  throw nb::python_error();
}

uint64_t number_in(nb::handle from) {
  const uint64_t value = PyLong_AsUnsignedLongLong(from.ptr());
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  return value;
}

// "<f2": order, kind, bytes of one element.
uint64_t element_bytes(nb::handle typestr) {
  const auto text = nb::cast<std::string>(nb::str(typestr));
  const uint64_t bytes = text.size() < 3 ? 0 : std::strtoull(text.c_str() + 2, nullptr, 10);
  if (bytes == 0) not_this_memory("the elements of this device memory have no size");
  return bytes;
}

uint64_t checked_product(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) not_this_memory("more memory than there can be");
  return product;
}

// The device that an object says it is on: by DLPack, or as torch and CuPy name it.
int32_t ordinal_of(nb::handle from) {
  if (nb::hasattr(from, "__dlpack_device__")) {
    const nb::object pair = from.attr("__dlpack_device__")();
    return nb::cast<int32_t>(pair[1]);
  }
  if (!nb::hasattr(from, "device")) return 0;
  const nb::object device = from.attr("device");
  for (const char *name : {"index", "id"}) {
    if (!nb::hasattr(device, name)) continue;
    const nb::object ordinal = device.attr(name);
    if (PyLong_Check(ordinal.ptr())) return nb::cast<int32_t>(ordinal);
  }
  return 0;
}

}  // namespace

std::optional<device_memory> device_memory_of(nb::handle from) {
  if (!nb::hasattr(from, "__cuda_array_interface__")) return std::nullopt;
  const nb::object shown = from.attr("__cuda_array_interface__");
  const nb::object data = shown["data"];
  if (PyObject_IsTrue(nb::object(data[1]).ptr()) == 1) {
    not_this_memory("this device memory is read-only");
  }
  const nb::object shape = shown["shape"];
  const uint64_t each = element_bytes(shown["typestr"]);
  uint64_t bytes = each;
  for (nb::handle size : shape) bytes = checked_product(bytes, number_in(size));
  // Strides are in bytes, and absent where the elements lie in a row.
  const nb::object strides = shown.attr("get")("strides");
  if (!strides.is_none()) {
    uint64_t step = each;
    for (size_t d = nb::len(shape); d-- > 0;) {
      const uint64_t size = number_in(nb::object(shape[d]));
      const bool fits =
          PyLong_AsLongLong(nb::object(strides[d]).ptr()) == static_cast<int64_t>(step);
      if (size != 1 && !fits) {
        not_this_memory("this device memory is not contiguous; nothing is copied here");
      }
      step = checked_product(step, size);
    }
  }
  device_memory found{number_in(nb::object(data[0])), bytes, ordinal_of(from)};
  if (found.bytes == 0) not_this_memory("device memory of no bytes");
  if (found.address == 0) not_this_memory("device memory at address 0");
  return found;
}

nb::dict cuda_array_of(uint64_t address, nb::handle shape, const char *typestr) {
  nb::dict shown;
  shown["shape"] = shape;
  shown["typestr"] = typestr;
  shown["data"] = nb::make_tuple(address, true);
  shown["strides"] = nb::none();
  shown["version"] = 3;
  return shown;
}

std::optional<cubby_sync> stream_of(nb::handle from, int32_t device) {
  if (from.is_none()) return std::nullopt;
  cubby_sync sync{};
  sync.struct_size = sizeof sync;
  sync.device = std::max(device, 0);
  if (PyLong_Check(from.ptr()) && !PyBool_Check(from.ptr())) {
    sync.stream = number_in(from);
    return sync;
  }
  if (!nb::hasattr(from, "cuda_stream")) {
    throw nb::type_error("stream is an int, or has cuda_stream as torch.cuda.Stream has");
  }
  sync.stream = number_in(from.attr("cuda_stream"));
  if (nb::hasattr(from, "device") || nb::hasattr(from, "__dlpack_device__")) {
    sync.device = ordinal_of(from);
  }
  return sync;
}

}  // namespace pycubby
