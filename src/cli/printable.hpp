// Names and words of files as a terminal may see them.
#pragma once

#include <string>
#include <string_view>

namespace cubby_cli {

/// Control characters, and bytes that are not UTF-8, as \n, \t, \x1b and so on; all else as it is.
/// A backslash stays one: what is shown is for people, and not read back.
std::string printable(std::string_view text);

}  // namespace cubby_cli
