// What a policy reports of itself, and which calls it takes.
#include <array>

#include "cli/conformance/policy/policy_harness.hpp"

namespace cubby_conformance::policies {
namespace {

void counters(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    books.look_at(books.stats());
    for (size_t i = 0; i < of.turns.size(); ++i) {
      books.play(of.turns[i]);
      if (i % 500 == 0) books.look_at(books.stats());
    }
    books.look_at(books.stats());
    books.end();
  }
}

/// Of a kind, known or not, about residents and others.
void give_hints(policy_harness &books, const workload &of, uint32_t salt) {
  const uint32_t count = of.object_count();
  std::array<cubby_object, 3> about{};
  for (uint32_t i = 0; i < about.size(); ++i) about[i] = (salt * 5 + i * 7) % count;
  const std::array<float, 3> sure = {0.0F, 0.5F, 1.0F};
  for (const uint32_t kind :
       {CUBBY_POLICY_HINT_ROUTE + 0u, CUBBY_POLICY_HINT_CLOSED + 0u,
        CUBBY_POLICY_HINT_SCHEDULED + 0u, CUBBY_POLICY_HINT_PRIORITY + 0u, 99u}) {
    cubby_policy_hint one = {};
    one.struct_size = sizeof one;
    one.kind = kind;
    one.now_ns = of.turns[0].now_ns;
    books.hint(one);  // about no object
    one.objects = about.data();
    one.object_count = static_cast<uint32_t>(about.size());
    books.hint(one);
    one.probabilities = kind == CUBBY_POLICY_HINT_ROUTE ? sure.data() : nullptr;
    one.ahead = kind == CUBBY_POLICY_HINT_ROUTE ? salt % 9 : 0;
    one.slot = kind == CUBBY_POLICY_HINT_ROUTE ? salt % 4 : 0;
    one.priority = kind == CUBBY_POLICY_HINT_PRIORITY ? 1 + salt : 0;
    one.when_ns = kind == CUBBY_POLICY_HINT_SCHEDULED ? salt * 1'000'000ULL : 0;
    one.ttl_ns = salt % 2 == 0 ? 0 : ~uint64_t{0};
    books.hint(one);
  }
}

void hints(const subject &on) {
  if (on.ops.hint == nullptr) skip("the policy takes no hints");
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    for (uint32_t i = 0; i < of.turns.size(); ++i) {
      if (i % 10 == 5) give_hints(books, of, i / 10);
      books.play(of.turns[i]);
      if (i % 100 == 99) books.whole_round();
    }
    books.look_at(books.stats());
    books.end();
  }
}

void odd_visits(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    for (uint32_t i = 0; i < of.turns.size(); ++i) {
      turn one = of.turns[i];
      if (one.visit && i % 3 == 1) one.row += 1'000'000;
      if (one.visit && i % 9 == 2) one.bank += 1'000'000;
      if (one.visit && i % 9 == 5) {
        one.used.clear();
        one.routes.clear();
      }
      books.play(one);
      if (i % 100 == 99) books.whole_round();
    }
    books.end();
  }
}

void forgotten(const subject &on) {
  if (on.ops.forget == nullptr) skip("the policy has no forget()");
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    for (uint32_t i = 0; i < of.turns.size(); ++i) {
      books.play(of.turns[i]);
      const cubby_object object = i % of.object_count();
      if (!books.resident(object)) books.forget(object);
      if (i % 100 == 99) books.whole_round();
    }
    books.look_at(books.stats());
    books.end();
  }
}

}  // namespace

void add_report_checks(std::vector<check> &all) {
  all.push_back({"stats: counters match the calls, state_bytes is reported", footing::needs_rounds,
                 counters});
  all.push_back({"hint: kinds known and unknown change no rule", footing::needs_rounds, hints});
  all.push_back({"visit: rows and banks that are not there, and empty ones, do no harm",
                 footing::needs_rounds, odd_visits});
  all.push_back({"forget: a number that stands for something else comes anew",
                 footing::needs_rounds, forgotten});
}

}  // namespace cubby_conformance::policies
