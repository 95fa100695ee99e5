#include "cli/replay/policies.hpp"

#include <algorithm>
#include <filesystem>

namespace cubby_cli::replay {
namespace {

done known(const std::string &name) {
  std::error_code ignored;
  if (name == "all" || cubby_policy_find(name.c_str()) != nullptr ||
      (names_library(name) && std::filesystem::exists(name, ignored)))
    return nothing{};
  if (names_library(name)) {
    char why[512] = {};
    if (cubby_policy_load(name.c_str(), why, sizeof why) != nullptr) return nothing{};
    return usage_trouble(why);
  }
  return usage_trouble("there is no policy \"" + name + "\"; there are " + policy_names() +
                       ", all, and shared libraries by their path (LIB.so)");
}

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

/// The name behind "auto", which is the library's choice for what shares a tier.
const char *chosen_for(trace_kind kind, const std::string &name) {
  if (name != "auto" || kind == trace_kind::experts) return name.c_str();
  return kind == trace_kind::kv ? "kv" : "mixed";
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

void add(const replayed_policy &one, std::vector<replayed_policy> &to) {
  const bool there = std::any_of(
      to.begin(), to.end(), [&](const replayed_policy &other) { return other.ops == one.ops; });
  if (!there) to.push_back(one);
}

/// Two of one name would be ambiguous in the results.
void make_names_unique(std::vector<replayed_policy> &all) {
  for (replayed_policy &one : all) {
    const cubby_policy_ops *own = cubby_policy_find(one.ops->name);
    bool alone = own == nullptr || own == one.ops;
    for (const replayed_policy &other : all)
      alone = alone && (other.ops == one.ops || own == one.ops ||
                        std::string(other.ops->name) != one.ops->name);
    one.name = alone ? one.ops->name : one.asked;
  }
}

}  // namespace

std::vector<const cubby_policy_ops *> every_policy() {
  std::vector<const cubby_policy_ops *> all(cubby_policy_all(nullptr, 0));
  cubby_policy_all(all.data(), static_cast<uint32_t>(all.size()));
  return all;
}

std::string policy_names() {
  std::string names = "auto";
  for (const cubby_policy_ops *one : every_policy()) names += ", " + std::string(one->name);
  return names;
}

done check_policies(const std::vector<std::string> &names) {
  for (const std::string &name : names)
    if (auto good = known(name); !good) return good;
  return nothing{};
}

outcome<field> find_policies(const std::vector<std::string> &names, trace_kind kind) {
  field found;
  found.broken = nlohmann::json::array();
  for (const std::string &name : names) {
    if (name == "all") {
      for (const cubby_policy_ops *one : every_policy())
        if (unfit(*one, kind).empty()) add({one, one->name, one->name}, found.policies);
      continue;
    }
    const cubby_policy_ops *one = cubby_policy_find(chosen_for(kind, name));
    char why[512] = {};
    if (one == nullptr) one = cubby_policy_load(name.c_str(), why, sizeof why);
    if (one == nullptr) {
      found.broken.push_back({{"policy", name}, {"why", why}});
      continue;
    }
    if (const std::string why_not = unfit(*one, kind); !why_not.empty())
      return usage_trouble(why_not);
    add({one, one->name, name}, found.policies);
  }
  if (found.policies.empty()) return usage_trouble(found.broken[0]["why"].get<std::string>());
  make_names_unique(found.policies);
  return found;
}

}  // namespace cubby_cli::replay
