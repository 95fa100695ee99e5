#include "support/fake_cuda.hpp"

#include "support/kernel_twins.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace cubby_test {
namespace {
using namespace cubby_cuda;

/// Eight bytes at once, where they are aligned, as an engine copies them: kernels may look
/// meanwhile.
void copy_bytes(std::byte *to, const std::byte *from, uint64_t bytes) {
  const auto places = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from);
  if (bytes != 8 || places % 8 != 0) {
    std::memcpy(to, from, bytes);
    return;
  }
  const uint64_t word = __atomic_load_n(reinterpret_cast<const uint64_t *>(from), __ATOMIC_ACQUIRE);
  __atomic_store_n(reinterpret_cast<uint64_t *>(to), word, __ATOMIC_RELEASE);
}

constexpr uint64_t granule_bytes = uint64_t{2} << 20;

fake_cuda *here = nullptr;
thread_local std::vector<context> contexts;
thread_local int capture_mode = 0;  // of this thread; 0 = global, the strictest

context context_of(device_id id) {
  return reinterpret_cast<context>(static_cast<uintptr_t>(id) + 1);
}
int current_device() {
  return contexts.empty() ? -1 : static_cast<int>(reinterpret_cast<uintptr_t>(contexts.back())) - 1;
}
uint64_t number_of(const void *handle) { return reinterpret_cast<uintptr_t>(handle); }
/// Of a device's address of host memory, where that is not the host's: none of a processor's has
/// it.
constexpr uint64_t elsewhere_bit = uint64_t{1} << 62;
/// The streams that need no handle of their own; they run in order with nothing else here.
constexpr uint64_t default_stream = 1;

}  // namespace

/// The driver's functions.
struct fake_calls {
  using lock = std::unique_lock<std::mutex>;

  static status gone() { return here->lost_ ? launch_failed : success; }
  /// Of calls that another thread's capture may forbid. The mutex is held.
  static status unsafe() {
    if (here->any_capture() && capture_mode != capture_mode_relaxed) {
      return here->break_capture(capture_unsupported);
    }
    return gone();
  }
  /// Of calls that a stream's own capture forbids, in every mode, or one that the default stream
  /// would wait for.
  static status unsafe_on(stream one) {
    const fake_cuda::queue *const found = here->find(one);
    if (found != nullptr && found->capturing) return here->break_capture(capture_unsupported);
    if (number_of(one) == default_stream && here->any_capture()) {
      return here->break_capture(capture_implicit);
    }
    return success;
  }

  static status init(unsigned) { return success; }
  static status driver_version(int *version) { return *version = 12040, success; }
  static status error_name(status code, const char **name) {
    *name = code == launch_failed   ? "CUDA_ERROR_LAUNCH_FAILED"
            : code == out_of_memory ? "CUDA_ERROR_OUT_OF_MEMORY"
            : code == not_permitted ? "CUDA_ERROR_NOT_PERMITTED"
                                    : "CUDA_ERROR_INVALID_VALUE";
    return success;
  }
  static status device_count(int *count) { return *count = here->options_.devices, success; }
  static status device_get(device_id *out, int ordinal) { return *out = ordinal, success; }
  static status device_name(char *name, int size, device_id) {
    return std::snprintf(name, static_cast<size_t>(size), "fake device"), success;
  }
  static status device_attribute(int *value, int, device_id) { return *value = 2, success; }
  static status device_pci_id(char *text, int size, device_id id) {
    return std::snprintf(text, static_cast<size_t>(size), "0000:%02x:00.0", id), success;
  }
  static status context_retain(context *out, device_id id) {
    const lock held(here->mutex_);
    ++here->counts_.contexts;
    return *out = context_of(id), gone();
  }
  static status context_release(device_id) {
    const lock held(here->mutex_);
    --here->counts_.contexts;
    return success;
  }
  static status context_push(context one) {
    if (one == nullptr) return invalid_context;
    return contexts.push_back(one), success;
  }
  static status context_pop(context *one) {
    *one = contexts.back();
    return contexts.pop_back(), success;
  }
  static status exchange_capture_mode(int *mode) {
    std::swap(capture_mode, *mode);
    return success;
  }
  static status priority_range(int *least, int *greatest) {
    *least = 0, *greatest = -5;
    return success;
  }

