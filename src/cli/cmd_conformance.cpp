// cubby conformance: a stranger's backend library through the same door as the library's own.
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/conformance/library.hpp"
#include "cli/conformance/suite.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

using cubby_conformance::outcome;
using cubby_conformance::verdict;
using nlohmann::json;

struct options {
  std::string library, folder = ".";
  uint32_t seconds = 5;
  bool json = false;
};

struct line {
  std::string name;
  cubby_conformance::outcome came;
};

struct report {
  std::string backend;
  uint32_t capabilities = 0;
  std::vector<line> lines;
  size_t count(verdict which) const {
    return static_cast<size_t>(std::count_if(
        lines.begin(), lines.end(), [&](const line &one) { return one.came.result == which; }));
  }
};

/// A folder for the test files, gone at the end with whatever a crash has left in it.
class scratch_folder {
 public:
  explicit scratch_folder(const std::string &parent) : path_(parent + "/cubby_conformance_XXXXXX") {
    made_ = mkdtemp(path_.data()) != nullptr;
    error_ = errno;
  }
  scratch_folder(const scratch_folder &) = delete;
  scratch_folder &operator=(const scratch_folder &) = delete;
  ~scratch_folder() {
    std::error_code ignored;
    if (made_) std::filesystem::remove_all(path_, ignored);
  }
  bool made() const { return made_; }
  int error() const { return error_; }
  const std::string &path() const { return path_; }

 private:
  std::string path_;
  bool made_ = false;
  int error_ = 0;
};

const char *name_of(verdict which) {
  return which == verdict::pass ? "pass" : which == verdict::fail ? "fail" : "skip";
}

json capability_names(uint32_t capabilities) {
  const std::pair<uint32_t, const char *> known[] = {
      {CUBBY_CAP_MEMORY, "memory"},
      {CUBBY_CAP_FILES, "files"},
      {CUBBY_CAP_HOST_ADDRESSABLE, "host_addressable"},
      {CUBBY_CAP_DEVICE_ADDRESSABLE, "device_addressable"},
      {CUBBY_CAP_VIRTUAL_CLOCK, "virtual_clock"}};
  json names = json::array();
  for (const auto &[bit, name] : known) {
    if ((capabilities & bit) != 0) names.push_back(name);
  }
  return names;
}

void print_report(const options &chosen, const report &found) {
  json checks = json::array();
  for (const line &one : found.lines) {
    checks.push_back(
        {{"name", one.name}, {"result", name_of(one.came.result)}, {"detail", one.came.detail}});
  }
  const json object = {{"library", chosen.library},
                       {"backend", found.backend},
                       {"capabilities", capability_names(found.capabilities)},
                       {"passed", found.count(verdict::pass)},
                       {"failed", found.count(verdict::fail)},
                       {"skipped", found.count(verdict::skip)},
                       {"checks", std::move(checks)}};
  print_json(object);
}

void print_line(const line &one) {
  std::cout << (one.came.result == verdict::fail ? "FAIL" : name_of(one.came.result)) << "  "
            << one.name;
  if (!one.came.detail.empty()) std::cout << ": " << one.came.detail;
  std::cout << std::endl;
}

int refuse(const trouble &why, bool as_json) {
  std::cerr << "cubby conformance: " << why.text << "\n";
  if (as_json) print_json({{"error", why.text}});
  return why.exit_status;
}

report examine(const cubby_backend_ops *table, const options &chosen, const std::string &folder) {
  report found;
  const auto tell = [&](const std::string &name, outcome came) {
    found.lines.push_back({name, std::move(came)});
    if (!chosen.json) print_line(found.lines.back());
  };
  const outcome complete = cubby_conformance::check_table(table);
  if (complete.result != verdict::pass) {
    tell("table: complete", complete);
    return found;
  }
  cubby_conformance::subject on;
  on.ops = cubby_conformance::read_table(*table);
  on.folder = folder;
  on.patience_ns = uint64_t{chosen.seconds} * 1'000'000'000;
  found.backend = on.ops.name;
  found.capabilities = on.ops.capabilities;
  if (!chosen.json) std::cout << "backend " << found.backend << " of " << chosen.library << "\n";
  tell("table: complete", complete);
  for (const cubby_conformance::check &one : cubby_conformance::checks_for(found.capabilities)) {
    tell(one.name, cubby_conformance::run_apart(on, one));
  }
  return found;
}

int run(const options &chosen) {
  const auto table = cubby_conformance::load_library(chosen.library);
  if (!table) return refuse(table.failure(), chosen.json);
  const scratch_folder folder(chosen.folder);
  if (!folder.made()) {
    return refuse(usage_trouble("no test files can be made in " + chosen.folder + ": " +
                                std::strerror(folder.error()) +
                                "; name a folder that may be written with --dir"),
                  chosen.json);
  }
  const report found = examine(*table, chosen, folder.path());
  if (chosen.json) print_report(chosen, found);
  const size_t failed = found.count(verdict::fail), skipped = found.count(verdict::skip);
  const size_t passed = found.count(verdict::pass);
  if (!chosen.json) {
    std::cout << passed << " passed, " << failed << " failed, " << skipped << " skipped\n";
  }
  if (failed > 0) return exit_bad;
  if (passed > 1) return exit_good;
  std::cerr << "cubby conformance: nothing was checked: " << found.lines.back().came.detail
            << "; run it where the backend can be opened\n";
  return exit_usage;
}

}  // namespace

void add_conformance(command &program) {
  command one =
      program.subcommand("conformance", "Check a backend library against what backend.h promises");
  auto chosen = std::make_shared<options>();
  one.option("library", chosen->library, "The shared library; it exports cubby_backend_entry()")
      .required();
  one.option("--dir", chosen->folder,
             "Folder for test files, best on the disk the backend is made for (here)");
  one.option("--seconds", chosen->seconds,
             "How long a completion may take before it counts as lost (5)")
      .between(1, 600);
  one.flag("--json", chosen->json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
