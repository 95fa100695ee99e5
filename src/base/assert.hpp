// Assertions on our own invariants: always on, release builds too. A broken invariant ends the
// process with a core dump rather than let a wrong byte be served. Caller mistakes are never
// asserted; they are returned as errors.
#pragma once

namespace cubby::base {

/// Write one line to stderr with write(2) and abort. The library prints nowhere else.
[[noreturn]] void assert_failed(const char *expression, const char *file, int line) noexcept;

}  // namespace cubby::base

#define CUBBY_ASSERT(expression) \
  (static_cast<bool>(expression) \
       ? static_cast<void>(0)    \
       : ::cubby::base::assert_failed(#expression, __FILE_NAME__, __LINE__))

#ifndef __FILE_NAME__
#define __FILE_NAME__ __FILE__
#endif
