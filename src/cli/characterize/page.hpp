// A profile as one page that needs nothing but itself.
#pragma once

#include <string>
#include <string_view>

#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

bool is_page(std::string_view begin, uint64_t bytes);
std::string page_of(const profile::machine_profile &of);

/// The sections of one tier: its plots, its points, what is to be said of it.
std::string tier_section(const profile::tier &of);
/// How fast each tier reads blocks of each size, in one plot.
std::string roofs_of(const profile::machine_profile &of);

}  // namespace cubby_cli::characterize
