// Keeps the books around one policy, through its table of operations alone: who is resident, what
// fits, what it cost to wait. Over banks of several kinds, sizes and costs, or over one whose
// lockers are all alike.
#pragma once

#include <cubby/policy.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace policy_fixture {

/// One bank of lockers of 100 bytes.
struct shape {
  uint32_t kind = CUBBY_POLICY_BANK_OTHER;
  uint32_t rows = 1, columns = 16, routed = 1, capacity = 4, slots = 1;
  uint64_t seed = 1;
  bool demotes = false;
};
inline constexpr uint64_t locker_bytes = 100;

inline shape model_of(uint32_t layers, uint32_t columns, uint32_t routed, uint32_t capacity) {
  shape made;
  made.kind = CUBBY_POLICY_BANK_EXPERTS;
  made.rows = layers;
  made.columns = columns;
  made.routed = routed;
  made.capacity = capacity;
  return made;
}

inline cubby_policy_bank bank_of(uint32_t kind, cubby_object first, uint32_t rows, uint32_t columns,
                                 uint64_t bytes, uint64_t refetch_ns, uint32_t routed = 2) {
  cubby_policy_bank bank = {};
  bank.struct_size = sizeof bank;
  bank.kind = kind;
  bank.first_object = first;
  bank.rows = rows;
  bank.columns = columns;
  bank.routed_count = kind == CUBBY_POLICY_BANK_KV ? 0 : routed;
  bank.object_bytes = bytes;
  bank.refetch_ns = refetch_ns;
  return bank;
}

class fixture {
 public:
  fixture(const std::string &name, std::vector<cubby_policy_bank> banks, uint64_t budget)
      : fixture(name, std::move(banks), budget, shape()) {}
  fixture(const std::string &name, const shape &of)
      : fixture(name, {bank_of(of.kind, 0, of.rows, of.columns, locker_bytes, 0, of.routed)},
                uint64_t{of.capacity} * locker_bytes, of) {}
  ~fixture() { ops_.destroy(policy_); }
  fixture(const fixture &) = delete;
  fixture &operator=(const fixture &) = delete;

  /// One block is touched, a request of its own; true when it was resident.
  bool touch(cubby_object object, uint64_t next_use = CUBBY_NEVER_USED, uint64_t at_ns = 0) {
    now_ns = at_ns;
    cubby_policy_access access = {};
    access.struct_size = sizeof access;
    access.object = object;
    access.parent = CUBBY_NO_OBJECT;
    access.last = 1;
    access.next_use = next_use;
    access.number = count_++;
    access.now_ns = now_ns;
    return use(access);
  }
  /// A request's blocks from the first to the last. What is missing behind the leading run is
  /// fetched too.
  void request(const std::vector<cubby_object> &blocks) {
    const uint64_t number = count_++;
    for (uint32_t i = 0; i < blocks.size(); ++i) {
      cubby_policy_access access = {};
      access.struct_size = sizeof access;
      access.object = blocks[i];
      access.parent = i == 0 ? CUBBY_NO_OBJECT : blocks[i - 1];
      access.depth = i;
      access.last = i + 1 == blocks.size() ? 1 : 0;
      access.next_use = CUBBY_NEVER_USED;
      access.number = number;
      access.now_ns = now_ns;
      use(access);
    }
  }
  /// One layer is visited by one slot; how many were resident.
  uint32_t visit(uint32_t row, const std::vector<cubby_object> &used) {
    return visit(0, row, used);
  }
  uint32_t visit(uint32_t bank, uint32_t row, const std::vector<cubby_object> &used) {
    const cubby_policy_route route = {0, static_cast<uint32_t>(used.size()), used.data()};
    cubby_policy_visit visit = {};
    visit.struct_size = sizeof visit;
    visit.bank = bank;
    visit.row = row;
    visit.used = used.data();
    visit.used_count = route.count;
    visit.routes = &route;
    visit.route_count = 1;
    visit.number = count_++;
    visit.now_ns = now_ns;
    std::vector<cubby_object> missing;
    for (const cubby_object object : used)
      if (!resident(object)) missing.push_back(object);
    ops_.visit(policy_, &visit);
    for (const cubby_object object : missing) bring(object);
    return route.count - static_cast<uint32_t>(missing.size());
  }
  /// It comes to stay, where the policy finds it worth the places of those that have to leave.
  void bring(cubby_object object) {
    const uint64_t cost = bank_at(object).object_bytes;
    waited_ns += bank_at(object).refetch_ns;
    if (room_ < cost) {
      cubby_object victim = first_victim(object);
      for (;; victim = next_victim()) {
        if (victim == CUBBY_NO_OBJECT) return;
        if (!resident(victim)) FAIL("victim " << victim << " is not resident");
        if (ops_.admit != nullptr && ops_.admit(policy_, object, victim) == 0) return;
        remove(victim);
        if (room_ >= cost) break;
      }
    }
    room_ -= cost;
    bytes[bank_index_[object]] += cost;
    residents.insert(object);
    ops_.inserted(policy_, object, cost);
  }
  void remove(cubby_object object) {
    residents.erase(object);
    victims.push_back(object);
    room_ += bank_at(object).object_bytes;
    bytes[bank_index_[object]] -= bank_at(object).object_bytes;
    ops_.removed(policy_, object);
  }
  /// A hint of the experts to be used by the token that is so far ahead.
  void foresee(uint32_t ahead, const std::vector<cubby_object> &objects) {
    cubby_policy_hint hint = {};
    hint.struct_size = sizeof hint;
    hint.kind = CUBBY_POLICY_HINT_ROUTE;
    hint.ahead = ahead;
    hint.objects = objects.data();
    hint.object_count = static_cast<uint32_t>(objects.size());
    REQUIRE(ops_.hint(policy_, &hint) == 1);
  }
  /// To more banks (those there were come first), or another budget.
  void grow(std::vector<cubby_policy_bank> banks, uint64_t budget) {
    const cubby_policy_config config = set_banks(std::move(banks), budget);
    REQUIRE(ops_.grow(policy_, &config) == 0);
  }
  /// Of a new round; without a newcomer one locker has to go.
  cubby_object first_victim(cubby_object incoming) {
    uint64_t missing = banks_[0].object_bytes;
    if (incoming != CUBBY_NO_OBJECT)
      missing = bank_at(incoming).object_bytes - std::min(room_, bank_at(incoming).object_bytes);
    const cubby_policy_need need = {sizeof need, incoming, missing, now_ns};
    ops_.begin_victims(policy_, &need);
    return next_victim();
  }
  std::vector<cubby_object> whole_round(cubby_object incoming) {
    std::vector<cubby_object> order;
    const std::set<cubby_object> held = std::move(pinned);
    pinned.clear();
    for (cubby_object object = first_victim(incoming); object != CUBBY_NO_OBJECT;
         object = next_victim()) {
      order.push_back(object);
      if (order.size() > residents.size()) break;
    }
    pinned = held;
    return order;
  }
  [[nodiscard]] bool resident(cubby_object object) const { return residents.count(object) != 0; }
  [[nodiscard]] cubby_policy_stats stats() const {
    cubby_policy_stats out = {};
    out.struct_size = sizeof out;
    ops_.stats(policy_, &out);
    return out;
  }
  [[nodiscard]] const cubby_policy_ops &ops() const { return ops_; }
  [[nodiscard]] cubby_policy *policy() const { return policy_; }

