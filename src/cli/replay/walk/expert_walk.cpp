#include "cli/replay/walk/house_walk.hpp"

namespace cubby_cli::replay {
namespace {

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

}  // namespace

outcome<std::unique_ptr<walk>> make_walk(const expert_schedule &of, const simulation &how) {
  return checked(std::make_unique<expert_walk>(of, how), how);
}

}  // namespace cubby_cli::replay
