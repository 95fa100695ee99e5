// The DLPack interchange structures, as its specification lays them out (versions 0 and 1).
#pragma once

#include <cstdint>

namespace pycubby::dlpack {

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

}  // namespace pycubby::dlpack
