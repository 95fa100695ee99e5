// The types of the CUDA driver's interface that this backend uses, declared here so that it builds
// where no toolkit is installed. Layouts and values are those of cuda.h, which are an ABI; where a
// toolkit is there, a test holds them against its header.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cubby_cuda {

using status = int;  // CUresult
using device_id = int;
using device_pointer = unsigned long long;
using memory_handle = unsigned long long;
using context = struct context_object *;
using stream = struct stream_object *;
using event = struct event_object *;
using module_handle = struct module_object *;
using function_handle = struct function_object *;

/// CUresult, as far as its values are distinguished here.
enum : status {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  deinitialized = 4,
  stub_library = 34,
  device_unavailable = 46,
  no_device = 100,
  invalid_device = 101,
  invalid_context = 201,
  ecc_uncorrectable = 214,
  nvlink_uncorrectable = 220,
  contained = 226,
  invalid_handle = 400,
  not_ready = 600,
  illegal_address = 700,
  launch_timeout = 702,
  context_is_destroyed = 709,
  device_assert = 710,
  host_memory_already_registered = 712,
  host_memory_not_registered = 713,
  hardware_stack_error = 714,
  illegal_instruction = 715,
  misaligned_address = 716,
  invalid_address_space = 717,
  invalid_pc = 718,
  launch_failed = 719,
  not_permitted = 800,
  not_supported = 801,
  system_not_ready = 802,
  system_driver_mismatch = 803,
  capture_unsupported = 900,
  capture_isolation = 905,
  capture_implicit = 906,
  captured_event = 907,
  unknown = 999,
};

// CUdevice_attribute, CUpointer_attribute, and the flags that go with the calls.
inline constexpr int attribute_async_engine_count = 40;
inline constexpr int attribute_virtual_memory = 102;
inline constexpr int pointer_attribute_memory_type = 2;
inline constexpr int pointer_attribute_device_ordinal = 9;
inline constexpr unsigned memory_type_device = 2;
inline constexpr unsigned stream_non_blocking = 1;
inline constexpr unsigned event_disable_timing = 2;
inline constexpr unsigned host_register_portable = 1;
inline constexpr unsigned host_register_mapped = 2;
inline constexpr int location_device = 1;
inline constexpr int allocation_pinned = 1;
inline constexpr int granularity_recommended = 1;
inline constexpr int access_read = 1;
inline constexpr int access_read_write = 3;
inline constexpr int source_access_in_stream_order = 1;
inline constexpr int capture_mode_relaxed = 2;
inline constexpr int capture_none = 0;

/// CU_STREAM_LEGACY: the default stream by a handle that is not 0.
/// A handle that names another stream in each thread.
inline constexpr uint64_t per_thread_stream = 2;
inline stream legacy_stream() { return reinterpret_cast<stream>(uintptr_t{1}); }

struct memory_location {  // CUmemLocation
  int type = 0;
  int id = 0;
};
struct allocation_properties {  // CUmemAllocationProp
  int type = 0;
  int requested_handle_types = 0;
  memory_location location;
  void *win32_metadata = nullptr;
  struct {
    unsigned char compression_type;
    unsigned char gpu_direct_rdma_capable;
    unsigned short usage;
    unsigned char reserved[4];
  } flags{};
};
struct copy_attributes {  // CUmemcpyAttributes
  int source_access_order = 0;
  memory_location source_hint, target_hint;
  unsigned flags = 0;
};
struct access_description {  // CUmemAccessDesc
  memory_location location;
  int flags = 0;
};

}  // namespace cubby_cuda