  static status stream_create(stream *out, unsigned, int) {
    if (current_device() < 0) return invalid_context;
    lock held(here->mutex_);
    if (gone() != success) return gone();
    const uint64_t number = here->next_handle_++;
    auto made = std::make_unique<fake_cuda::queue>();
    made->device = current_device();
    fake_cuda::queue &one = *made;
    here->queues_[number] = std::move(made);
    if (here->options_.threads) one.thread = std::thread([&one] { here->run_thread(one); });
    ++here->counts_.streams;
    return *out = reinterpret_cast<stream>(number), success;
  }
  static status stream_destroy(stream one) {
    lock held(here->mutex_);
    fake_cuda::queue *found = here->find(one);
    if (found == nullptr) return invalid_handle;
    here->finish(*found, held);
    found->ending = true;
    here->changed_.notify_all();
    held.unlock();
    if (found->thread.joinable()) found->thread.join();
    held.lock();
    here->queues_.erase(number_of(one));
    --here->counts_.streams;
    return success;
  }
  static status stream_synchronize(stream one) {
    lock held(here->mutex_);
    ++here->counts_.host_syncs;
    fake_cuda::queue *found = here->find(one);
    if (found == nullptr) return invalid_handle;
    if (unsafe() != success) return here->lost_ ? gone() : capture_unsupported;
    if (const status why = unsafe_on(one); why != success) return why;
    here->finish(*found, held);
    return gone();
  }
  static status stream_wait_event(stream waits, event what, unsigned) {
    lock held(here->mutex_);
    if (gone() != success) return gone();
    fake_cuda::queue *found = here->find(waits);
    const auto on = here->signals_.find(number_of(what));
    if (found == nullptr || on == here->signals_.end()) return invalid_handle;
    ++here->counts_.stream_waits;
    if (on->second->last == nullptr) return success;
    if (found->capturing != on->second->last->captured) {
      return here->break_capture(capture_isolation);
    }
    fake_cuda::command wait;
    wait.what = fake_cuda::command::kind::wait;
    wait.mark = on->second->last;
    return here->push(*found, std::move(wait), held);
  }
  static status stream_is_capturing(stream one, int *capture) {
    const lock held(here->mutex_);
    fake_cuda::queue *found = here->find(one);
    if (found == nullptr) return invalid_handle;
    if (number_of(one) == default_stream && here->any_capture()) return capture_implicit;
    return *capture = found->capturing ? 1 : 0, success;
  }

  static status event_create(event *out, unsigned) {
    if (current_device() < 0) return invalid_context;
    const lock held(here->mutex_);
    if (gone() != success) return gone();
    const uint64_t number = here->next_handle_++;
    here->signals_[number] = std::make_unique<fake_cuda::signal>();
    ++here->counts_.events;
    return *out = reinterpret_cast<event>(number), success;
  }
  static status event_destroy(event one) {
    const lock held(here->mutex_);
    if (here->signals_.erase(number_of(one)) == 0) return invalid_handle;
    --here->counts_.events;
    return success;
  }
  static status event_record(event one, stream in) {
    lock held(here->mutex_);
    if (gone() != success) return gone();
    fake_cuda::queue *found = here->find(in);
    const auto on = here->signals_.find(number_of(one));
    if (found == nullptr || on == here->signals_.end()) return invalid_handle;
    if (number_of(in) == default_stream && here->any_capture()) return unsafe_on(in);
    ++here->counts_.events_recorded;
    fake_cuda::command record;
    record.what = fake_cuda::command::kind::record;
    record.mark = on->second->last = std::make_shared<fake_cuda::marker>();
    record.mark->captured = found->capturing;
    return here->push(*found, std::move(record), held);
  }
  static status event_query(event one) {
    lock held(here->mutex_);
    if (const status why = unsafe(); why != success) return why;
    ++here->counts_.events_asked;
    const auto on = here->signals_.find(number_of(one));
    if (on == here->signals_.end()) return invalid_handle;
    const std::shared_ptr<fake_cuda::marker> last = on->second->last;
    if (last != nullptr && last->captured) return here->break_capture(captured_event);
    if (!here->options_.threads && here->progress_max_ != 0) {
      here->step_locked(static_cast<uint32_t>(here->random_() % (here->progress_max_ + 1)), held);
    }
    return last == nullptr || last->over ? success : not_ready;
  }

