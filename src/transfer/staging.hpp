// Buffers of host memory through which bytes pass on their way to frames that files cannot reach.
#pragma once

#include <cubby/backend.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "tier/backend_instance.hpp"

namespace cubby::transfer {

class staging_pool {
 public:
  /// The memory is registered with `files` (registered buffers).
  staging_pool(const cubby_backend_services &services, tier::backend_instance *files,
               uint64_t buffer_bytes, uint32_t buffers_max)
      : services_(services), files_(files), buffer_bytes_(buffer_bytes), left_(buffers_max) {}
  staging_pool(const staging_pool &) = delete;
  staging_pool &operator=(const staging_pool &) = delete;
  ~staging_pool();

  /// So many devices can be added without memory. May throw.
  void make_room_for_devices(size_t count) { devices_.reserve(count); }
  /// The memory is registered with this device, too, which copies from it.
  void add_device(tier::backend_instance &device);
  /// All buffers there may be are taken and registered: no later take() does so. False: there is no
  /// memory for them.
  bool fill();
  /// A buffer, page-aligned; nullptr when all are out (or memory is: the first take tells).
  std::byte *take();
  void give(std::byte *buffer) { free_.push_back(buffer); }
  [[nodiscard]] uint64_t buffer_bytes() const { return buffer_bytes_; }
  /// False when not even one buffer could be had.
  [[nodiscard]] bool usable() const { return !blocks_.empty() || left_ != 0; }

 private:
  void grow();

  const cubby_backend_services &services_;
  tier::backend_instance *files_;
  std::vector<tier::backend_instance *> devices_;
  const uint64_t buffer_bytes_;
  uint32_t left_;
  std::vector<std::byte *> free_;
  std::vector<cubby_backend_memory> blocks_;
};

}  // namespace cubby::transfer
