// The backend's own declarations of the driver's interface against those of the toolkit.
#include "cuda/driver_types.hpp"

#include <cuda.h>

#include <type_traits>

#include "cuda/driver.hpp"
#include "support/catch.hpp"

using namespace cubby_cuda;

namespace {

// Parameters that are enumerations there are of their underlying type here, handles pointers or
// numbers of one size.
template <class T>
constexpr auto plain() {
  if constexpr (std::is_enum_v<T>) {
    return std::type_identity<int>{};
  } else if constexpr (std::is_pointer_v<T>) {
    return std::type_identity<void *>{};
  } else {
    return std::type_identity<T>{};
  }
}
template <class T>
using plain_t = typename decltype(plain<T>())::type;

template <class A, class B>
struct same_call : std::false_type {};
template <class R, class... A, class S, class... B>
struct same_call<R (*)(A...), S (*)(B...)> {
  template <class X, class Y>
  static constexpr bool alike = std::is_same_v<plain_t<X>, plain_t<Y>> ||
                                (sizeof(X) == sizeof(Y) && std::is_integral_v<plain_t<X>> &&
                                 std::is_integral_v<plain_t<Y>>);
  static constexpr bool value = [] {
    if constexpr (sizeof...(A) == sizeof...(B)) {
      return alike<R, S> && (alike<A, B> && ...);
    } else {
      return false;
    }
  }();
};

#define SAME_CALL(member, function) \
  static_assert(same_call<decltype(driver_table::member), decltype(&function)>::value)
SAME_CALL(init, cuInit);
SAME_CALL(driver_version, cuDriverGetVersion);
SAME_CALL(error_name, cuGetErrorName);
SAME_CALL(device_count, cuDeviceGetCount);
SAME_CALL(device_get, cuDeviceGet);
SAME_CALL(device_name, cuDeviceGetName);
SAME_CALL(device_attribute, cuDeviceGetAttribute);
SAME_CALL(device_pci_id, cuDeviceGetPCIBusId);
SAME_CALL(context_retain, cuDevicePrimaryCtxRetain);
SAME_CALL(context_release, cuDevicePrimaryCtxRelease);
SAME_CALL(context_push, cuCtxPushCurrent);
SAME_CALL(context_pop, cuCtxPopCurrent);
SAME_CALL(exchange_capture_mode, cuThreadExchangeStreamCaptureMode);
SAME_CALL(priority_range, cuCtxGetStreamPriorityRange);
SAME_CALL(stream_create, cuStreamCreateWithPriority);
SAME_CALL(stream_destroy, cuStreamDestroy);
SAME_CALL(stream_synchronize, cuStreamSynchronize);
SAME_CALL(stream_wait_event, cuStreamWaitEvent);
SAME_CALL(stream_is_capturing, cuStreamIsCapturing);
SAME_CALL(event_create, cuEventCreate);
SAME_CALL(event_destroy, cuEventDestroy);
SAME_CALL(event_record, cuEventRecord);
SAME_CALL(event_query, cuEventQuery);
SAME_CALL(memory_info, cuMemGetInfo);
SAME_CALL(granularity, cuMemGetAllocationGranularity);
SAME_CALL(address_reserve, cuMemAddressReserve);
SAME_CALL(address_free, cuMemAddressFree);
SAME_CALL(memory_create, cuMemCreate);
SAME_CALL(memory_release, cuMemRelease);
SAME_CALL(memory_map, cuMemMap);
SAME_CALL(memory_unmap, cuMemUnmap);
SAME_CALL(memory_set_access, cuMemSetAccess);
SAME_CALL(pointer_attribute, cuPointerGetAttribute);
SAME_CALL(fill, cuMemsetD8Async);
SAME_CALL(copy_in, cuMemcpyHtoDAsync);
SAME_CALL(copy_out, cuMemcpyDtoHAsync);
SAME_CALL(copy, cuMemcpyAsync);
SAME_CALL(can_access_peer, cuDeviceCanAccessPeer);
#if CUDA_VERSION >= 13000
SAME_CALL(copy_batch, cuMemcpyBatchAsync);
static_assert(sizeof(copy_attributes) == sizeof(CUmemcpyAttributes));
static_assert(offsetof(copy_attributes, flags) == offsetof(CUmemcpyAttributes, flags));
static_assert(int{source_access_in_stream_order} == CU_MEMCPY_SRC_ACCESS_ORDER_STREAM);
#elif CUDA_VERSION >= 12080
SAME_CALL(copy_batch_indexed, cuMemcpyBatchAsync);
#endif
SAME_CALL(host_register, cuMemHostRegister);
SAME_CALL(host_unregister, cuMemHostUnregister);
SAME_CALL(host_device_pointer, cuMemHostGetDevicePointer);
SAME_CALL(module_load, cuModuleLoadData);
SAME_CALL(module_unload, cuModuleUnload);
SAME_CALL(module_function, cuModuleGetFunction);
SAME_CALL(launch, cuLaunchKernel);

static_assert(sizeof(memory_location) == sizeof(CUmemLocation));
static_assert(offsetof(memory_location, id) == offsetof(CUmemLocation, id));
static_assert(sizeof(allocation_properties) == sizeof(CUmemAllocationProp));
static_assert(offsetof(allocation_properties, location) == offsetof(CUmemAllocationProp, location));
static_assert(offsetof(allocation_properties, win32_metadata) ==
              offsetof(CUmemAllocationProp, win32HandleMetaData));
static_assert(offsetof(allocation_properties, flags) == offsetof(CUmemAllocationProp, allocFlags));
static_assert(sizeof(access_description) == sizeof(CUmemAccessDesc));
static_assert(offsetof(access_description, flags) == offsetof(CUmemAccessDesc, flags));

}  // namespace

