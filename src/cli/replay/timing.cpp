#include "cli/replay/timing.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

struct unit {
  const char *name;
  double factor;
};
constexpr unit speeds[] = {{"B/s", 1},
                           {"kB/s", 1e3},
                           {"KB/s", 1e3},
                           {"MB/s", 1e6},
                           {"GB/s", 1e9},
                           {"TB/s", 1e12},
                           {"KiB/s", 1024.0},
                           {"MiB/s", 1048576.0},
                           {"GiB/s", 1073741824.0},
                           {"TiB/s", 1099511627776.0}};
constexpr unit times[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};

/// "25GB/s" in bytes a second, "10us" in nanoseconds; below 0 when it is neither.
template <size_t count>
double measured(const std::string &text, const unit (&units)[count]) {
  size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception &) {
    return -1;
  }
  for (const unit &one : units)
    if (text.substr(used) == one.name) return number * one.factor;
  return -1;
}

/// Nearest rank.
uint64_t percentile(std::vector<uint64_t> &of, double share) {
  if (of.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(of.size())));
  const auto at = of.begin() + static_cast<std::ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(of.begin(), at, of.end());
  return *at;
}

bool is_in(std::span<const cubby_object> some, cubby_object who) {
  return std::find(some.begin(), some.end(), who) != some.end();
}

json told(std::vector<uint64_t> &of) {
  uint64_t sum = 0;
  for (const uint64_t one : of) sum += one;
  return {{"p50_ns", percentile(of, 0.5)},
          {"p99_ns", percentile(of, 0.99)},
          {"mean_ns", of.empty() ? 0 : static_cast<double>(sum) / static_cast<double>(of.size())}};
}

}  // namespace

outcome<link_speed> read_link(const std::string &text) {
  const size_t colon = text.find(':'), comma = text.find(',');
  const auto wrong = [&](const std::string &what) {
    return usage_trouble("link \"" + text + "\": " + what +
                         "; a link is written host:25GB/s,10us or nvme:6GB/s,80us");
  };
  if (colon == std::string::npos) return wrong("it has no name before a colon");
  link_speed made;
  made.name = text.substr(0, colon);
  if (made.name != "host" && made.name != "nvme") return wrong("there are host and nvme alone");
  const size_t speed_end = comma == std::string::npos ? text.size() : comma;
  made.bytes_per_s = measured(text.substr(colon + 1, speed_end - colon - 1), speeds);
  if (!(made.bytes_per_s >= 1 && made.bytes_per_s <= 1e15)) return wrong("its speed is none");
  if (comma == std::string::npos) return made;
  const double latency = measured(text.substr(comma + 1), times);
  if (!(latency >= 0 && latency <= 1e12)) return wrong("its latency is none");
  made.latency_ns = static_cast<uint64_t>(std::llround(latency));
  return made;
}

timing::timing(const expert_schedule &of, const timing_rules &rules)
    : of_(of),
      rules_(rules),
      place_(of.objects(), in_host_.end()),
      resident_(of.objects()),
      last_used_(of.rows) {
  const auto queue_of = [&](const link_speed &link) {
    queue made;
    if (link.bytes_per_s > 0)
      made.move_ns = static_cast<uint64_t>(
          std::ceil(static_cast<double>(rules.object_bytes) * 1e9 / link.bytes_per_s));
    made.latency_ns = link.latency_ns;
    return made;
  };
  host_ = queue_of(rules.host);
  nvme_ = queue_of(rules.nvme);
}

std::pair<uint64_t, uint64_t> timing::queue::take(uint64_t asked_ns) {
  const uint64_t begins = std::max(asked_ns, free_ns);
  free_ns = begins + move_ns;  // the next one goes while this one is still on its way
  return {begins, free_ns + latency_ns};
}

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
  for (const cubby_object who : missing) {
    if (is_in(fetched_, who)) continue;
    ++demand_;
    moves.push_back(bring(who, now_ns_));
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
  std::erase_if(fetched_,
                [&](cubby_object who) { return resident_[who] != 0 || is_in(gone_, who); });
  for (const cubby_object who : fetched_) {
    const move made = bring(who, began_ns_);
    const bool useful = is_in(missing, who);
    ++(useful ? prefetch_used_ : prefetch_wasted_);
    if (useful) moves.push_back(made);
  }
}

