// A profile for people: tables with units.
#pragma once

#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

void print(const profile::machine_profile &of);
std::string time_text(const profile::number &ns);  // "12.3 us"; "-" where there is none

}  // namespace cubby_cli::characterize
