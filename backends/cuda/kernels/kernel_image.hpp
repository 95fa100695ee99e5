// The kernels, compiled: code for several kinds of device, and PTX for those to come. Empty where
// the library was built without a CUDA toolkit, which is an ordinary state.
#pragma once
#include <cstddef>
#include <span>

namespace cubby_cuda {

std::span<const std::byte> kernel_image();

}  // namespace cubby_cuda
