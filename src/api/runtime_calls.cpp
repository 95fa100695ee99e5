// Open, close, poll, load.
#include <dlfcn.h>

#include <new>
#include <utility>

#include "api/guard.hpp"
#include "api/in_process.hpp"
#include "api/policy_library.hpp"
#include "api/runtime.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

result<cubby_config> complete_config(const cubby_config *given) {
  cubby_config config{};
  config.struct_size = sizeof config;
  if (given != nullptr) {
    if (given->struct_size < 2 * sizeof(uint32_t)) {
      return fail(CUBBY_ERR_INVALID,
                  "cubby_config.struct_size is %u; set it to sizeof(cubby_config)",
                  given->struct_size);
    }
    config = read_struct(*given);
  }
  if (config.abi_version != 0 && config.abi_version != CUBBY_ABI_VERSION) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "the program was built for version %u of cubby.h, this "
                "library has %u",
                config.abi_version, CUBBY_ABI_VERSION);
  }
  if (config.pump > CUBBY_PUMP_CALLER || config.verify > CUBBY_VERIFY_OFF) {
    return fail(CUBBY_ERR_INVALID, "cubby_config: pump %u, verify %u are not known", config.pump,
                config.verify);
  }
  if (config.tickets_max == 0) config.tickets_max = 4096;
  if (config.tickets_max > 1u << 20) {
    return fail(CUBBY_ERR_INVALID, "cubby_config.tickets_max is %u; at most 1048576",
                config.tickets_max);
  }
  if (config.log_lines_max == 0) config.log_lines_max = 1024;
  return config;
}

/// The policy that the config names, which an instance can be made of.
result<const cubby_policy_ops *> usable_policy(const cubby_config &config) {
  const char *policy = config.policy == nullptr ? "auto" : config.policy;
  auto named = named_policy(policy);
  if (named.ok() && placement::make_policy(**named, {}) == nullptr) {
    return fail(CUBBY_ERR_NO_MEMORY,
                "policy %s could not be made; it found no memory for its tables, or refused (its "
                "create() is not to fail for a runtime without banks, docs/policies.md)",
                policy);
  }
  return named;
}

}  // namespace

cubby_status cubby_open(const cubby_config *given, cubby_handle **out) {
  if (out == nullptr) CUBBY_REFUSE("cubby_open: out is NULL");
  *out = nullptr;
  return guarded([&]() -> cubby_status {
    auto config = complete_config(given);
    if (!config) return keep_error(config.failure());
    auto policy = usable_policy(*config);
    if (!policy) return keep_error(policy.failure());
    auto profile = config->profile == nullptr
                       ? result<store::machine_profile>(store::machine_profile())
                       : store::machine_profile::load(config->profile);
    if (!profile) return keep_error(profile.failure());
    auto made = std::make_unique<cubby_handle>(*config, **policy);
    made->self.profile = std::move(*profile);
    if (const std::string &other = made->self.profile.other_machine(); !other.empty())
      made->self.log(1, 0, other);
    auto room = made->self.budgets.check_tables(0, "cubby_open");
    if (!room) return keep_error(room.failure());
    if (auto started = made->self.start(); !started) return keep_error(started.failure());
    *out = made.release();
    return CUBBY_OK;
  });
}

cubby_status cubby_close(cubby_handle *rt) {
  if (rt == nullptr) return CUBBY_OK;
  if (rt->self.forked()) {
    return keep_error(fail(CUBBY_ERR_FORKED,
                           "the runtime belongs to the parent process; only that "
                           "one may close it"));
  }
  if (!rt->self.shut_down()) return keep_error(rt->self.lost_io());
  const std::vector<void *> libraries = std::move(rt->self.libraries);
  delete rt;
  for (void *library : libraries) ::dlclose(library);
  return CUBBY_OK;
}

cubby_status cubby_poll(cubby_handle *rt, uint64_t now_ns, uint64_t *next_ns) {
  CUBBY_ENTER(rt);
  if (next_ns != nullptr) *next_ns = base::never_ns;
  if (!self.caller_pump()) {
    CUBBY_REFUSE("cubby_poll: the runtime has a thread of its own; open it with CUBBY_PUMP_CALLER");
  }
  return guarded([&]() -> cubby_status {
    if (self.try_advance(now_ns, next_ns, runtime::effort::all)) return CUBBY_OK;
    return keep_error(fail(CUBBY_ERR_BUSY, "another thread advances the runtime just now"));
  });
}

cubby_status cubby_backend_load(cubby_handle *rt, const char *library_path) {
  CUBBY_ENTER(rt);
  if (library_path == nullptr || library_path[0] == '\0') {
    CUBBY_REFUSE("cubby_backend_load: library_path is NULL or empty; name the backend's library");
  }
  return guarded([&]() -> cubby_status {
    void *library = ::dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      return keep_error(
          fail(CUBBY_ERR_INVALID, "%s could not be loaded: %s", library_path, ::dlerror()));
    }
    void *symbol = ::dlsym(library, CUBBY_BACKEND_ENTRY);
    result<tier::backend_kind> kind =
        symbol == nullptr
            ? result<tier::backend_kind>(fail(CUBBY_ERR_INVALID,
                                              "%s exports no " CUBBY_BACKEND_ENTRY
                                              "(); is it a backend of this library?",
                                              library_path))
            : tier::validate_backend(reinterpret_cast<cubby_backend_entry_fn>(symbol)());
    if (!kind) {
      ::dlclose(library);
      return keep_error(kind.failure());
    }
    const auto lock = self.hold_pump();
    try {
      base::make_room(self.libraries, self.libraries.size() + 1);
      self.backends.add(*kind);
    } catch (...) {
      ::dlclose(library);
      throw;
    }
    self.libraries.push_back(library);
    return CUBBY_OK;
  });
}

uint32_t cubby_policy_list(const char **names, uint32_t max_count) {
  const auto known = placement::policy_names();
  for (uint32_t i = 0; i < known.size() && i < max_count && names != nullptr; ++i)
    names[i] = known[i];
  return static_cast<uint32_t>(known.size());
}

cubby_status cubby::api::register_backend(cubby_handle *rt, const cubby_backend_ops *ops,
                                          void *user) {
  CUBBY_ENTER(rt);
  auto kind = tier::validate_backend(ops);
  if (!kind) return keep_error(kind.failure());
  kind->user = user;
  kind->in_process = true;
  const auto lock = self.hold_pump();
  if ((kind->ops.capabilities & CUBBY_CAP_VIRTUAL_CLOCK) != 0) self.virtual_clock = true;
  self.backends.add(*kind);
  return CUBBY_OK;
}

void cubby::api::set_close_patience(cubby_handle *rt, uint64_t patience_ns) {
  rt->self.close_patience_ns = patience_ns;
}
