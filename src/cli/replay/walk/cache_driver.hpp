// Drives the admission protocol with one tier and no bytes: what is resident, what is pinned, what
// fits. Every object has its frame when the policy has admitted it.
#pragma once

#include <cubby/policy.h>

#include <span>
#include <string>
#include <vector>

#include "cli/replay/walk/simulate.hpp"
#include "placement/admission/admission.hpp"

namespace cubby_cli::replay {

/// Lockers of one bank, of a byte each, so that a budget in bytes is a number of lockers.
struct all_alike {
  explicit all_alike(std::span<const cubby_policy_bank>) {}
  [[nodiscard]] static uint64_t bytes_of(cubby_object) { return 1; }
};

/// Lockers of two banks.
struct two_sizes {
  explicit two_sizes(std::span<const cubby_policy_bank> banks)
      : first_bytes(banks[0].object_bytes),
        second_bytes(banks[1].object_bytes),
        second(banks[1].first_object) {}
  [[nodiscard]] uint64_t bytes_of(cubby_object object) const {
    return object < second ? first_bytes : second_bytes;
  }
  uint64_t first_bytes, second_bytes;
  cubby_object second;  // the first of the second bank
};

template <class Sizes>
class cache_driver {
 public:
  /// `watcher` may be none.
  cache_driver(const simulation &how, std::span<const cubby_policy_bank> banks, uint32_t slot_count,
               observer *watcher)
      : watcher_(watcher),
        sizes_(banks),
        capacity_(how.capacity),
        admission_(*how.policy, how.seed, slot_count) {
    const cubby_policy_bank &last = banks.back();
    pinned_.resize(last.first_object + size_t{last.rows} * last.columns);
    admission_.set_object_count(static_cast<uint32_t>(pinned_.size()));
    cubby::placement::tier_view view;
    view.budget_bytes = how.capacity;
    view.banks.assign(banks.begin(), banks.end());
    failed_ = admission_.add_tier(0, 0, false, std::move(view), *this);
  }
  cache_driver(const cache_driver &) = delete;
  cache_driver &operator=(const cache_driver &) = delete;

  [[nodiscard]] int32_t failed() const { return failed_; }
  [[nodiscard]] bool resident(cubby_object object) const {
    return admission_.is_admitted(0, object);
  }
  [[nodiscard]] cubby_policy *policy() const {
    const auto &of = admission_.books(0).policy;
    return of == nullptr ? nullptr : of->instance();
  }

  /// Nothing is in use any more.
  void unpin() { ++use_; }
  /// What is in use from here on; what was is not any more.
  void pin(const cubby_object *used, uint32_t count) {
    unpin();
    for (uint32_t i = 0; i < count; ++i) pinned_[used[i]] = use_;
  }
  /// Admits the object where there is room, or where the policy finds it worth the victims' places.
  /// False when the policy broke the rules; broken() says how.
  [[gnu::always_inline]] bool bring(cubby_object object, uint64_t now_ns) {
    now_ns_ = now_ns;
    if (!admission_.admit_or_reject(0, object, *this)) return broken_.empty();
    if (watcher_ != nullptr) watcher_->came(object);
    return true;
  }
  [[nodiscard]] const std::string &broken() const { return broken_; }
  [[nodiscard]] cubby_policy_stats stats() const {
    cubby_policy_stats stats = {};
    stats.struct_size = sizeof stats;
    admission_.books(0).policy->ops().stats(policy(), &stats);
    stats.warning[sizeof stats.warning - 1] = 0;
    return stats;
  }

  // ---- what admission asks -------------------------------------------------------------------
  static constexpr bool replaces_policies = false;
  [[nodiscard]] cubby::placement::presence presence_of(uint32_t, cubby_object object) const {
    return pinned_[object] == use_ ? cubby::placement::presence::pinned
                                   : cubby::placement::presence::ready;
  }
  [[nodiscard]] uint64_t frame_bytes(uint32_t, cubby_object object) const {
    return sizes_.bytes_of(object);
  }
  [[nodiscard]] uint64_t cost_bytes(uint32_t, cubby_object object) const {
    return sizes_.bytes_of(object);
  }
  [[nodiscard]] bool has_hole(uint32_t, uint64_t bytes) const {
    return admission_.books(0).admitted_bytes + bytes <= capacity_;
  }
  [[nodiscard]] static bool makes_hole(uint32_t, cubby_object, uint64_t) { return true; }
  [[nodiscard]] static bool is_hole_coming(uint32_t, uint64_t) { return false; }
  [[nodiscard]] static bool begin_evict(uint32_t, cubby_object) { return true; }
  void finish_evict(uint32_t, cubby_object object, cubby::placement::departure) {
    if (watcher_ != nullptr) watcher_->left(object);
  }
  [[nodiscard]] uint64_t now_ns() const { return now_ns_; }
  void policy_broken(uint32_t, const char *, const std::string &what, bool) { broken_ = what; }

 private:
  observer *watcher_;
  const Sizes sizes_;
  const uint64_t capacity_;
  cubby::placement::admission admission_;
  int32_t failed_ = 0;
  std::vector<uint64_t> pinned_;  // the last use it was pinned for
  uint64_t use_ = 1, now_ns_ = 0;
  std::string broken_;
};

}  // namespace cubby_cli::replay
