// Whether two files are copies of each other, as far as a look at them can say.
#pragma once

#include <string>

#include "base/result.hpp"

namespace cubby::store {

/// INVALID when `copy` is the original itself, or differs from it: in size, in its first MiB, or in
/// one of 256 pieces of 4 KiB spread over the rest. Differences between the pieces are not seen.
result<void> check_copy(const std::string &original, const std::string &copy);

}  // namespace cubby::store
