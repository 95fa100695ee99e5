// Memory of the device and its kernels, for parts that launch them.
#pragma once

#include "cuda/kernels/kernel_image.hpp"
#include "cuda/kernels/kernels.hpp"
#include "gpu.hpp"

namespace gpu {

/// Memory of the device, with a twin in host memory that copies pass through.
class device_buffer {
 public:
  explicit device_buffer(uint64_t size) : host_(size) {
    const cubby_cuda::driver_table &driver = counted_driver();
    cubby_cuda::allocation_properties of;
    of.type = cubby_cuda::allocation_pinned;
    of.location = {cubby_cuda::location_device, 0};
    cubby_cuda::access_description may;
    may.location = of.location;
    may.flags = cubby_cuda::access_read_write;
    bytes_ = (size + 2 * mib - 1) / (2 * mib) * (2 * mib);
    cubby_cuda::memory_handle handle = 0;
    need_driver(driver.memory_create(&handle, bytes_, &of, 0), "cuMemCreate");
    need_driver(driver.address_reserve(&at_, bytes_, 0, 0, 0), "cuMemAddressReserve");
    need_driver(driver.memory_map(at_, bytes_, 0, handle, 0), "cuMemMap");
    need_driver(driver.memory_release(handle), "cuMemRelease");
    need_driver(driver.memory_set_access(at_, bytes_, &may, 1), "cuMemSetAccess");
  }
  device_buffer(const device_buffer &) = delete;
  device_buffer &operator=(const device_buffer &) = delete;
  ~device_buffer() {
    counted_driver().memory_unmap(at_, bytes_);
    counted_driver().address_free(at_, bytes_);
  }
  [[nodiscard]] uint64_t at() const { return at_; }
  [[nodiscard]] std::vector<uint8_t> &host() { return host_; }
  template <class T>
  [[nodiscard]] T *as() {
    return reinterpret_cast<T *>(host_.data());
  }
  void copy_in(cubby_cuda::stream in) {
    need_driver(counted_driver().copy_in(at_, host_.data(), host_.size(), in), "copy in");
    need_driver(counted_driver().stream_synchronize(in), "cuStreamSynchronize");
  }
  void copy_out(cubby_cuda::stream in) {
    need_driver(counted_driver().copy_out(host_.data(), at_, host_.size(), in), "copy out");
    need_driver(counted_driver().stream_synchronize(in), "cuStreamSynchronize");
  }

 private:
  cubby_cuda::device_pointer at_ = 0;
  uint64_t bytes_ = 0;
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
