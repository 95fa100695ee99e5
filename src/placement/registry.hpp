// Every policy of the library, by name. Each file that defines one exports its table here.
#pragma once

#pragma GCC visibility push(default)
#include <cubby/policy.h>
#pragma GCC visibility pop

#include <span>
#include <string_view>

namespace cubby::placement {

/// All of them: online ones first, offline ones last.
std::span<const cubby_policy_ops *const> all_policies();

/// nullptr when the name is unknown. "auto" is what default_policy() gives where nothing is known
/// of the banks.
const cubby_policy_ops *find_policy(std::string_view name);
/// The library's choice for the banks that share a tier: `moe`, `kv` for KV blocks alone, `mixed`
/// for both.
const cubby_policy_ops &default_policy(std::span<const cubby_policy_bank> banks);

const cubby_policy_ops &arc_ops();
const cubby_policy_ops &belady_ops();
const cubby_policy_ops &gdsf_ops();
const cubby_policy_ops &kv_ops();
const cubby_policy_ops &kv_part_ops();  // of `mixed`
const cubby_policy_ops &lfu_ops();
const cubby_policy_ops &lru_ops();
const cubby_policy_ops &lru2_ops();
const cubby_policy_ops &mixed_ops();
const cubby_policy_ops &moe_ops();
const cubby_policy_ops &per_layer_lru_ops();
const cubby_policy_ops &random_ops();
const cubby_policy_ops &s3fifo_ops();
const cubby_policy_ops &sieve_ops();
const cubby_policy_ops &tinylfu_ops();
/// Tokens ahead: 1, 2, 4 or 8.
const cubby_policy_ops &lookahead1_ops();
const cubby_policy_ops &lookahead2_ops();
const cubby_policy_ops &lookahead4_ops();
const cubby_policy_ops &lookahead8_ops();

}  // namespace cubby::placement