  std::set<cubby_object> residents, pinned;
  std::vector<cubby_object> victims;  // in the order of their leaving
  std::vector<uint64_t> bytes;        // resident, by bank
  uint64_t now_ns = 0, waited_ns = 0;

 private:
  fixture(const std::string &name, std::vector<cubby_policy_bank> banks, uint64_t budget,
          const shape &of)
      : ops_(*cubby_policy_find(name.c_str())), of_(of) {
    const cubby_policy_config config = set_banks(std::move(banks), budget);
    REQUIRE(ops_.create(&config, &policy_) == 0);
  }
  cubby_policy_config set_banks(std::vector<cubby_policy_bank> banks, uint64_t budget) {
    room_ += budget - budget_;
    budget_ = budget;
    banks_ = std::move(banks);
    bank_index_.clear();
    for (const cubby_policy_bank &bank : banks_)
      bank_index_.resize(bank.first_object + size_t{bank.rows} * bank.columns,
                         static_cast<uint32_t>(&bank - banks_.data()));
    bytes.resize(banks_.size());
    cubby_policy_config config = {};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_POLICY_ABI_VERSION;
    config.banks = banks_.data();
    config.bank_count = static_cast<uint32_t>(banks_.size());
    config.object_count = static_cast<uint32_t>(bank_index_.size());
    config.budget_bytes = budget;
    config.slot_count = of_.slots;
    config.seed = of_.seed;
    config.demotes = of_.demotes ? 1 : 0;
    return config;
  }
  [[nodiscard]] const cubby_policy_bank &bank_at(cubby_object object) const {
    return banks_[bank_index_[object]];
  }
  /// False: it was missing, and has been brought where the policy wanted it.
  bool use(const cubby_policy_access &access) {
    const bool hit = resident(access.object);
    ops_.access(policy_, &access);
    if (!hit) bring(access.object);
    return hit;
  }
  cubby_object next_victim() {
    for (;;) {
      const cubby_object object = ops_.next_victim(policy_);
      if (object == CUBBY_NO_OBJECT || pinned.count(object) == 0) return object;
    }
  }

  const cubby_policy_ops &ops_;
  const shape of_;
  std::vector<cubby_policy_bank> banks_;
  cubby_policy *policy_ = nullptr;
  std::vector<uint32_t> bank_index_;  // of each object
  uint64_t budget_ = 0, room_ = 0, count_ = 0;
};

}  // namespace policy_fixture
