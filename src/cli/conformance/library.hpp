// A stranger's library: loaded, and asked for its table of operations.
#pragma once
#include <string>

#include "cli/conformance/suite.hpp"
#include "cli/outcome.hpp"

namespace cubby_conformance {

/// The library stays loaded. Trouble is a usage error: nothing of the backend has been seen yet.
cubby_cli::outcome<const cubby_backend_ops *> load_library(const std::string &path);

}  // namespace cubby_conformance
