#include "device.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

#include "../common/common.hpp"

namespace cubby_cuda {
namespace {
using namespace cubby_backends;

allocation_properties properties_of(device_id id) {
  allocation_properties made;
  made.type = allocation_pinned;
  made.location = {location_device, id};
  return made;
}

/// By ordinal: how many instances of this process have memory that other devices cannot read.
std::array<std::atomic<uint32_t>, 64> closed_counts;

bool is_closed(int32_t ordinal) {
  const auto at = static_cast<size_t>(ordinal);
  return at >= closed_counts.size() || closed_counts[at].load() != 0;
}

}  // namespace

bool is_lost(status came) {
  constexpr status codes[] = {deinitialized,
                              device_unavailable,
                              invalid_context,
                              ecc_uncorrectable,
                              nvlink_uncorrectable,
                              contained,
                              illegal_address,
                              launch_timeout,
                              context_is_destroyed,
                              device_assert,
                              illegal_instruction,
                              misaligned_address,
                              hardware_stack_error,
                              invalid_address_space,
                              invalid_pc,
                              launch_failed,
                              unknown};
  return std::find(std::begin(codes), std::end(codes), came) != std::end(codes);
}

in_context::in_context(const driver_table &driver, context one) : driver_(driver) {
  pushed_ = driver_.context_push(one) == success;
  exchanged_ = driver_.exchange_capture_mode(&mode_) == success;
}

in_context::~in_context() {
  if (exchanged_) driver_.exchange_capture_mode(&mode_);
  context ignored = nullptr;
  if (pushed_) driver_.context_pop(&ignored);
}

device::~device() {
  if (closed_) --closed_counts[static_cast<size_t>(ordinal_)];
  if (!retained_) return;
  {
    const in_context here = enter();
    for (void *base : registered_) driver_.host_unregister(base);
  }
  driver_.context_release(id_);
}

void device::log(uint32_t level, const std::string &text) const {
  log_line(services_, level, text.c_str());
}

int32_t device::refuse(int32_t error, const std::string &why) const {
  log(0, "cuda: " + why);
  return -error;
}

std::string device::name_of(status came) const {
  const char *name = nullptr;
  if (driver_.error_name(came, &name) != success || name == nullptr) name = "an unknown error";
  return std::string(name) + ", " + std::to_string(came);
}

int32_t device::errno_of(status came, const char *call) {
  if (came == success) return 0;
  if (came == out_of_memory) return ENOMEM;
  if (!is_lost(came)) return EIO;
  if (!lost_.exchange(true, std::memory_order_acq_rel)) {
    log(0, std::string("cuda: device ") + std::to_string(ordinal_) + " is lost (" + call + ": " +
               name_of(came) +
               "); what is in its memory is gone, other tiers go on. Look at the kernel's log for "
               "Xid messages, and start the process again to use the device");
  }
  return ENODEV;
}

int32_t device::open(int32_t ordinal) {
  ordinal_ = std::max(ordinal, 0);
  int count = 0;
  if (driver_.device_count(&count) != success || ordinal_ >= count) {
    return refuse(ENOTSUP, "there is no device " + std::to_string(ordinal_) + ", the driver has " +
                               std::to_string(count) +
                               "; look at cubby_tier_desc.device and CUDA_VISIBLE_DEVICES");
  }
  if (const status came = driver_.device_get(&id_, ordinal_); came != success) {
    return refuse(ENOTSUP, "device " + std::to_string(ordinal_) + " does not answer (" +
                               name_of(came) + "); look at nvidia-smi");
  }
  int can_map = 0;
  driver_.device_attribute(&can_map, attribute_virtual_memory, id_);
  if (can_map == 0) {
    return refuse(ENOTSUP, "device " + std::to_string(ordinal_) +
                               " has no virtual memory management; use one that has, and no "
                               "virtual GPU without unified memory");
  }
  if (const status came = driver_.context_retain(&context_, id_); came != success) {
    return refuse(came == out_of_memory ? ENOMEM : ENOTSUP,
                  "the context of device " + std::to_string(ordinal_) + " could not be had (" +
                      name_of(came) + "); another process may own the device: look at nvidia-smi");
  }
  retained_ = true;
  const in_context here = enter();
  size_t granule = 0;
  const allocation_properties of = properties_of(id_);
  if (driver_.granularity(&granule, &of, granularity_recommended) != success || granule == 0) {
    return refuse(EIO, "the driver does not say in which granules it maps memory");
  }
  granule_bytes_ = std::max<uint64_t>(granule, uint64_t{2} << 20);
  describe();
  return 0;
}

void device::describe() {
  char name[128] = "a device", pci[32] = "?";
  int version = 0, engines = 0;
  driver_.device_name(name, sizeof name, id_);
  driver_.device_pci_id(pci, sizeof pci, id_);
  driver_.driver_version(&version);
  driver_.device_attribute(&engines, attribute_async_engine_count, id_);
  description_ = std::string(name) + " at " + pci + ", driver for CUDA " +
                 std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10) + ", " +
                 std::to_string(engines) + " copy engines";
}

