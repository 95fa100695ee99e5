#include "cli/replay/timing/kv_timing.hpp"

#include <algorithm>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

bool has_no_times(const kv_trace &of) {
  return of.requests.empty() || of.requests.front().at_ns == of.requests.back().at_ns;
}

}  // namespace

kv_timing::kv_timing(const kv_trace &of, const timing_rules &rules)
    : of_(of),
      rules_(rules),
      back_to_back_(rules.in_turn || has_no_times(of)),
      at_(of.unique),
      in_host_(1, rules.host_has_all ? 0 : of.unique) {}

void kv_timing::used(uint64_t number, std::span<const cubby_object> used,
                     std::span<const cubby_object>) {
  request_ = used;
  for (const cubby_object object : used) at_[object].gone = false;
  const uint64_t begun_ns = of_.requests.front().at_ns;
  const uint64_t arrived_ns = back_to_back_ ? ended_ns_ : of_.requests[number].at_ns - begun_ns;
  const uint64_t free_ns = std::max(arrived_ns, ended_ns_);
  const size_t found = found_in(used);
  const split chosen = best_split(used, found, std::max(arrived_ns, computing_ns_), free_ns);
  stalls waited = {};
  uint64_t now_ns = free_ns;
  for (const move &one : chosen.loads)
    if (one.host_ends > now_ns) wait_for(one, now_ns, waited);
  computing_ns_ = now_ns;
  bring(used.first(chosen.loaded));
  waited[static_cast<size_t>(stall_cause::recompute)] = compute(used, found, chosen.loaded);
  ended_ns_ = now_ns + (used.size() - chosen.loaded) * rules_.compute_ns;
  busy_ns_ += ended_ns_ - free_ns;
  stalls_.push_back(waited);
  first_token_.push_back(ended_ns_ - arrived_ns);
  queued_.push_back(free_ns - arrived_ns);
}

/// The leading run of blocks that some tier has.
size_t kv_timing::found_in(std::span<const cubby_object> blocks) const {
  size_t found = 0;
  while (found < blocks.size() && (at_[blocks[found]].in_device || below(blocks[found]))) ++found;
  return found;
}

/// How many of the found blocks to load, so that the request ends soonest; as many as possible
/// among equals. The links are idle when it asks: what the request before it asked for has come.
kv_timing::split kv_timing::best_split(std::span<const cubby_object> blocks, size_t found,
                                       uint64_t asked_ns, uint64_t free_ns) const {
  link_queue host(rules_.host, rules_.object_bytes), nvme(rules_.nvme, rules_.object_bytes);
  split made;
  size_t loads = 0;
  uint64_t there_ns = free_ns, best_ns = free_ns + blocks.size() * rules_.compute_ns;
  for (size_t i = 0; i < found; ++i) {
    if (!at_[blocks[i]].in_device) {
      made.loads.push_back(take_links(asked_ns, host_has(blocks[i]) ? nullptr : &nvme, host));
      there_ns = std::max(there_ns, made.loads.back().host_ends);
    }
    const uint64_t ends_ns = there_ns + (blocks.size() - i - 1) * rules_.compute_ns;
    if (ends_ns > best_ns) continue;
    best_ns = ends_ns;
    made.loaded = i + 1;
    loads = made.loads.size();
  }
  made.loads.resize(loads);
  return made;
}

/// Counts where they were found, before host memory, which uses them now, gives any of them up.
void kv_timing::bring(std::span<const cubby_object> blocks) {
  std::vector<cubby_object> came;
  for (const cubby_object object : blocks) {
    if (at_[object].in_device) {
      ++in_device_;
    } else {
      ++(host_has(object) ? from_host_ : from_nvme_);
      came.push_back(object);
    }
  }
  if (rules_.host_has_all) return;
  for (const cubby_object object : came) keep_in_host(object);
}

/// Counts what is computed; the time that goes to what had been computed before.
uint64_t kv_timing::compute(std::span<const cubby_object> blocks, size_t found, size_t loaded) {
  uint64_t again = 0;
  for (const cubby_object object : blocks.subspan(loaded)) {
    ++(at_[object].known ? again : fresh_);
    at_[object].known = true;
  }
  again_ += again;
  by_choice_ += found - loaded;
  return again * rules_.compute_ns;
}

void kv_timing::left(cubby_object object) {
  at_[object].in_device = false;
  at_[object].gone = true;
  write_down(object);
}

/// What the device did not take in goes down too.
void kv_timing::ended() {
  for (const cubby_object object : request_)
    if (!at_[object].in_device && !at_[object].gone) write_down(object);
}

/// Once: a copy that lies below already is as good as the one that goes.
void kv_timing::write_down(cubby_object object) {
  if (below(object)) return;
  if (!rules_.host_has_all && rules_.host_capacity == 0 && !rules_.has_file()) return;
  ++write_back_;
  if (rules_.host_has_all)
    at_[object].in_host = true;
  else
    keep_in_host(object);
}

/// The longest unused makes room, and goes to the file unless it is there.
void kv_timing::keep_in_host(cubby_object object) {
  in_host_.take(object);
  if (rules_.host_capacity == 0) return write_to_file(object);
  if (in_host_.size(0) == rules_.host_capacity) {
    const cubby_object oldest = in_host_.oldest(0);
    in_host_.take(oldest);
    write_to_file(oldest);
  }
  in_host_.renew(0, object);
}

void kv_timing::write_to_file(cubby_object object) {
  if (!rules_.has_file() || at_[object].in_file) return;
  at_[object].in_file = true;
  ++file_write_;
}

/// Work by the time that it arrives in; nothing where the trace has no times.
json kv_timing::load() const {
  if (back_to_back_) return nullptr;
  return static_cast<double>(busy_ns_) /
         static_cast<double>(of_.requests.back().at_ns - of_.requests.front().at_ns);
}

json kv_timing::report() {
  const uint64_t bytes = rules_.object_bytes, blocks = of_.blocks.size();
  const double per_s =
      static_cast<double>(blocks) * 1e9 / static_cast<double>(std::max<uint64_t>(busy_ns_, 1));
  json report = {
      {"requests", stalls_.size()},
      {"blocks_per_s", per_s},
      {"time_ns", ended_ns_},
      {"busy_ns", busy_ns_},
      {"load", load()},
      {"first_token", spread_of(first_token_)},
      {"queued", spread_of(queued_)},
      {"stall", stall_report(stalls_, all_causes, busy_ns_)},
      {"blocks",
       {{"device", in_device_},
        {"host", from_host_},
        {"nvme", from_nvme_},
        {"fresh", fresh_},
        {"recomputed", again_},
        {"recomputed_by_choice", by_choice_}}},
      {"bytes_by_cause",
       {{"demand", (from_host_ + from_nvme_) * bytes},
        {"write_back", write_back_ * bytes},
        {"file_write", file_write_ * bytes}}},
      {"bytes_by_link",
       {{"host", (from_host_ + from_nvme_) * bytes}, {"nvme", from_nvme_ * bytes}}},
      {"host_capacity_lockers", rules_.host_has_all ? of_.unique : rules_.host_capacity}};
  const uint64_t tokens = rules_.block_tokens != 0 ? blocks * rules_.block_tokens : of_.tokens;
  if (tokens == 0) return report;
  report["tokens"] = tokens;
  report["tokens_per_s"] = per_s * static_cast<double>(tokens) / static_cast<double>(blocks);
  return report;
}

}  // namespace cubby_cli::replay
