#include "cli/replay/policies.hpp"

#include <dlfcn.h>

#include <iterator>

namespace cubby_cli::replay {
namespace {

/// The name of an operation that is needed and not there; empty when the table is whole.
std::string missing_operation(const cubby_policy_ops &of) {
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
  return {};
}

outcome<const cubby_policy_ops *> load_policy(const std::string &path) {
  // A bare name would be looked for in the system's folders, not in this one.
  const std::string named = path.find('/') == std::string::npos ? "./" + path : path;
  void *library = ::dlopen(named.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char *why = ::dlerror();
    return usage_trouble(path + " could not be loaded: " + (why == nullptr ? "no reason" : why));
  }
  void *symbol = ::dlsym(library, CUBBY_POLICY_ENTRY);
  if (symbol == nullptr)
    return usage_trouble(path + " exports no " CUBBY_POLICY_ENTRY
                                "(); define it with C linkage and default visibility, as "
                                "examples/policy does");
  const cubby_policy_ops *ops = reinterpret_cast<cubby_policy_entry_fn>(symbol)();
  if (ops == nullptr) return usage_trouble(path + ": " CUBBY_POLICY_ENTRY "() gave no table");
  if (ops->abi_version != CUBBY_POLICY_ABI_VERSION)
    return usage_trouble(path + " was made for version " + std::to_string(ops->abi_version) +
                         " of policy.h, this is " + std::to_string(CUBBY_POLICY_ABI_VERSION));
  if (ops->struct_size < sizeof(cubby_policy_ops))
    return usage_trouble(path + ": its table has " + std::to_string(ops->struct_size) + " bytes, " +
                         std::to_string(sizeof(cubby_policy_ops)) + " are expected");
  if (ops->name == nullptr || *ops->name == 0)
    return usage_trouble(path + ": its policy has no name");
  const std::string missing = missing_operation(*ops);
  if (!missing.empty()) return usage_trouble(path + ": its policy has no " + missing + "()");
  return ops;
}

}  // namespace

std::vector<const cubby_policy_ops *> every_policy() {
  std::vector<const cubby_policy_ops *> all(cubby_policy_all(nullptr, 0));
  cubby_policy_all(all.data(), static_cast<uint32_t>(all.size()));
  return all;
}

outcome<const cubby_policy_ops *> find_policy(const std::string &name) {
  if (const cubby_policy_ops *known = cubby_policy_find(name.c_str())) return known;
  if (name.find('/') != std::string::npos || name.ends_with(".so")) return load_policy(name);
  std::string names;
  for (const cubby_policy_ops *other : every_policy())
    names += (names.empty() ? "" : ", ") + std::string(other->name);
  return usage_trouble("there is no policy \"" + name + "\"; there are " + names +
                       ", all, and shared libraries by their path (LIB.so)");
}

outcome<std::vector<const cubby_policy_ops *>> find_policies(const std::vector<std::string> &names,
                                                             bool of_experts) {
  std::vector<const cubby_policy_ops *> found;
  const uint32_t wanted = of_experts ? CUBBY_POLICY_EXPERTS : CUBBY_POLICY_KV;
  for (const std::string &name : names) {
    if (name == "all") {
      for (const cubby_policy_ops *one : every_policy())
        if ((one->flags & wanted) != 0) found.push_back(one);
      continue;
    }
    const auto one = find_policy(name);
    if (!one) return one.failure();
    if (((*one)->flags & wanted) == 0)
      return usage_trouble(std::string("policy ") + (*one)->name + " is not made for traces of " +
                           (of_experts ? "experts" : "KV blocks"));
    found.push_back(*one);
  }
  return found;
}

}  // namespace cubby_cli::replay