/// Leaves nothing mapped where it fails.
int32_t device::map(device_pointer at, uint64_t bytes, memory_handle handle) {
  if (driver_.memory_map(at, bytes, 0, handle, 0) != success) return -EIO;
  std::vector<access_description> may(1);
  may[0].location = {location_device, id_};
  may[0].flags = access_read_write;
  int count = 0;
  driver_.device_count(&count);
  for (int other = 0; other < count; ++other) {
    device_id peer = 0;
    int can = 0;
    if (other == ordinal_ || driver_.device_get(&peer, other) != success) continue;
    if (driver_.can_access_peer(&can, peer, id_) != success || can == 0) continue;
    may.push_back({{location_device, peer}, access_read});
  }
  if (closed_) may.resize(1);
  if (driver_.memory_set_access(at, bytes, may.data(), may.size()) == success) {
    shared_ = shared_ || may.size() > 1;
    return 0;
  }
  // A peer may have no room for the mapping; this device alone needs it. Others are to know, and
  // where they read other memory of it already there is no such memory.
  if (!shared_ && may.size() > 1 && close_to_peers() &&
      driver_.memory_set_access(at, bytes, may.data(), 1) == success) {
    return 0;
  }
  driver_.memory_unmap(at, bytes);
  if (!shared_ || may.size() == 1) return -EIO;
  return refuse(ENOMEM, "other devices read the memory of device " + std::to_string(ordinal_) +
                            " that there is, and could not map more of it; lower the tier's "
                            "budget, or what else uses the devices (nvidia-smi shows it)");
}

bool device::close_to_peers() {
  if (static_cast<size_t>(ordinal_) >= closed_counts.size()) return false;
  if (!std::exchange(closed_, true)) ++closed_counts[static_cast<size_t>(ordinal_)];
  return true;
}

int32_t device::reserve(uint64_t bytes, stream fill_on, cubby_backend_memory *out) {
  if (bytes == 0 || out == nullptr) return -EINVAL;
  if (lost()) return -ENODEV;
  const in_context here = enter();
  const uint64_t rounded = (bytes + granule_bytes_ - 1) / granule_bytes_ * granule_bytes_;
  size_t free_bytes = 0, total_bytes = 0;
  if (const status came = driver_.memory_info(&free_bytes, &total_bytes); came != success) {
    return -errno_of(came, "cuMemGetInfo");
  }
  const std::string too_much = "device " + std::to_string(ordinal_) + " has " +
                               std::to_string(free_bytes) + " of " + std::to_string(total_bytes) +
                               " bytes free, " + std::to_string(rounded) +
                               " were asked for; lower the tier's budget, or what else uses the "
                               "device (nvidia-smi shows it)";
  if (rounded < bytes || rounded > free_bytes) return refuse(ENOMEM, too_much);
  const allocation_properties of = properties_of(id_);
  memory_handle handle = 0;
  if (const status came = driver_.memory_create(&handle, rounded, &of, 0); came != success) {
    return came == out_of_memory ? refuse(ENOMEM, too_much) : -errno_of(came, "cuMemCreate");
  }
  device_pointer at = 0;
  if (driver_.address_reserve(&at, rounded, granule_bytes_, 0, 0) != success) {
    driver_.memory_release(handle);
    return refuse(ENOMEM, "no address space could be had for device memory; raise ulimit -v");
  }
  int32_t error = map(at, rounded, handle);
  // The mapping holds the memory from here on.
  driver_.memory_release(handle);
  if (error != 0) {
    driver_.address_free(at, rounded);
    return error;
  }
  cubby_backend_memory made{};
  made.base = reinterpret_cast<void *>(at);
  made.bytes = bytes;
  made.handle = rounded;
  status filled = driver_.fill(at, 0, rounded, fill_on);
  if (filled == success) filled = driver_.stream_synchronize(fill_on);
  if (filled != success) {
    release(made);
    return -errno_of(filled, "cuMemsetD8Async");
  }
  write_struct(made, out);
  return 0;
}

