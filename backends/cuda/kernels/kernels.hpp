// The reference kernels, loaded by a driver and launched in a stream. What each does, and what it
// is given, is in work.cuh. Launching makes nobody wait, and may be captured in a graph.
#pragma once
#include <array>
#include <span>
#include <string>

#include "../driver.hpp"
#include "work.cuh"

namespace cubby_cuda {

class kernels {
 public:
  explicit kernels(const driver_table &driver) : driver_(driver) {}
  kernels(const kernels &) = delete;
  kernels &operator=(const kernels &) = delete;
  /// The context of load() is current.
  ~kernels();

  /// In the context that is current. Empty, or why there are none.
  std::string load(std::span<const std::byte> image);
  [[nodiscard]] bool loaded() const { return module_ != nullptr; }

  /// invalid_value also for work that cannot be: types that are not known, columns in no blocks.
  status acquire(const cubby_kernels::acquire_work &work, stream in) const;
  status leave(const cubby_kernels::leave_work &work, stream in) const;
  status foresee(const cubby_kernels::foresee_work &work, stream in) const;
  status gemv(const cubby_kernels::gemv_work &work, stream in) const;
  status gate(const cubby_kernels::gate_work &work, stream in) const;
  status next_state(const cubby_kernels::state_work &work, stream in) const;
  status copy_spans(const cubby_kernels::copy_work &work, stream in) const;
  status digest(const cubby_kernels::digest_work &work, stream in) const;

 private:
  enum which : size_t {
    acquire_kernel,
    leave_kernel,
    foresee_kernel,
    gemv_kernel,
    gate_kernel,
    state_kernel,
    copy_kernel,
    digest_kernel
  };
  struct shape {
    unsigned blocks = 1, items = 1, threads = 32;
  };
  status launch(which one, const shape &how, const void *work, stream in) const;

  const driver_table &driver_;
  module_handle module_ = nullptr;
  std::array<function_handle, 8> functions_{};
};

}  // namespace cubby_cuda
