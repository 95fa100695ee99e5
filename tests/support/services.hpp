// The library as a backend sees it, for tests: the same that `cubby conformance` hands out.
#pragma once
#include "cli/conformance/service_host.hpp"

namespace cubby_test {

struct test_services : cubby_conformance::service_host {
  static uint64_t now() { return cubby_conformance::clock_ns(); }
};

}  // namespace cubby_test
