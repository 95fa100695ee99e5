// Experts and KV blocks in one tier: `moe` says which of the experts leaves, `kv` which of the
// blocks, and the split which of the two gives way.
#include <cubby/policy.hpp>
#include <new>
#include <vector>

#include "placement/mixed/lru_guard.hpp"
#include "placement/mixed/split.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

constexpr uint32_t experts = 0, others = 1;

/// One of the two policies, which sees its own banks alone.
class part {
 public:
  part(const cubby_policy_ops &ops, uint32_t of, const cubby_policy_config &config)
      : ops_(ops), class_(of) {
    const cubby_policy_config own = own_of(config, config.budget_bytes / 2);
    if (ops_.create(&own, &policy_) != 0) throw std::bad_alloc();
  }
  ~part() { ops_.destroy(policy_); }
  part(const part &) = delete;
  part &operator=(const part &) = delete;

  [[nodiscard]] const cubby_policy_ops &ops() const { return ops_; }
  [[nodiscard]] cubby_policy *policy() const { return policy_; }
  void grow(const cubby_policy_config &config, double budget) {
    const cubby_policy_config own = own_of(config, static_cast<uint64_t>(std::max(budget, 1.0)));
    if (ops_.grow(policy_, &own) != 0) throw std::bad_alloc();
  }
  [[nodiscard]] cubby_policy_stats stats() const {
    cubby_policy_stats stats = {};
    stats.struct_size = sizeof stats;
    ops_.stats(policy_, &stats);
    return stats;
  }

 private:
  /// Banks keep their places; those of the other class are empty.
  cubby_policy_config own_of(const cubby_policy_config &config, uint64_t budget) {
    banks_.assign(config.banks, config.banks + config.bank_count);
    for (cubby_policy_bank &bank : banks_) {
      if ((bank.kind == CUBBY_POLICY_BANK_EXPERTS ? experts : others) == class_) continue;
      bank.kind = CUBBY_POLICY_BANK_OTHER;
      bank.rows = 0;
    }
    cubby_policy_config own = config;
    own.banks = banks_.data();
    own.budget_bytes = budget;
    return own;
  }

  const cubby_policy_ops &ops_;
  uint32_t class_;
  cubby_policy *policy_ = nullptr;
  std::vector<cubby_policy_bank> banks_;
};

class mixed_policy {
 public:
  explicit mixed_policy(const cubby_policy_config &config)
      : moe_(moe_ops(), experts, config),
        kv_(kv_part_ops(), others, config),
        split_(config.budget_bytes),
        guard_(prices_) {
    set_objects(config);
    give_shares();
  }

