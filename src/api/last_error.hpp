// What cubby_explain() tells: the last error of the calling thread.
#pragma once

#include "base/result.hpp"

namespace cubby::api {

inline constexpr char no_memory_text[] =
    "no memory for the library's own tables; raise ulimit -v or the cgroup's memory.max, or ask "
    "for less at once";

/// Keeps the error for this thread and gives its status back, so that a call may end with it.
[[gnu::cold]] cubby_status keep_error(const error &failure) noexcept;

/// The same without taking memory, for when there is none.
[[gnu::cold]] cubby_status keep_plain_error(cubby_status status, const char *text) noexcept;

/// The usual end of a call that was misused.
#define CUBBY_REFUSE(...) \
  return ::cubby::api::keep_error(::cubby::fail(CUBBY_ERR_INVALID, __VA_ARGS__))

}  // namespace cubby::api
