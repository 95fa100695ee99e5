#include "cli/replay/simulate.hpp"

#include <time.h>

#include <cstring>

namespace cubby_cli::replay {
namespace {

constexpr uint32_t progress_every = 4096;

/// Of this thread alone: what others run on a shared machine does not count.
uint64_t processor_ns() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

uint64_t from_next(uint32_t next) { return next == ~uint32_t{0} ? CUBBY_NEVER_USED : next; }

/// Keeps the books around one instance: what is resident, what is pinned, what fits. A locker is
/// one byte here, so that a budget in bytes is a number of lockers.
class house {
 public:
  house(const simulation &how, const cubby_policy_bank &bank, uint32_t slot_count)
      : ops_(*how.policy),
        watcher_(how.watcher),
        resident_(bank.rows * bank.columns),
        pinned_(resident_.size()),
        capacity_(how.capacity) {
    cubby_policy_config config = {};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_POLICY_ABI_VERSION;
    config.banks = &bank;
    config.bank_count = 1;
    config.object_count = bank.rows * bank.columns;
    config.budget_bytes = how.capacity;
    config.slot_count = slot_count;
    config.seed = how.seed;
    failed_ = ops_.create(&config, &policy_);
    if (failed_ != 0) policy_ = nullptr;
  }
  ~house() {
    if (policy_ != nullptr) ops_.destroy(policy_);
  }
  house(const house &) = delete;
  house &operator=(const house &) = delete;

  [[nodiscard]] int32_t failed() const { return failed_; }
  [[nodiscard]] bool resident(cubby_object who) const { return resident_[who] != 0; }
  [[nodiscard]] cubby_policy *policy() const { return policy_; }

  /// What is in use from here on; what was is not any more.
  void pin(const cubby_object *used, uint32_t count) {
    ++use_;
    for (uint32_t i = 0; i < count; ++i) pinned_[used[i]] = use_;
  }
  /// Brings it in where there is room, or where the policy finds it worth a victim's place.
  /// False when the policy broke the rules; broken() says how.
  bool bring(cubby_object who, uint64_t now_ns) {
    if (used_ < capacity_) {
      ++used_;
    } else {
      const cubby_object victim = find_victim(who, now_ns);
      if (!broken_.empty()) return false;
      if (victim == CUBBY_NO_OBJECT) return true;  // all the others are in use
      if (ops_.admit != nullptr && ops_.admit(policy_, who, victim) == 0) return true;
      resident_[victim] = 0;
      ops_.removed(policy_, victim);
      if (watcher_ != nullptr) watcher_->left(victim);
    }
    resident_[who] = 1;
    ops_.inserted(policy_, who, 1);
    if (watcher_ != nullptr) watcher_->came(who);
    return true;
  }
  [[nodiscard]] const std::string &broken() const { return broken_; }
  void finish(simulated &to, uint64_t started_ns) const {
    to.ns_per_visit = static_cast<double>(processor_ns() - started_ns) /
                      static_cast<double>(to.visits == 0 ? 1 : to.visits);
    cubby_policy_stats stats = {};
    stats.struct_size = sizeof stats;
    ops_.stats(policy_, &stats);
    to.state_bytes = stats.state_bytes;
    stats.warning[sizeof stats.warning - 1] = 0;
    to.warning = stats.warning;
  }

 private:
  /// The first one named that is not in use.
  cubby_object find_victim(cubby_object who, uint64_t now_ns) {
    const cubby_policy_need need = {sizeof need, who, 1, now_ns};
    ops_.begin_victims(policy_, &need);
    for (;;) {
      const cubby_object victim = ops_.next_victim(policy_);
      if (victim == CUBBY_NO_OBJECT) return victim;
      if (victim >= resident_.size() || resident_[victim] == 0) {
        broken_ = "next_victim() named object " + std::to_string(victim) +
                  ", which is not resident; residents alone can leave";
        return victim;
      }
      if (pinned_[victim] != use_) return victim;
    }
  }

