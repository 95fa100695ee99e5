#include "cli/replay/walk/house_walk.hpp"

#include <time.h>

#include <algorithm>
#include <cstring>

namespace cubby_cli::replay {
namespace {

constexpr uint64_t piece_uses = 1 << 17;  // after which a walk tells how far it is
// What is played before those who watch are told: short, so that the log stays in the caches.
constexpr uint64_t watch_uses = 4096;

/// Of this thread alone: what others run on a shared machine does not count.
uint64_t processor_ns() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

bool house_walk::advance() {
  const bool watched = !how_.watchers.empty();
  bool more = true;
  for (uint64_t left = piece_uses; left != 0 && more;) {
    const uint64_t now = watched ? std::min(left, watch_uses) : left;
    left -= now;
    const uint64_t started_ns = processor_ns();
    play(now);
    spent_ns_ += processor_ns() - started_ns;
    for (observer *one : how_.watchers) log_.tell(*one);
    log_.clear();
    more = keeper_.broken().empty() && part() < 1;
  }
  return more;
}

outcome<simulated> house_walk::finish() const {
  if (!keeper_.broken().empty())
    return usage_trouble("policy " + how_.name + " broke the rules: " + keeper_.broken());
  simulated found = found_;
  found.ns_per_visit =
      static_cast<double>(spent_ns_) / static_cast<double>(found.visits == 0 ? 1 : found.visits);
  const cubby_policy_stats stats = keeper_.stats();
  found.state_bytes = stats.state_bytes;
  found.warning = stats.warning;
  return found;
}

trouble refused(const simulation &how, int32_t failed) {
  return {"policy " + how.name + " cannot be made: " + std::strerror(-failed), exit_bad};
}

cubby_policy_bank bank_like(const simulation &how, uint32_t kind, uint32_t rows, uint32_t columns,
                            uint32_t routed) {
  cubby_policy_bank bank = {};
  bank.struct_size = sizeof bank;
  bank.kind = kind;
  bank.rows = rows;
  bank.columns = columns;
  bank.routed_count = routed;
  bank.object_bytes = 1;
  bank.refetch_ns = how.refetch_ns;
  return bank;
}

}  // namespace cubby_cli::replay
