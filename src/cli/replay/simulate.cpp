#include "cli/replay/simulate.hpp"

#include <time.h>

#include <algorithm>
#include <cstring>

#include "cli/replay/event_log.hpp"
#include "cli/replay/house.hpp"

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

uint64_t from_next(uint32_t next) { return next == ~uint32_t{0} ? CUBBY_NEVER_USED : next; }

trouble refused(const simulation &how, int32_t failed) {
  return {std::string("policy ") + how.policy->name + " cannot be made: " + std::strerror(-failed),
          exit_bad};
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

/// What both kinds of traces have in common.
class house_walk : public walk {
 public:
  house_walk(const simulation &how, const cubby_policy_bank &bank, uint32_t slot_count)
      : how_(how),
        keeper_(how, bank, slot_count, how.watchers.empty() ? nullptr : &log_),
        offline_((how.policy->flags & CUBBY_POLICY_OFFLINE) != 0) {}

  [[nodiscard]] int32_t failed() const { return keeper_.failed(); }
  bool advance() final {
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
  [[nodiscard]] outcome<simulated> finish() const final {
    if (!keeper_.broken().empty())
      return usage_trouble(std::string("policy ") + how_.policy->name +
                           " broke the rules: " + keeper_.broken());
    simulated found = found_;
    found.ns_per_visit =
        static_cast<double>(spent_ns_) / static_cast<double>(found.visits == 0 ? 1 : found.visits);
    const cubby_policy_stats stats = keeper_.stats();
    found.state_bytes = stats.state_bytes;
    found.warning = stats.warning;
    return found;
  }

 protected:
  /// So many uses, and those that belong to the last one's visit or request.
  virtual void play(uint64_t uses_max) = 0;

  const simulation how_;
  event_log log_;
  house keeper_;
  const bool offline_;
  simulated found_;

 private:
  uint64_t spent_ns_ = 0;
};

class expert_walk final : public house_walk {
 public:
  expert_walk(const expert_schedule &of, const simulation &how)
      : house_walk(how, bank_like(how, CUBBY_POLICY_BANK_EXPERTS, of.rows, of.columns, of.top_k),
                   of.batch),
        of_(of) {
    visit_.struct_size = sizeof visit_;
    found_.visits = of.visits.size();
    found_.accesses = of.used.size();
  }
  [[nodiscard]] double part() const override {
    return of_.visits.empty() ? 1
                              : static_cast<double>(at_) / static_cast<double>(of_.visits.size());
  }

 private:
  void play(uint64_t uses_max) override {
    for (uint64_t uses = 0; uses < uses_max && at_ < of_.visits.size(); ++at_) {
      uses += of_.visits[at_].used_count;
      if (!play(of_.visits[at_])) return;
    }
  }
  /// False when the policy broke the rules.
  bool play(const visit_record &one) {
    fill(one);
    missing_.clear();
    for (uint32_t i = 0; i < one.used_count; ++i) {
      if (!keeper_.resident(visit_.used[i])) missing_.push_back(visit_.used[i]);
    }
    found_.hits += one.used_count - missing_.size();
    const bool watched = !how_.watchers.empty();
    // A policy that chooses who stays is asked after the visit, when nothing is pinned by it.
    if (how_.policy->admit == nullptr) keeper_.pin(visit_.used, visit_.used_count);
    if (watched) log_.used(at_, {visit_.used, visit_.used_count}, missing_);
    how_.policy->visit(keeper_.policy(), &visit_);
    bool good = true;
    for (const cubby_object who : missing_) good = good && keeper_.bring(who, 0);
    if (watched) log_.ended();
    return good;
  }
  void fill(const visit_record &one) {
    visit_.row = one.row;
    visit_.prefill = one.prefill;
    visit_.used = of_.used.data() + one.first_used;
    visit_.used_count = one.used_count;
    visit_.routes = of_.routes.data() + one.first_route;
    visit_.route_count = one.route_count;
    visit_.number = at_;
    if (!offline_) return;
    next_.clear();
    for (uint32_t i = 0; i < one.used_count; ++i)
      next_.push_back(from_next(of_.next[one.first_used + i]));
    visit_.next_use = next_.data();
  }

  const expert_schedule &of_;
  uint64_t at_ = 0;
  cubby_policy_visit visit_ = {};
  std::vector<uint64_t> next_;
  std::vector<cubby_object> missing_;
};

class kv_walk final : public house_walk {
 public:
  kv_walk(const kv_trace &of, const std::vector<uint32_t> &next, const simulation &how)
      : house_walk(how, bank_like(how, CUBBY_POLICY_BANK_KV, 1, of.unique, 0), 1),
        of_(of),
        next_(next),
        head_first_((how.policy->flags & CUBBY_POLICY_HEAD_FIRST) != 0) {
    found_.accesses = found_.visits = of.blocks.size();
  }
  [[nodiscard]] double part() const override {
    return of_.requests.empty()
               ? 1
               : static_cast<double>(at_) / static_cast<double>(of_.requests.size());
  }

 private:
  void play(uint64_t uses_max) override {
    for (uint64_t uses = 0; uses < uses_max && at_ < of_.requests.size(); ++at_) {
      uses += of_.requests[at_].block_count;
      if (!play(of_.requests[at_])) return;
    }
  }
  /// False when the policy broke the rules.
  bool play(const kv_request &request) {
    const uint32_t *blocks = of_.blocks.data() + request.first_block;
    uint32_t run = 0;
    while (run < request.block_count && keeper_.resident(blocks[run])) ++run;
    found_.hits += run;
    const bool watched = !how_.watchers.empty();
    if (watched)
      log_.used(at_, {blocks, request.block_count}, {blocks + run, request.block_count - run});
    // Copies that no call can change, so that they stay in registers.
    const cubby_policy_ops &ops = *how_.policy;
    cubby_policy *const policy = keeper_.policy();
    const bool offline = offline_, head_first = head_first_;
    cubby_policy_access access = {};
    access.struct_size = sizeof access;
    access.next_use = CUBBY_NEVER_USED;
    access.now_ns = request.at_ns;
    access.number = at_;
    bool good = true;
    for (uint32_t n = 0; n < request.block_count && good; ++n) {
      const uint32_t i = head_first ? n : request.block_count - 1 - n;
      access.object = blocks[i];
      access.parent = i == 0 ? CUBBY_NO_OBJECT : blocks[i - 1];
      access.depth = i;
      access.last = i + 1 == request.block_count ? 1 : 0;
      if (offline) access.next_use = from_next(next_[request.first_block + i]);
      const bool hit = keeper_.resident(blocks[i]);
      ops.access(policy, &access);
      good = hit || keeper_.bring(blocks[i], access.now_ns);
    }
    if (watched) log_.ended();
    return good;
  }

  const kv_trace &of_;
  const std::vector<uint32_t> &next_;
  const bool head_first_;
  uint64_t at_ = 0;
};

template <class Walk>
outcome<std::unique_ptr<walk>> checked(std::unique_ptr<Walk> made, const simulation &how) {
  if (made->failed() != 0) return refused(how, made->failed());
  return std::unique_ptr<walk>(std::move(made));
}

outcome<simulated> to_the_end(const outcome<std::unique_ptr<walk>> &one) {
  if (!one) return one.failure();
  while ((*one)->advance()) {
  }
  return (*one)->finish();
}

}  // namespace

outcome<std::unique_ptr<walk>> make_walk(const expert_schedule &of, const simulation &how) {
  return checked(std::make_unique<expert_walk>(of, how), how);
}

outcome<std::unique_ptr<walk>> make_walk(const kv_trace &of, const std::vector<uint32_t> &next,
                                         const simulation &how) {
  return checked(std::make_unique<kv_walk>(of, next, how), how);
}

outcome<simulated> simulate_experts(const expert_schedule &of, const simulation &how) {
  return to_the_end(make_walk(of, how));
}

outcome<simulated> simulate_kv(const kv_trace &of, const std::vector<uint32_t> &next,
                               const simulation &how) {
  return to_the_end(make_walk(of, next, how));
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

}  // namespace cubby_cli::replay
