// Text that nobody vouches for, as it may be shown: names and metadata of files reach error
// sentences, log lines and terminals.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cubby::base {

/// Control characters and bytes that are no UTF-8 become \xNN, all else stays. What is longer than
/// `bytes_max` ends in "...".
std::string printable(std::string_view text, size_t bytes_max = std::string::npos);

/// The same into memory of fixed size, with a zero at its end; only whole characters are written.
/// Allocates nothing.
void print_into(char *to, size_t room, std::string_view text) noexcept;

/// As it is, with a zero at its end; what is too long is cut between characters. Allocates nothing.
void cut_into(char *to, size_t room, std::string_view text) noexcept;

}  // namespace cubby::base
