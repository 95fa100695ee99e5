// A third-party library: loaded, and asked for its table of operations.
#pragma once
#include <cubby/policy.h>

#include <string>
#include <variant>

#include "cli/conformance/suite.hpp"
#include "cli/outcome.hpp"

namespace cubby_conformance {

/// What a library gave, which may be NULL: a backend, or else a policy.
using library_table = std::variant<const cubby_backend_ops *, const cubby_policy_ops *>;

/// The library stays loaded. Trouble is a usage error: nothing of it has been seen yet.
cubby_cli::outcome<library_table> load_library(const std::string &path);

}  // namespace cubby_conformance
