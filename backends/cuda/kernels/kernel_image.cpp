#include "kernel_image.hpp"

#ifdef CUBBY_KERNEL_IMAGE

// In a section of its own, so that its size can be counted apart from that of the library's own code.
__asm__(
    ".section .cubby_kernels, \"a\", @progbits\n"
    ".balign 64\n"
    "cubby_kernel_image_first:\n"
    ".incbin \"" CUBBY_KERNEL_IMAGE
    "\"\n"
    "cubby_kernel_image_end:\n"
    ".previous\n");
extern "C" {
[[gnu::visibility("hidden")]] extern const std::byte cubby_kernel_image_first[];
[[gnu::visibility("hidden")]] extern const std::byte cubby_kernel_image_end[];
}

namespace cubby_cuda {
std::span<const std::byte> kernel_image() {
  return {cubby_kernel_image_first, cubby_kernel_image_end};
}
}  // namespace cubby_cuda

#else

namespace cubby_cuda {
std::span<const std::byte> kernel_image() { return {}; }
}  // namespace cubby_cuda

#endif
