// What the checks found, as lines for people and as one object for programs.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/conformance/suite.hpp"

namespace cubby_conformance {

class report {
 public:
  explicit report(bool as_json) : as_json_(as_json) {}

  /// One check; for people its line is shown at once.
  void add(const std::string &name, outcome came);
  /// What is checked: a line for people, members of the object for programs.
  void introduce(const std::string &heading, const nlohmann::json &members);
  /// The sum of it, or the object. Gives the exit status; `remedy` is for when nothing was checked.
  int finish(const std::string &remedy) const;

 private:
  struct line {
    std::string name;
    outcome came;
  };
  size_t count(verdict which) const;
  void print_json() const;

  bool as_json_;
  nlohmann::json members_ = nlohmann::json::object();
  std::vector<line> lines_;
};

}  // namespace cubby_conformance
