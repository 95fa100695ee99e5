#include "placement/policy.hpp"

#include <cerrno>
#include <new>
#include <vector>

namespace cubby::placement {
namespace {

cubby_policy_config abi_config(const policy_config &of) {
  cubby_policy_config config = {};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_POLICY_ABI_VERSION;
  config.banks = of.banks.data();
  config.bank_count = static_cast<uint32_t>(of.banks.size());
  config.object_count = of.object_count;
  config.budget_bytes = of.budget_bytes;
  config.slot_count = of.slot_count;
  config.demotes = of.demotes ? 1 : 0;
  config.seed = of.seed;
  return config;
}

bool for_runtimes(const cubby_policy_ops &of) { return (of.flags & CUBBY_POLICY_OFFLINE) == 0; }

}  // namespace

void policy::visit(std::span<const cubby_object> used, const visit_place &place,
                   std::span<const cubby_policy_route> routes) {
  const auto count = static_cast<uint32_t>(used.size());
  const cubby_policy_route all = {0, count, used.data()};
  if (routes.empty()) routes = {&all, 1};
  cubby_policy_visit event = {};
  event.struct_size = sizeof event;
  event.bank = place.bank;
  event.row = place.row;
  event.used = used.data();
  event.used_count = count;
  event.routes = routes.data();
  event.route_count = static_cast<uint32_t>(routes.size());
  event.number = visits_++;
  event.now_ns = place.now_ns;
  ops_.visit(instance_, &event);
}

void policy::visit_blocks(std::span<const cubby_object> used,
                          std::span<cubby_policy_access> accesses, const visit_place &place,
                          bool goes_on) {
  if ((ops_.flags & CUBBY_POLICY_KV) == 0 || ops_.access == nullptr) return visit(used, place);
  if (!goes_on || visits_ == 0) ++visits_;
  for (cubby_policy_access &one : accesses) {
    one.number = visits_ - 1;
    ops_.access(instance_, &one);
  }
}

bool policy::grow(const policy_config &config) {
  const cubby_policy_config as_it_stands = abi_config(config);
  return ops_.grow(instance_, &as_it_stands) == 0;
}

uint64_t policy::state_bytes() const {
  cubby_policy_stats stats = {};
  stats.struct_size = sizeof stats;
  ops_.stats(instance_, &stats);
  return stats.state_bytes;
}

std::span<const char *const> policy_names() {
  static const std::vector<const char *> names = [] {
    std::vector<const char *> made = {"auto"};
    for (const cubby_policy_ops *one : all_policies())
      if (for_runtimes(*one)) made.push_back(one->name);
    return made;
  }();
  return names;
}

const cubby_policy_ops *runtime_policy(std::string_view name) {
  const cubby_policy_ops *ops = find_policy(name);
  return ops != nullptr && for_runtimes(*ops) ? ops : nullptr;
}

std::unique_ptr<policy> make_policy(const cubby_policy_ops &ops, const policy_config &config,
                                    int32_t *status) {
  const cubby_policy_config as_it_stands = abi_config(config);
  cubby_policy *instance = nullptr;
  const int32_t came = ops.create(&as_it_stands, &instance);
  if (status != nullptr) *status = came;
  if (came != 0) return nullptr;
  auto *const made = new (std::nothrow) policy(ops, instance);
  if (made == nullptr) {
    ops.destroy(instance);
    if (status != nullptr) *status = -ENOMEM;
  }
  return std::unique_ptr<policy>(made);
}

}  // namespace cubby::placement
