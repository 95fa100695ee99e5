#include "api/backend_list.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include "api/builtin_backends.hpp"

namespace cubby::api {
namespace {

/// What would let io_uring be opened, after this errno.
const char *ring_remedy(int native) {
  switch (native) {
    case EMFILE:
    case ENFILE:
      return "raise ulimit -n";
    case ENOMEM:
      return "raise the locked memory limit, ulimit -l";
    default:
      return "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile, "
             "or set kernel.io_uring_disabled=0";
  }
}

}  // namespace

result<tier::backend_kind> backend_list::find(const std::string &name) const {
  for (const tier::backend_kind &kind : loaded_) {
    if (name == kind.ops.name) return kind;
  }
  if (const cubby_backend_ops *ops = builtin_backend(name.c_str())) {
    return tier::validate_backend(ops);
  }
  const char *hint = name == "uring"
                         ? "this build has no io_uring; install liburing-dev and build "
                           "again, or name \"file\" or \"threadpool\""
                         : "known are \"host\", \"file\", \"uring\", \"threadpool\", \"cuda\" and "
                           "what cubby_backend_load() has loaded";
  return fail(CUBBY_ERR_NOT_SUPPORTED, "there is no backend \"%s\": %s", name.c_str(), hint);
}

result<opened_files> backend_list::open(const tier::backend_kind &kind, const std::string &name,
                                        std::string note) const {
  cubby_backend_config with{};
  with.struct_size = sizeof with;
  with.device = -1;
  with.name = name.c_str();
  auto opened = tier::backend_instance::open(kind, services_, with);
  if (!opened) return opened.failure();
  return opened_files{std::move(*opened), std::move(note)};
}

result<opened_files> backend_list::open_files(const std::string &asked,
                                              const std::string &name) const {
  if (asked != "file") {
    auto kind = find(asked);
    if (!kind) return kind.failure();
    return open(*kind, name);
  }
  for (const tier::backend_kind &kind : loaded_) {
    // A program's own file backend is its whole world (a simulator).
    if (kind.in_process && (kind.ops.capabilities & CUBBY_CAP_FILES) != 0) return open(kind, name);
  }
  std::string note = "built without liburing: files are read by a pool of threads";
  if (const cubby_backend_ops *ops = builtin_backend("uring")) {
    auto kind = tier::validate_backend(ops);
    if (!kind) return kind.failure();
    auto opened = open(*kind, name);
    if (opened) return opened;
    const int native = opened.failure().native;
    note = "io_uring could not be used (" + std::string(std::strerror(native)) +
           "), so files are read by a pool of threads; " + ring_remedy(native);
    services_.log(services_.context, 1, ("tier " + name + ": " + note).c_str());
  }
  auto kind = tier::validate_backend(builtin_backend("threadpool"));
  if (!kind) return kind.failure();
  return open(*kind, name, std::move(note));
}

}  // namespace cubby::api
