// Policies by name: the library's own, or a shared library's (a name with a '/' or that ends in
// .so).
#pragma once

#include <cubby/policy.h>

#include <string>
#include <vector>

#include "cli/replay/trace.hpp"

namespace cubby_cli::replay {

std::vector<const cubby_policy_ops *> every_policy();

/// Does it name a shared library rather than one of the library's own?
inline bool names_library(const std::string &name) {
  return name.find('/') != std::string::npos || name.ends_with(".so");
}

/// Trouble when there is none, naming those there are; when a library cannot be loaded, is of
/// another version or has no whole table, saying which.
outcome<const cubby_policy_ops *> find_policy(const std::string &name);

/// The policies asked for, "all" being all that are made for such a trace. Of a mixed one those
/// that know the future are none: the optimum they head for knows neither sizes nor costs.
outcome<std::vector<const cubby_policy_ops *>> find_policies(const std::vector<std::string> &names,
                                                             trace_kind kind);

}  // namespace cubby_cli::replay
