// cubby conformance: checks a third-party backend or policy library through the interface that the
// library's own use.
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/conformance/library.hpp"
#include "cli/conformance/policy/suite.hpp"
#include "cli/conformance/report.hpp"
#include "cli/conformance/suite.hpp"
#include "cli/replay/policies.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

namespace policies = cubby_conformance::policies;
using cubby_conformance::outcome;
using cubby_conformance::report;
using cubby_conformance::verdict;
using nlohmann::json;

struct options {
  std::string library, policy, folder = ".";
  uint32_t seconds = 5;
  bool json = false;
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

json flag_names(uint32_t flags) {
  const std::pair<uint32_t, const char *> known[] = {{CUBBY_POLICY_EXPERTS, "experts"},
                                                     {CUBBY_POLICY_KV, "kv"},
                                                     {CUBBY_POLICY_OFFLINE, "offline"},
                                                     {CUBBY_POLICY_HEAD_FIRST, "head_first"}};
  json names = json::array();
  for (const auto &[bit, name] : known) {
    if ((flags & bit) != 0) names.push_back(name);
  }
  return names;
}

uint64_t patience_ns(const options &chosen) { return uint64_t{chosen.seconds} * 1'000'000'000; }

int check_backend(const cubby_backend_ops *table, const options &chosen) {
  const char *remedy = "run it where the backend can be opened";
  const scratch_folder folder(chosen.folder);
  if (!folder.made()) {
    return report_trouble("conformance",
                          usage_trouble("no test files can be made in " + chosen.folder + ": " +
                                        std::strerror(folder.error()) +
                                        "; name a folder that may be written with --dir"),
                          chosen.json);
  }
  report found(chosen.json);
  found.introduce("",
                  {{"library", chosen.library}, {"backend", ""}, {"capabilities", json::array()}});
  const outcome complete = cubby_conformance::check_table(table);
  if (complete.result != verdict::pass) {
    found.add("table: complete", complete);
    return found.finish(remedy);
  }
  cubby_conformance::subject on;
  on.ops = cubby_conformance::read_table(*table);
  on.folder = folder.path();
  on.patience_ns = patience_ns(chosen);
  found.introduce(
      std::string("backend ") + on.ops.name + " of " + chosen.library,
      {{"backend", on.ops.name}, {"capabilities", capability_names(on.ops.capabilities)}});
  found.add("table: complete", complete);
  for (const cubby_conformance::check &one : cubby_conformance::checks_for(on.ops.capabilities)) {
    found.add(one.name, cubby_conformance::run_isolated(on, one));
  }
  return found.finish(remedy);
}

int check_policy(const cubby_policy_ops *table, const options &chosen) {
  const char *remedy = "run it where the policy can be made";
  report found(chosen.json);
  found.introduce("", {{"library", chosen.library.empty() ? json() : json(chosen.library)},
                       {"policy", ""},
                       {"flags", json::array()}});
  const outcome complete = policies::check_table(table);
  if (complete.result != verdict::pass) {
    found.add("table: complete", complete);
    return found.finish(remedy);
  }
  policies::subject on;
  on.ops = policies::read_table(*table);
  on.patience_ns = patience_ns(chosen);
  found.introduce(std::string("policy ") + on.ops.name + " of " +
                      (chosen.library.empty() ? "this command" : chosen.library),
                  {{"policy", on.ops.name}, {"flags", flag_names(on.ops.flags)}});
  found.add("table: complete", complete);
  policies::run_all(on, [&](const char *name, outcome came) { found.add(name, std::move(came)); });
  return found.finish(remedy);
}

/// One of the library's own.
int check_named(const options &chosen) {
  if (const cubby_policy_ops *known = cubby_policy_find(chosen.policy.c_str()))
    return check_policy(known, chosen);
  return report_trouble(
      "conformance",
      usage_trouble("there is no policy \"" + chosen.policy + "\"; there are " +
                    replay::policy_names() + ", and a library is named without --policy"),
      chosen.json);
}

int run(const options &chosen) {
  if (chosen.library.empty() == chosen.policy.empty()) {
    return report_trouble(
        "conformance",
        usage_trouble(chosen.library.empty()
                          ? "nothing to check was named; name a shared library (LIB.so), or a "
                            "policy with --policy"
                          : "a library and --policy were named; check them one at a time"),
        chosen.json);
  }
  if (!chosen.policy.empty()) return check_named(chosen);
  const auto table = cubby_conformance::load_library(chosen.library);
  if (!table) return report_trouble("conformance", table.failure(), chosen.json);
  if (const auto *policy = std::get_if<const cubby_policy_ops *>(&*table))
    return check_policy(*policy, chosen);
  return check_backend(std::get<const cubby_backend_ops *>(*table), chosen);
}

}  // namespace

void add_conformance(command &program) {
  command one = program.subcommand("conformance",
                                   "Check a library against what backend.h or policy.h promises");
  auto chosen = std::make_shared<options>();
  one.option("library", chosen->library,
             "The shared library; it exports cubby_backend_entry() or cubby_policy_entry()");
  one.option("--policy", chosen->policy, "Instead of a library: one of the policies built in");
  one.option("--dir", chosen->folder,
             "Folder for test files, best on the disk the backend is made for (here)");
  one.option(
         "--seconds", chosen->seconds,
         "How long a completion may take before it counts as lost, and a fourth of what a check "
         "of a policy may take (5)")
      .between(1, 600);
  one.flag("--json", chosen->json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
