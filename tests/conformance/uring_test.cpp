#include "uring/uring.hpp"

#include "conformance/file_suite.hpp"

const cubby_backend_ops *conformance::backend() { return cubby_uring_backend(); }
