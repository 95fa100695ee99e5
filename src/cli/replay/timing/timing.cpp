#include "cli/replay/timing/timing.hpp"

#include <algorithm>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

bool is_in(std::span<const cubby_object> some, cubby_object object) {
  return std::find(some.begin(), some.end(), object) != some.end();
}

}  // namespace

timing::timing(const expert_schedule &of, const timing_rules &rules)
    : of_(of),
      rules_(rules),
      host_(rules.host, rules.object_bytes),
      nvme_(rules.nvme, rules.object_bytes),
      in_host_(1, of.objects()),
      resident_(of.objects()),
      last_used_(of.rows) {}

void timing::used(uint64_t number, std::span<const cubby_object> used,
                  std::span<const cubby_object> missing) {
  const visit_record &visit = of_.visits[number];
  const bool same_token = begun_ && visit.row > last_row_;
  if (!same_token) {
    tokens_.push_back({});
    token_count_ += visit.route_count;
  }
  std::vector<move> moves;
  prefetch(visit.row, same_token, missing, moves);
  for (const cubby_object object : missing) {
    if (is_in(fetched_, object)) continue;
    ++demand_;
    moves.push_back(bring(object, now_ns_));
  }
  last_row_ = visit.row;
  begun_ = true;
  began_ns_ = now_ns_;
  missing_.assign(missing.begin(), missing.end());
  if (rules_.ahead == forecast::repeat) last_used_[visit.row].assign(used.begin(), used.end());
  gone_.clear();
  compute(static_cast<uint32_t>(used.size()), moves);
}

/// What was foretold while the layer before was computed, and was not there then. What has left
/// since was, so it was not asked for.
void timing::prefetch(uint32_t row, bool same_token, std::span<const cubby_object> missing,
                      std::vector<move> &moves) {
  fetched_.clear();
  if (rules_.ahead == forecast::none || !begun_) return;
  if (rules_.ahead == forecast::exact) {
    // The first layer of a token is not known before the last one's output.
    if (same_token) fetched_.assign(missing.begin(), missing.end());
  } else {
    fetched_ = last_used_[row];
  }
  std::erase_if(fetched_, [&](cubby_object object) {
    return resident_[object] != 0 || is_in(gone_, object);
  });
  for (const cubby_object object : fetched_) {
    const move made = bring(object, began_ns_);
    const bool useful = is_in(missing, object);
    ++(useful ? prefetch_used_ : prefetch_wasted_);
    if (useful) moves.push_back(made);
  }
}

move timing::bring(cubby_object object, uint64_t asked_ns) {
  const bool from_file =
      !rules_.host_has_all && in_host_.list_of(object) == cubby::placement::object_lists::nowhere;
  if (from_file) ++from_nvme_;
  return take_links(asked_ns, from_file ? &nvme_ : nullptr, host_);
}

/// Experts that are there go first, the others as they come; each takes its part of the layer.
void timing::compute(uint32_t used, std::vector<move> &moves) {
  std::sort(moves.begin(), moves.end(),
            [](const move &a, const move &b) { return a.host_ends < b.host_ends; });
  const auto part = [&](uint64_t done) { return rules_.compute_ns * done / used; };
  uint64_t done = used - moves.size();
  now_ns_ += part(done);
  for (const move &one : moves) {
    if (one.host_ends > now_ns_) wait_for(one, now_ns_, tokens_.back());
    now_ns_ += part(done + 1) - part(done);
    ++done;
  }
}

void timing::left(cubby_object object) {
  gone_.push_back(object);
  resident_[object] = 0;
  if (rules_.host_has_all || rules_.host_capacity == 0) return;
  ++write_back_;
  keep_in_host(object);
}

/// What came into the device leaves host memory; what only passed through is there now.
void timing::ended() {
  if (!rules_.host_has_all) {
    for (const cubby_object object : missing_) {
      if (resident_[object] != 0) {
        in_host_.take(object);
      } else {
        keep_in_host(object);
      }
    }
  }
}

void timing::keep_in_host(cubby_object object) {
  in_host_.take(object);
  if (rules_.host_capacity == 0) return;
  if (in_host_.size(0) == rules_.host_capacity) in_host_.take(in_host_.oldest(0));
  in_host_.renew(0, object);
}

json timing::report() {
  const auto time_ns = static_cast<double>(std::max<uint64_t>(now_ns_, 1));
  const uint64_t bytes = rules_.object_bytes;
  return {{"tokens", token_count_},
          {"tokens_per_s", static_cast<double>(token_count_) * 1e9 / time_ns},
          {"time_ns", now_ns_},
          {"host_capacity_lockers", rules_.host_has_all ? of_.objects() : rules_.host_capacity},
          {"stall", stall_report(tokens_, move_causes, now_ns_)},
          {"bytes_by_cause",
           {{"demand", demand_ * bytes},
            {"useful_prefetch", prefetch_used_ * bytes},
            {"wasted_prefetch", prefetch_wasted_ * bytes},
            {"write_back", write_back_ * bytes}}},
          {"bytes_by_link",
           {{"host", (demand_ + prefetch_used_ + prefetch_wasted_) * bytes},
            {"nvme", from_nvme_ * bytes}}}};
}

}  // namespace cubby_cli::replay
