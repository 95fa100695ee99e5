// What curves say in short: where they bend, and what a tier gives there.
#pragma once

#include <optional>
#include <vector>

#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

/// The least depth that gives 95 % of the most of its block size, a curve each.
std::vector<profile::knee> knees_of(const std::vector<profile::point> &curves);

/// Of the bare path alone: the knee of the smallest block that gives 95 % of what the best one
/// gives. The latency is that of the smallest block at the least depth, or of the chase through
/// memory. Nothing where there is no such curve.
std::optional<profile::summary> summary_of(const std::vector<profile::point> &curves,
                                           const std::string &op,
                                           const std::optional<std::string> &pages);

/// The point at the same load by another path or beside something else; null: there is none.
const profile::point *same_load(const std::vector<profile::point> &curves, const profile::point &as,
                                const std::string &path, const std::string &beside);

/// Are two measurements of one load the same, as far as devices repeat themselves (15 %)?
bool agree(double first, double last);

}  // namespace cubby_cli::characterize
