// The house around one instance of a policy in a simulation.
#pragma once

#include <cubby/policy.h>

#include <span>
#include <string>
#include <vector>

#include "cli/replay/walk/simulate.hpp"

namespace cubby_cli::replay {

/// Lockers of one bank, of a byte each, so that a budget in bytes is a number of lockers.
struct all_alike {
  explicit all_alike(std::span<const cubby_policy_bank>) {}
  static constexpr bool one_for_one = true;  // one that leaves makes room for one that comes
  [[nodiscard]] static uint64_t bytes_of(cubby_object) { return 1; }
};

/// Lockers of two banks.
struct two_sizes {
  explicit two_sizes(std::span<const cubby_policy_bank> banks)
      : first_bytes(banks[0].object_bytes),
        second_bytes(banks[1].object_bytes),
        second(banks[1].first_object) {}
  static constexpr bool one_for_one = false;
  [[nodiscard]] uint64_t bytes_of(cubby_object who) const {
    return who < second ? first_bytes : second_bytes;
  }
  uint64_t first_bytes, second_bytes;
  cubby_object second;  // the first of the second bank
};

/// Keeps the books around one instance: what is resident, what is pinned, what fits, in bytes.
template <class Sizes>
class house {
 public:
  /// `watcher` may be none.
  house(const simulation &how, std::span<const cubby_policy_bank> banks, uint32_t slot_count,
        observer *watcher)
      : ops_(*how.policy), watcher_(watcher), sizes_(banks), capacity_(how.capacity) {
    resident_.resize(banks.back().first_object + banks.back().rows * banks.back().columns);
    pinned_.resize(resident_.size());
    cubby_policy_config config = {};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_POLICY_ABI_VERSION;
    config.banks = banks.data();
    config.bank_count = static_cast<uint32_t>(banks.size());
    config.object_count = static_cast<uint32_t>(resident_.size());
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

  /// Nothing is in use any more.
  void unpin() { ++use_; }
  /// What is in use from here on; what was is not any more.
  void pin(const cubby_object *used, uint32_t count) {
    unpin();
    for (uint32_t i = 0; i < count; ++i) pinned_[used[i]] = use_;
  }
  /// Brings it in where there is room, or where the policy finds it worth the victims' places.
  /// False when the policy broke the rules; broken() says how. Out of line a call of it would be
  /// a good part of what LRU takes.
  [[gnu::always_inline]] bool bring(cubby_object who, uint64_t now_ns) {
    const uint64_t bytes = sizes_.bytes_of(who);
    if (used_ + bytes > capacity_ && !make_room(who, bytes, now_ns)) return broken_.empty();
    used_ += bytes;
    resident_[who] = 1;
    ops_.inserted(policy_, who, bytes);
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
  /// False when there is no room to be had.
  bool make_room(cubby_object who, uint64_t bytes, uint64_t now_ns) {
    if constexpr (!Sizes::one_for_one) {
      if (ops_.admit != nullptr) return win_places(who, bytes, now_ns);
    }
    do {
      const cubby_object victim = find_victim(who, used_ + bytes - capacity_, now_ns);
      if (victim == CUBBY_NO_OBJECT) return false;  // all the others are in use
      if (Sizes::one_for_one && ops_.admit != nullptr && ops_.admit(policy_, who, victim) == 0)
        return false;
      leave(victim);
    } while (!Sizes::one_for_one && used_ + bytes > capacity_);
    return true;
  }
  /// Nobody leaves before the policy has found the newcomer worth more than each that has to: one
  /// that is refused costs nobody's place.
  bool win_places(cubby_object who, uint64_t bytes, uint64_t now_ns) {
    unpin();
    leaving_.clear();
    for (uint64_t missing = used_ + bytes - capacity_;;) {
      const cubby_object victim = find_victim(who, missing, now_ns);
      if (victim == CUBBY_NO_OBJECT || ops_.admit(policy_, who, victim) == 0) return false;
      leaving_.push_back(victim);
      if (sizes_.bytes_of(victim) >= missing) break;
      missing -= sizes_.bytes_of(victim);
      pinned_[victim] = use_;  // not to be named for this newcomer again
    }
    for (const cubby_object victim : leaving_) leave(victim);
    return true;
  }
  void leave(cubby_object victim) {
    used_ -= sizes_.bytes_of(victim);
    resident_[victim] = 0;
    ops_.removed(policy_, victim);
    if (watcher_ != nullptr) watcher_->left(victim);
  }
  /// The first one named that is not in use; none too when the policy broke the rules.
  cubby_object find_victim(cubby_object who, uint64_t missing, uint64_t now_ns) {
    const cubby_policy_need need = {sizeof need, who, missing, now_ns};
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
        return CUBBY_NO_OBJECT;
      }
      if (pinned_[victim] != use_) return victim;
      if (!named_first(victim)) {
        broken_ = "next_victim() named object " + std::to_string(victim) + " twice in a round";
        return CUBBY_NO_OBJECT;
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
  const Sizes sizes_;
  cubby_policy *policy_ = nullptr;
  int32_t failed_ = 0;
  std::vector<uint8_t> resident_;
  std::vector<uint64_t> pinned_;  // the last use it was pinned for
  std::vector<uint64_t> named_;   // the last round it was named and passed over in
  uint64_t use_ = 1, round_ = 0;
  const uint64_t capacity_;
  uint64_t used_ = 0;
  std::vector<cubby_object> leaving_;
  std::string broken_;
};

}  // namespace cubby_cli::replay
