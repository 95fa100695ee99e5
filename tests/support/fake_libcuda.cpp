// libcuda.so.1 for programs that are started by a test, on a machine without a GPU: the driver of
// fake_cuda.hpp, with a thread a stream, under the names of the real one. A program that keeps to
// those runs over a GPU as well; the calls of other names stand for what a test does beside it.
#include <cstdlib>
#include <tuple>

#include "support/fake_cuda.hpp"

using namespace cubby_cuda;
using cubby_test::fake_cuda;

namespace {

/// Never ended: its streams' threads may run until the process is over. What a test wants
/// otherwise: CUBBY_FAKE_MEMORY_MIB of each device, CUBBY_FAKE_IDLE_KERNEL, a kernel that does
/// nothing, and CUBBY_FAKE_HOLD, where streams stand still from the beginning.
fake_cuda &machine() {
  static auto *const made = [] {
    cubby_test::fake_cuda_options with{.threads = true, .devices = 2};
    if (const char *mib = std::getenv("CUBBY_FAKE_MEMORY_MIB")) {
      with.memory_bytes = std::strtoull(mib, nullptr, 10) << 20;
    }
    if (const char *name = std::getenv("CUBBY_FAKE_IDLE_KERNEL")) with.idle_kernel = name;
    auto *const driver = new fake_cuda(with);
    if (std::getenv("CUBBY_FAKE_HOLD") != nullptr) driver->hold(true);
    return driver;
  }();
  return *made;
}

template <size_t i, class Function>
struct parameter;
template <size_t i, class... Parameters>
struct parameter<i, status (*)(Parameters...)> {
  using type = std::tuple_element_t<i, std::tuple<Parameters...>>;
};

}  // namespace

// The entry points that the library loads; how many parameters each has, and its member of the
// table.
#define P(i, member) typename parameter<i, decltype(driver_table::member)>::type p##i
#define P1(m) P(0, m)
#define P2(m) P1(m), P(1, m)
#define P3(m) P2(m), P(2, m)
#define P4(m) P3(m), P(3, m)
#define P5(m) P4(m), P(4, m)
#define P8(m) P5(m), P(5, m), P(6, m), P(7, m)
#define P11(m) P8(m), P(8, m), P(9, m), P(10, m)
#define A1 p0
#define A2 A1, p1
#define A3 A2, p2
#define A4 A3, p3
#define A5 A4, p4
#define A8 A5, p5, p6, p7
#define A11 A8, p8, p9, p10
#define ENTRY(name, member, count)                               \
  [[gnu::visibility("default")]] status name(P##count(member)) { \
    return machine().table()->member(A##count);                  \
  }

extern "C" {

ENTRY(cuInit, init, 1)
ENTRY(cuDriverGetVersion, driver_version, 1)
ENTRY(cuGetErrorName, error_name, 2)
ENTRY(cuDeviceGetCount, device_count, 1)
ENTRY(cuDeviceGet, device_get, 2)
ENTRY(cuDeviceGetName, device_name, 3)
ENTRY(cuDeviceGetAttribute, device_attribute, 3)
ENTRY(cuDeviceGetPCIBusId, device_pci_id, 3)
ENTRY(cuDevicePrimaryCtxRetain, context_retain, 2)
ENTRY(cuDevicePrimaryCtxRelease_v2, context_release, 1)
ENTRY(cuCtxPushCurrent_v2, context_push, 1)
ENTRY(cuCtxPopCurrent_v2, context_pop, 1)
ENTRY(cuThreadExchangeStreamCaptureMode, exchange_capture_mode, 1)
ENTRY(cuCtxGetStreamPriorityRange, priority_range, 2)
ENTRY(cuStreamCreateWithPriority, stream_create, 3)
ENTRY(cuStreamDestroy_v2, stream_destroy, 1)
ENTRY(cuStreamSynchronize, stream_synchronize, 1)
ENTRY(cuStreamWaitEvent, stream_wait_event, 3)
ENTRY(cuStreamIsCapturing, stream_is_capturing, 2)
ENTRY(cuEventCreate, event_create, 2)
ENTRY(cuEventDestroy_v2, event_destroy, 1)
ENTRY(cuEventRecord, event_record, 2)
ENTRY(cuEventQuery, event_query, 1)
ENTRY(cuMemGetInfo_v2, memory_info, 2)
ENTRY(cuMemGetAllocationGranularity, granularity, 3)
ENTRY(cuMemAddressReserve, address_reserve, 5)
ENTRY(cuMemAddressFree, address_free, 2)
ENTRY(cuMemCreate, memory_create, 4)
ENTRY(cuMemRelease, memory_release, 1)
ENTRY(cuMemMap, memory_map, 5)
ENTRY(cuMemUnmap, memory_unmap, 2)
ENTRY(cuMemSetAccess, memory_set_access, 4)
ENTRY(cuPointerGetAttribute, pointer_attribute, 3)
ENTRY(cuMemsetD8Async, fill, 4)
ENTRY(cuMemcpyHtoDAsync_v2, copy_in, 4)
ENTRY(cuMemcpyDtoHAsync_v2, copy_out, 4)
ENTRY(cuMemcpyAsync, copy, 4)
ENTRY(cuMemHostRegister_v2, host_register, 3)
ENTRY(cuMemHostUnregister, host_unregister, 1)
ENTRY(cuMemHostGetDevicePointer_v2, host_device_pointer, 3)
ENTRY(cuDeviceCanAccessPeer, can_access_peer, 3)
ENTRY(cuModuleLoadData, module_load, 2)
ENTRY(cuModuleUnload, module_unload, 1)
ENTRY(cuModuleGetFunction, module_function, 3)
ENTRY(cuLaunchKernel, launch, 11)
ENTRY(cuMemcpyBatchAsync_v2, copy_batch, 8)

// Of the real one, too, for the program alone.
[[gnu::visibility("default")]] status cuMemAlloc_v2(device_pointer *out, size_t bytes) {
  *out = reinterpret_cast<device_pointer>(machine().allocate(bytes));
  return success;
}
[[gnu::visibility("default")]] status cuMemFree_v2(device_pointer at) {
  machine().free(reinterpret_cast<void *>(at));
  return success;
}

// ---- what the real one lacks
/// Nothing that is in the streams goes on, or it does again.
[[gnu::visibility("default")]] void cubby_fake_hold(int on) { machine().hold(on != 0); }
/// Calls so far that made a host thread wait for the device.
[[gnu::visibility("default")]] uint64_t cubby_fake_host_syncs() {
  return machine().count().host_syncs;
}
/// Another byte at an address of a device, as a failing memory would have it.
[[gnu::visibility("default")]] void cubby_fake_flip(device_pointer at) {
  unsigned char byte = 0;
  machine().read(reinterpret_cast<void *>(at), &byte, 1);
  byte = static_cast<unsigned char>(byte ^ 4);
  machine().write(reinterpret_cast<void *>(at), &byte, 1);
}

}  // extern "C"
