// What stands under a name that a file is to be written to. A file is replaced only by one of its
// own kind: its beginning tells. Knows neither errors nor words, so that the command uses it too.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace cubby::base {

/// Is a file of so many bytes, which begins so, of the kind that is to be written?
using file_kind = std::function<bool(std::string_view begin, uint64_t bytes)>;

/// As much of the beginning as a file_kind is shown.
inline constexpr uint64_t kind_begin_bytes = 4096;

enum class at_name {
  nothing,
  own,        // a regular file of that kind
  other,      // a regular file of another kind
  link,       // a symbolic link, wherever it leads
  irregular,  // a folder, a device, a pipe, a socket
  unknown     // it could not be looked at: native says why
};

struct name_state {
  at_name what = at_name::unknown;
  int native = 0;  // errno
  [[nodiscard]] bool may_be_written() const {
    return what == at_name::nothing || what == at_name::own;
  }
};

/// Never follows a link, and never waits for the other end of a pipe.
name_state look_at_name(const std::string &path, const file_kind &own);

/// Renames `from` to `to` unless what stands there then may not be replaced. The kernel itself
/// refuses where nothing stood there at the last look; between that look and the rename an own file
/// may still be exchanged for another. `native` of the result: 0 when it was done.
name_state give_name(const std::string &from, const std::string &to, const file_kind &own);

}  // namespace cubby::base
