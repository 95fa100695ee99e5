// Policies by name: the library's own, or a shared library's (a name with a '/' or that ends in
// .so).
#pragma once

#include <cubby/policy.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/outcome.hpp"
#include "cli/replay/trace.hpp"

namespace cubby_cli::replay {

std::vector<const cubby_policy_ops *> every_policy();
/// Of all of them, for people.
std::string policy_names();

/// Does it name a shared library rather than one of the library's own?
inline bool names_library(const std::string &name) {
  return name.find('/') != std::string::npos || name.ends_with(".so");
}

/// A policy that takes part in a replay.
struct replayed_policy {
  const cubby_policy_ops *ops = nullptr;
  std::string name;   // in results: its own, or its path where another one has that name
  std::string asked;  // what a runtime knows it by: its name or its path

  [[nodiscard]] bool needs_future() const { return (ops->flags & CUBBY_POLICY_OFFLINE) != 0; }
};

struct field {
  std::vector<replayed_policy> policies;  // each once
  nlohmann::json broken;                  // libraries that cannot take part: policy and why of each
};

/// Trouble when a name is not known (it lists those there are), or a library is not there: looked
/// at before a trace is read.
done check_policies(const std::vector<std::string> &names);

/// The policies asked for by names that were checked, "all" being all that are made for such a
/// trace. A library of another version, or without a whole table, is left out; trouble when there
/// is no other. Of a mixed trace those that know the future are none: the optimum they head for
/// knows neither sizes nor costs.
outcome<field> find_policies(const std::vector<std::string> &names, trace_kind kind);

}  // namespace cubby_cli::replay
