#include "kernels.hpp"

#include <algorithm>

namespace cubby_cuda {
namespace {

constexpr std::array kernel_names = {"cubby_acquire",    "cubby_leave", "cubby_foresee",
                                     "cubby_gemv",       "cubby_gate",  "cubby_next_state",
                                     "cubby_copy_spans", "cubby_digest"};
constexpr unsigned block_threads = 256, block_warps = block_threads / cubby_kernels::warp_lanes;
/// So many blocks copy side by side at most; more spans are taken one after the other.
constexpr unsigned copy_blocks_max = 4096;

unsigned blocks_for(uint32_t warps) { return (warps + block_warps - 1) / block_warps; }

}  // namespace

kernels::~kernels() {
  if (module_ != nullptr) driver_.module_unload(module_);
}

std::string kernels::load(std::span<const std::byte> image) {
  if (image.empty()) {
    return "the library was built without a CUDA toolkit, so it has no kernels; build it where "
           "nvcc is (CUBBY_WITH_CUDA_KERNELS)";
  }
  if (const status came = driver_.module_load(&module_, image.data()); came != success) {
    module_ = nullptr;
    const char *name = nullptr;
    if (driver_.error_name(came, &name) != success || name == nullptr) name = "an unknown error";
    return std::string("the driver does not load the kernels (") + name +
           "); the device may be older than compute capability 8.0, or the driver older than the "
           "toolkit of the build";
  }
  for (size_t i = 0; i < kernel_names.size(); ++i) {
    if (driver_.module_function(&functions_[i], module_, kernel_names[i]) == success) continue;
    driver_.module_unload(module_);
    module_ = nullptr;
    return std::string("the image of kernels has no ") + kernel_names[i] + "; build it again";
  }
  return {};
}

status kernels::launch(which one, const shape &how, const void *work, stream in) const {
  if (module_ == nullptr) return not_supported;
  void *parameters[] = {const_cast<void *>(work)};
  return driver_.launch(functions_[one], how.blocks, how.items, 1, how.threads, 1, 1, 0, in,
                        parameters, nullptr);
}

status kernels::acquire(const cubby_kernels::acquire_work &work, stream in) const {
  return launch(acquire_kernel, {}, &work, in);
}

status kernels::leave(const cubby_kernels::leave_work &work, stream in) const {
  return launch(leave_kernel, {}, &work, in);
}

status kernels::foresee(const cubby_kernels::foresee_work &work, stream in) const {
  return launch(foresee_kernel, {}, &work, in);
}

status kernels::gemv(const cubby_kernels::gemv_work &work, stream in) const {
  const bool whole = work.columns % cubby_kernels::block_weights == 0;
  if (cubby_kernels::block_bytes(work.type) == 0 || !whole || work.part >= work.slots.part_count) {
    return invalid_value;
  }
  if (work.rows == 0 || work.count == 0) return success;
  return launch(gemv_kernel, {blocks_for(work.rows), work.count, block_threads}, &work, in);
}

status kernels::gate(const cubby_kernels::gate_work &work, stream in) const {
  if (work.count == 0) return success;
  const unsigned blocks = (work.count + block_threads - 1) / block_threads;
  return launch(gate_kernel, {blocks, 1, block_threads}, &work, in);
}

status kernels::next_state(const cubby_kernels::state_work &work, stream in) const {
  if (work.width == 0) return success;
  return launch(state_kernel, {}, &work, in);
}

status kernels::copy_spans(const cubby_kernels::copy_work &work, stream in) const {
  if (work.count == 0) return success;
  return launch(copy_kernel, {std::min(work.count, copy_blocks_max), 1, block_threads}, &work, in);
}

status kernels::digest(const cubby_kernels::digest_work &work, stream in) const {
  if (work.count == 0) return success;
  return launch(digest_kernel, {blocks_for(work.count), 1, block_threads}, &work, in);
}

}  // namespace cubby_cuda
