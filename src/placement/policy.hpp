// A policy as the runtime holds one: an instance behind the operations of policy.h, ours or
// of a third party. One policy serves one tier.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "placement/registry.hpp"

namespace cubby::placement {

inline constexpr cubby_object no_object = CUBBY_NO_OBJECT;

struct policy_config {
  uint32_t object_count = 0;  // objects 0..object_count-1
  uint64_t seed = 0;
  uint64_t budget_bytes = 0;
  uint32_t slot_count = 1;  // sequences decoded side by side
  std::span<const cubby_policy_bank> banks = {};
  bool demotes = false;  // victims are copied down
};

/// What was used together: one layer of one token, of the bank at this place of the config.
struct visit_place {
  uint32_t bank = 0, row = 0;
  uint64_t now_ns = 0;
};

class policy {
 public:
  policy(const cubby_policy_ops &ops, cubby_policy *instance) : ops_(ops), instance_(instance) {}
  ~policy() { ops_.destroy(instance_); }
  policy(const policy &) = delete;
  policy &operator=(const policy &) = delete;

  /// These objects were used together, resident or not, in the order given; `routes` says by which
  /// of the batch's sequences, all by the first where it is empty.
  void visit(std::span<const cubby_object> used, const visit_place &place = {},
             std::span<const cubby_policy_route> routes = {});
  /// The same of KV blocks, as accesses of one request in the order of `used`; `goes_on`: of the
  /// request before. `number` is filled in here. A policy that is not made for KV blocks gets a
  /// visit.
  void visit_blocks(std::span<const cubby_object> used, std::span<cubby_policy_access> accesses,
                    const visit_place &place, bool goes_on);
  /// Knowledge of the future; false: of no use to it.
  bool hint(const cubby_policy_hint &what) {
    return ops_.hint != nullptr && ops_.hint(instance_, &what) != 0;
  }
  /// The object now lives in the tier / no longer does.
  void inserted(cubby_object object, uint64_t bytes = 1) {
    ops_.inserted(instance_, object, bytes);
  }
  void removed(cubby_object object) { ops_.removed(instance_, object); }
  /// The number will stand for something else.
  void forget(cubby_object object) {
    if (ops_.forget != nullptr) ops_.forget(instance_, object);
  }

  /// Begin proposing victims; then next_victim() names resident objects from the least worth
  /// keeping on, each at most once, no_object when there are no more. The caller skips what is
  /// pinned and calls removed() for what it takes; visit() and inserted() are not called between
  /// begin_victims() and the last next_victim() of a round.
  void begin_victims(cubby_object incoming = no_object, uint64_t bytes = 0, uint64_t now_ns = 0) {
    const cubby_policy_need need = {sizeof need, incoming, bytes, now_ns};
    ops_.begin_victims(instance_, &need);
  }
  cubby_object next_victim() { return ops_.next_victim(instance_); }

  /// Does it decide whether a newcomer is admitted? Then newcomers are on probation until they have
  /// been used.
  [[nodiscard]] bool chooses() const { return ops_.admit != nullptr; }
  /// Is the newcomer worth more than the victim?
  bool admit(cubby_object incoming, cubby_object victim) {
    return ops_.admit == nullptr || ops_.admit(instance_, incoming, victim) != 0;
  }

  /// Banks were added or taken away, or the budget changed. The only call that may allocate after
  /// create. False: there was no memory, and the policy is as before.
  bool grow(const policy_config &config);
  /// Bytes of state.
  [[nodiscard]] uint64_t state_bytes() const;
  [[nodiscard]] const char *name() const { return ops_.name; }
  /// For drivers that call operations which have no method here.
  [[nodiscard]] const cubby_policy_ops &ops() const { return ops_; }
  [[nodiscard]] cubby_policy *instance() const { return instance_; }

 private:
  const cubby_policy_ops &ops_;
  cubby_policy *instance_;
  uint64_t visits_ = 0;
};

/// Names for cubby_policy_list(); "auto" is first and stands for the library's choice. Those that
/// need the future are not among them.
std::span<const char *const> policy_names();

/// The operations behind a name, "auto" being the library's choice; nullptr when there are none, or
/// they need the future.
const cubby_policy_ops *runtime_policy(std::string_view name);
/// nullptr when it cannot be made; *status is then what create() gave.
std::unique_ptr<policy> make_policy(const cubby_policy_ops &ops, const policy_config &config,
                                    int32_t *status = nullptr);

}  // namespace cubby::placement
