// An opened backend: its table of operations, validated once, and the instance behind it.
#pragma once

#include <cubby/backend.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/result.hpp"

namespace cubby::tier {

/// A backend that may be opened, known by its name. The table is a full copy: members an older
/// backend does not have are NULL.
struct backend_kind {
  cubby_backend_ops ops{};
  void *user = nullptr;     // handed to its open(), for backends linked into the program
  bool in_process = false;  // registered by the program itself: has a world of its own
};

/// Checks a table of operations that a third party may have made. INVALID or NOT_SUPPORTED name the
/// member that is wrong.
result<backend_kind> validate_backend(const cubby_backend_ops *ops);

/// In the order of a device's streams: they wait for copies and are marked; copies also wait for
/// their marks.
enum class stream_support : uint8_t { none, waits, marked_copies };

/// The streams of an opened backend's device, for as long as that stands. backend.h says what the
/// calls do; they are made only where support() allows them.
class backend_streams {
 public:
  backend_streams(const cubby_backend_ops &ops, cubby_backend *self) : ops_(ops), self_(self) {}

  [[nodiscard]] stream_support support() const {
    if (ops_.stream_wait == nullptr || ops_.mark_record == nullptr || ops_.mark_passed == nullptr)
      return stream_support::none;
    return ops_.stream_wait_marked == nullptr ? stream_support::waits
                                              : stream_support::marked_copies;
  }
  [[nodiscard]] int32_t wait(uint64_t stream) const { return ops_.stream_wait(self_, stream); }
  [[nodiscard]] int32_t record_mark(uint64_t stream, uint64_t *mark) const {
    return ops_.mark_record(self_, stream, mark);
  }
  [[nodiscard]] int32_t passed(uint64_t mark) const { return ops_.mark_passed(self_, mark); }
  [[nodiscard]] int32_t wait_marked(uint64_t stream) const {
    return ops_.stream_wait_marked(self_, stream);
  }

 private:
  const cubby_backend_ops &ops_;
  cubby_backend *self_;
};

class backend_instance {
 public:
  /// Errors carry the backend's own errno; NOT_SUPPORTED and DENIED mean "not on this machine".
  static result<std::unique_ptr<backend_instance>> open(const backend_kind &kind,
                                                        const cubby_backend_services &services,
                                                        const cubby_backend_config &config);
  backend_instance(const backend_instance &) = delete;
  backend_instance &operator=(const backend_instance &) = delete;
  ~backend_instance();

  [[nodiscard]] const cubby_backend_info &info() const { return info_; }
  /// Asks again: some facts (a file system without O_DIRECT) show only in use.
  const cubby_backend_info &refresh_info();
  [[nodiscard]] bool can(uint32_t capability) const {
    return (info_.capabilities & capability) != 0;
  }
  [[nodiscard]] const char *name() const { return ops_.name; }

  result<cubby_backend_memory> reserve(uint64_t bytes);
  void release(const cubby_backend_memory &memory) { ops_.memory_release(self_, &memory); }
  /// Optional, costs only speed when refused. True: a device reaches it, see address_in_device().
  bool register_memory(void *base, uint64_t bytes);
  /// Where kernels find host memory that was registered; the host's own address where the backend
  /// says nothing else.
  result<uint64_t> address_in_device(const void *base);
  void unregister_memory(void *base, uint64_t bytes);

  result<cubby_backend_file> open_file(const char *path, uint32_t flags);
  result<cubby_backend_file> stat_file(uint32_t file);
  void close_file(uint32_t file) { ops_.file_close(self_, file); }

  uint32_t submit(uint64_t now_ns, const cubby_backend_io *ios, uint32_t count) {
    return ops_.submit(self_, now_ns, ios, count);
  }
  uint32_t reap(uint64_t now_ns, cubby_backend_done *out, uint32_t max_count, uint64_t *next_ns) {
    return ops_.reap(self_, now_ns, out, max_count, next_ns);
  }
  int32_t wait(uint64_t timeout_ns, int wake_fd) { return ops_.wait(self_, timeout_ns, wake_fd); }
  [[nodiscard]] int event_fd() const {
    return ops_.event_fd == nullptr ? -1 : ops_.event_fd(self_);
  }

  /// Of a device with memory that the caller may lend: is it that device's?
  [[nodiscard]] bool takes_device_memory() const { return ops_.memory_check != nullptr; }
  result<void> check_memory(const void *base, uint64_t bytes);
  [[nodiscard]] backend_streams streams() const { return {ops_, self_}; }
  /// Does it copy from frames that an instance of the same backend has on another device?
  [[nodiscard]] bool copies_from(const backend_instance &other) {
    if (ops_.copies_from == nullptr || ops_.copies_from != other.ops_.copies_from) return false;
    return ops_.copies_from(self_, std::max(other.device_, 0)) == 1;
  }
  /// As it was opened with; -1 = none.
  [[nodiscard]] int32_t device() const { return device_; }

 private:
  explicit backend_instance(const cubby_backend_ops &ops) : ops_(ops) {}

  cubby_backend_ops ops_;
  cubby_backend *self_ = nullptr;
  cubby_backend_info info_{};
  int32_t device_ = -1;
};

}  // namespace cubby::tier
