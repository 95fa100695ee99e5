// How instances begin and grow.
#include "cli/conformance/policy/policy_harness.hpp"

namespace cubby_conformance::policies {
namespace {

void look_at_refusal(const subject &on, const cubby_policy_config &config, const char *what) {
  cubby_policy *self = nullptr;
  int32_t came = 0;
  {
    const under_way call(on, "create");
    came = on.ops.create(&config, &self);
  }
  expect(came == 0 || came == -EINVAL || came == -ENOMEM, "create() with ", what, " gave ",
         errno_text(came), "; 0, -EINVAL and -ENOMEM are known");
  expect((came == 0) == (self != nullptr), "create() with ", what, " gave ", errno_text(came),
         self == nullptr ? " and no instance" : " and an instance all the same");
  if (came != 0) return;
  const cubby_policy_need need = {sizeof need, CUBBY_NO_OBJECT, 1, 0};
  {
    const under_way call(on, "begin_victims");
    on.ops.begin_victims(self, &need);
  }
  {
    const under_way call(on, "next_victim");
    const cubby_object object = on.ops.next_victim(self);
    expect(object == CUBBY_NO_OBJECT, "with ", what, " next_victim() gave object ", object,
           ", and nobody has come yet");
  }
  const under_way call(on, "destroy");
  on.ops.destroy(self);
}

void odd_configs(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    workload none = of;
    none.banks.clear();
    look_at_refusal(on, none.config(), "no bank");
    none = of;
    none.budget_bytes = 0;
    look_at_refusal(on, none.config(), "a budget of 0 bytes");
    none = of;
    none.slots = 0;
    look_at_refusal(on, none.config(), "slot_count 0");
    none = of;
    for (cubby_policy_bank &bank : none.banks) bank.kind = CUBBY_POLICY_BANK_OTHER;
    look_at_refusal(on, none.config(), "banks of kind OTHER alone");
  }
}

void grow_from_nothing(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    workload none = of;
    none.banks.clear();
    none.budget_bytes = 0;
    const cubby_policy_config config = none.config();
    cubby_policy *self = nullptr;
    const int32_t came = on.ops.create(&config, &self);
    if (came != 0) skip("create() with no bank gave ", errno_text(came));
    on.ops.destroy(self);
    policy_harness books(on, none);
    books.grow(of);
    for (const turn &one : of.turns) books.play(one);
    books.whole_round();
    books.end();
  }
}

/// As large as `of` and one more bank like its first.
workload larger_than(const workload &of) {
  workload larger = of;
  const cubby_policy_bank &first = of.banks[0];
  larger.banks.push_back(
      make_bank(first.kind, of.object_count(), first.rows, first.columns, first.object_bytes));
  larger.budget_bytes *= 2;
  return larger;
}

void grow_keeps(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    const size_t half = of.turns.size() / 2;
    for (size_t i = 0; i < half; ++i) books.play(of.turns[i]);
    const workload larger = larger_than(of);
    books.grow(larger);
    const uint32_t named = books.whole_round();
    expect(named == books.resident_count(), "after grow() a round named ", named, " of ",
           books.resident_count(), " residents");
    for (size_t i = half; i < of.turns.size(); ++i) books.play(of.turns[i]);
    for (cubby_object object = of.object_count(); object < larger.object_count(); ++object) {
      books.bring(object);
      if (object % 16 == 0) books.whole_round();
    }
    books.look_at(books.stats());
    books.end();
  }
}

}  // namespace

void add_make_checks(std::vector<check> &all) {
  all.push_back({"create: any config is taken or refused cleanly, also one of no bank",
                 footing::table, odd_configs});
}

void add_grow_checks(std::vector<check> &all) {
  all.push_back({"create: an instance without a bank grows to one that works",
                 footing::needs_rounds, grow_from_nothing});
  all.push_back({"grow: residents stay, newcomers have room", footing::needs_rounds, grow_keeps});
}

}  // namespace cubby_conformance::policies
