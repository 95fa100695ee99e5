// The ggml that has loaded this backend. It is found at run time: nothing of ggml is linked, so the
// products are made by the host's own kernels, and the results are its own to the bit.
#pragma once

#include "ggml-backend-impl.h"
#include "ggml-impl.h"

namespace cubby_ggml {

class ggml_host {
 public:
  /// The ggml that `caller` (a return address) belongs to. False, after one line that says why,
  /// when it is not the version whose structs this was compiled for.
  bool find(const void *caller);

  /// A backend of its own on the host's processor device; NULL when there is none.
  ggml_backend_t make_cpu_backend() const;
  /// A function that the host's processor backend lends by name; NULL when it has none.
  void *cpu_function(const char *name) const;

  ggml_backend_buffer_t make_buffer(ggml_backend_buffer_type_t type, ggml_backend_buffer_i calls,
                                    void *context, size_t bytes) const {
    return buffer_init_(type, calls, context, bytes);
  }

 private:
  ggml_backend_dev_t cpu_device() const;

  decltype(&ggml_backend_dev_by_type) device_by_type_ = nullptr;
  decltype(&ggml_backend_buffer_init) buffer_init_ = nullptr;
};

/// The one of this process.
ggml_host &host();

}  // namespace cubby_ggml
