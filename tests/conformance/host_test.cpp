#include "host/host.hpp"

#include "conformance/memory_suite.hpp"

const cubby_backend_ops *conformance::backend() { return cubby_host_backend(); }
