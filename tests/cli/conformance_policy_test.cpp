// `cubby conformance` over policies: the example and those built in keep every rule, and for each
// rule a policy that breaks that one fails in the check that is meant for it.
#include <cubby/policy.h>

#include <map>
#include <string>
#include <vector>

#include "cli/process.hpp"

namespace conformance_policy_test {

namespace {

using nlohmann::json;

/// Verdict and words of each check.
json checked(const std::string &what, int exit_status) {
  return process::command_json("conformance " + what, exit_status);
}

std::vector<std::string> failed_checks(const json &found) {
  std::vector<std::string> names;
  for (const json &one : found.at("checks"))
    if (one.at("result") == "fail") names.push_back(one.at("name"));
  return names;
}

std::string detail_of(const json &found, const std::string &name) {
  for (const json &one : found.at("checks"))
    if (one.at("name") == name) return one.at("detail");
  FAIL("no check " << name);
  return {};
}

json with_fault(const char *variable, const std::string &fault, const std::string &library) {
  setenv(variable, fault.c_str(), 1);
  const std::string patience = fault == "hangs" ? "--seconds 1 " : "";
  json found = checked(patience + library, fault.empty() ? 0 : 1);
  unsetenv(variable);
  return found;
}

const std::string table = "table: complete";
const std::string configs = "create: any config is taken or refused cleanly, also one of no bank";
const std::string rounds =
    "victims: residents alone, each once a round, all before CUBBY_NO_OBJECT";
const std::string pure = "pure: the same calls give the same answers";
const std::string no_memory = "memory: none is taken after create (mallinfo2, 10,000 calls)";
const std::string given_back = "memory: destroy gives back what create took (mallinfo2)";
const std::string counters = "stats: counters match the calls, state_bytes is reported";
const std::string hints = "hint: kinds known and unknown change no rule";
const std::string rows = "visit: rows and banks that are not there, and empty ones, do no harm";

bool counts_memory(const json &found) {
  return detail_of(found, no_memory).find("does not count") == std::string::npos;
}

}  // namespace

TEST_CASE("Every policy built in keeps every rule", "[cli]") {
  std::vector<const cubby_policy_ops *> all(cubby_policy_all(nullptr, 0));
  cubby_policy_all(all.data(), static_cast<uint32_t>(all.size()));
  REQUIRE(all.size() > 10);
  for (const cubby_policy_ops *one : all) {
    const json found = checked(std::string("--policy ") + one->name, 0);
    CHECK(found.at("policy") == one->name);
    CHECK(found.at("library").is_null());
    CHECK(failed_checks(found).empty());
    CHECK(found.at("passed") >= 11);
  }
}

TEST_CASE("The example keeps every rule, for people and for programs", "[cli]") {
  const json found = checked(CUBBY_FIFO_POLICY, 0);
  CHECK(found.at("policy") == "fifo");
  CHECK(found.at("flags") == json({"experts", "kv"}));
  CHECK(found.at("passed").get<size_t>() + found.at("skipped").get<size_t>() ==
        found.at("checks").size());
  const process::outcome ran = process::command("conformance " CUBBY_FIFO_POLICY);
  CHECK(ran.exit_status == 0);
  CHECK(ran.text.find("policy fifo of ") == 0);
  CHECK(ran.text.find("\npass  " + rounds + "\n") != std::string::npos);
  CHECK(ran.text.find(" passed, 0 failed, ") != std::string::npos);
}

TEST_CASE("Who breaks one rule fails in the check for it", "[cli]") {
  const json right = with_fault("CUBBY_WRONG_POLICY", "", CUBBY_WRONG_POLICIES);
  CHECK(right.at("skipped") == (counts_memory(right) ? 0 : 2));
  std::map<std::string, std::string> meant = {
      {"none", rounds},
      {"same", rounds},
      {"misses_last", rounds},
      {"throws", rounds},
      {"chance", pure},
      {"counters", counters},
      {"no_state", counters},
      {"hint", hints},
      {"row", rows},
      {"flagless", table},
      {"no_bank", configs},
      {"prints", rounds},
      {"refuses", rounds},
      {"pins", "victims: one pinned for long is passed over without end"},
      {"hangs", rounds},
      {"grow", "grow: residents stay, newcomers have room"},
      {"forget", "forget: a number that stands for something else comes anew"}};
  if (counts_memory(right)) {
    meant.insert({"borrows", no_memory});
    meant.insert({"keeps_memory", no_memory});
    meant.insert({"never_freed", given_back});
  }
  for (const auto &[fault, name] : meant) {
    INFO("fault " << fault);
    const json found = with_fault("CUBBY_WRONG_POLICY", fault, CUBBY_WRONG_POLICIES);
    const std::vector<std::string> names = failed_checks(found);
    CAPTURE(names);
    CHECK(std::count(names.begin(), names.end(), name) == 1);
    CHECK_FALSE(detail_of(found, name).empty());
  }
  for (const char *alone : {"chance", "hint", "row", "none", "same"})
    CHECK(failed_checks(with_fault("CUBBY_WRONG_POLICY", alone, CUBBY_WRONG_POLICIES)).size() == 1);
}

TEST_CASE("A broken table and broken rounds of a third-party policy are reported", "[cli]") {
  for (const char *fault : {"version", "small", "nameless", "lacking", "nothing"}) {
    INFO("fault " << fault);
    const json found = with_fault("CUBBY_BAD_POLICY", fault, CUBBY_BAD_POLICY_LIBRARY);
    CHECK(failed_checks(found) == std::vector<std::string>{table});
  }
  const json outside = with_fault("CUBBY_BAD_POLICY", "outside", CUBBY_BAD_POLICY_LIBRARY);
  CHECK(detail_of(outside, rounds).find("next_victim() gave 2147483647") != std::string::npos);
}

TEST_CASE("What cannot be checked is one sentence", "[cli]") {
  for (const char *words : {"", "--policy nobody", "--policy lru ./any.so", "./not_there.so"}) {
    INFO("conformance " << words);
    const process::outcome said = process::command(std::string("conformance ") + words);
    CHECK(said.exit_status == 2);
    CHECK(said.text.find("cubby conformance: ") == 0);
    CHECK(std::count(said.text.begin(), said.text.end(), '\n') == 1);
  }
}

}  // namespace conformance_policy_test