  static status memory_info(size_t *free_bytes, size_t *total_bytes) {
    const lock held(here->mutex_);
    *total_bytes = here->options_.memory_bytes;
    const uint64_t used = here->elsewhere_bytes_ + here->counts_.memory_bytes;
    *free_bytes = *total_bytes - std::min<uint64_t>(used, *total_bytes);
    return gone();
  }
  static status granularity(size_t *bytes, const allocation_properties *, int) {
    return *bytes = granule_bytes, success;
  }
  static status address_reserve(device_pointer *out, size_t bytes, size_t alignment, device_pointer,
                                unsigned long long) {
    if (bytes % granule_bytes != 0) return invalid_value;
    if (alignment == 0) alignment = granule_bytes;  // the driver's choice
    void *const room = ::mmap(nullptr, bytes + alignment, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return out_of_memory;
    const auto first = reinterpret_cast<uintptr_t>(room);
    const uintptr_t aligned = (first + alignment - 1) / alignment * alignment;
    if (aligned != first) ::munmap(room, aligned - first);
    const uintptr_t behind = first + alignment - aligned;
    if (behind != 0) ::munmap(reinterpret_cast<void *>(aligned + bytes), behind);
    const lock held(here->mutex_);
    here->reserved_[aligned] = bytes;
    return *out = aligned, success;
  }
  static status address_free(device_pointer at, size_t bytes) {
    const lock held(here->mutex_);
    const auto found = here->reserved_.find(at);
    if (found == here->reserved_.end() || found->second != bytes) return invalid_value;
    if (here->mapped_.count(at) != 0) return invalid_value;
    here->reserved_.erase(found);
    ::munmap(reinterpret_cast<void *>(at), bytes);
    return success;
  }
  static status memory_create(memory_handle *out, size_t bytes, const allocation_properties *of,
                              unsigned long long) {
    const lock held(here->mutex_);
    if (const status why = unsafe(); why != success) return why;
    if (bytes % granule_bytes != 0) return invalid_value;
    const uint64_t used = here->elsewhere_bytes_ + here->counts_.memory_bytes;
    if (used + bytes > here->options_.memory_bytes) return out_of_memory;
    fake_cuda::physical made;
    made.device = of->location.id;
    made.bytes.assign(bytes, std::byte{0xC5});  // as another program left it
    made.uses = 1;
    here->counts_.memory_bytes += bytes;
    *out = here->next_handle_++;
    here->memory_[*out] = std::move(made);
    return success;
  }
  static status memory_release(memory_handle handle) {
    const lock held(here->mutex_);
    if (here->memory_.count(handle) == 0) return invalid_value;
    return here->drop(handle), success;
  }
  static status memory_map(device_pointer at, size_t bytes, size_t offset, memory_handle handle,
                           unsigned long long) {
    const lock held(here->mutex_);
    const auto memory = here->memory_.find(handle);
    if (memory == here->memory_.end() || offset != 0 || memory->second.bytes.size() != bytes ||
        here->reserved_.count(at) == 0 || here->mapped_.count(at) != 0) {
      return invalid_value;
    }
    ++memory->second.uses;
    here->mapped_[at] = {bytes, handle, false, {}};
    return success;
  }
  static status memory_unmap(device_pointer at, size_t bytes) {
    const lock held(here->mutex_);
    const auto found = here->mapped_.find(at);
    if (found == here->mapped_.end() || found->second.bytes != bytes) return invalid_value;
    here->drop(found->second.handle);
    here->mapped_.erase(found);
    return success;
  }
  static status memory_set_access(device_pointer at, size_t bytes, const access_description *may,
                                  size_t count) {
    const lock held(here->mutex_);
    const auto found = here->mapped_.find(at);
    if (found == here->mapped_.end() || found->second.bytes != bytes || count == 0) {
      return invalid_value;
    }
    found->second.accessible = may->flags == access_read_write;
    for (size_t i = 0; i < count; ++i) {
      if (i != 0 && !(here->options_.peers && here->options_.peer_mappings)) return invalid_value;
      found->second.devices.insert(may[i].location.id);
    }
    return success;
  }
  static status pointer_attribute(void *value, int attribute, device_pointer of) {
    const lock held(here->mutex_);
    int device = -1;
    if (here->at(of, 1, &device) == nullptr) return invalid_value;
    const int is = attribute == pointer_attribute_memory_type ? int{memory_type_device} : device;
    std::memcpy(value, &is, sizeof is);
    return success;
  }
  static status fill(device_pointer to, unsigned char value, size_t bytes, stream in) {
    lock held(here->mutex_);
    if (gone() != success) return gone();
    fake_cuda::queue *found = here->find(in);
    std::byte *const at = here->at(to, bytes);
    if (found == nullptr || at == nullptr) return invalid_value;
    fake_cuda::command one;
    one.what = fake_cuda::command::kind::fill;
    one.to = at;
    one.bytes = bytes;
    one.value = value;
    return here->push(*found, std::move(one), held);
  }
  static status copy_in(device_pointer to, const void *from, size_t bytes, stream in) {
    lock held(here->mutex_);
    ++here->counts_.copies_in, ++here->counts_.copy_calls;
    std::byte *const at = here->at(to, bytes);
    if (at == nullptr) return gone() == success ? invalid_value : gone();
    return here->copy(at, static_cast<const std::byte *>(from), bytes, from, in, held);
  }
  static status copy_out(void *to, device_pointer from, size_t bytes, stream in) {
    lock held(here->mutex_);
    ++here->counts_.copies_out, ++here->counts_.copy_calls;
    const std::byte *const at = here->at(from, bytes);
    if (at == nullptr) return gone() == success ? invalid_value : gone();
    return here->copy(static_cast<std::byte *>(to), at, bytes, to, in, held);
  }
  /// Between devices.
  static status copy(device_pointer to, device_pointer from, size_t bytes, stream in) {
    lock held(here->mutex_);
    ++here->counts_.copies_peer, ++here->counts_.copy_calls;
    if (gone() != success) return gone();
    std::byte *const target = here->at(to, bytes);
    const std::byte *const source = here->at(from, bytes);
    fake_cuda::queue *const found = here->find(in);
    if (target == nullptr || source == nullptr || found == nullptr) return invalid_value;
    const fake_cuda::mapping &of = std::prev(here->mapped_.upper_bound(from))->second;
    if (of.devices.count(found->device) == 0) return invalid_value;
    return here->copy(target, source, bytes, nullptr, in, held);
  }
  /// All of them, or none.
  static status copy_batch(device_pointer *to, device_pointer *from, size_t *bytes, size_t count,
                           copy_attributes *how, size_t *first_of_each, size_t how_count,
                           stream in) {
    if (count == 0 || how_count != 1 || first_of_each[0] != 0 ||
        how->source_access_order != source_access_in_stream_order) {
      return invalid_value;
    }
    {
      const lock held(here->mutex_);
      ++here->counts_.batches;
      if (gone() != success) return gone();
      if (here->refuse_in_ != 0 && here->refuse_in_ <= count) return invalid_value;
      for (size_t i = 0; i < count; ++i) {
        if (!here->is_device(to[i]) && !here->is_device(from[i])) return invalid_value;
      }
    }
    for (size_t i = 0; i < count; ++i) {
      const bool in_device = here->locked_is_device(to[i]),
                 of_device = here->locked_is_device(from[i]);
      const status came =
          in_device && of_device ? copy(to[i], from[i], bytes[i], in)
          : in_device ? copy_in(to[i], reinterpret_cast<const void *>(from[i]), bytes[i], in)
                      : copy_out(reinterpret_cast<void *>(to[i]), from[i], bytes[i], in);
      if (came != success) return came;
    }
    const lock held(here->mutex_);
    here->counts_.copy_calls -= count - 1;
    return success;
  }
  static status can_access_peer(int *can, device_id, device_id) {
    return *can = here->options_.peers ? 1 : 0, success;
  }

  static status host_register(void *base, size_t bytes, unsigned) {
    const lock held(here->mutex_);
    if (const status why = unsafe(); why != success) return why;
    if (here->no_registration_) return not_permitted;
    const auto at = reinterpret_cast<uintptr_t>(base);
    for (const auto &[first, size] : here->registered_) {
      if (at < first + size && first < at + bytes) return host_memory_already_registered;
    }
    here->registered_[at] = bytes;
    ++here->counts_.registered, ++here->counts_.registrations;
    return success;
  }
  static status host_unregister(void *base) {
    const lock held(here->mutex_);
    if (here->registered_.erase(reinterpret_cast<uintptr_t>(base)) == 0) {
      return host_memory_not_registered;
    }
    --here->counts_.registered;
    return success;
  }

  static status host_device_pointer(device_pointer *out, void *base, unsigned) {
    const lock held(here->mutex_);
    if (gone() != success) return gone();
    if (here->no_addresses_ || !here->is_registered(base, 1)) return invalid_value;
    const auto at = reinterpret_cast<uintptr_t>(base);
    return *out = here->options_.host_addresses ? at : at | elsewhere_bit, success;
  }

  // Any image will do: a kernel is the processor's twin of that name.
  static status module_load(module_handle *out, const void *image) {
    if (image == nullptr || current_device() < 0) return invalid_value;
    const lock held(here->mutex_);
    return *out = reinterpret_cast<module_handle>(here->next_handle_++), gone();
  }
  static status module_unload(module_handle) { return success; }
  static status module_function(function_handle *out, module_handle, const char *name) {
    const kernel_twin *const found = find_twin(name);
    if (found == nullptr) return invalid_value;
    return *out = reinterpret_cast<function_handle>(const_cast<kernel_twin *>(found)), success;
  }
  static status launch(function_handle what, unsigned blocks_x, unsigned blocks_y, unsigned,
                       unsigned threads_x, unsigned, unsigned, unsigned, stream in,
                       void **parameters, void **) {
    lock held(here->mutex_);
    if (gone() != success) return gone();
    fake_cuda::queue *found = here->find(in);
    if (found == nullptr || blocks_x * blocks_y * threads_x == 0) return invalid_value;
    const auto &twin = *reinterpret_cast<const kernel_twin *>(what);
    const auto *first = static_cast<const std::byte *>(parameters[0]);
    fake_cuda::command one;
    const bool idle = std::strcmp(twin.name, here->options_.idle_kernel) == 0;
    one.work = [idle, run = twin.run, work = std::vector(first, first + twin.parameter_bytes)] {
      if (!idle) run(*here, work.data());
    };
    ++here->counts_.launches;
    return here->push(*found, std::move(one), held);
  }

  static driver_table all() {
    return {init,
            driver_version,
            error_name,
            device_count,
            device_get,
            device_name,
            device_attribute,
            device_pci_id,
            context_retain,
            context_release,
            context_push,
            context_pop,
            exchange_capture_mode,
            priority_range,
            stream_create,
            stream_destroy,
            stream_synchronize,
            stream_wait_event,
            stream_is_capturing,
            event_create,
            event_destroy,
            event_record,
            event_query,
            memory_info,
            granularity,
            address_reserve,
            address_free,
            memory_create,
            memory_release,
            memory_map,
            memory_unmap,
            memory_set_access,
            pointer_attribute,
            fill,
            copy_in,
            copy_out,
            copy,
            host_register,
            host_unregister,
            host_device_pointer,
            can_access_peer,
            module_load,
            module_unload,
            module_function,
            launch,
            here->options_.batches ? copy_batch : nullptr,
            nullptr};
  }
};

fake_cuda::fake_cuda(const fake_cuda_options &with) : options_(with), random_(with.seed) {
  if (here != nullptr) std::abort();  // one at a time
  here = this;
  table_ = fake_calls::all();
  auto standard = std::make_unique<queue>();
  queue &one = *standard;
  queues_[default_stream] = std::move(standard);
  if (options_.threads) one.thread = std::thread([this, &one] { run_thread(one); });
}

fake_cuda::~fake_cuda() {
  {
    const std::lock_guard held(mutex_);
    for (auto &[number, one] : queues_) one->ending = true;
    changed_.notify_all();
  }
  for (auto &[number, one] : queues_) {
    if (one->thread.joinable()) one->thread.join();
  }
  for (const auto &[first, bytes] : reserved_) ::munmap(reinterpret_cast<void *>(first), bytes);
  here = nullptr;
}

fake_cuda::queue *fake_cuda::find(stream one) {
  const auto found = queues_.find(number_of(one));
  return found == queues_.end() ? nullptr : found->second.get();
}

std::byte *fake_cuda::at(uint64_t address, uint64_t bytes, int *device) {
  auto found = mapped_.upper_bound(address);
  if (found == mapped_.begin()) return nullptr;
  --found;
  const auto &[first, one] = *found;
  if (!one.accessible || address + bytes > first + one.bytes) return nullptr;
  physical &memory = memory_.at(one.handle);
  if (device != nullptr) *device = memory.device;
  return memory.bytes.data() + (address - first);
}

void fake_cuda::drop(memory_handle handle) {
  physical &memory = memory_.at(handle);
  if (--memory.uses != 0) return;
  counts_.memory_bytes -= memory.bytes.size();
  memory_.erase(handle);
}

bool fake_cuda::is_registered(const void *base, uint64_t bytes) const {
  const auto at = reinterpret_cast<uintptr_t>(base);
  auto found = registered_.upper_bound(at);
  if (found == registered_.begin()) return false;
  --found;
  return at + bytes <= found->first + found->second;
}

status fake_cuda::copy(std::byte *to, const std::byte *from, uint64_t bytes, const void *host,
                       stream in, std::unique_lock<std::mutex> &lock) {
  if (lost_) return launch_failed;
  if (refuse_in_ != 0 && --refuse_in_ == 0) return invalid_value;
  queue *const found = find(in);
  if (found == nullptr) return invalid_handle;
  command one;
  one.what = command::kind::copy;
  one.to = to;
  one.from = from;
  one.bytes = bytes;
  one.turns = slow_turns_;
  const bool registered = host == nullptr || is_registered(host, bytes);
  if (found->capturing && !registered) return break_capture(capture_unsupported);
  if (!registered && host == from) {
    one.staged.assign(from, from + bytes);
    one.from = one.staged.data();
  }
  const status pushed = push(*found, std::move(one), lock);
  if (registered || pushed != success) return pushed;
  ++counts_.unregistered_copies;
  if (host == to) {  // the driver returns when the bytes are there
    ++counts_.host_syncs;
    finish(*found, lock);
  }
  return success;
}

bool fake_cuda::can_run(const queue &one) const {
  if (one.commands.empty() || one.running || held_ || lost_) return false;
  const command &first = one.commands.front();
  return first.what != command::kind::wait || first.mark->over;
}

void fake_cuda::run_first(queue &one, std::unique_lock<std::mutex> &lock) {
  command &first = one.commands.front();
  if (first.turns != 0) {
    --first.turns;
    if (!options_.threads) return;
    one.running = true;
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    lock.lock();
    one.running = false;
    return;
  }
  one.running = true;
  lock.unlock();
  if (first.what == command::kind::copy) copy_bytes(first.to, first.from, first.bytes);
  if (first.what == command::kind::fill) std::memset(first.to, first.value, first.bytes);
  if (first.what == command::kind::work) first.work();
  lock.lock();
  if (first.what == command::kind::record) first.mark->over = true;
  one.running = false;
  one.commands.pop_front();
  changed_.notify_all();
}

void fake_cuda::run_thread(queue &one) {
  std::unique_lock lock(mutex_);
  while (!one.ending) {
    if (can_run(one)) {
      run_first(one, lock);
    } else {
      changed_.wait(lock);
    }
  }
}

uint32_t fake_cuda::step_locked(uint32_t count, std::unique_lock<std::mutex> &lock) {
  for (uint32_t done = 0; done < count; ++done) {
    std::vector<queue *> ready;
    for (auto &[number, one] : queues_) {
      if (can_run(*one)) ready.push_back(one.get());
    }
    if (ready.empty()) return done;
    run_first(*ready[random_() % ready.size()], lock);
  }
  return count;
}

/// Until the stream has nothing left; one that is held or lost has that for good.
void fake_cuda::finish(queue &one, std::unique_lock<std::mutex> &lock) {
  while (!one.commands.empty() && !held_ && !lost_) {
    if (options_.threads) {
      changed_.wait(lock);
    } else if (step_locked(1, lock) == 0) {
      return;
    }
  }
}

uint64_t fake_cuda::make_stream(int device) {
  contexts.push_back(context_of(device));
  stream made = nullptr;
  if (fake_calls::stream_create(&made, 0, 0) != success) std::abort();
  contexts.pop_back();
  return number_of(made);
}

void fake_cuda::launch(uint64_t stream, std::function<void()> work) {
  std::unique_lock held(mutex_);
  command one;
  one.work = std::move(work);
  push(*queues_.at(stream), std::move(one), held);
}

void *fake_cuda::allocate(uint64_t bytes, int device) {
  const uint64_t rounded = (bytes + granule_bytes - 1) / granule_bytes * granule_bytes;
  allocation_properties of;
  of.location = {location_device, device};
  access_description may;
  may.flags = access_read_write;
  memory_handle handle = 0;
  device_pointer first = 0;
  if (fake_calls::memory_create(&handle, rounded, &of, 0) != success ||
      fake_calls::address_reserve(&first, rounded, granule_bytes, 0, 0) != success ||
      fake_calls::memory_map(first, rounded, 0, handle, 0) != success ||
      fake_calls::memory_set_access(first, rounded, &may, 1) != success) {
    std::abort();
  }
  fake_calls::memory_release(handle);
  return reinterpret_cast<void *>(first);
}

void fake_cuda::free(void *base) {
  const auto at = reinterpret_cast<uintptr_t>(base);
  uint64_t bytes = 0;
  {
    const std::lock_guard held(mutex_);
    bytes = mapped_.at(at).bytes;
  }
  if (fake_calls::memory_unmap(at, bytes) != success ||
      fake_calls::address_free(at, bytes) != success) {
    std::abort();
  }
}

void fake_cuda::read(const void *from, void *to, uint64_t bytes) {
  const std::lock_guard held(mutex_);
  const std::byte *const there = at(reinterpret_cast<uintptr_t>(from), bytes);
  if (there == nullptr) std::abort();
  std::memcpy(to, there, bytes);
}

void fake_cuda::write(void *to, const void *from, uint64_t bytes) {
  const std::lock_guard held(mutex_);
  std::byte *const there = at(reinterpret_cast<uintptr_t>(to), bytes);
  if (there == nullptr) std::abort();
  std::memcpy(there, from, bytes);
}

void *fake_cuda::reach(uint64_t address, uint64_t bytes) {
  const std::lock_guard held(mutex_);
  if (std::byte *const there = at(address, bytes); there != nullptr) return there;
  const bool elsewhere = (address & elsewhere_bit) != 0;
  void *const host = reinterpret_cast<void *>(address & ~elsewhere_bit);
  if (elsewhere == options_.host_addresses || !is_registered(host, bytes)) std::abort();
  return host;
}

/// False: what is in the stream does not end for longer than anybody is patient.
bool fake_cuda::has_room(queue &in, std::unique_lock<std::mutex> &lock) {
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.patience_ms);
  const auto wait_while = [&](const auto &so) {
    while (so() && !lost_) {
      if (options_.threads || held_up_) {
        if (changed_.wait_until(lock, until) == std::cv_status::timeout && so()) return false;
      } else if (step_locked(1, lock) == 0) {
        return false;
      }
    }
    return true;
  };
  if (!wait_while([&] { return held_up_; })) return false;
  if (in.commands.size() < options_.queued_max) return true;
  ++counts_.full_queues;
  held_up_ = true;
  const bool came = wait_while([&] { return in.commands.size() >= options_.queued_max; });
  held_up_ = false;
  changed_.notify_all();
  return came;
}

