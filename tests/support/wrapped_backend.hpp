// A backend around another one: what it does not change goes to the inner one.
#pragma once

#include <cubby/backend.h>

#include <memory>

namespace cubby_test {

template <class Instance>
Instance &instance_of(cubby_backend *self) {
  return *reinterpret_cast<Instance *>(self);
}

/// The operations of an `Instance` around `inner_of()`. It has `inner_ops` and `inner`, takes the
/// user's pointer by set_user(), and has submit() and reap() of its own.
template <class Instance, const cubby_backend_ops *(*inner_of)()>
cubby_backend_ops wrapped_backend(const char *name) {
  cubby_backend_ops ops = *inner_of();
  ops.name = name;
  ops.open = [](const cubby_backend_services *services, const cubby_backend_config *config,
                cubby_backend **out) {
    auto made = std::make_unique<Instance>();
    made->inner_ops = inner_of();
    made->set_user(config->user);
    const int32_t status = made->inner_ops->open(services, config, &made->inner);
    if (status == 0) *out = reinterpret_cast<cubby_backend *>(made.release());
    return status;
  };
  ops.close = [](cubby_backend *self) {
    Instance &here = instance_of<Instance>(self);
    here.inner_ops->close(here.inner);
    delete &here;
  };
  ops.describe = [](cubby_backend *self, cubby_backend_info *out) {
    const Instance &here = instance_of<Instance>(self);
    return here.inner_ops->describe(here.inner, out);
  };
  ops.memory_reserve = [](cubby_backend *self, uint64_t bytes, cubby_backend_memory *out) {
    const Instance &here = instance_of<Instance>(self);
    return here.inner_ops->memory_reserve(here.inner, bytes, out);
  };
  ops.memory_release = [](cubby_backend *self, const cubby_backend_memory *memory) {
    const Instance &here = instance_of<Instance>(self);
    here.inner_ops->memory_release(here.inner, memory);
  };
  ops.memory_register = nullptr;
  ops.memory_unregister = nullptr;
  ops.file_open = [](cubby_backend *self, const char *path, uint32_t flags,
                     cubby_backend_file *out) {
    const Instance &here = instance_of<Instance>(self);
    return here.inner_ops->file_open(here.inner, path, flags, out);
  };
  ops.file_stat = [](cubby_backend *self, uint32_t file, cubby_backend_file *out) {
    const Instance &here = instance_of<Instance>(self);
    return here.inner_ops->file_stat(here.inner, file, out);
  };
  ops.file_close = [](cubby_backend *self, uint32_t file) {
    const Instance &here = instance_of<Instance>(self);
    here.inner_ops->file_close(here.inner, file);
  };
  ops.submit = [](cubby_backend *self, uint64_t now_ns, const cubby_backend_io *ios,
                  uint32_t count) {
    return instance_of<Instance>(self).submit(now_ns, ios, count);
  };
  ops.reap = [](cubby_backend *self, uint64_t now_ns, cubby_backend_done *out, uint32_t max_count,
                uint64_t *next_ns) {
    return instance_of<Instance>(self).reap(now_ns, out, max_count, next_ns);
  };
  ops.wait = [](cubby_backend *self, uint64_t timeout_ns, int wake_fd) {
    const Instance &here = instance_of<Instance>(self);
    return here.inner_ops->wait(here.inner, timeout_ns, wake_fd);
  };
  ops.event_fd = [](cubby_backend *self) {
    const Instance &here = instance_of<Instance>(self);
    return here.inner_ops->event_fd == nullptr ? -1 : here.inner_ops->event_fd(here.inner);
  };
  return ops;
}

}  // namespace cubby_test