  void visit(const cubby_policy_visit &visit) {
    const uint32_t of = class_of(visit.used_count == 0 ? 0 : visit.used[0]);
    for (uint32_t i = 0; i < visit.used_count; ++i) look(visit.used[i]);
    guard_.visit({visit.used, visit.used_count});
    parts_[of]->ops().visit(parts_[of]->policy(), &visit);
  }
  void access(const cubby_policy_access &access) {
    look(access.object);
    guard_.access(access.object, access.number);
    asked_ = access.object;
    parent_ = access.parent;
    const part &to = *parts_[class_of(access.object)];
    to.ops().access(to.policy(), &access);
  }
  void inserted(cubby_object object, uint64_t bytes) {
    const uint32_t of = class_of(object);
    guard_.inserted(object);
    held_bytes_[of] += static_cast<double>(bytes);
    parts_[of]->ops().inserted(parts_[of]->policy(), object, bytes);
    if (split_.came(static_cast<double>(bytes))) give_shares();
  }
  void removed(cubby_object object) {
    const uint32_t of = class_of(object);
    if (!guard_.resident(object)) return;
    guard_.removed(object);
    held_bytes_[of] -= prices_.bytes(object);
    leave(object);
    parts_[of]->ops().removed(parts_[of]->policy(), object);
  }
  void begin_victims(const cubby_policy_need &need) {
    need_ = need;
    guard_.begin_round();
    // Whoever holds more than its share gives way; else the newcomer's own kind.
    const uint32_t own = need.incoming == CUBBY_NO_OBJECT ? experts : class_of(need.incoming);
    const uint32_t other = 1 - own;
    const double coming = need.incoming == CUBBY_NO_OBJECT ? 0 : prices_.bytes(need.incoming);
    giving_ =
        held_bytes_[other] > split_.target(other) && held_bytes_[own] + coming <= split_.target(own)
            ? other
            : own;
    tried_ = 0;
  }
  cubby_object next_victim() {
    if (guard_.decides()) return guard_.next();
    for (; tried_ < 4; ++tried_, giving_ = 1 - giving_) {
      const part &from = *parts_[giving_];
      if (tried_ % 2 == 0) from.ops().begin_victims(from.policy(), &need_);
      tried_ |= 1;
      const cubby_object object = from.ops().next_victim(from.policy());
      if (object != CUBBY_NO_OBJECT) return object;
    }
    return CUBBY_NO_OBJECT;
  }
  bool admit(cubby_object incoming, cubby_object victim) {
    if (guard_.decides()) return true;
    const uint32_t of = class_of(incoming);
    const part &own = *parts_[of];
    bool admitted = true;
    if (of == class_of(victim))
      admitted = own.ops().admit(own.policy(), incoming, victim) != 0;
    else if (of == others && incoming == asked_ && parent_ != CUBBY_NO_OBJECT)
      admitted = guard_.resident(parent_);  // else it could not be reached
    if (!admitted) leave(incoming);
    return admitted;
  }
  bool hint(const cubby_policy_hint &hint) {
    bool taken = false;
    for (const part *one : parts_) taken |= one->ops().hint(one->policy(), &hint) != 0;
    return taken;
  }
  void forget(cubby_object object) {
    left_at_[object] = 0;
    const part &of = *parts_[class_of(object)];
    if (of.ops().forget != nullptr) of.ops().forget(of.policy(), object);
  }
  void grow(const cubby_policy_config &config) {
    split_.set_budget(config.budget_bytes);
    set_objects(config);
    give_shares();
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + moe_.stats().state_bytes + kv_.stats().state_bytes +
           prices_.memory_bytes() + guard_.memory_bytes() + left_at_.capacity() * sizeof(uint64_t);
  }
  void describe(cubby_policy_stats &out) const {
    const cubby_policy_stats of_experts = moe_.stats(), of_blocks = kv_.stats();
    out.fallback = of_experts.fallback | of_blocks.fallback | (guard_.decides() ? 1u : 0u);
    out.fallback_count = of_experts.fallback_count + of_blocks.fallback_count + guard_.takeovers();
  }

 private:
  [[nodiscard]] uint32_t class_of(cubby_object object) const {
    return prices_.is_expert(object) ? experts : others;
  }
  /// It is used: a miss that more room would have spared?
  void look(cubby_object object) {
    if (guard_.resident(object) || left_at_[object] == 0) return;
    const uint32_t of = class_of(object);
    split_.missed(of, left_bytes_[of] - static_cast<double>(left_at_[object]),
                  prices_.stall_ns(object));
    left_at_[object] = 0;
  }
  void leave(cubby_object object) {
    double &left = left_bytes_[class_of(object)];
    left += prices_.bytes(object);
    left_at_[object] = static_cast<uint64_t>(left);
  }
  void give_shares() {
    for (uint32_t of = 0; of < mixed::split::class_count; ++of)
      parts_[of]->grow(prices_.config(), split_.target(of));
  }
  void set_objects(const cubby_policy_config &config) {
    prices_.set(config);
    guard_.change(config);
    left_at_.resize(std::max<size_t>(left_at_.size(), config.object_count));
  }

  part moe_, kv_;
  part *parts_[mixed::split::class_count] = {&moe_, &kv_};
  mixed::split split_;
  mixed::prices prices_;
  mixed::lru_guard guard_;
  std::vector<uint64_t> left_at_;  // when it left: by the bytes that had left its class; 0 = never
  double held_bytes_[mixed::split::class_count] = {}, left_bytes_[mixed::split::class_count] = {};
  cubby_policy_need need_ = {};
  uint32_t giving_ = 0, tried_ = 0;
  cubby_object asked_ = CUBBY_NO_OBJECT, parent_ = CUBBY_NO_OBJECT;
};

}  // namespace

const cubby_policy_ops &mixed_ops() {
  static const cubby_policy_ops ops = policy_ops<mixed_policy>(
      "mixed", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV | CUBBY_POLICY_HEAD_FIRST);
  return ops;
}

}  // namespace cubby::placement
