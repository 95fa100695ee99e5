#include "cli/plan/chain.hpp"

#include <cstdio>
#include <iterator>

namespace cubby_cli::plan {
namespace {

constexpr const char *names[] = {"measured", "preset", "file", "given", "derived", "assumed"};

}  // namespace

const char *name_of(origin from) { return names[static_cast<size_t>(from)]; }

origin origin_named(const std::string &name) {
  for (size_t i = 0; i < std::size(names); i++)
    if (name == names[i]) return static_cast<origin>(i);
  return origin::assumed;
}

double chain::input(const std::string &name, const std::string &unit, const quantity &what) {
  steps_.push_back({name, unit, what.value, what.from, "", what.source});
  return what.value;
}

double chain::derive(const std::string &name, const std::string &unit, double value,
                     const std::string &formula, const std::string &source) {
  steps_.push_back({name, unit, value, origin::derived, formula, source});
  return value;
}

std::string short_number(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.4g", value);
  return text;
}

}  // namespace cubby_cli::plan