  const cubby_policy_ops &ops_;
  observer *watcher_;
  cubby_policy *policy_ = nullptr;
  int32_t failed_ = 0;
  std::vector<uint8_t> resident_;
  std::vector<uint64_t> pinned_;  // the last use it was pinned for
  uint64_t use_ = 1;
  uint32_t capacity_, used_ = 0;
  std::string broken_;
};

trouble refused(const simulation &how, int32_t failed) {
  return {std::string("policy ") + how.policy->name + " cannot be made: " + std::strerror(-failed),
          exit_bad};
}

trouble broke(const simulation &how, const std::string &what) {
  return usage_trouble(std::string("policy ") + how.policy->name + " broke the rules: " + what);
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

}  // namespace

outcome<simulated> simulate_experts(const expert_schedule &of, const simulation &how) {
  const cubby_policy_bank bank =
      bank_like(how, CUBBY_POLICY_BANK_EXPERTS, of.rows, of.columns, of.top_k);
  house keeper(how, bank, of.batch);
  if (keeper.failed() != 0) return refused(how, keeper.failed());
  const bool offline = (how.policy->flags & CUBBY_POLICY_OFFLINE) != 0;
  simulated found;
  found.visits = of.visits.size();
  std::vector<uint64_t> next;
  std::vector<cubby_object> missing;
  cubby_policy_visit visit = {};
  visit.struct_size = sizeof visit;
  const uint64_t started_ns = processor_ns();
  for (uint32_t v = 0; v < of.visits.size(); ++v) {
    const visit_record &one = of.visits[v];
    visit.row = one.row;
    visit.prefill = one.prefill;
    visit.used = of.used.data() + one.first_used;
    visit.used_count = one.used_count;
    visit.routes = of.routes.data() + one.first_route;
    visit.route_count = one.route_count;
    visit.number = v;
    if (offline) {
      next.clear();
      for (uint32_t i = 0; i < one.used_count; ++i)
        next.push_back(from_next(of.next[one.first_used + i]));
      visit.next_use = next.data();
    }
    missing.clear();
    for (uint32_t i = 0; i < one.used_count; ++i) {
      if (!keeper.resident(visit.used[i])) missing.push_back(visit.used[i]);
    }
    found.hits += one.used_count - missing.size();
    // A policy that chooses who stays is asked after the visit, when nothing is pinned by it.
    if (how.policy->admit == nullptr) keeper.pin(visit.used, visit.used_count);
    if (how.watcher != nullptr) how.watcher->used(v, {visit.used, visit.used_count}, missing);
    how.policy->visit(keeper.policy(), &visit);
    for (const cubby_object who : missing)
      if (!keeper.bring(who, 0)) return broke(how, keeper.broken());
    if (how.watcher != nullptr) how.watcher->ended();
    if (v % progress_every == 0 && how.progress)
      how.progress(static_cast<double>(v) / static_cast<double>(of.visits.size()));
  }
  found.accesses = of.used.size();
  keeper.finish(found, started_ns);
  return found;
}

std::vector<uint32_t> next_touches(const kv_trace &of) {
  std::vector<uint32_t> next(of.blocks.size()), upcoming(of.unique, ~uint32_t{0});
  for (size_t r = of.requests.size(); r-- > 0;) {
    const kv_request &request = of.requests[r];
    const size_t first = request.first_block;
    for (size_t i = first; i < first + request.block_count; ++i) next[i] = upcoming[of.blocks[i]];
    for (size_t i = first; i < first + request.block_count; ++i)
      upcoming[of.blocks[i]] = static_cast<uint32_t>(r);
  }
  return next;
}

outcome<simulated> simulate_kv(const kv_trace &of, const std::vector<uint32_t> &next,
                               const simulation &how) {
  const cubby_policy_bank bank = bank_like(how, CUBBY_POLICY_BANK_KV, 1, of.unique, 0);
  house keeper(how, bank, 1);
  if (keeper.failed() != 0) return refused(how, keeper.failed());
  const bool offline = (how.policy->flags & CUBBY_POLICY_OFFLINE) != 0;
  const bool head_first = (how.policy->flags & CUBBY_POLICY_HEAD_FIRST) != 0;
  simulated found;
  found.accesses = found.visits = of.blocks.size();
  cubby_policy_access access = {};
  access.struct_size = sizeof access;
  access.next_use = CUBBY_NEVER_USED;
  const uint64_t started_ns = processor_ns();
  for (size_t r = 0; r < of.requests.size(); ++r) {
    const kv_request &request = of.requests[r];
    const uint32_t *blocks = of.blocks.data() + request.first_block;
    uint32_t run = 0;
    while (run < request.block_count && keeper.resident(blocks[run])) ++run;
    found.hits += run;
    if (how.watcher != nullptr)
      how.watcher->used(r, {blocks, request.block_count},
                        {blocks + run, request.block_count - run});
    access.now_ns = request.at_ns;
    access.number = r;
    for (uint32_t n = 0; n < request.block_count; ++n) {
      const uint32_t i = head_first ? n : request.block_count - 1 - n;
      access.object = blocks[i];
      access.parent = i == 0 ? CUBBY_NO_OBJECT : blocks[i - 1];
      access.depth = i;
      access.last = i + 1 == request.block_count ? 1 : 0;
      if (offline) access.next_use = from_next(next[request.first_block + i]);
      const bool hit = keeper.resident(blocks[i]);
      how.policy->access(keeper.policy(), &access);
      if (!hit && !keeper.bring(blocks[i], access.now_ns)) return broke(how, keeper.broken());
    }
    if (how.watcher != nullptr) how.watcher->ended();
    if (r % 64 == 0 && how.progress)
      how.progress(static_cast<double>(r) / static_cast<double>(of.requests.size()));
  }
  keeper.finish(found, started_ns);
  return found;
}

}  // namespace cubby_cli::replay
