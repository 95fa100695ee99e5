#include "placement/policy.hpp"

#include <array>

#include "placement/lfu.hpp"
#include "placement/lru.hpp"

namespace cubby::placement {

namespace {
constexpr std::array<const char *, 3> names = {"auto", "lru", "lfu"};
}  // namespace

std::span<const char *const> policy_names() { return names; }

std::unique_ptr<policy> make_policy(std::string_view name, const policy_config &config) {
  // "auto" is lfu for now; it is ours to change, so callers who want one policy name it.
  if (name == "auto" || name == "lfu") return std::make_unique<lfu>(config);
  if (name == "lru") return std::make_unique<lru>(config);
  return nullptr;
}

}  // namespace cubby::placement
