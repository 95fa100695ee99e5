// The DLPack interchange structures, as its specification lays them out (versions 0 and 1), and
// tensors of them over memory that is lent.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace pycubby::dlpack {

namespace nb = nanobind;

enum : int32_t { device_cpu = 1, device_cuda = 2, device_cuda_host = 3, device_rocm_host = 11 };
enum : uint8_t { type_uint = 1 };
enum : uint64_t { flag_read_only = 1 };

struct device {
  int32_t type, id;
};
struct data_type {
  uint8_t code, bits;
  uint16_t lanes;
};
struct tensor {
  void *data;
  struct device device;
  int32_t ndim;
  data_type dtype;
  int64_t *shape, *strides;  // strides in elements; null = packed, last dimension fastest
  uint64_t byte_offset;
};
struct managed {
  struct tensor tensor;
  void *context;
  void (*deleter)(managed *);
};
struct managed_versioned {
  uint32_t major, minor;
  void *context;
  void (*deleter)(managed_versioned *);
  uint64_t flags;
  struct tensor tensor;
};

// Of a device by its ordinal; -1 = host memory.
inline struct device device_of(int32_t ordinal) {
  if (ordinal < 0) return {device_cpu, 0};
  return {device_cuda, ordinal};
}

// Packed memory that is lent to whoever takes the tensor.
struct lent {
  const void *data = nullptr;
  int32_t ordinal = -1;  // of its device; -1 = host memory
  uint8_t bits = 8;      // of an element, which is an unsigned number
  std::vector<int64_t> shape;
  bool read_only = true;
  std::function<void()> over;  // once, with the interpreter's lock, when its user is done
};

// What a consumer asked of __dlpack__(max_version=…, dl_device=…, copy=…): whether it knows version
// 1. BufferError where it wants a copy, or another device than the memory's.
bool wants_version_1(int32_t ordinal, nb::handle max_version, nb::handle dl_device,
                     nb::handle copy);
// The capsule that __dlpack__() answers.
nb::object capsule_over(lent what, bool version_1);

}  // namespace pycubby::dlpack
