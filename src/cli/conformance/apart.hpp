// Runs something in a process of its own and tells what came of it, whatever that was.
#pragma once
#include <functional>

#include "cli/conformance/suite.hpp"

namespace cubby_conformance {

/// `work` is handed a place for the name of the operation under way. It has deadline_ns of time.
outcome apart(uint64_t deadline_ns, const std::function<outcome(const char *volatile *)> &work);

}  // namespace cubby_conformance
