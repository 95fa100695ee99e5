// Keeps books of its own around one instance: what is resident, what fits, what is pinned.
// It does not use placement/admission on purpose: it is an oracle for policies, apart from the code
// that drives them elsewhere. Every victim passes here, so each rule is checked with each of them.
// Nothing is allocated while rounds are played.
#pragma once
#include <exception>
#include <vector>

#include "cli/conformance/expect.hpp"
#include "cli/conformance/policy/suite.hpp"
#include "cli/conformance/policy/workload.hpp"

namespace cubby_conformance::policies {

/// Something a policy decided.
struct answer {
  const char *what;
  uint32_t value;
  bool operator==(const answer &) const = default;
};

/// Says which operation is under way while it is, and which one an exception came out of.
class under_way {
 public:
  under_way(const subject &on, const char *name) : on_(on) {
    if (on_.doing != nullptr) *on_.doing = name;
  }
  ~under_way() {
    if (on_.doing != nullptr && std::uncaught_exceptions() == 0) *on_.doing = nullptr;
  }
  under_way(const under_way &) = delete;
  under_way &operator=(const under_way &) = delete;

 private:
  const subject &on_;
};

class policy_harness {
 public:
  /// Makes the instance; `of` must outlive it.
  policy_harness(const subject &on, const workload &of, uint64_t seed = 1);
  policy_harness(const policy_harness &) = delete;
  policy_harness &operator=(const policy_harness &) = delete;

  void play(const turn &one);
  /// A whole round without evictions; how many were named.
  uint32_t whole_round();
  /// The victims named leave until the rest fits the smaller budget.
  void shrink(uint64_t budget_bytes);
  /// More banks, those there were first, and another budget.
  void grow(const workload &larger);
  void pin(cubby_object object, bool held) { pinned_[object] = held ? 1 : 0; }
  bool hint(const cubby_policy_hint &what);
  void forget(cubby_object object);
  void bring(cubby_object object);
  /// Ends the instance. A check that failed leaves it behind.
  void end();

  cubby_policy_stats stats() const;
  /// Compares them with the calls so far.
  void look_at(const cubby_policy_stats &said) const;

  cubby_policy *self() const { return self_; }
  bool resident(cubby_object object) const { return resident_[object] != 0; }
  uint32_t resident_count() const { return resident_count_; }
  uint64_t call_count() const { return call_count_; }
  uint64_t victim_count() const { return removed_; }
  const std::vector<answer> &answers() const { return answers_; }
  void forget_answers() { answers_.clear(); }

 private:
  void visit(const turn &one);
  void access(const turn &one, uint32_t at);
  void begin_round(cubby_object incoming, uint64_t missing_bytes);
  /// Looked at: resident, and new in this round; after the last one all have been named.
  cubby_object next_victim();
  cubby_object next_unpinned();
  void remove(cubby_object object);
  void resize(const workload &of);
  void note(const char *what, uint32_t value);

  const subject &on_;
  const workload *of_;
  cubby_policy *self_ = nullptr;
  std::vector<uint64_t> bytes_;  // of each object
  std::vector<uint8_t> resident_, pinned_, in_use_;
  std::vector<uint64_t> named_;  // the round that named it last
  std::vector<answer> answers_;
  uint64_t room_ = 0, budget_ = 0, round_ = 0, now_ns_ = 0;
  uint32_t resident_count_ = 0, named_count_ = 0;
  uint64_t visits_ = 0, requests_ = 0, call_count_ = 0;
  uint64_t used_ = 0, inserted_ = 0, removed_ = 0, declined_ = 0;  // by the calls made
};

}  // namespace cubby_conformance::policies
