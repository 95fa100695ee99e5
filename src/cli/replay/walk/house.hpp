// The house around one instance of a policy in a simulation.
#pragma once

#include <cubby/policy.h>

#include <string>
#include <vector>

#include "cli/replay/walk/simulate.hpp"

namespace cubby_cli::replay {

/// Keeps the books around one instance: what is resident, what is pinned, what fits. A locker is
/// one byte here, so that a budget in bytes is a number of lockers.
class house {
 public:
  /// `watcher` may be none.
  house(const simulation &how, const cubby_policy_bank &bank, uint32_t slot_count,
        observer *watcher)
      : ops_(*how.policy),
        watcher_(watcher),
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
  [[nodiscard]] cubby_policy_stats stats() const {
    cubby_policy_stats stats = {};
    stats.struct_size = sizeof stats;
    ops_.stats(policy_, &stats);
    stats.warning[sizeof stats.warning - 1] = 0;
    return stats;
  }

 private:
  /// The first one named that is not in use.
  cubby_object find_victim(cubby_object who, uint64_t now_ns) {
    const cubby_policy_need need = {sizeof need, who, 1, now_ns};
    ops_.begin_victims(policy_, &need);
    ++round_;
    for (;;) {
      const cubby_object victim = ops_.next_victim(policy_);
      if (victim == CUBBY_NO_OBJECT) {
        look_for_unnamed();
        return victim;
      }
      if (victim >= resident_.size() || resident_[victim] == 0) {
        broken_ = "next_victim() named object " + std::to_string(victim) +
                  ", which is not resident; residents alone can leave";
        return victim;
      }
      if (pinned_[victim] != use_) return victim;
      if (!named_first(victim)) {
        broken_ = "next_victim() named object " + std::to_string(victim) + " twice in a round";
        return victim;
      }
    }
  }
  /// Whoever may leave and was named has left: one that still may was not.
  void look_for_unnamed() {
    for (size_t who = 0; who < resident_.size(); ++who) {
      if (resident_[who] == 0 || pinned_[who] == use_) continue;
      broken_ = "next_victim() ended a round without naming object " + std::to_string(who) +
                ", which is resident and may leave";
      return;
    }
  }
  /// Only those passed over can come again, and residents who each come once are bound to end.
  bool named_first(cubby_object victim) {
    if (named_.empty()) named_.resize(resident_.size());
    if (named_[victim] == round_) return false;
    named_[victim] = round_;
    return true;
  }

  const cubby_policy_ops &ops_;
  observer *watcher_;
  cubby_policy *policy_ = nullptr;
  int32_t failed_ = 0;
  std::vector<uint8_t> resident_;
  std::vector<uint64_t> pinned_;  // the last use it was pinned for
  std::vector<uint64_t> named_;   // the last round it was named and passed over in
  uint64_t use_ = 1, round_ = 0;
  uint32_t capacity_, used_ = 0;
  std::string broken_;
};

}  // namespace cubby_cli::replay
