// Who leaves: what a round has to keep.
#include "cli/conformance/policy/policy_harness.hpp"

namespace cubby_conformance::policies {
namespace {

void whole_rounds(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    for (size_t i = 0; i < of.turns.size(); ++i) {
      books.play(of.turns[i]);
      if (i % 20 == 19) books.whole_round();
    }
    expect(books.victim_count() > 0 || on.ops.admit != nullptr, "nobody ever left in ", of.name,
           ", whose tier is too small");
    books.end();
  }
}

/// One that came early is pinned for good, as a locker in use through a whole session is.
void pinned_for_long(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    cubby_object held = CUBBY_NO_OBJECT;
    for (size_t i = 0; i < of.turns.size(); ++i) {
      const turn &one = of.turns[i];
      books.play(one);
      if (i % 50 == 49) books.whole_round();
      if (held == CUBBY_NO_OBJECT && books.resident(one.used[0])) {
        held = one.used[0];
        books.pin(held, true);
      }
      expect(held == CUBBY_NO_OBJECT || books.resident(held), "object ", held,
             " left while pinned");
    }
    books.end();
  }
}

void pinned_by_turns(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    for (size_t i = 0; i < of.turns.size(); ++i) {
      if (i % 7 == 0) {
        for (cubby_object object = 0; object < of.object_count(); ++object)
          books.pin(object, (object + i / 7) % 3 == 0);
      }
      if (i % 100 == 99) {  // all are pinned: the round has to end
        for (cubby_object object = 0; object < of.object_count(); ++object) books.pin(object, true);
      }
      books.play(of.turns[i]);
    }
    books.end();
  }
}

void smaller_budgets(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    for (size_t i = 0; i < of.turns.size(); ++i) {
      books.play(of.turns[i]);
      if (i % 200 == 99) books.shrink(of.budget_bytes / 2);
      if (i % 200 == 199) books.shrink(of.budget_bytes);
    }
    books.shrink(0);
    expect(books.resident_count() == 0, "a budget of 0 bytes left ", books.resident_count(),
           " residents in ", of.name);
    books.whole_round();
    books.end();
  }
}

}  // namespace

void add_victim_checks(std::vector<check> &all) {
  all.push_back({"victims: residents alone, each once a round, all before CUBBY_NO_OBJECT",
                 footing::rounds, whole_rounds});
  all.push_back({"victims: one pinned for long is passed over without end", footing::needs_rounds,
                 pinned_for_long});
  all.push_back({"victims: rounds end whatever is pinned", footing::needs_rounds, pinned_by_turns});
  all.push_back({"budget: a smaller one is met by the victims of a round", footing::needs_rounds,
                 smaller_budgets});
}

}  // namespace cubby_conformance::policies
