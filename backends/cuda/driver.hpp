// The entry points of the CUDA driver that this backend uses, in one table. The driver is loaded at
// run time: where it is absent, that is an answer like any other. Tests hand in a table of their
// own.
#pragma once
#include <array>
#include <string>

#include "driver_types.hpp"

namespace cubby_cuda {

/// Each is the driver's function of the name in `entries`, whose version in that name fixes its
/// parameters.
struct driver_table {
  status (*init)(unsigned flags);
  status (*driver_version)(int *version);
  status (*error_name)(status code, const char **name);
  status (*device_count)(int *count);
  status (*device_get)(device_id *out, int ordinal);
  status (*device_name)(char *name, int size, device_id device);
  status (*device_attribute)(int *value, int attribute, device_id device);
  status (*device_pci_id)(char *text, int size, device_id device);
  status (*context_retain)(context *out, device_id device);
  status (*context_release)(device_id device);
  status (*context_push)(context one);
  status (*context_pop)(context *one);
  status (*exchange_capture_mode)(int *mode);
  status (*priority_range)(int *least, int *greatest);

  status (*stream_create)(stream *out, unsigned flags, int priority);
  status (*stream_destroy)(stream one);
  status (*stream_synchronize)(stream one);
  status (*stream_wait_event)(stream waits, event what, unsigned flags);
  status (*stream_is_capturing)(stream one, int *capture);
  status (*event_create)(event *out, unsigned flags);
  status (*event_destroy)(event one);
  status (*event_record)(event one, stream in);
  status (*event_query)(event one);

  status (*memory_info)(size_t *free_bytes, size_t *total_bytes);
  status (*granularity)(size_t *bytes, const allocation_properties *of, int which);
  status (*address_reserve)(device_pointer *out, size_t bytes, size_t alignment,
                            device_pointer wanted, unsigned long long flags);
  status (*address_free)(device_pointer at, size_t bytes);
  status (*memory_create)(memory_handle *out, size_t bytes, const allocation_properties *of,
                          unsigned long long flags);
  status (*memory_release)(memory_handle handle);
  status (*memory_map)(device_pointer at, size_t bytes, size_t offset, memory_handle handle,
                       unsigned long long flags);
  status (*memory_unmap)(device_pointer at, size_t bytes);
  status (*memory_set_access)(device_pointer at, size_t bytes, const access_description *may,
                              size_t count);
  status (*pointer_attribute)(void *value, int attribute, device_pointer of);
  status (*fill)(device_pointer to, unsigned char value, size_t bytes, stream in);
  status (*copy_in)(device_pointer to, const void *from, size_t bytes, stream in);
  status (*copy_out)(void *to, device_pointer from, size_t bytes, stream in);
  status (*copy)(device_pointer to, device_pointer from, size_t bytes, stream in);
  status (*host_register)(void *base, size_t bytes, unsigned flags);
  status (*host_unregister)(void *base);
  status (*host_device_pointer)(device_pointer *out, void *host, unsigned flags);
  status (*can_access_peer)(int *can, device_id device, device_id peer);
  status (*module_load)(module_handle *out, const void *image);
  status (*module_unload)(module_handle one);
  status (*module_function)(function_handle *out, module_handle of, const char *name);
  status (*launch)(function_handle what, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z,
                   unsigned threads_x, unsigned threads_y, unsigned threads_z,
                   unsigned shared_bytes, stream in, void **parameters, void **extra);

  // NULL where the driver is older: many copies by one call, as of CUDA 13 and of CUDA 12.8.
  status (*copy_batch)(device_pointer *to, device_pointer *from, size_t *bytes, size_t count,
                       copy_attributes *how, size_t *first_of_each, size_t how_count, stream in);
  status (*copy_batch_indexed)(device_pointer *to, device_pointer *from, size_t *bytes,
                               size_t count, copy_attributes *how, size_t *first_of_each,
                               size_t how_count, size_t *failed, stream in);
};

/// The names in libcuda.so.1, in the order of the table.
inline constexpr std::array entries = {
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceGetPCIBusId",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxPushCurrent_v2",
    "cuCtxPopCurrent_v2",
    "cuThreadExchangeStreamCaptureMode",
    "cuCtxGetStreamPriorityRange",
    "cuStreamCreateWithPriority",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuStreamIsCapturing",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventQuery",
    "cuMemGetInfo_v2",
    "cuMemGetAllocationGranularity",
    "cuMemAddressReserve",
    "cuMemAddressFree",
    "cuMemCreate",
    "cuMemRelease",
    "cuMemMap",
    "cuMemUnmap",
    "cuMemSetAccess",
    "cuPointerGetAttribute",
    "cuMemsetD8Async",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyAsync",
    "cuMemHostRegister_v2",
    "cuMemHostUnregister",
    "cuMemHostGetDevicePointer_v2",
    "cuDeviceCanAccessPeer",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuLaunchKernel",
};
/// Behind these, what a driver may lack.
inline constexpr std::array optional_entries = {
    "cuMemcpyBatchAsync_v2",
    "cuMemcpyBatchAsync",
};
static_assert(sizeof(driver_table) == (entries.size() + optional_entries.size()) * sizeof(void *));

struct loaded_driver {
  driver_table table{};
  std::string why_not;  // empty: it is loaded, and initialised
};

/// Is a graph being captured from the stream, or would a call on it break a capture elsewhere?
bool is_captured(const driver_table &driver, stream one);

/// Loads a driver's library, whole or not at all.
loaded_driver load_driver(const char *library);

/// The machine's driver, loaded by the first call and never unloaded: nothing could do that safely.
const loaded_driver &machine_driver();

}  // namespace cubby_cuda
