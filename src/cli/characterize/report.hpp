// A profile for people: tables with units.
#pragma once

#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

void print(const profile::machine_profile &of);

/// Tables, the heading first: a line a tier and direction, and a line a point.
using lines = std::vector<std::vector<std::string>>;
lines summary_lines(const profile::machine_profile &of);
lines curve_lines(const profile::tier &of);

std::string time_text(const profile::number &ns);  // "12.3 us"; "-" where there is none
std::string block_text(uint64_t bytes);            // "64 KiB"

}  // namespace cubby_cli::characterize
