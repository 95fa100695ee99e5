// A CUDA driver that does nothing and takes no memory to do it: what the host spends on a device
// can be counted beside it. Device memory is address space, copies are counted and not made, and
// every event is over. For callers that know what they ask for.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstdio>

#include "cuda/driver.hpp"

namespace cubby_test {

struct idle_cuda {
  static inline std::atomic<uint64_t> copies{0}, batches{0}, bytes_copied{0};
  static inline std::atomic<uint64_t> waits{0};  // of the host for the device
  static inline uint64_t last_handle = 100;

  static cubby_cuda::driver_table table(bool with_batches) {
    using namespace cubby_cuda;
    driver_table t{};
    t.init = [](unsigned) -> status { return success; };
    t.driver_version = [](int *version) -> status { return *version = 13000, success; };
    t.error_name = [](status, const char **name) -> status { return *name = "?", success; };
    t.device_count = [](int *count) -> status { return *count = 1, success; };
    t.device_get = [](device_id *out, int ordinal) -> status { return *out = ordinal, success; };
    t.device_name = [](char *name, int size, device_id) -> status {
      return std::snprintf(name, static_cast<size_t>(size), "idle device"), success;
    };
    t.device_attribute = [](int *value, int, device_id) -> status { return *value = 1, success; };
    t.device_pci_id = [](char *text, int size, device_id) -> status {
      return std::snprintf(text, static_cast<size_t>(size), "0000:00:00.0"), success;
    };
    t.context_retain = [](context *out, device_id) -> status {
      return *out = reinterpret_cast<context>(uintptr_t{8}), success;
    };
    t.context_release = [](device_id) -> status { return success; };
    t.context_push = [](context) -> status { return success; };
    t.context_pop = [](context *) -> status { return success; };
    t.exchange_capture_mode = [](int *) -> status { return success; };
    t.priority_range = [](int *least, int *greatest) -> status {
      return *least = 0, *greatest = 0, success;
    };
    t.stream_create = [](stream *out, unsigned, int) -> status {
      return *out = reinterpret_cast<stream>(++last_handle), success;
    };
    t.stream_destroy = [](stream) -> status { return success; };
    t.stream_synchronize = [](stream) -> status { return ++waits, success; };
    t.stream_wait_event = [](stream, event, unsigned) -> status { return success; };
    t.stream_is_capturing = [](stream, int *capture) -> status { return *capture = 0, success; };
    t.event_create = [](event *out, unsigned) -> status {
      return *out = reinterpret_cast<event>(++last_handle), success;
    };
    t.event_destroy = [](event) -> status { return success; };
    t.event_record = [](event, stream) -> status { return success; };
    t.event_query = [](event) -> status { return success; };
    t.memory_info = [](size_t *free_bytes, size_t *total_bytes) -> status {
      return *free_bytes = *total_bytes = size_t{1} << 40, success;
    };
    t.granularity = [](size_t *bytes, const allocation_properties *, int) -> status {
      return *bytes = size_t{2} << 20, success;
    };
    t.address_reserve = [](device_pointer *out, size_t bytes, size_t, device_pointer,
                           unsigned long long) -> status {
      void *const room =
          ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      return *out = reinterpret_cast<device_pointer>(room), success;
    };
    t.address_free = [](device_pointer at, size_t bytes) -> status {
      return ::munmap(reinterpret_cast<void *>(at), bytes) == 0 ? success : invalid_value;
    };
    t.memory_create = [](memory_handle *out, size_t, const allocation_properties *,
                         unsigned long long) -> status { return *out = 1, success; };
    t.memory_release = [](memory_handle) -> status { return success; };
    t.memory_map = [](device_pointer, size_t, size_t, memory_handle, unsigned long long) -> status {
      return success;
    };
    t.memory_unmap = [](device_pointer, size_t) -> status { return success; };
    t.memory_set_access = [](device_pointer, size_t, const access_description *, size_t) -> status {
      return success;
    };
    t.pointer_attribute = [](void *, int, device_pointer) -> status { return invalid_value; };
    t.fill = [](device_pointer, unsigned char, size_t, stream) -> status { return success; };
    t.copy_in = [](device_pointer, const void *, size_t bytes, stream) -> status {
      return ++copies, bytes_copied += bytes, success;
    };
    t.copy_out = [](void *, device_pointer, size_t bytes, stream) -> status {
      return ++copies, bytes_copied += bytes, success;
    };
    t.copy = [](device_pointer, device_pointer, size_t bytes, stream) -> status {
      return ++copies, bytes_copied += bytes, success;
    };
    t.host_register = [](void *, size_t, unsigned) -> status { return success; };
    t.host_unregister = [](void *) -> status { return success; };
    t.host_device_pointer = [](device_pointer *out, void *host, unsigned) -> status {
      return *out = reinterpret_cast<uintptr_t>(host), success;
    };
    t.can_access_peer = [](int *can, device_id, device_id) -> status { return *can = 0, success; };
    if (!with_batches) return t;
    t.copy_batch = [](device_pointer *, device_pointer *, size_t *bytes, size_t count,
                      copy_attributes *, size_t *, size_t, stream) -> status {
      ++idle_cuda::batches;
      for (size_t i = 0; i < count; ++i) bytes_copied += bytes[i];
      return copies += count, success;
    };
    return t;
  }
};

}  // namespace cubby_test
