// Memory and streams of a GPU, as Python objects show them: __cuda_array_interface__,
// __dlpack_device__ and cuda_stream. Nothing here needs CUDA.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>

#include <cubby/cubby.h>

namespace pycubby {

namespace nb = nanobind;

struct device_memory {
  uint64_t address = 0, bytes = 0;
  int32_t device = 0;
};
// Of an object with __cuda_array_interface__; nothing of any other. BufferError where its elements
// do not lie one behind the other, or it is read-only.
std::optional<device_memory> device_memory_of(nb::handle from);
// The same as a dict, for memory that is read in place; of packed elements.
nb::dict cuda_array_of(uint64_t address, nb::handle shape, const char *typestr);

// A stream that orders a call: an int, or an object with cuda_stream (torch.cuda.Stream), whose
// device has to be `device`; None = the host's order, and then the result is nothing.
std::optional<cubby_sync> stream_of(nb::handle from, int32_t device);

}  // namespace pycubby
