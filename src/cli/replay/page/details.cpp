#include "cli/replay/page/details.hpp"

#include <algorithm>
#include <bit>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

constexpr uint32_t top_count = 10;

/// 0, 1, 2–3, 4–7, …: places in front of a block, by powers of two.
uint32_t depth_class(size_t depth) { return static_cast<uint32_t>(std::bit_width(depth)); }
uint64_t first_depth(size_t of_class) { return of_class == 0 ? 0 : uint64_t{1} << (of_class - 1); }

}  // namespace

detail_watch::detail_watch(const workload &of)
    : of_(of),
      soon_(of.of_experts() ? of.schedule.rows : soon_requests),
      state_(of.lockers()),
      places_(of.of_experts() ? of.schedule.rows : 0) {}

void detail_watch::used(uint64_t number, std::span<const cubby_object> used,
                        std::span<const cubby_object> missing) {
  number_ = number;
  const size_t hits = used.size() - missing.size();
  if (of_.of_experts()) {
    place &here = places_[of_.schedule.visits[number].row];
    here.uses += used.size();
    here.hits += hits;
  } else {
    if (!used.empty() && places_.size() <= depth_class(used.size() - 1))
      places_.resize(depth_class(used.size() - 1) + 1);
    for (size_t i = 0; i < used.size(); ++i) {
      ++places_[depth_class(i)].uses;
      if (i < hits) ++places_[depth_class(i)].hits;
    }
  }
  for (const cubby_object object : missing) {
    state &of = state_[object];
    if (of.resident || of.left_at == ~uint64_t{0} || number - of.left_at > soon_) continue;
    ++of.early;
    ++early_;
    of.left_at = ~uint64_t{0};  // an eviction is too early once
  }
}

void detail_watch::left(cubby_object object) {
  ++evictions_;
  state_[object].resident = false;
  state_[object].left_at = number_;
}

json detail_watch::top_early() const {
  std::vector<cubby_object> all;
  for (cubby_object object = 0; object < state_.size(); ++object)
    if (state_[object].early != 0) all.push_back(object);
  const auto end =
      all.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(all.size(), top_count));
  std::partial_sort(all.begin(), end, all.end(), [&](cubby_object a, cubby_object b) {
    return state_[a].early != state_[b].early ? state_[a].early > state_[b].early : a < b;
  });
  json top = json::array();
  for (auto at = all.begin(); at != end; ++at) {
    json one = {{"count", state_[*at].early}};
    if (of_.of_experts()) {
      one["layer"] = *at / of_.schedule.columns;
      one["expert"] = *at % of_.schedule.columns;
    } else {
      one["block"] = *at;
    }
    top.push_back(std::move(one));
  }
  return top;
}

json detail_watch::report() {
  json places = json::array();
  for (size_t i = 0; i < places_.size(); ++i) {
    json one = {{"uses", places_[i].uses}, {"hits", places_[i].hits}};
    one[of_.of_experts() ? "layer" : "depth"] = of_.of_experts() ? i : first_depth(i);
    places.push_back(std::move(one));
  }
  return {
      {"places", places},
      {"evicted_too_early",
       {{"within", soon_}, {"evictions", evictions_}, {"count", early_}, {"top", top_early()}}}};
}

}  // namespace cubby_cli::replay
