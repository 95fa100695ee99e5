// A third-party policy: a shared library that is checked against policy.h before it is used.
#include "api/policy_library.hpp"

#include <cubby/policy.h>
#include <dlfcn.h>

#include <cstring>
#include <new>
#include <utility>

#include "placement/policy.hpp"

namespace cubby::api {
namespace {

/// The name of an operation that is needed and not there; nullptr when the table is whole.
const char *missing_operation(const cubby_policy_ops &of) {
  const std::pair<const char *, bool> needed[] = {
      {"create", of.create == nullptr},
      {"destroy", of.destroy == nullptr},
      {"visit", of.visit == nullptr},
      {"access", of.access == nullptr},
      {"inserted", of.inserted == nullptr},
      {"removed", of.removed == nullptr},
      {"begin_victims", of.begin_victims == nullptr},
      {"next_victim", of.next_victim == nullptr},
      {"grow", of.grow == nullptr},
      {"stats", of.stats == nullptr},
  };
  for (const auto &[name, missing] : needed)
    if (missing) return name;
  return nullptr;
}

result<const cubby_policy_ops *> look_at(const char *path, const cubby_policy_ops *ops) {
  if (ops == nullptr)
    return fail(CUBBY_ERR_INVALID, "%s: " CUBBY_POLICY_ENTRY "() gave no table", path);
  if (ops->abi_version != CUBBY_POLICY_ABI_VERSION)
    return fail(CUBBY_ERR_INVALID,
                "%s was made for version %u of policy.h, this is %u; compile it against "
                "this one",
                path, ops->abi_version, CUBBY_POLICY_ABI_VERSION);
  if (ops->struct_size < sizeof(cubby_policy_ops))
    return fail(CUBBY_ERR_INVALID, "%s: its table has %u bytes, %zu are expected", path,
                ops->struct_size, sizeof(cubby_policy_ops));
  if (ops->name == nullptr || *ops->name == 0)
    return fail(CUBBY_ERR_INVALID, "%s: its policy has no name", path);
  if (const char *missing = missing_operation(*ops))
    return fail(CUBBY_ERR_INVALID, "%s: its policy has no %s()", path, missing);
  return ops;
}

bool is_library(const std::string &name) {
  return name.find('/') != std::string::npos || name.ends_with(".so");
}

}  // namespace

result<const cubby_policy_ops *> load_policy(const std::string &path) {
  // A bare name would be looked for in the system's folders, not in this one.
  const std::string named = path.find('/') == std::string::npos ? "./" + path : path;
  void *library = ::dlopen(named.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char *why = ::dlerror();
    return fail(CUBBY_ERR_INVALID, "policy library %s could not be loaded: %s", path.c_str(),
                why == nullptr ? "no reason is known" : why);
  }
  void *symbol = ::dlsym(library, CUBBY_POLICY_ENTRY);
  if (symbol == nullptr)
    return fail(CUBBY_ERR_INVALID,
                "%s exports no " CUBBY_POLICY_ENTRY
                "(); define it with C linkage and default visibility",
                path.c_str());
  return look_at(path.c_str(), reinterpret_cast<cubby_policy_entry_fn>(symbol)());
}

result<const cubby_policy_ops *> named_policy(const std::string &name) {
  if (is_library(name)) {
    auto loaded = load_policy(name);
    if (loaded.ok() && ((*loaded)->flags & CUBBY_POLICY_OFFLINE) != 0)
      return fail(CUBBY_ERR_INVALID,
                  "policy %s of %s needs the future, which a runtime cannot tell", (*loaded)->name,
                  name.c_str());
    return loaded;
  }
  if (const cubby_policy_ops *known = placement::runtime_policy(name)) return known;
  return fail(
      CUBBY_ERR_INVALID,
      "there is no policy \"%s\"; cubby_policy_list() names them, and a library is named by "
      "its path",
      name.c_str());
}

}  // namespace cubby::api

const cubby_policy_ops *cubby_policy_load(const char *library_path, char *why,
                                          uint64_t why_bytes) try {
  auto loaded = library_path == nullptr
                    ? cubby::result<const cubby_policy_ops *>(
                          cubby::fail(CUBBY_ERR_INVALID, "no path was given to cubby_policy_load"))
                    : cubby::api::load_policy(library_path);
  if (loaded.ok()) return *loaded;
  if (why != nullptr && why_bytes != 0) {
    const std::string &text = loaded.failure().text;
    const uint64_t length = std::min<uint64_t>(text.size(), why_bytes - 1);
    std::memcpy(why, text.data(), length);
    why[length] = 0;
  }
  return nullptr;
} catch (const std::bad_alloc &) {
  if (why != nullptr && why_bytes != 0) *why = 0;
  return nullptr;
}
