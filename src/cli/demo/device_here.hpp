// The device that a decode loop runs on: a stream of its own, the kernels, memory; and how often a
// host thread has waited for it.
#pragma once

#include <cubby/cubby.hpp>

#include <cuda/device.hpp>
#include <cuda/kernels/kernels.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/demo/device_choice.hpp"

namespace cubby_cli::demo {

/// One at a time. What fails is noted, and what follows does nothing: failure() says it.
class device_here {
 public:
  explicit device_here(const device_choice &chosen);
  device_here(const device_here &) = delete;
  device_here &operator=(const device_here &) = delete;
  ~device_here();

  done open();
  /// While it lives the device is the thread's: for calls of the driver, and what follows below.
  [[nodiscard]] cubby_cuda::in_context enter() const { return gpu_.enter(); }
  /// With the waits of host threads counted; also for a runtime.
  [[nodiscard]] const cubby_cuda::driver_table &driver() const { return driver_; }
  [[nodiscard]] static uint64_t host_waits();
  [[nodiscard]] const cubby_cuda::kernels &kernels() const { return *kernels_; }
  [[nodiscard]] cubby_cuda::stream stream() const { return stream_; }
  [[nodiscard]] const std::string &description() const { return gpu_.description(); }
  [[nodiscard]] uint32_t looks_max() const { return chosen_.looks_max; }
  [[nodiscard]] int32_t ordinal() const { return chosen_.ordinal; }

  /// Zeroed memory, for as long as this stands; 0 where there is none.
  uint64_t take(uint64_t bytes);
  /// Host memory that copies reach by themselves, and not through the driver's buffers.
  void register_host(std::span<std::byte> memory);
  void unregister_host(std::span<std::byte> memory);
  /// In the stream's order.
  void copy_in(uint64_t to, const void *from, uint64_t bytes);
  /// Waits for the stream.
  void copy_out(void *to, uint64_t from, uint64_t bytes);
  void finish();
  /// Puts what is behind all work so far into an event, which stands as long as this.
  cubby_cuda::event mark();
  void mark_again(cubby_cuda::event event);
  /// Looks, and waits for nothing; true also once something has failed.
  bool passed(cubby_cuda::event event);

  bool good(cubby_cuda::status came, const char *what);
  [[nodiscard]] const std::string &failure() const { return failure_; }
  [[nodiscard]] done so_far() const;

 private:
  const device_choice chosen_;
  cubby_cuda::driver_table driver_;
  std::string last_line_;  // of the device's log
  cubby_backend_services services_{};
  cubby_cuda::device gpu_;
  std::optional<cubby_cuda::kernels> kernels_;
  cubby_cuda::stream stream_ = nullptr;
  std::vector<cubby_backend_memory> taken_;
  std::vector<cubby_cuda::event> events_;
  std::string failure_;
};

}  // namespace cubby_cli::demo
