#include "cli/conformance/report.hpp"

#include <algorithm>
#include <iostream>
#include <utility>

#include "cli/support.hpp"

namespace cubby_conformance {
namespace {

using nlohmann::json;

const char *name_of(verdict which) {
  return which == verdict::pass ? "pass" : which == verdict::fail ? "fail" : "skip";
}

}  // namespace

void report::add(const std::string &name, outcome came) {
  lines_.push_back({name, std::move(came)});
  if (as_json_) return;
  const outcome &last = lines_.back().came;
  std::cout << (last.result == verdict::fail ? "FAIL" : name_of(last.result)) << "  " << name;
  if (!last.detail.empty()) std::cout << ": " << last.detail;
  std::cout << std::endl;
}

void report::introduce(const std::string &heading, const json &members) {
  members_.update(members);
  if (!as_json_ && !heading.empty()) std::cout << heading << "\n";
}

size_t report::count(verdict which) const {
  return static_cast<size_t>(std::count_if(
      lines_.begin(), lines_.end(), [&](const line &one) { return one.came.result == which; }));
}

void report::print_json() const {
  json checks = json::array();
  for (const line &one : lines_)
    checks.push_back(
        {{"name", one.name}, {"result", name_of(one.came.result)}, {"detail", one.came.detail}});
  json object = members_;
  object["passed"] = count(verdict::pass);
  object["failed"] = count(verdict::fail);
  object["skipped"] = count(verdict::skip);
  object["checks"] = std::move(checks);
  cubby_cli::print_json(object);
}

int report::finish(const std::string &remedy) const {
  const size_t failed = count(verdict::fail), passed = count(verdict::pass);
  if (as_json_)
    print_json();
  else
    std::cout << passed << " passed, " << failed << " failed, " << count(verdict::skip)
              << " skipped\n";
  if (failed > 0) return cubby_cli::exit_bad;
  if (passed > 1) return cubby_cli::exit_good;
  std::cerr << "cubby conformance: nothing was checked: " << lines_.back().came.detail << "; "
            << remedy << "\n";
  return cubby_cli::exit_usage;
}

}  // namespace cubby_conformance
