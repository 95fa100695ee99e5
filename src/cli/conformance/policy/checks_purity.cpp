// What a policy must not do: decide by chance, allocate outside of create() and grow().
#include <malloc.h>

#include <array>
#include <cstdlib>

#include "cli/conformance/policy/policy_harness.hpp"

namespace cubby_conformance::policies {
namespace {

void same_answers(const policy_harness &a, const policy_harness &b, const workload &of, size_t at) {
  const size_t count = std::min(a.answers().size(), b.answers().size());
  for (size_t i = 0; i < count; ++i) {
    const answer &one = a.answers()[i], &other = b.answers()[i];
    expect(one == other, "two instances of one seed got the same calls and part at turn ", at,
           " of ", of.name, ": ", one.what, " ", one.value, " in one, ", other.what, " ",
           other.value, " in the other; only config.seed may make chance");
  }
  expect(a.answers().size() == b.answers().size(),
         "two instances of one seed got the same calls and were asked ", a.answers().size(),
         " and ", b.answers().size(), " times by turn ", at, " of ", of.name);
}

void same_stats(const cubby_policy_stats &a, const cubby_policy_stats &b, const workload &of) {
  expect(a.state_bytes == b.state_bytes && a.declined_count == b.declined_count &&
             a.fallback == b.fallback && a.fallback_count == b.fallback_count &&
             a.used_count == b.used_count && a.insert_count == b.insert_count &&
             a.remove_count == b.remove_count,
         "two instances of one seed got the same calls, and stats() differ at the end of ",
         of.name);
}

void determinism(const subject &on) {
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness a(on, of, 3), b(on, of, 3);
    for (size_t i = 0; i < of.turns.size(); ++i) {
      for (policy_harness *one : {&a, &b}) one->play(of.turns[i]);
      if (i % 100 == 99) {
        for (policy_harness *one : {&a, &b}) one->whole_round();
      }
      same_answers(a, b, of, i);
      for (policy_harness *one : {&a, &b}) one->forget_answers();
    }
    same_stats(a.stats(), b.stats(), of);
    a.end();
    b.end();
  }
}

uint64_t taken_bytes() {
  const struct mallinfo2 now = mallinfo2();
  return uint64_t{now.uordblks} + now.hblkhd;
}

/// glibc counts a small piece that was given back as taken while a thread keeps it at hand. With
/// nothing at hand, taking one and giving it back shows too.
class empty_shelves {
 public:
  empty_shelves() {
    size_t at = 0;
    for (size_t bytes = 16; bytes <= 1040; bytes += 16)
      for (int i = 0; i < 8; ++i) held_[at++] = std::malloc(bytes);
  }
  ~empty_shelves() {
    for (void *one : held_) std::free(one);
  }
  empty_shelves(const empty_shelves &) = delete;
  empty_shelves &operator=(const empty_shelves &) = delete;

 private:
  std::array<void *volatile, 65 * 8> held_{};
};

void expect_counted() {
  const uint64_t before = taken_bytes();
  void *volatile one = std::malloc(5000);
  const uint64_t after = taken_bytes();
  std::free(one);
  if (after <= before) skip("the allocator of this process does not count in mallinfo2");
}

void no_memory(const subject &on) {
  expect_counted();
  for (const workload &of : workloads_for(on.ops.flags)) {
    policy_harness books(on, of);
    const empty_shelves none;
    uint64_t before = taken_bytes();
    for (size_t i = 0; i < of.turns.size() && books.call_count() < 10'000; ++i) {
      books.play(of.turns[i]);
      const uint64_t after = taken_bytes();
      expect(after <= before, "turn ", i, " of ", of.name, " took ", after - before,
             " bytes of memory; create() and grow() take all there is to take");
      before = after;
    }
    (void)books.stats();
    expect(taken_bytes() <= before, "stats() took memory");
    books.end();
  }
}

void destroy_gives_back(const subject &on) {
  expect_counted();
  constexpr uint64_t times = 200;
  constexpr uint64_t before_that = 16;  // until the allocator has at hand what it keeps at hand
  for (const workload &of : workloads_for(on.ops.flags)) {
    uint64_t before = 0;
    for (uint64_t i = 0; i <= before_that + times; ++i) {
      {
        policy_harness books(on, of);
        for (size_t t = 0; t < 8; ++t) books.play(of.turns[t]);
        books.end();
      }
      if (i == before_that) before = taken_bytes();
    }
    const uint64_t after = taken_bytes();
    // Less than a piece each: what the allocator keeps at hand may differ by a little.
    expect(after < before + times * 16, "create() and destroy(), ", times, " times, left ",
           after - before, " bytes");
  }
}

}  // namespace

void add_purity_checks(std::vector<check> &all) {
  all.push_back({"pure: the same calls give the same answers", footing::needs_rounds, determinism});
  all.push_back({"memory: none is taken after create (mallinfo2, 10,000 calls)",
                 footing::needs_rounds, no_memory});
  all.push_back({"memory: destroy gives back what create took (mallinfo2)", footing::needs_rounds,
                 destroy_gives_back});
}

}  // namespace cubby_conformance::policies
