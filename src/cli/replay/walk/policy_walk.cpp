// One walk through a trace of either kind, or of both.

#include <algorithm>
#include <cstring>

// cubby.h calls the runtime's handle `cubby`, which is a namespace in what comes behind it.
#include "cli/replay/walk/simulate.hpp"

#include "cli/replay/walk/request_player.hpp"
#include "cli/replay/walk/visit_player.hpp"

namespace cubby_cli::replay {
namespace {

constexpr uint64_t piece_uses = 1 << 17;  // after which a walk tells how far it is
// Uses that are played before observers get their events: few, so that the log stays in caches.
constexpr uint64_t watch_uses = 4096;

const expert_schedule no_visits;
const request_schedule no_requests;

/// Experts first, blocks behind; those there are.
std::vector<cubby_policy_bank> banks_of(const course &of, const miss_costs &refetch) {
  std::vector<cubby_policy_bank> banks;
  const auto add = [&](uint32_t kind, uint32_t rows, uint32_t columns) -> cubby_policy_bank & {
    cubby_policy_bank bank = {};
    bank.struct_size = sizeof bank;
    bank.kind = kind;
    bank.rows = rows;
    bank.columns = columns;
    banks.push_back(bank);
    return banks.back();
  };
  if (of.visits != nullptr) {
    cubby_policy_bank &one = add(CUBBY_POLICY_BANK_EXPERTS, of.visits->rows, of.visits->columns);
    one.routed_count = of.visits->top_k;
    one.object_bytes = of.expert_bytes;
    one.refetch_ns = refetch.expert_ns;
  }
  if (of.requests != nullptr) {
    cubby_policy_bank &one = add(CUBBY_POLICY_BANK_KV, 1, of.requests->unique);
    one.first_object = of.requests->first_block;
    one.object_bytes = of.block_bytes;
    one.refetch_ns = refetch.block_ns;
  }
  return banks;
}

template <class Sizes>
class policy_walk final : public walk {
 public:
  policy_walk(const course &of, const simulation &how)
      : how_(how),
        visits_(of.visits != nullptr ? *of.visits : no_visits),
        requests_(of.requests != nullptr ? *of.requests : no_requests),
        driver_(how, banks_of(of, how.refetch), visits_.batch, log()),
        visit_player_(visits_, *how.policy, driver_, log()),
        request_player_(requests_, *how.policy, driver_, log()) {
    found_.accesses = visits_.used.size() + requests_.blocks.size();
    found_.visits = visits_.visits.size() + requests_.blocks.size();
  }
  [[nodiscard]] int32_t failed() const { return driver_.failed(); }

  bool advance() override {
    bool more = true;
    for (uint64_t left = piece_uses; left != 0 && more;) {
      const uint64_t now = log() != nullptr ? std::min(left, watch_uses) : left;
      left -= now;
      const uint64_t started_ns = thread_cpu_ns();
      play(now);
      spent_ns_ += thread_cpu_ns() - started_ns;
      for (observer *one : how_.watchers) log_.deliver(*one);
      log_.clear();
      more = driver_.broken().empty() && !over();
    }
    return more;
  }
  [[nodiscard]] double part() const override {
    const size_t all = visits_.visits.size() + requests_.requests.size();
    return all == 0 ? 1 : static_cast<double>(visit_ + request_) / static_cast<double>(all);
  }
  [[nodiscard]] outcome<simulated> finish() const override {
    if (!driver_.broken().empty())
      return usage_trouble("policy " + how_.name + " broke the rules: " + driver_.broken());
    simulated found = found_;
    found.ns_per_visit =
        static_cast<double>(spent_ns_) / static_cast<double>(found.visits == 0 ? 1 : found.visits);
    const cubby_policy_stats stats = driver_.stats();
    found.state_bytes = stats.state_bytes;
    found.warning = stats.warning;
    return found;
  }

 private:
  event_log *log() { return how_.watchers.empty() ? nullptr : &log_; }
  [[nodiscard]] bool over() const {
    return visit_ == visits_.visits.size() && request_ == requests_.requests.size();
  }
  /// The visits that come before the next request; all where none comes.
  [[nodiscard]] uint64_t visits_due() const {
    if (request_ == requests_.requests.size()) return visits_.visits.size();
    return requests_.visits_before.empty() ? 0 : requests_.visits_before[request_];
  }
  /// So many uses, and those that belong to the last one's visit or request.
  void play(uint64_t uses_max) {
    uint64_t uses = 0;
    while (uses < uses_max && !over()) {
      for (const uint64_t due = visits_due(); visit_ < due && uses < uses_max; ++visit_) {
        uses += visits_.visits[visit_].used_count;
        found_.hits += visit_player_.play(visit_, now_ns_);
        if (!driver_.broken().empty()) return;
      }
      for (; request_ < requests_.requests.size() && visit_ == visits_due() && uses < uses_max;
           ++request_) {
        uses += requests_.requests[request_].block_count;
        now_ns_ = requests_.requests[request_].at_ns;
        found_.hits += request_player_.play(request_);
        if (!driver_.broken().empty()) return;
      }
    }
  }

  const simulation how_;
  event_log log_;
  const expert_schedule &visits_;
  const request_schedule &requests_;
  cache_driver<Sizes> driver_;
  visit_player<cache_driver<Sizes>> visit_player_;
  request_player<cache_driver<Sizes>> request_player_;
  uint64_t visit_ = 0, request_ = 0;  // that come next
  uint64_t now_ns_ = 0;               // of the last request: visits have no times of their own
  uint64_t spent_ns_ = 0;
  simulated found_;
};

template <class Sizes>
outcome<std::unique_ptr<walk>> made_of(const course &of, const simulation &how) {
  auto made = std::make_unique<policy_walk<Sizes>>(of, how);
  if (made->failed() != 0)
    return trouble{"policy " + how.name + " cannot be made: " + std::strerror(-made->failed()),
                   exit_bad};
  return std::unique_ptr<walk>(std::move(made));
}

}  // namespace

outcome<std::unique_ptr<walk>> make_walk(const course &of, const simulation &how) {
  const bool mixed = of.visits != nullptr && of.requests != nullptr;
  return mixed ? made_of<two_sizes>(of, how) : made_of<all_alike>(of, how);
}

}  // namespace cubby_cli::replay
