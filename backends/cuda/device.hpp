// One GPU: its primary context, which it shares with the program's own use of CUDA, memory through
// the driver's virtual memory calls, and host memory registered for DMA.
#pragma once
#include <cubby/backend.h>

#include <atomic>
#include <string>
#include <vector>

#include "driver.hpp"

namespace cubby_cuda {

/// A process that has seen one of these gets nothing but errors from the device from then on.
bool is_lost(status came);

/// While it lives the device's context is the thread's, and the calls are legal also while another
/// thread captures a graph.
class in_context {
 public:
  in_context(const driver_table &driver, context one);
  in_context(const in_context &) = delete;
  in_context &operator=(const in_context &) = delete;
  ~in_context();

 private:
  const driver_table &driver_;
  int mode_ = capture_mode_relaxed;
  bool pushed_ = false, exchanged_ = false;
};

class device {
 public:
  device(const driver_table &driver, const cubby_backend_services &services)
      : driver_(driver), services_(services) {}
  device(const device &) = delete;
  device &operator=(const device &) = delete;
  ~device();

  /// 0 or a negative errno; what stands in the way is logged.
  int32_t open(int32_t ordinal);
  [[nodiscard]] const driver_table &driver() const { return driver_; }
  [[nodiscard]] in_context enter() const { return {driver_, context_}; }
  [[nodiscard]] int32_t ordinal() const { return ordinal_; }
  /// "NVIDIA H100 at 0000:3b:00.0, driver for CUDA 13.0, 3 copy engines"
  [[nodiscard]] const std::string &description() const { return description_; }

  /// Zeroed, in whole granules of 2 MiB. -ENOMEM where the card has less to give.
  int32_t reserve(uint64_t bytes, stream fill_on, cubby_backend_memory *out);
  void release(const cubby_backend_memory &memory);
  /// Is all of it memory of this device? 0 or -EINVAL.
  int32_t check(const void *base, uint64_t bytes) const;

  /// Can copies read what the other device has in frames of this backend?
  [[nodiscard]] bool reads_from(int32_t other) const;
  /// Many copies by one call, where the driver has that.
  [[nodiscard]] bool has_batches() const {
    return driver_.copy_batch != nullptr || driver_.copy_batch_indexed != nullptr;
  }
  status copy_batch(device_pointer *to, device_pointer *from, size_t *bytes, size_t count,
                    stream in) const;

  int32_t register_host(void *base, uint64_t bytes);
  void unregister_host(void *base);
  /// Where kernels find memory that was registered: not every device has it at the host's address.
  int32_t address_of(const void *host, uint64_t *address);
  [[nodiscard]] bool has_registered() const { return !registered_.empty(); }

  /// Any thread. The errno (positive) of what a call answered; a lost device is noted and logged.
  int32_t errno_of(status came, const char *call);
  [[nodiscard]] bool lost() const { return lost_.load(std::memory_order_acquire); }
  void log(uint32_t level, const std::string &text) const;

 private:
  int32_t refuse(int32_t error, const std::string &why) const;
  [[nodiscard]] std::string name_of(status came) const;
  void describe();
  int32_t map(device_pointer at, uint64_t bytes, memory_handle handle);
  bool close_to_peers();

  const driver_table &driver_;
  const cubby_backend_services &services_;
  device_id id_ = 0;
  int32_t ordinal_ = 0;
  context context_ = nullptr;
  bool retained_ = false;
  uint64_t granule_bytes_ = 0;
  std::string description_;
  std::vector<void *> registered_;
  bool registration_failed_ = false;  // said
  bool shared_ = false;               // other devices read memory of it
  bool closed_ = false;               // they cannot, and are not asked to
  std::atomic<bool> lost_{false};
};

}  // namespace cubby_cuda
