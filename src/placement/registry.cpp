#include "placement/registry.hpp"

#include <algorithm>
#include <array>

namespace cubby::placement {

std::span<const cubby_policy_ops *const> all_policies() {
  static const std::array all = {&lru_ops(),        &per_layer_lru_ops(), &lfu_ops(),
                                 &lru2_ops(),       &arc_ops(),           &s3fifo_ops(),
                                 &sieve_ops(),      &tinylfu_ops(),       &gdsf_ops(),
                                 &random_ops(),     &moe_ops(),           &kv_ops(),
                                 &mixed_ops(),      &lookahead1_ops(),    &lookahead2_ops(),
                                 &lookahead4_ops(), &lookahead8_ops(),    &belady_ops()};
  return all;
}

const cubby_policy_ops *find_policy(std::string_view name) {
  if (name == "auto") return &default_policy({});  // callers who want one policy name it
  for (const cubby_policy_ops *one : all_policies())
    if (name == one->name) return one;
  return nullptr;
}

const cubby_policy_ops &default_policy(std::span<const cubby_policy_bank> banks) {
  const auto any = [&](uint32_t kind) {
    return std::any_of(banks.begin(), banks.end(),
                       [&](const cubby_policy_bank &bank) { return bank.kind == kind; });
  };
  if (!any(CUBBY_POLICY_BANK_KV)) return moe_ops();
  return any(CUBBY_POLICY_BANK_EXPERTS) ? mixed_ops() : kv_ops();
}

}  // namespace cubby::placement

extern "C" {

const cubby_policy_ops *cubby_policy_find(const char *name) {
  return name == nullptr ? nullptr : cubby::placement::find_policy(name);
}

uint32_t cubby_policy_all(const cubby_policy_ops **out, uint32_t max_count) {
  const auto all = cubby::placement::all_policies();
  for (uint32_t i = 0; out != nullptr && i < max_count && i < all.size(); ++i) out[i] = all[i];
  return static_cast<uint32_t>(all.size());
}
}
