// Memory of the device and its kernels, for parts that launch them.
#pragma once

#include "cuda/kernels/kernel_image.hpp"
#include "cuda/kernels/kernels.hpp"
#include "gpu.hpp"

namespace gpu {

/// Memory of the device, with a twin in host memory that copies pass through.
class device_buffer {
 public:
  explicit device_buffer(uint64_t size)
      : device_((size + 2 * mib - 1) / (2 * mib) * (2 * mib)), host_(size) {}
  [[nodiscard]] uint64_t at() const { return device_.at(); }
  [[nodiscard]] std::vector<uint8_t> &host() { return host_; }
  template <class T>
  [[nodiscard]] T *as() {
    return reinterpret_cast<T *>(host_.data());
  }
  void copy_in(cubby_cuda::stream in) {
    need_driver(counted_driver().copy_in(at(), host_.data(), host_.size(), in), "copy in");
    need_driver(counted_driver().stream_synchronize(in), "cuStreamSynchronize");
  }
  void copy_out(cubby_cuda::stream in) {
    need_driver(counted_driver().copy_out(host_.data(), at(), host_.size(), in), "copy out");
    need_driver(counted_driver().stream_synchronize(in), "cuStreamSynchronize");
  }

 private:
  device_memory device_;
  std::vector<uint8_t> host_;
};

struct loaded_kernels {
  loaded_kernels() : set(counted_driver()) {
    why_not = set.load(cubby_cuda::kernel_image());
    if (!why_not.empty()) return;
    need_driver(counted_driver().stream_create(&own, cubby_cuda::stream_non_blocking, 0),
                "cuStreamCreate");
  }
  loaded_kernels(const loaded_kernels &) = delete;
  loaded_kernels &operator=(const loaded_kernels &) = delete;
  ~loaded_kernels() {
    if (own != nullptr) counted_driver().stream_destroy(own);
  }
  void finish() const {
    need_driver(counted_driver().stream_synchronize(own), "cuStreamSynchronize");
  }

  cubby_cuda::kernels set;
  cubby_cuda::stream own = nullptr;
  std::string why_not;
};

/// Floats of any bits are in memory of any bytes; what is no number is none on both sides.
inline bool same_bits(float a, float b) { return a == b || (a != a && b != b); }
inline float random_float(uint64_t random) {
  return static_cast<float>(random >> 40) * 0x1p-23f - 1.0f;
}

}  // namespace gpu