status fake_cuda::push(queue &to, command &&one, std::unique_lock<std::mutex> &lock) {
  if (to.capturing) {
    to.graph.push_back(std::move(one));
    return success;
  }
  if (!has_room(to, lock)) return launch_timeout;
  to.commands.push_back(std::move(one));
  counts_.queued_peak = std::max<uint64_t>(counts_.queued_peak, to.commands.size());
  changed_.notify_all();
  return success;
}

void fake_cuda::capture(uint64_t stream, bool on) {
  const std::lock_guard held(mutex_);
  queue &of = *queues_.at(stream);
  if (of.capturing == on) return;
  of.capturing = on;
  on ? ++captures_ : --captures_;
  if (on) of.graph.clear();
}

void fake_cuda::replay(uint64_t stream) {
  const std::lock_guard held(mutex_);
  queue &of = *queues_.at(stream);
  for (const command &one : of.graph) of.commands.push_back(one);
  changed_.notify_all();
}

uint32_t fake_cuda::step(uint32_t count) {
  std::unique_lock lock(mutex_);
  return step_locked(count, lock);
}

void fake_cuda::set_progress(uint32_t steps_max) {
  const std::lock_guard held(mutex_);
  progress_max_ = steps_max;
}

void fake_cuda::refuse_copy(uint32_t number) {
  const std::lock_guard held(mutex_);
  refuse_in_ = number;
}

void fake_cuda::lose_device() {
  const std::lock_guard held(mutex_);
  lost_ = true;
  changed_.notify_all();
}

void fake_cuda::hold(bool on) {
  const std::lock_guard held(mutex_);
  held_ = on;
  changed_.notify_all();
}

void fake_cuda::slow_copies(uint32_t turns) {
  const std::lock_guard held(mutex_);
  slow_turns_ = turns;
}

void fake_cuda::take_elsewhere(uint64_t bytes) {
  const std::lock_guard held(mutex_);
  elsewhere_bytes_ = bytes;
}

void fake_cuda::refuse_registration() {
  const std::lock_guard held(mutex_);
  no_registration_ = true;
}

void fake_cuda::refuse_host_addresses(bool on) {
  const std::lock_guard held(mutex_);
  no_addresses_ = on;
}

fake_cuda::counters fake_cuda::count() {
  const std::lock_guard held(mutex_);
  return counts_;
}

}  // namespace cubby_test
