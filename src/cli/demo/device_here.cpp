#include "cli/demo/device_here.hpp"

#include <cuda/kernels/kernel_image.hpp>

#include <atomic>
#include <cstdlib>

namespace cubby_cli::demo {
namespace {

const cubby_cuda::driver_table *uncounted = nullptr;
std::atomic<uint64_t> waits{0};

cubby_cuda::status counted_wait(cubby_cuda::stream one) {
  ++waits;
  return uncounted->stream_synchronize(one);
}

}  // namespace

outcome<device_choice> machine_device(int32_t ordinal) {
  // Loading a kernel may wait for the device, on which another may be waiting for the host.
  ::setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  const cubby_cuda::loaded_driver &machine = cubby_cuda::machine_driver();
  if (!machine.why_not.empty()) return trouble{machine.why_not};
  device_choice made;
  made.driver = &machine.table;
  made.image = cubby_cuda::kernel_image();
  made.ordinal = ordinal;
  return made;
}

device_here::device_here(const device_choice &chosen)
    : chosen_(chosen), driver_(*chosen.driver), gpu_(driver_, services_) {
  uncounted = chosen.driver;
  driver_.stream_synchronize = counted_wait;
  services_.struct_size = sizeof services_;
  services_.abi_version = CUBBY_BACKEND_ABI_VERSION;
  services_.context = this;
  services_.log = [](void *context, uint32_t, const char *text) {
    static_cast<device_here *>(context)->last_line_ = text;
  };
}

device_here::~device_here() {
  if (stream_ == nullptr) return;
  const auto here = enter();
  driver_.stream_synchronize(stream_);  // also after something has failed
  for (const cubby_cuda::event one : events_) driver_.event_destroy(one);
  for (const cubby_backend_memory &one : taken_) gpu_.release(one);
  kernels_.reset();
  driver_.stream_destroy(stream_);
}

uint64_t device_here::host_waits() { return waits.load(); }

done device_here::open() {
  if (gpu_.open(chosen_.ordinal) != 0) return trouble{last_line_};
  const auto here = enter();
  kernels_.emplace(driver_);
  if (const std::string why = kernels_->load(chosen_.image); !why.empty()) return trouble{why};
  good(driver_.stream_create(&stream_, cubby_cuda::stream_non_blocking, 0), "cuStreamCreate");
  return so_far();
}

uint64_t device_here::take(uint64_t bytes) {
  if (!failure_.empty()) return 0;
  cubby_backend_memory made{};
  made.struct_size = sizeof made;
  if (gpu_.reserve(bytes, stream_, &made) != 0) {
    failure_ = last_line_;
    return 0;
  }
  taken_.push_back(made);
  return reinterpret_cast<uintptr_t>(made.base);
}

void device_here::register_host(std::span<std::byte> memory) {
  if (!failure_.empty()) return;
  if (gpu_.register_host(memory.data(), memory.size()) != 0) failure_ = last_line_;
}

void device_here::unregister_host(std::span<std::byte> memory) {
  gpu_.unregister_host(memory.data());
}

void device_here::copy_in(uint64_t to, const void *from, uint64_t bytes) {
  if (failure_.empty()) good(driver_.copy_in(to, from, bytes, stream_), "cuMemcpyHtoDAsync");
}

void device_here::copy_out(void *to, uint64_t from, uint64_t bytes) {
  if (failure_.empty()) good(driver_.copy_out(to, from, bytes, stream_), "cuMemcpyDtoHAsync");
  finish();
}

void device_here::finish() {
  // After a failure, too: what was started before it uses the caller's memory.
  if (stream_ != nullptr) good(driver_.stream_synchronize(stream_), "cuStreamSynchronize");
}

cubby_cuda::event device_here::mark() {
  cubby_cuda::event made = nullptr;
  if (!good(driver_.event_create(&made, cubby_cuda::event_disable_timing), "cuEventCreate")) {
    return nullptr;
  }
  events_.push_back(made);
  mark_again(made);
  return made;
}

void device_here::mark_again(cubby_cuda::event event) {
  if (failure_.empty()) good(driver_.event_record(event, stream_), "cuEventRecord");
}

bool device_here::passed(cubby_cuda::event event) {
  if (!failure_.empty()) return true;
  const cubby_cuda::status came = driver_.event_query(event);
  if (came == cubby_cuda::not_ready) return false;
  good(came, "cuEventQuery");
  return true;
}

bool device_here::good(cubby_cuda::status came, const char *what) {
  if (came == cubby_cuda::success || !failure_.empty()) return failure_.empty();
  const char *name = nullptr;
  if (driver_.error_name(came, &name) != cubby_cuda::success || name == nullptr) {
    name = "an unknown error";
  }
  failure_ = std::string("the device refuses ") + what + " (" + name + ", " + std::to_string(came) +
             "); look at nvidia-smi, and at the kernel's log for Xid";
  return false;
}

done device_here::so_far() const {
  return failure_.empty() ? done(nothing{}) : done(trouble{failure_});
}

}  // namespace cubby_cli::demo
