// What a runtime does, as people and programs read it.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/top/metric_list.hpp"
#include "cli/top/page_reader.hpp"

namespace cubby_cli::top {

/// Two looks at one page; rates are of the time between them.
struct interval {
  page_place place;
  numbers before, now;
  double seconds = 0;  // between the two
  double age_s = 0;    // of the later one
};

nlohmann::json describe(const interval &seen);
void show(const interval &seen);

}  // namespace cubby_cli::top
