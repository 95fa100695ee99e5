#include "cli/plan/read/given_options.hpp"

#include <string>
#include <vector>

namespace cubby_cli::plan {
namespace {

struct option {
  const char *name;
  bool given;
};

std::vector<option> of_experts(const plan_words &words) {
  const plan_words usual;
  return {{"--experts-alone", words.experts_alone},
          {"--expert-type", !words.expert_type.empty()},
          {"--hit", !words.hits.empty()},
          {"--routing", words.routing != usual.routing},
          {"--overlap", words.overlap != usual.overlap},
          {"--lookahead", words.lookahead.has_value()}};
}

std::vector<option> of_a_model(const plan_words &words) {
  const plan_words usual;
  std::vector<option> all = of_experts(words);
  const std::vector<option> others = {{"--geometry", !words.geometry.empty()},
                                      {"--kv", words.kv != usual.kv},
                                      {"--attention", words.attention != usual.attention},
                                      {"--dense-type", !words.dense_type.empty()},
                                      {"--devices", words.devices != usual.devices},
                                      {"--threads", words.threads != usual.threads},
                                      {"--budget", !words.budgets.empty()},
                                      {"--price", !words.prices.empty()},
                                      {"--endurance", !words.endurances.empty()},
                                      {"--price-usd", !words.price_usd.empty()},
                                      {"--usd-per-hour", !words.usd_per_hour.empty()},
                                      {"--watt", !words.watt.empty()},
                                      {"--background-watt", !words.background_watt.empty()},
                                      {"--years", words.years != usual.years},
                                      {"--usd-per-kwh", words.usd_per_kwh != usual.usd_per_kwh},
                                      {"--context", words.context.has_value()},
                                      {"--users", words.users != usual.users},
                                      {"--output", words.output != usual.output},
                                      {"--sessions", words.sessions.has_value()},
                                      {"--reuse", words.reuse != usual.reuse},
                                      {"--slo", !words.slo.empty()},
                                      {"--trace", !words.trace.empty()},
                                      {"--input-price", !words.input_price.empty()}};
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

std::vector<option> of_kv_blocks(const plan_words &words) {
  const plan_words usual;
  return {{"--kv-memory", words.kv_memory != usual.kv_memory},
          {"--kv-block-bytes", words.kv_block_bytes != usual.kv_block_bytes},
          {"--kv-store", !words.kv_store.empty()},
          {"--kv-own-ns", words.kv_own_ns != usual.kv_own_ns},
          {"--kv-limit", words.kv_limit.has_value()}};
}

/// The first that was given, or nothing.
std::string first_given(const std::vector<option> &of) {
  for (const option &one : of)
    if (one.given) return one.name;
  return {};
}

/// Two ways to say where experts are found.
done check_hits(const plan_words &words) {
  const bool routing = words.routing != plan_words().routing;
  const std::vector<option> ways = {
      {"--hit", !words.hits.empty()}, {"--routing", routing}, {"--trace", !words.trace.empty()}};
  std::string before;
  for (const auto &one : ways) {
    if (!one.given) continue;
    if (!before.empty())
      return usage_trouble(before + " and " + one.name +
                           " both tell which experts are found; give one of them");
    before = one.name;
  }
  return nothing{};
}

}  // namespace

done check_words(const plan_words &words) {
  if (const std::string name = first_given(of_kv_blocks(words)); !name.empty())
    return usage_trouble(name +
                         " is of a recording of KV blocks; name one with --kv-trace, or "
                         "leave it out");
  if (words.policy != plan_words().policy && words.trace.empty())
    return usage_trouble(
        "--policy is of the recording that --trace replays; name one, or leave "
        "it out");
  if (auto good = check_hits(words); !good) return good;
  if (!words.price_usd.empty() && !words.usd_per_hour.empty())
    return usage_trouble(
        "--price-usd is of a machine that is bought, --usd-per-hour of one that "
        "is rented; give one of them");
  if (words.lookahead && words.overlap != plan_words().overlap)
    return usage_trouble(
        "--lookahead tells by layers what --overlap tells by a share; give one of them");
  return nothing{};
}

done check_experts(const plan_words &words, const model_shape &of) {
  if (of.has_experts()) return nothing{};
  if (const std::string name = first_given(of_experts(words)); !name.empty())
    return usage_trouble(name + ": " + of.name + " has no experts; leave it out");
  return nothing{};
}

done check_kv_words(const plan_words &words) {
  if (const std::string name = first_given(of_a_model(words)); !name.empty())
    return usage_trouble("--kv-trace times a store by itself, and " + name +
                         " is of a plan for a model: leave it out, or plan for a model with "
                         "--reuse");
  return nothing{};
}

}  // namespace cubby_cli::plan
