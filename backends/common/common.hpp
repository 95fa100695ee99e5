// What every backend of this folder needs of the C ABI and of poll. Header only, so that each
// backend stays one object file that could be built outside this tree.
#pragma once
#include <cubby/backend.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace cubby_backends {

inline constexpr uint64_t never_ns = ~uint64_t{0};

// Structs grow at the end: what an older caller did not write counts as zero.
template <class T>
T read_struct(const T &from) {
  T value{};
  std::memcpy(&value, &from, std::min<std::size_t>(sizeof(T), from.struct_size));
  value.struct_size = sizeof(T);
  return value;
}

// Write only as much as the caller has room for; a size of 0 means the caller's own version, ours.
template <class T>
void write_struct(const T &value, T *to) {
  const uint32_t room = to->struct_size == 0 ? uint32_t{sizeof(T)} : to->struct_size;
  std::memcpy(to, &value, std::min<std::size_t>(sizeof(T), room));
  to->struct_size = room;
}

template <std::size_t size>
void set_text(char (&to)[size], const char *text) {
  std::snprintf(to, size, "%s", text);
}

inline void log_line(const cubby_backend_services &services, uint32_t level, const char *text) {
  if (services.log != nullptr) services.log(services.context, level, text);
}

inline uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// Sleep until one of two descriptors (-1 = none) is readable or the time is over. A signal does not
// end the sleep: the caller's deadline would otherwise depend on unrelated signals.
inline int32_t poll_readable(int first, int second, uint64_t timeout_ns) {
  const uint64_t start = monotonic_ns();
  pollfd fds[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
  for (;;) {
    const uint64_t spent = monotonic_ns() - start;
    const uint64_t left = timeout_ns > spent ? timeout_ns - spent : 0;
    const timespec time{static_cast<time_t>(left / 1'000'000'000u),
                        static_cast<long>(left % 1'000'000'000u)};
    const int ready = ppoll(fds, 2, timeout_ns == never_ns ? nullptr : &time, nullptr);
    if (ready >= 0) return 0;
    if (errno != EINTR) return -errno;
  }
}

}  // namespace cubby_backends
