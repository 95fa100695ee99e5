#include "tier/backend_instance.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/no_thread.hpp"

namespace cubby::tier {

result<backend_kind> validate_backend(const cubby_backend_ops *ops) {
  if (ops == nullptr) return fail(CUBBY_ERR_INVALID, "the backend has no table of operations");
  if (ops->struct_size < offsetof(cubby_backend_ops, open)) {
    return fail(CUBBY_ERR_INVALID, "the backend's table of operations says it has %u bytes",
                ops->struct_size);
  }
  backend_kind kind;
  std::memcpy(&kind.ops, ops, std::min<size_t>(sizeof kind.ops, ops->struct_size));
  const cubby_backend_ops &o = kind.ops;
  const char *name = o.name != nullptr && o.name[0] != '\0' ? o.name : "(nameless)";
  if (o.abi_version != CUBBY_BACKEND_ABI_VERSION) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "backend %s was built for version %u of backend.h, this library has %u; build it "
                "again with this library's header",
                name, o.abi_version, CUBBY_BACKEND_ABI_VERSION);
  }
  const bool memory = (o.capabilities & CUBBY_CAP_MEMORY) != 0;
  const bool files = (o.capabilities & CUBBY_CAP_FILES) != 0;
  const char *missing = o.name == nullptr || o.name[0] == '\0' ? "name"
                        : memory == files    ? "exactly one of CUBBY_CAP_MEMORY and CUBBY_CAP_FILES"
                        : o.open == nullptr  ? "open"
                        : o.close == nullptr ? "close"
                        : o.describe == nullptr                 ? "describe"
                        : o.submit == nullptr                   ? "submit"
                        : o.reap == nullptr                     ? "reap"
                        : o.wait == nullptr                     ? "wait"
                        : memory && o.memory_reserve == nullptr ? "memory_reserve"
                        : memory && o.memory_release == nullptr ? "memory_release"
                        : files && o.file_open == nullptr       ? "file_open"
                        : files && o.file_stat == nullptr       ? "file_stat"
                        : files && o.file_close == nullptr      ? "file_close"
                                                                : nullptr;
  if (missing != nullptr) return fail(CUBBY_ERR_INVALID, "backend %s lacks %s", name, missing);
  return kind;
}

result<std::unique_ptr<backend_instance>> backend_instance::open(
    const backend_kind &kind, const cubby_backend_services &services,
    const cubby_backend_config &config) {
  cubby_backend_config with_user = config;
  with_user.user = kind.user;
  // Allocated before the backend is opened: when memory runs out here, nothing stays open.
  std::unique_ptr<backend_instance> made(new backend_instance(kind.ops));
  const int32_t status = kind.ops.open(&services, &with_user, &made->self_);
  if (status != 0) {
    made->self_ = nullptr;
    if (status == -EAGAIN)
      return base::no_thread(
          EAGAIN, format_text("tier %s: a thread of backend %s",
                              config.name == nullptr ? "(nameless)" : config.name, kind.ops.name));
    return fail_errno(-status, "tier %s: backend %s could not be opened; the log says why",
                      config.name == nullptr ? "(nameless)" : config.name, kind.ops.name);
  }
  made->device_ = config.device;
  const cubby_backend_info &info = made->refresh_info();
  const bool align_ok = info.align_bytes != 0 && (info.align_bytes & (info.align_bytes - 1)) == 0;
  if (!align_ok || info.queue_depth == 0 || info.io_bytes_max == 0) {
    return fail(CUBBY_ERR_INVALID, "backend %s describes itself with impossible values",
                kind.ops.name);
  }
  return made;
}

backend_instance::~backend_instance() {
  if (self_ != nullptr) ops_.close(self_);
}

const cubby_backend_info &backend_instance::refresh_info() {
  cubby_backend_info seen{};
  seen.struct_size = sizeof seen;
  if (ops_.describe(self_, &seen) == 0) info_ = seen;
  info_.io[sizeof info_.io - 1] = '\0';
  info_.why[sizeof info_.why - 1] = '\0';
  return info_;
}

result<cubby_backend_memory> backend_instance::reserve(uint64_t bytes) {
  cubby_backend_memory memory{};
  memory.struct_size = sizeof memory;
  const int32_t status = ops_.memory_reserve(self_, bytes, &memory);
  if (status == 0) return memory;
  if (status == -EINVAL) {
    return fail_errno(
        EINVAL,
        "backend %s cannot give memory as it was asked for, likely because numa_nodes "
        "names a node that the machine has not; the log says which",
        ops_.name);
  }
  if ((info_.capabilities & CUBBY_CAP_DEVICE_ADDRESSABLE) != 0) {
    error failure = fail_errno(-status,
                               "backend %s cannot give %llu bytes of device memory; lower the "
                               "budget: the log says how much is free",
                               ops_.name, static_cast<unsigned long long>(bytes));
    failure.needed_bytes = bytes;
    return failure;
  }
  error failure = fail_errno(-status,
                             "backend %s cannot give %llu bytes of memory; lower the budget, or "
                             "raise the limit that stands in the way (ulimit -v, the cgroup's "
                             "memory.max)",
                             ops_.name, static_cast<unsigned long long>(bytes));
  failure.needed_bytes = bytes;
  return failure;
}

result<void> backend_instance::check_memory(const void *base, uint64_t bytes) {
  const int32_t status = ops_.memory_check(self_, base, bytes);
  if (status == 0) return {};
  return fail_errno(-status,
                    "the lent memory is not of the device of backend %s; look at the region's "
                    "base, its size and its device",
                    ops_.name);
}

bool backend_instance::register_memory(void *base, uint64_t bytes) {
  return ops_.memory_register != nullptr && ops_.memory_register(self_, base, bytes) == 0;
}

result<uint64_t> backend_instance::address_in_device(const void *base) {
  uint64_t address = reinterpret_cast<uintptr_t>(base);
  if (ops_.memory_address == nullptr) return address;
  const int32_t status = ops_.memory_address(self_, base, &address);
  if (status == 0) return address;
  return fail_errno(
      -status, "the device of backend %s does not reach host memory; the log says why", ops_.name);
}

void backend_instance::unregister_memory(void *base, uint64_t bytes) {
  if (ops_.memory_unregister != nullptr) ops_.memory_unregister(self_, base, bytes);
}

result<cubby_backend_file> backend_instance::open_file(const char *path, uint32_t flags) {
  cubby_backend_file file{};
  file.struct_size = sizeof file;
  const int32_t status = ops_.file_open(self_, path, flags, &file);
  if (status != 0) {
    return fail_errno(-status, "%s could not be opened%s", path[0] == '\0' ? "\"\"" : path,
                      open_remedy(-status));
  }
  if (file.file == 0) {
    return fail(CUBBY_ERR_IO,
                "%s: backend %s gave it the number 0, which stands for no file; the backend needs "
                "mending",
                path, ops_.name);
  }
  return file;
}

result<cubby_backend_file> backend_instance::stat_file(uint32_t file) {
  cubby_backend_file seen{};
  seen.struct_size = sizeof seen;
  const int32_t status = ops_.file_stat(self_, file, &seen);
  if (status != 0) return fail_errno(-status, "an open file could not be looked at");
  return seen;
}

}  // namespace cubby::tier
