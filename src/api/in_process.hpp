// For the simulator and tests of this tree: a backend that is linked into the program and has a
// world of its own. Third-party backends are loaded by cubby_backend_load().
#pragma once

#include <cubby/backend.h>

#include "base/abi.hpp"

namespace cubby::api {

/// Makes `ops` known under ops->name; cubby_tier_desc.backend may then name it. `user` is handed to
/// its open() as cubby_backend_config.user. With CUBBY_CAP_VIRTUAL_CLOCK the runtime's time is the
/// argument of the last cubby_poll(), and adopted or mapped files are opened through this backend
/// when it has CUBBY_CAP_FILES. Both pointers stand until cubby_close() has returned.
cubby_status register_backend(cubby_handle *rt, const cubby_backend_ops *ops, void *user);

/// How long cubby_close() waits for I/O that does not complete, before it leaves it behind and
/// returns DEVICE; 30 s by default.
void set_close_patience(cubby_handle *rt, uint64_t patience_ns);

}  // namespace cubby::api
