#include "cli/replay/walk/kind_watch.hpp"

#include <algorithm>

namespace cubby_cli::replay {

using nlohmann::json;

kind_watch::kind_watch(const course &of, const miss_costs &refetch)
    : of_(of),
      experts_{of.expert_bytes, refetch.expert_ns},
      blocks_{of.block_bytes, refetch.block_ns},
      known_(of.requests->unique),
      parts_(part_count) {}

void kind_watch::used(uint64_t number, std::span<const cubby_object> used,
                      std::span<const cubby_object> missing) {
  const bool is_request = of_.is_request(used);
  kind &mine = is_request ? blocks_ : experts_;
  mine.accesses += used.size();
  mine.missed += missing.size();
  if (!is_request) {
    visit_ = number;
    return;
  }
  for (const cubby_object object : used) {
    auto known = known_[object - of_.requests->first_block];
    if (!known) ++mine.fresh;
    known = true;
  }
}

void kind_watch::ended() {
  const uint64_t all = experts_.held_bytes + blocks_.held_bytes;
  if (all == 0) return;
  part &here = parts_[visit_ * part_count / of_.visits->visits.size()];
  here.sum += static_cast<double>(blocks_.held_bytes) / static_cast<double>(all);
  ++here.count;
}

/// Of each twentieth of the visits, the mean part of the resident bytes that blocks hold.
json kind_watch::shares() const {
  json parts = json::array();
  double last = 0;  // where nothing ends nothing changes
  for (const part &one : parts_) {
    if (one.count != 0) last = one.sum / static_cast<double>(one.count);
    parts.push_back(last);
  }
  return parts;
}

json kind_watch::kind::report() const {
  return {{"accesses", accesses},
          {"hits", accesses - missed},
          {"hit_ratio", static_cast<double>(accesses - missed) /
                            static_cast<double>(std::max<uint64_t>(accesses, 1))},
          {"missed_bytes", missed * object_bytes},
          {"waited_ns", waited_ns()}};
}

json kind_watch::report() {
  json blocks = blocks_.report();
  blocks["fresh"] = blocks_.fresh;
  return {{"experts", experts_.report()},
          {"blocks", blocks},
          {"waited_ns", experts_.waited_ns() + blocks_.waited_ns()},
          {"blocks_share", shares()}};
}

}  // namespace cubby_cli::replay
