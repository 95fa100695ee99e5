// Whether two files are copies of each other, as far as a look at them can say.
#pragma once

#include <string>

#include "base/result.hpp"
#include "store/model_file.hpp"

namespace cubby::store {

/// What the copy is, for it to be held against when it is opened. INVALID when `copy` is the
/// original itself or no regular file, or differs from it: in size, in its first MiB, or in one of
/// 256 pieces of 4 KiB spread over the rest; and when the file that is called as the original has
/// another identity by now, so that nothing can be compared. Differences between the pieces are not
/// seen.
result<model_part_file> check_copy(const model_part_file &original, const std::string &copy);

}  // namespace cubby::store
