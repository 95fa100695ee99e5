// The rules for every policy behind policy.h. The command runs it over a third-party library and
// over the library's own policies.
#pragma once
#include <cubby/policy.h>

#include <functional>
#include <vector>

#include "cli/conformance/suite.hpp"

namespace cubby_conformance::policies {

/// The policy under test.
struct subject {
  cubby_policy_ops ops{};
  uint64_t patience_ns = 5'000'000'000;           // a fourth of what one check may take
  mutable const char *volatile *doing = nullptr;  // the operation under way, for the observer
};

/// What a check stands on: one that needs rounds says nothing new where they are wrong.
enum class footing { table, rounds, needs_rounds };

struct check {
  const char *name;
  footing stands_on;
  void (*run)(const subject &);
};

/// Is the table of operations complete? Nothing else may be asked of one that is not.
outcome check_table(const cubby_policy_ops *table);
/// The table as far as it says it goes; members beyond are NULL.
cubby_policy_ops read_table(const cubby_policy_ops &table);

/// All checks, in order; those that are not for a policy skip.
std::vector<check> checks();

/// Runs one check in this process.
outcome run_here(const subject &on, const check &what);

/// All checks, each in a process of its own: a crash, a hang or a printed word is a fail, not an
/// end. Where rounds are wrong, those that need them are skipped.
void run_all(const subject &on, const std::function<void(const char *name, outcome came)> &report);

// The checks by what they look at; in this order.
void add_make_checks(std::vector<check> &all);
void add_victim_checks(std::vector<check> &all);
void add_grow_checks(std::vector<check> &all);
void add_purity_checks(std::vector<check> &all);
void add_report_checks(std::vector<check> &all);

}  // namespace cubby_conformance::policies
