#include "base/assert.hpp"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace cubby::base {

void assert_failed(const char *expression, const char *file, int line) noexcept {
  std::array<char, 512> text{};
  const int length = std::snprintf(text.data(), text.size(),
                                   "cubby: invariant broken: %s (%s:%d)\n", expression, file, line);
  if (length > 0) {
    const auto size =
        static_cast<size_t>(length) < text.size() ? static_cast<size_t>(length) : text.size() - 1;
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), size);
  }
  std::abort();
}

}  // namespace cubby::base
