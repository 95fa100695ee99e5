// Keeps the books around one policy over banks of several kinds, sizes and costs: residents by
// bytes, and the time waited for what was missing.
#pragma once

#include <cubby/policy.h>

#include <string>
#include <vector>

#include "placement/registry.hpp"
#include "support/catch.hpp"

namespace mixed_house {

inline cubby_policy_bank bank_of(uint32_t kind, cubby_object first, uint32_t rows, uint32_t columns,
                                 uint64_t bytes, uint64_t refetch_ns) {
  cubby_policy_bank bank = {};
  bank.struct_size = sizeof bank;
  bank.kind = kind;
  bank.first_object = first;
  bank.rows = rows;
  bank.columns = columns;
  bank.routed_count = kind == CUBBY_POLICY_BANK_EXPERTS ? 2 : 0;
  bank.object_bytes = bytes;
  bank.refetch_ns = refetch_ns;
  return bank;
}

class house {
 public:
  house(const std::string &name, std::vector<cubby_policy_bank> banks, uint64_t budget)
      : ops_(*cubby::placement::find_policy(name)), banks_(std::move(banks)), room_(budget) {
    cubby_policy_config config = {};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_POLICY_ABI_VERSION;
    config.banks = banks_.data();
    config.bank_count = static_cast<uint32_t>(banks_.size());
    for (const cubby_policy_bank &bank : banks_) {
      bank_at_.resize(bank.first_object + size_t{bank.rows} * bank.columns,
                      static_cast<uint32_t>(&bank - banks_.data()));
    }
    config.object_count = static_cast<uint32_t>(bank_at_.size());
    config.budget_bytes = budget;
    config.slot_count = 1;
    resident_.resize(bank_at_.size());
    bytes.resize(banks_.size());
    REQUIRE(ops_.create(&config, &policy_) == 0);
  }
  ~house() { ops_.destroy(policy_); }
  house(const house &) = delete;
  house &operator=(const house &) = delete;

  void visit(uint32_t bank, uint32_t row, const std::vector<cubby_object> &used) {
    const cubby_policy_route route = {0, static_cast<uint32_t>(used.size()), used.data()};
    cubby_policy_visit told = {};
    told.struct_size = sizeof told;
    told.bank = bank;
    told.row = row;
    told.used = used.data();
    told.used_count = route.count;
    told.routes = &route;
    told.route_count = 1;
    told.number = number_++;
    told.now_ns = now_ns;
    std::vector<cubby_object> missing;
    for (const cubby_object who : used)
      if (resident_[who] == 0) missing.push_back(who);
    ops_.visit(policy_, &told);
    for (const cubby_object who : missing) bring(who);
  }
  /// A request's blocks from the first to the last. What is missing behind the leading run is
  /// fetched too.
  void request(const std::vector<cubby_object> &blocks) {
    ++number_;
    for (uint32_t i = 0; i < blocks.size(); ++i) {
      cubby_policy_access told = {};
      told.struct_size = sizeof told;
      told.object = blocks[i];
      told.parent = i == 0 ? CUBBY_NO_OBJECT : blocks[i - 1];
      told.depth = i;
      told.last = i + 1 == blocks.size() ? 1 : 0;
      told.next_use = CUBBY_NEVER_USED;
      told.number = number_;
      told.now_ns = now_ns;
      const bool hit = resident_[blocks[i]] != 0;
      ops_.access(policy_, &told);
      if (!hit) bring(blocks[i]);
    }
  }
  [[nodiscard]] bool resident(cubby_object who) const { return resident_[who] != 0; }
  [[nodiscard]] const cubby_policy_ops &ops() const { return ops_; }
  [[nodiscard]] cubby_policy *policy() const { return policy_; }

  std::vector<uint64_t> bytes;  // resident, by bank
  uint64_t now_ns = 0, waited_ns = 0;

 private:
  void bring(cubby_object who) {
    const cubby_policy_bank &bank = banks_[bank_at_[who]];
    waited_ns += bank.refetch_ns;
    if (room_ < bank.object_bytes) {
      const cubby_policy_need need = {sizeof need, who, bank.object_bytes - room_, now_ns};
      ops_.begin_victims(policy_, &need);
      while (room_ < bank.object_bytes) {
        const cubby_object victim = ops_.next_victim(policy_);
        if (victim == CUBBY_NO_OBJECT) return;
        REQUIRE(victim < resident_.size());
        REQUIRE(resident_[victim] != 0);
        if (ops_.admit != nullptr && ops_.admit(policy_, who, victim) == 0) return;
        resident_[victim] = 0;
        bytes[bank_at_[victim]] -= banks_[bank_at_[victim]].object_bytes;
        room_ += banks_[bank_at_[victim]].object_bytes;
        ops_.removed(policy_, victim);
      }
    }
    room_ -= bank.object_bytes;
    bytes[bank_at_[who]] += bank.object_bytes;
    resident_[who] = 1;
    ops_.inserted(policy_, who, bank.object_bytes);
  }

  const cubby_policy_ops &ops_;
  std::vector<cubby_policy_bank> banks_;
  cubby_policy *policy_ = nullptr;
  std::vector<uint32_t> bank_at_;  // of each object
  std::vector<uint8_t> resident_;
  uint64_t room_, number_ = 0;
};

}  // namespace mixed_house
