// How a check says what it found: it throws, and nothing but the suite's runner catches.
#pragma once
#include <cstdint>
#include <cstring>
#include <sstream>
#include <string>

namespace cubby_conformance {

struct failed {
  std::string detail;
};
struct skipped {
  std::string detail;
};

template <class... T>
std::string text(const T &...parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... T>
[[noreturn]] void fail(const T &...parts) {
  throw failed{text(parts...)};
}

template <class... T>
void expect(bool holds, const T &...parts) {
  if (!holds) fail(parts...);
}

template <class... T>
[[noreturn]] void skip(const T &...parts) {
  throw skipped{text(parts...)};
}

/// "9 (Bad file descriptor)"; takes both signs, and success.
inline std::string errno_text(int32_t number) {
  if (number == 0) return "0 (success)";
  return text(number, " (", std::strerror(number < 0 ? -number : number), ")");
}

}  // namespace cubby_conformance
