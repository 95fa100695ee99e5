#include "cli/replay/timing/mixed_timing.hpp"

#include <algorithm>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

timing_rules rules_of_blocks(timing_rules rules) {
  rules.object_bytes = rules.block_bytes;
  rules.compute_ns = rules.block_compute_ns;
  rules.in_turn = true;
  return rules;
}

json sum_of(const json &a, const json &b) {
  json sum = a;
  for (const auto &[name, value] : b.items())
    sum[name] = sum.value(name, uint64_t{0}) + value.get<uint64_t>();
  return sum;
}

}  // namespace

mixed_timing::mixed_timing(const course &of, const kv_trace &requests, const timing_rules &rules)
    : of_(of), experts_(*of.visits, rules), blocks_(requests, rules_of_blocks(rules)) {}

/// Each step begins when the one before has ended. Its moves have all come then, so the links that
/// both kinds share are idle, and each model may keep queues of its own.
void mixed_timing::used(uint64_t number, std::span<const cubby_object> used,
                        std::span<const cubby_object> missing) {
  in_request_ = of_.is_request(used);
  if (!in_request_) {
    experts_.used(number, used, missing);
    blocks_.wait_until(experts_.now_ns());
    return;
  }
  request_.clear();
  for (const cubby_object object : used) request_.push_back(number_of(object));
  blocks_.used(number, request_, {});  // what it lacks it finds by itself
  experts_.wait_until(blocks_.now_ns());
}

void mixed_timing::came(cubby_object object) {
  if (of_.is_block(object))
    blocks_.came(number_of(object));
  else
    experts_.came(object);
}

void mixed_timing::left(cubby_object object) {
  if (of_.is_block(object))
    blocks_.left(number_of(object));
  else
    experts_.left(object);
}

void mixed_timing::ended() {
  if (in_request_)
    blocks_.ended();
  else
    experts_.ended();
}

json mixed_timing::report() {
  const json experts = experts_.report(), blocks = blocks_.report();
  std::vector<stalls> waited = experts_.waited();
  waited.insert(waited.end(), blocks_.waited().begin(), blocks_.waited().end());
  const uint64_t time_ns = experts_.now_ns(), tokens = experts["tokens"];
  return {{"tokens", tokens},
          {"tokens_per_s",
           static_cast<double>(tokens) * 1e9 / static_cast<double>(std::max<uint64_t>(time_ns, 1))},
          {"time_ns", time_ns},
          {"requests", blocks["requests"]},
          {"first_token", blocks["first_token"]},
          {"stall", stall_report(waited, all_causes, time_ns)},
          {"bytes_by_cause", sum_of(experts["bytes_by_cause"], blocks["bytes_by_cause"])},
          {"bytes_by_link", sum_of(experts["bytes_by_link"], blocks["bytes_by_link"])}};
}

}  // namespace cubby_cli::replay
