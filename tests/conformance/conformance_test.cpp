// The suite that `cubby conformance` runs, over one backend of this tree: a section a check, so
// that a failure names it. Files lie in the working folder, which ctest sets to the build folder: a
// real file system, not tmpfs.
#include "cli/conformance/suite.hpp"

#include "support/catch.hpp"

// Each program names its backend: the function, as its header declares it.
extern "C++" const cubby_backend_ops *CUBBY_TESTED_BACKEND();

using namespace cubby_conformance;

TEST_CASE("the table of operations is complete") {
  const outcome came = check_table(CUBBY_TESTED_BACKEND());
  INFO(came.detail);
  CHECK(came.result == verdict::pass);
}

TEST_CASE("the backend passes") {
  subject on;
  on.ops = read_table(*CUBBY_TESTED_BACKEND());
  on.patience_ns = 20'000'000'000;
  for (const check &one : checks_for(on.ops.capabilities)) {
    DYNAMIC_SECTION(one.name) {
      const outcome came = run_here(on, one);
      INFO(one.name << ": " << came.detail);
      CHECK(came.result != verdict::fail);
      if (came.result == verdict::skip) WARN("skipped, " << one.name << ": " << came.detail);
    }
  }
}