void device::release(const cubby_backend_memory &memory) {
  const in_context here = enter();
  const auto at = reinterpret_cast<device_pointer>(memory.base);
  driver_.memory_unmap(at, memory.handle);
  driver_.address_free(at, memory.handle);
}

int32_t device::check(const void *base, uint64_t bytes) const {
  if (base == nullptr || bytes == 0) return -EINVAL;
  const in_context here = enter();
  const auto first = reinterpret_cast<device_pointer>(base);
  for (const device_pointer at : {first, first + bytes - 1}) {
    unsigned type = 0;
    int owner = -1;
    if (driver_.pointer_attribute(&type, pointer_attribute_memory_type, at) != success ||
        driver_.pointer_attribute(&owner, pointer_attribute_device_ordinal, at) != success ||
        type != memory_type_device || owner != id_) {
      return refuse(EINVAL, "the memory that was named is not of device " +
                                std::to_string(ordinal_) +
                                "; look at the region's base, bytes and device");
    }
  }
  return 0;
}

bool device::reads_from(int32_t other) const {
  if (other == ordinal_) return true;
  if (is_closed(other)) return false;
  device_id peer = 0;
  int can = 0;
  return driver_.device_get(&peer, other) == success &&
         driver_.can_access_peer(&can, id_, peer) == success && can != 0;
}

status device::copy_batch(device_pointer *to, device_pointer *from, size_t *bytes, size_t count,
                          stream in) const {
  copy_attributes how;
  how.source_access_order = source_access_in_stream_order;
  size_t first = 0, failed = 0;
  if (driver_.copy_batch != nullptr) {
    return driver_.copy_batch(to, from, bytes, count, &how, &first, 1, in);
  }
  return driver_.copy_batch_indexed(to, from, bytes, count, &how, &first, 1, &failed, in);
}

int32_t device::register_host(void *base, uint64_t bytes) {
  const in_context here = enter();
  registered_.reserve(registered_.size() + 1);
  const status came =
      driver_.host_register(base, bytes, host_register_portable | host_register_mapped);
  if (came == host_memory_already_registered) return 0;  // by the program, or for another device
  if (came == success) {
    registered_.push_back(base);
    return 0;
  }
  const int32_t error = errno_of(came, "cuMemHostRegister");
  if (!registration_failed_) {
    registration_failed_ = true;
    log(1, "cuda: " + std::to_string(bytes) +
               " bytes of host memory could not be registered for DMA (" + name_of(came) +
               "), so copies pass through the driver's own buffers and hold up who starts them; "
               "raise the limit of locked memory, ulimit -l");
  }
  return -error;
}

int32_t device::address_of(const void *host, uint64_t *address) {
  if (lost()) return -ENODEV;
  const in_context here = enter();
  device_pointer at = 0;
  const status came = driver_.host_device_pointer(&at, const_cast<void *>(host), 0);
  if (came == success) return *address = at, 0;
  const int32_t error = errno_of(came, "cuMemHostGetDevicePointer");
  return refuse(error == EIO ? ENOTSUP : error,
                "device " + std::to_string(ordinal_) +
                    " has no address for host memory that was registered (" + name_of(came) +
                    "), so kernels cannot list what they lack; use pins");
}

void device::unregister_host(void *base) {
  const auto at = std::find(registered_.begin(), registered_.end(), base);
  if (at == registered_.end()) return;
  const in_context here = enter();
  driver_.host_unregister(base);
  registered_.erase(at);
}

}  // namespace cubby_cuda