TEST_CASE("values of the driver's interface") {
  CHECK(int{success} == CUDA_SUCCESS);
  CHECK(int{invalid_value} == CUDA_ERROR_INVALID_VALUE);
  CHECK(int{out_of_memory} == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(int{not_initialized} == CUDA_ERROR_NOT_INITIALIZED);
  CHECK(int{deinitialized} == CUDA_ERROR_DEINITIALIZED);
  CHECK(int{stub_library} == CUDA_ERROR_STUB_LIBRARY);
  CHECK(int{device_unavailable} == CUDA_ERROR_DEVICE_UNAVAILABLE);
  CHECK(int{no_device} == CUDA_ERROR_NO_DEVICE);
  CHECK(int{invalid_device} == CUDA_ERROR_INVALID_DEVICE);
  CHECK(int{invalid_context} == CUDA_ERROR_INVALID_CONTEXT);
  CHECK(int{ecc_uncorrectable} == CUDA_ERROR_ECC_UNCORRECTABLE);
  CHECK(int{nvlink_uncorrectable} == CUDA_ERROR_NVLINK_UNCORRECTABLE);
  CHECK(int{invalid_handle} == CUDA_ERROR_INVALID_HANDLE);
  CHECK(int{not_ready} == CUDA_ERROR_NOT_READY);
  CHECK(int{illegal_address} == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(int{launch_timeout} == CUDA_ERROR_LAUNCH_TIMEOUT);
  CHECK(int{context_is_destroyed} == CUDA_ERROR_CONTEXT_IS_DESTROYED);
  CHECK(int{device_assert} == CUDA_ERROR_ASSERT);
  CHECK(int{host_memory_already_registered} == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
  CHECK(int{hardware_stack_error} == CUDA_ERROR_HARDWARE_STACK_ERROR);
  CHECK(int{illegal_instruction} == CUDA_ERROR_ILLEGAL_INSTRUCTION);
  CHECK(int{misaligned_address} == CUDA_ERROR_MISALIGNED_ADDRESS);
  CHECK(int{invalid_address_space} == CUDA_ERROR_INVALID_ADDRESS_SPACE);
  CHECK(int{invalid_pc} == CUDA_ERROR_INVALID_PC);
  CHECK(int{launch_failed} == CUDA_ERROR_LAUNCH_FAILED);
  CHECK(int{not_permitted} == CUDA_ERROR_NOT_PERMITTED);
  CHECK(int{capture_implicit} == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  CHECK(int{captured_event} == CUDA_ERROR_CAPTURED_EVENT);
  CHECK(int{system_not_ready} == CUDA_ERROR_SYSTEM_NOT_READY);
  CHECK(int{system_driver_mismatch} == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
  CHECK(int{unknown} == CUDA_ERROR_UNKNOWN);

  CHECK(attribute_async_engine_count == CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT);
  CHECK(attribute_virtual_memory == CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED);
  CHECK(pointer_attribute_memory_type == CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
  CHECK(pointer_attribute_device_ordinal == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
  CHECK(memory_type_device == CU_MEMORYTYPE_DEVICE);
  CHECK(stream_non_blocking == CU_STREAM_NON_BLOCKING);
  CHECK(event_disable_timing == CU_EVENT_DISABLE_TIMING);
  CHECK(host_register_portable == CU_MEMHOSTREGISTER_PORTABLE);
  CHECK(host_register_mapped == CU_MEMHOSTREGISTER_DEVICEMAP);
  CHECK(location_device == CU_MEM_LOCATION_TYPE_DEVICE);
  CHECK(allocation_pinned == CU_MEM_ALLOCATION_TYPE_PINNED);
  CHECK(granularity_recommended == CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
  CHECK(access_read_write == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  CHECK(capture_mode_relaxed == CU_STREAM_CAPTURE_MODE_RELAXED);
  CHECK(capture_none == CU_STREAM_CAPTURE_STATUS_NONE);
  CHECK(reinterpret_cast<uintptr_t>(legacy_stream()) ==
        reinterpret_cast<uintptr_t>(CU_STREAM_LEGACY));
}
