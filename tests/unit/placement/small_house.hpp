// Keeps the books around one policy, through its table of operations alone: residents, room, a
// plain sequence of uses.
#pragma once

#include <cubby/policy.h>

#include <set>
#include <vector>

#include "placement/registry.hpp"
#include "support/catch.hpp"

namespace small_house {

struct shape {
  uint32_t kind = CUBBY_POLICY_BANK_OTHER;
  uint32_t rows = 1, columns = 16, routed = 1, capacity = 4, slots = 1;
  uint64_t seed = 1;
  bool demotes = false;
};

class house {
 public:
  house(const char *name, const shape &of)
      : ops_(*cubby::placement::find_policy(name)), shape_(of) {
    bank_.struct_size = sizeof bank_;
    bank_.kind = of.kind;
    bank_.rows = of.rows;
    bank_.columns = of.columns;
    bank_.routed_count = of.routed;
    bank_.object_bytes = 100;
    cubby_policy_config config = {};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_POLICY_ABI_VERSION;
    config.banks = &bank_;
    config.bank_count = 1;
    config.object_count = of.rows * of.columns;
    config.budget_bytes = uint64_t{of.capacity} * bank_.object_bytes;
    config.slot_count = of.slots;
    config.seed = of.seed;
    config.demotes = of.demotes ? 1 : 0;
    REQUIRE(ops_.create(&config, &policy_) == 0);
  }
  ~house() { ops_.destroy(policy_); }
  house(const house &) = delete;
  house &operator=(const house &) = delete;

  /// One block is touched; true when it was resident.
  bool touch(cubby_object who, uint64_t next_use = CUBBY_NEVER_USED, uint64_t now_ns = 0) {
    cubby_policy_access access = {};
    access.struct_size = sizeof access;
    access.object = who;
    access.parent = CUBBY_NO_OBJECT;
    access.last = 1;
    access.next_use = next_use;
    access.number = count_++;
    access.now_ns = now_ns;
    const bool hit = residents.count(who) != 0;
    ops_.access(policy_, &access);
    if (!hit) bring(who);
    return hit;
  }
  /// One layer is visited by one slot; how many were resident.
  uint32_t visit(uint32_t row, const std::vector<cubby_object> &used) {
    const cubby_policy_route route = {0, static_cast<uint32_t>(used.size()), used.data()};
    cubby_policy_visit visit = {};
    visit.struct_size = sizeof visit;
    visit.row = row;
    visit.used = used.data();
    visit.used_count = route.count;
    visit.routes = &route;
    visit.route_count = 1;
    visit.number = count_++;
    uint32_t hits = 0;
    std::vector<cubby_object> missing;
    for (const cubby_object who : used) {
      if (residents.count(who) != 0)
        ++hits;
      else
        missing.push_back(who);
    }
    ops_.visit(policy_, &visit);
    for (const cubby_object who : missing) bring(who);
    return hits;
  }
  void bring(cubby_object who) {
    if (residents.size() >= shape_.capacity) {
      const cubby_object victim = first_victim(who);
      if (victim == CUBBY_NO_OBJECT) return;
      if (ops_.admit != nullptr && ops_.admit(policy_, who, victim) == 0) return;
      remove(victim);
    }
    residents.insert(who);
    ops_.inserted(policy_, who, bank_.object_bytes);
  }
  void remove(cubby_object who) {
    residents.erase(who);
    victims.push_back(who);
    ops_.removed(policy_, who);
  }
  cubby_object first_victim(cubby_object incoming) {
    const cubby_policy_need need = {sizeof need, incoming, bank_.object_bytes, 0};
    ops_.begin_victims(policy_, &need);
    for (;;) {
      const cubby_object who = ops_.next_victim(policy_);
      if (who == CUBBY_NO_OBJECT || pinned.count(who) == 0) return who;
    }
  }
  std::vector<cubby_object> whole_round(cubby_object incoming) {
    const cubby_policy_need need = {sizeof need, incoming, bank_.object_bytes, 0};
    std::vector<cubby_object> order;
    ops_.begin_victims(policy_, &need);
    for (cubby_object who = ops_.next_victim(policy_); who != CUBBY_NO_OBJECT;
         who = ops_.next_victim(policy_)) {
      order.push_back(who);
      if (order.size() > residents.size()) break;
    }
    return order;
  }
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

 private:
  const cubby_policy_ops &ops_;
  shape shape_;
  cubby_policy_bank bank_ = {};
  cubby_policy *policy_ = nullptr;
  uint64_t count_ = 0;
};

}  // namespace small_house