timing::move timing::bring(cubby_object who, uint64_t asked_ns) {
  move made;
  made.asked = made.nvme_begins = made.nvme_ends = asked_ns;
  if (!rules_.host_has_all && place_[who] == in_host_.end()) {
    std::tie(made.nvme_begins, made.nvme_ends) = nvme_.take(asked_ns);
    ++from_nvme_;
  }
  std::tie(made.host_begins, made.host_ends) = host_.take(made.nvme_ends);
  return made;
}

/// Experts that are there go first, the others as they come; each takes its part of the layer.
void timing::compute(uint32_t used, std::vector<move> &moves) {
  std::sort(moves.begin(), moves.end(),
            [](const move &a, const move &b) { return a.host_ends < b.host_ends; });
  const auto part = [&](uint64_t done) { return rules_.compute_ns * done / used; };
  uint64_t done = used - moves.size();
  now_ns_ += part(done);
  for (const move &one : moves) {
    if (one.host_ends > now_ns_) wait(one);
    now_ns_ += part(done + 1) - part(done);
    ++done;
  }
}

/// Waits until it has come, and says what for.
void timing::wait(const move &until) {
  const auto overlap = [&](uint64_t from, uint64_t to) {
    const uint64_t begins = std::max(from, now_ns_);
    return to > begins ? to - begins : 0;
  };
  by_cause &to = tokens_.back();
  const auto add = [&](stall_cause why, uint64_t ns) { to[static_cast<size_t>(why)] += ns; };
  add(stall_cause::nvme_queue, overlap(until.asked, until.nvme_begins));
  add(stall_cause::nvme, overlap(until.nvme_begins, until.nvme_ends));
  add(stall_cause::host_queue, overlap(until.nvme_ends, until.host_begins));
  add(stall_cause::host, overlap(until.host_begins, until.host_ends));
  now_ns_ = until.host_ends;
}

void timing::left(cubby_object who) {
  gone_.push_back(who);
  resident_[who] = 0;
  if (rules_.host_has_all || rules_.host_capacity == 0) return;
  ++write_back_;
  keep_in_host(who);
}

/// What came into the device leaves host memory; what only passed through is there now.
void timing::ended() {
  if (!rules_.host_has_all) {
    for (const cubby_object who : missing_) {
      if (resident_[who] != 0) {
        drop_from_host(who);
      } else {
        keep_in_host(who);
      }
    }
  }
}

void timing::keep_in_host(cubby_object who) {
  drop_from_host(who);
  if (rules_.host_capacity == 0) return;
  if (in_host_.size() == rules_.host_capacity) drop_from_host(in_host_.front());
  place_[who] = in_host_.insert(in_host_.end(), who);
}

void timing::drop_from_host(cubby_object who) {
  if (place_[who] == in_host_.end()) return;
  in_host_.erase(place_[who]);
  place_[who] = in_host_.end();
}

json timing::report() {
  std::vector<uint64_t> values(tokens_.size());
  json causes;
  for (uint32_t cause = 0; cause < stall_causes; ++cause) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = tokens_[i][cause];
    causes[stall_names[cause]] = told(values);
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 0;
    for (const uint64_t one : tokens_[i]) values[i] += one;
    sum += values[i];
  }
  json stall = told(values);
  stall["by_cause"] = causes;
  const auto time_ns = static_cast<double>(std::max<uint64_t>(now_ns_, 1));
  stall["share"] = static_cast<double>(sum) / time_ns;
  const uint64_t bytes = rules_.object_bytes;
  return {{"tokens", token_count_},
          {"tokens_per_s", static_cast<double>(token_count_) * 1e9 / time_ns},
          {"time_ns", now_ns_},
          {"host_capacity_lockers", rules_.host_has_all ? of_.objects() : rules_.host_capacity},
          {"stall", stall},
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
