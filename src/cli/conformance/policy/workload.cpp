#include "cli/conformance/policy/workload.hpp"

#include <algorithm>
#include <random>

namespace cubby_conformance::policies {
namespace {

constexpr uint64_t locker_bytes = 100;
constexpr uint32_t turn_count = 3000, chain_blocks = 8;

class dice {
 public:
  uint32_t below(uint32_t end) { return static_cast<uint32_t>(source_() % end); }
  /// Small numbers come more often, so that there is something to learn.
  uint32_t skewed(uint32_t end) { return below(1 + below(end)); }

 private:
  std::mt19937_64 source_{7};
};

/// One layer of a bank of experts, chosen from by `sequences`.
turn visit_of(const cubby_policy_bank &of, uint32_t bank, uint32_t row, uint32_t sequences,
              dice &random) {
  turn made;
  made.visit = true;
  made.bank = bank;
  made.row = row;
  made.prefill = random.below(10) == 0 ? 1 : 0;
  const cubby_object first = of.first_object + row * of.columns;
  for (uint32_t s = 0; s < sequences; ++s) {
    std::vector<cubby_object> chosen;
    while (chosen.size() < of.routed_count) {
      const cubby_object object = first + random.skewed(of.columns);
      if (std::find(chosen.begin(), chosen.end(), object) == chosen.end()) chosen.push_back(object);
    }
    for (const cubby_object object : chosen)
      if (std::find(made.used.begin(), made.used.end(), object) == made.used.end())
        made.used.push_back(object);
    made.routes.push_back(std::move(chosen));
  }
  return made;
}

/// A prefix of one of the chains of blocks.
turn request_of(const cubby_policy_bank &of, uint32_t bank, dice &random) {
  turn made;
  made.bank = bank;
  const uint32_t chain = random.skewed(of.columns / chain_blocks);
  const uint32_t length = 1 + random.below(chain_blocks);
  for (uint32_t i = 0; i < length; ++i)
    made.used.push_back(of.first_object + chain * chain_blocks + i);
  return made;
}

/// What only a replay can tell: visits and requests are counted each for themselves.
void set_next_uses(workload &of) {
  std::vector<uint64_t> next(of.object_count(), CUBBY_NEVER_USED);
  uint64_t visits = 0, requests = 0;
  for (const turn &one : of.turns) ++(one.visit ? visits : requests);
  for (size_t i = of.turns.size(); i-- != 0;) {
    turn &one = of.turns[i];
    const uint64_t number = --(one.visit ? visits : requests);
    for (const cubby_object object : one.used) one.next_use.push_back(next[object]);
    for (const cubby_object object : one.used) next[object] = number;
  }
}

void add_turn(workload &to, turn one) {
  one.now_ns = 1'000'000'000 + to.turns.size() * 300'000'000;
  to.turns.push_back(std::move(one));
}

workload experts() {
  workload made{"experts", CUBBY_POLICY_EXPERTS, {}, 20 * locker_bytes, 1, {}};
  made.banks = {make_bank(CUBBY_POLICY_BANK_EXPERTS, 0, 4, 16, locker_bytes)};
  dice random;
  for (uint32_t i = 0; i < turn_count; ++i)
    add_turn(made, visit_of(made.banks[0], 0, i % 4, 1, random));
  return made;
}

workload batch() {
  workload made{"batch of experts", CUBBY_POLICY_EXPERTS, {}, 30 * locker_bytes, 3, {}};
  made.banks = {make_bank(CUBBY_POLICY_BANK_EXPERTS, 0, 4, 32, locker_bytes)};
  dice random;
  for (uint32_t i = 0; i < turn_count; ++i)
    add_turn(made, visit_of(made.banks[0], 0, i % 4, 1 + random.below(3), random));
  return made;
}

workload blocks() {
  workload made{"KV blocks", CUBBY_POLICY_KV, {}, 30 * locker_bytes, 1, {}};
  made.banks = {make_bank(CUBBY_POLICY_BANK_KV, 0, 1, 16 * chain_blocks, locker_bytes)};
  dice random;
  for (uint32_t i = 0; i < turn_count; ++i) add_turn(made, request_of(made.banks[0], 0, random));
  return made;
}

/// Lockers of several kinds, sizes and costs in one tier.
workload together() {
  workload made{"experts and blocks in one tier",
                CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV,
                {},
                30 * locker_bytes,
                1,
                {}};
  made.banks = {make_bank(CUBBY_POLICY_BANK_EXPERTS, 0, 4, 16, locker_bytes),
                make_bank(CUBBY_POLICY_BANK_KV, 64, 1, 8 * chain_blocks, 160),
                make_bank(CUBBY_POLICY_BANK_OTHER, 128, 1, 16, 50)};
  for (cubby_policy_bank &one : made.banks) one.refetch_ns = one.object_bytes * 10;
  dice random;
  for (uint32_t i = 0; i < turn_count; ++i) {
    add_turn(made, visit_of(made.banks[0], 0, i % 4, 1, random));
    if (i % 4 == 0) add_turn(made, request_of(made.banks[1], 1, random));
    if (i % 8 != 0) continue;
    turn other;
    other.bank = 2;
    other.used = {128 + random.skewed(16)};
    add_turn(made, std::move(other));
  }
  return made;
}

}  // namespace

uint32_t workload::object_count() const {
  uint32_t count = 0;
  for (const cubby_policy_bank &one : banks)
    count = std::max(count, one.first_object + one.rows * one.columns);
  return count;
}

cubby_policy_config workload::config(uint64_t seed) const {
  cubby_policy_config made = {};
  made.struct_size = sizeof made;
  made.abi_version = CUBBY_POLICY_ABI_VERSION;
  made.banks = banks.data();
  made.bank_count = static_cast<uint32_t>(banks.size());
  made.object_count = object_count();
  made.budget_bytes = budget_bytes;
  made.slot_count = slots;
  made.seed = seed;
  return made;
}

cubby_policy_bank make_bank(uint32_t kind, cubby_object first, uint32_t rows, uint32_t columns,
                            uint64_t object_bytes) {
  cubby_policy_bank made = {};
  made.struct_size = sizeof made;
  made.kind = kind;
  made.first_object = first;
  made.rows = rows;
  made.columns = columns;
  made.routed_count = kind == CUBBY_POLICY_BANK_EXPERTS ? 2 : 0;
  made.object_bytes = object_bytes;
  return made;
}

std::vector<workload> workloads_for(uint32_t flags) {
  std::vector<workload> all;
  for (workload (*const make)() : {experts, batch, blocks, together}) {
    workload one = make();
    // In one tier visits and requests have numbers of their own: no next use counts both.
    const bool both = one.needs == (CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
    if ((one.needs & flags) != one.needs || (both && (flags & CUBBY_POLICY_OFFLINE) != 0)) continue;
    set_next_uses(one);
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace cubby_conformance::policies
