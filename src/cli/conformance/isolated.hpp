// Runs something in a process of its own and tells what came of it, whatever that was.
#pragma once
#include <functional>

#include "cli/conformance/suite.hpp"

namespace cubby_conformance {

/// The words for what a process did wrong: whose operations run in it, and what they may do.
struct manners {
  const char *subject = "backend";
  const char *waits = "only wait may sleep, and not beyond its time";
  const char *prints = "no operation prints, what there is to say goes to services->log";
};

/// `work` is handed a place for the name of the operation under way. It has deadline_ns of time.
outcome run_in_child(uint64_t deadline_ns,
                     const std::function<outcome(const char *volatile *)> &work,
                     const manners &expected = {});

}  // namespace cubby_conformance
