// The ggml that has loaded this backend. It is found at run time: nothing of ggml is linked, so the
// products are made by the host's own kernels, and the results are its own to the bit.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ggml-backend-impl.h"
#include "ggml-impl.h"
#include "gguf.h"

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

  using gguf_file = std::unique_ptr<gguf_context, decltype(&gguf_free)>;
  /// What a file says of its tensors; NULL when it is no GGUF, or this ggml does not read such.
  gguf_file open_gguf(const std::string &path) const;
  struct stored_tensor {
    ggml_type type = GGML_TYPE_COUNT;
    uint64_t offset_bytes = 0, bytes = 0;  // in the file
  };
  std::optional<stored_tensor> find_in(const gguf_context &file, const std::string &name) const;

 private:
  ggml_backend_dev_t cpu_device() const;

  decltype(&ggml_backend_dev_by_type) device_by_type_ = nullptr;
  decltype(&ggml_backend_buffer_init) buffer_init_ = nullptr;
  struct gguf_calls {
    decltype(&gguf_init_from_file) open = nullptr;
    decltype(&gguf_free) close = nullptr;
    decltype(&gguf_find_tensor) find = nullptr;
    decltype(&gguf_get_tensor_type) type = nullptr;
    decltype(&gguf_get_tensor_size) bytes = nullptr;
    decltype(&gguf_get_tensor_offset) offset_bytes = nullptr;
    decltype(&gguf_get_data_offset) data_offset_bytes = nullptr;
  } gguf_;
  bool reads_gguf_ = false;
};

/// The one of this process.
ggml_host &host();

}  // namespace cubby_ggml
