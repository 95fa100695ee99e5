#include "cli/replay/policies.hpp"

#include <iterator>

namespace cubby_cli::replay {
namespace {

outcome<const cubby_policy_ops *> load_policy(const std::string &path) {
  char why[512] = {};
  const cubby_policy_ops *ops = cubby_policy_load(path.c_str(), why, sizeof why);
  if (ops == nullptr) return usage_trouble(why);
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
  if (names_library(name)) return load_policy(name);
  std::string names;
  for (const cubby_policy_ops *other : every_policy())
    names += (names.empty() ? "" : ", ") + std::string(other->name);
  return usage_trouble("there is no policy \"" + name + "\"; there are " + names +
                       ", all, and shared libraries by their path (LIB.so)");
}

namespace {

uint32_t flags_for(trace_kind kind) {
  switch (kind) {
    case trace_kind::experts:
      return CUBBY_POLICY_EXPERTS;
    case trace_kind::kv:
      return CUBBY_POLICY_KV;
    default:
      return CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV;
  }
}

/// Why it cannot be; empty when it can.
std::string unfit(const cubby_policy_ops &one, trace_kind kind) {
  const uint32_t wanted = flags_for(kind);
  if ((one.flags & wanted) != wanted)
    return std::string("policy ") + one.name + " is not made for traces of " + words_for(kind);
  if (kind == trace_kind::mixed && (one.flags & CUBBY_POLICY_OFFLINE) != 0)
    return std::string("policy ") + one.name +
           " knows the future but neither sizes nor costs, so it is no yardstick of a mixed trace; "
           "name others";
  return {};
}

}  // namespace

outcome<std::vector<const cubby_policy_ops *>> find_policies(const std::vector<std::string> &names,
                                                             trace_kind kind) {
  std::vector<const cubby_policy_ops *> found;
  for (const std::string &name : names) {
    if (name == "all") {
      for (const cubby_policy_ops *one : every_policy())
        if (unfit(*one, kind).empty()) found.push_back(one);
      continue;
    }
    const auto one = find_policy(name);
    if (!one) return one.failure();
    if (const std::string why = unfit(**one, kind); !why.empty()) return usage_trouble(why);
    found.push_back(*one);
  }
  return found;
}

}  // namespace cubby_cli::replay
