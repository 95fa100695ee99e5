// `cubby replay` with policies that break the rules: each is named, and none holds the others up.
#include <fstream>

#include "cli/folder.hpp"
#include "cli/process.hpp"

namespace replay_broken_test {

namespace {
using nlohmann::json;
using process::folder;
using process::shell;

/// Three experts of eight in each of two layers, others at each token.
std::string trace_in(const folder &here) {
  std::string text = "token,layer,experts\n";
  for (int token = 0; token < 40; ++token)
    for (int layer = 0; layer < 2; ++layer) {
      const int first = token + layer;
      text += std::to_string(token) + "," + std::to_string(layer) + "," +
              std::to_string(first % 8) + " " + std::to_string((first + 2) % 8) + " " +
              std::to_string((first + 5) % 8) + "\n";
    }
  return here.write("t.csv", text);
}

/// A run that hangs ends with 124.
process::outcome replay(const std::string &how, const std::string &arguments) {
  return shell("CUBBY_MISBEHAVIOUR=" + how + " timeout 60 " CUBBY_COMMAND " replay --quiet " +
               arguments);
}

}  // namespace

TEST_CASE("A policy that names one pinned victim again and again is refused, not waited for") {
  const folder here;
  const std::string trace = trace_in(here);
  const std::string io =
      " --io --geometry 2x8x4096 --tiers host:1m,file:" + here.path.string() + " ";
  for (const std::string &drive : {std::string(" --simulate "), io}) {
    const auto ran = replay(
        "twice", drive + "--capacity 25%,50% --policy " CUBBY_MISBEHAVING_POLICY " --trace " +
                     trace + " 2>&1");
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find("policy misbehaving broke the rules: next_victim() named object") !=
          std::string::npos);
    CHECK(ran.text.find("twice in a round") != std::string::npos);
  }
}

TEST_CASE("A policy that breaks the rules is named, and the others go on without it") {
  const folder here;
  const std::string trace = trace_in(here);
  const std::string page = here.at("p.html");
  const std::string asked = " --simulate --capacity 25%,50% --trace " + trace + " --policy ";
  const auto results = [&](const process::outcome &ran) {
    json object = json::parse(ran.text, nullptr, false);
    REQUIRE(object.is_object());
    for (json &one : object["results"]) one.erase("ns_per_visit");
    return object;
  };
  const auto alone = replay("no", asked + "lru,moe --json");
  CHECK(alone.exit_status == 0);
  CHECK(!results(alone).contains("broken"));
  for (const std::string how : {"twice", "absent", "create", "silent"}) {
    INFO(how);
    const std::string with = asked + CUBBY_MISBEHAVING_POLICY ",lru,moe ";
    const auto ran = replay(how, with + "--json --html " + page + " 2>/dev/null");
    CHECK(ran.exit_status == 2);
    const json object = results(ran);
    CHECK(object["results"] == results(alone)["results"]);
    REQUIRE(object["broken"].size() == 2);
    for (size_t i = 0; i < 2; ++i) {
      const json &one = object["broken"][i];
      CHECK(one["policy"] == "misbehaving");
      CHECK(one["capacity"] == (i == 0 ? "25%" : "50%"));
      CHECK(one["why"].get<std::string>().starts_with("policy misbehaving "));
    }
    const auto said = replay(how, with + "2>&1 >/dev/null");
    CHECK(said.text.find("policy misbehaving") != std::string::npos);
    CHECK(said.text.find("go on without it") != std::string::npos);
    CHECK(shell("grep -c 'Left out: policy misbehaving' " + page).exit_status == 0);
    CHECK(replay(how, asked + CUBBY_MISBEHAVING_POLICY " 2>/dev/null").exit_status == 2);
  }
}

TEST_CASE("A library of another version is named, and the others go on without it") {
  const folder here;
  const std::string asked = " --simulate --capacity 25% --trace " + trace_in(here) +
                            " --policy " CUBBY_MISBEHAVING_POLICY;
  const std::string page = here.at("p.html");
  const auto ran = replay("abi", asked + ",lru --json --html " + page + " 2>/dev/null");
  CHECK(ran.exit_status == 2);
  const json object = json::parse(ran.text);
  REQUIRE(object["results"].size() == 1);
  CHECK(object["results"][0]["policy"] == "lru");
  REQUIRE(object["broken"].size() == 1);
  CHECK(object["broken"][0]["policy"] == CUBBY_MISBEHAVING_POLICY);
  CHECK(object["broken"][0]["why"].get<std::string>().find("version") != std::string::npos);
  CHECK(shell("grep -c 'Left out: .*version' " + page).exit_status == 0);
  const auto said = replay("abi", asked + ",lru 2>&1 >/dev/null");
  CHECK(said.text.find("version") != std::string::npos);
  CHECK(said.text.find("go on without it") != std::string::npos);
  const auto alone = replay("abi", asked + " 2>&1");
  CHECK(alone.exit_status == 2);
  CHECK(alone.text.find("version") != std::string::npos);
  CHECK(alone.text.find("go on without it") == std::string::npos);
  CHECK(
      replay("abi", " --simulate --policy ./none.so,lru --trace nowhere 2>/dev/null").exit_status ==
      2);
}

TEST_CASE("A library's policy with the name of another is named by its path") {
  const folder here;
  const auto ran =
      replay("namesake", " --simulate --capacity 25% --json --trace " + trace_in(here) +
                             " --policy lru,lru," CUBBY_MISBEHAVING_POLICY);
  CHECK(ran.exit_status == 2);  // it breaks a rule besides
  const json object = json::parse(ran.text);
  REQUIRE(object["results"].size() == 1);
  CHECK(object["results"][0]["policy"] == "lru");
  REQUIRE(object["broken"].size() == 1);
  CHECK(object["broken"][0]["policy"] == CUBBY_MISBEHAVING_POLICY);
  CHECK(object["broken"][0]["why"].get<std::string>().starts_with(
      "policy " CUBBY_MISBEHAVING_POLICY));
}

}  // namespace replay_broken_test
