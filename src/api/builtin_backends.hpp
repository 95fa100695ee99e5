// The backends that are linked into the library. Their doors are declared here so that no layer
// includes a backend's folder.
#pragma once

#include <cubby/backend.h>

namespace cubby::api {

/// "host", "threadpool", "cuda", "uring" where it was built; nullptr for other names.
const cubby_backend_ops *builtin_backend(const char *name);

}  // namespace cubby::api
