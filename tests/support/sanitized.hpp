// Is this a build with a sanitizer, in which everything takes several times as long?
#pragma once

namespace cubby_test {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace cubby_test
