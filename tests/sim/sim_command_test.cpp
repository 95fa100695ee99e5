// The simulator as a command: its contract on standard output and exit status, the same hash for
// the same seed, many seeds without a violation, and every deliberate defect found.
#include <cstdlib>

#include "cli/process.hpp"

namespace {
using nlohmann::json;

struct ran : process::outcome {
  json result() const { return json::parse(text); }
};

ran run(const std::string &arguments) {
  return {process::shell(std::string(CUBBY_SIM_COMMAND) + " " + arguments)};
}

// A test of many seeds runs as many as its build says, or as many as its environment says.
std::string count(const char *name, long built_in) {
  const char *given = std::getenv(name);
  return given != nullptr ? given : std::to_string(built_in);
}

void check_clean(const ran &seen) {
  INFO(seen.text);
  CHECK(seen.exit_status == 0);
  CHECK(seen.result().at("violations").empty());
}

TEST_CASE("the same seed has the same events, another seed has others") {
  for (const char *seed : {"1", "2", "17", "1234567"}) {
    const std::string arguments = std::string("--steps 2000 --json --seed ") + seed;
    const ran first = run(arguments), second = run(arguments);
    check_clean(first);
    CHECK(first.text == second.text);
    const ran other = run(arguments + "9");
    CHECK(first.result().at("event_hash") != other.result().at("event_hash"));
  }
}

TEST_CASE("a seed has the same events alone and after others") {
  const ran alone = run("--steps 800 --seed 43 --json");
  const ran third = run("--steps 800 --seed 41 --seeds 3 --json");
  check_clean(third);
  CHECK(third.result().at("seed") == 43);
  CHECK(alone.result().at("event_hash") == third.result().at("event_hash"));
}

TEST_CASE("the JSON object has the fields that were promised") {
  const ran seen = run("--seed 5 --steps 300 --json");
  CHECK(seen.text.find('\n') == seen.text.size() - 1);
  const json result = seen.result();
  CHECK(result.at("seed") == 5);
  CHECK(result.at("steps") == 300);
  CHECK(result.at("event_hash").is_string());
  CHECK(result.at("violations").is_array());
  CHECK(result.at("faults").at("eio_transient").is_number_unsigned());
  const auto moves = result.at("moves_seen").get<std::string>();
  CHECK(moves.find('/') != std::string::npos);
}

TEST_CASE("wrong arguments end with 2 and the mutants are listed") {
  CHECK(run("--steps 0 2>/dev/null").exit_status == 2);
  CHECK(run("--no-such-flag 2>/dev/null").exit_status == 2);
  CHECK(run("--mutant no_such 2>/dev/null").exit_status == 2);
  const ran seen = run("--list-mutants --json");
  CHECK(seen.exit_status == 0);
  CHECK(seen.result().at("mutants").size() == 14);
}

TEST_CASE(
    "a policy is named, a third-party one too, and one that breaks the rules is a violation") {
  for (const std::string name : {"lru", "moe", "mixed", CUBBY_FIFO_POLICY}) {
    INFO(name);
    const ran seen = run("--seeds 20 --steps 600 --json --policy " + name);
    check_clean(seen);
    CHECK(seen.result().at("policy") == name);
  }
  const std::string misbehaving =
      "--seeds 20 --steps 600 --json --policy " CUBBY_MISBEHAVING_POLICY " 2>/dev/null";
  const ran seen = {
      process::shell("CUBBY_MISBEHAVIOUR=absent " CUBBY_SIM_COMMAND " " + misbehaving)};
  CHECK(seen.exit_status == 1);
  const json first = seen.result().at("violations").at(0);
  CHECK(first.at("promise") == "policy");
  CHECK(first.at("what").get<std::string>().find("which is not") != std::string::npos);
  CHECK(first.at("replay").get<std::string>().find("--policy") != std::string::npos);
  for (const char *name : {"no_such", "./no_such.so", "belady"}) {
    INFO(name);
    const ran refused = run("--steps 10 --policy " + std::string(name) + " 2>&1");
    CHECK(refused.exit_status == 2);
    CHECK(refused.text.find(name) != std::string::npos);
  }
}

TEST_CASE("many seeds run without a violation and see every fault and nearly every move",
          "[seeds]") {
  const std::string seeds = count("CUBBY_SIM_SEEDS", CUBBY_SIM_SEEDS);
  const ran seen = run("--seed 1 --seeds " + seeds + " --steps " +
                       count("CUBBY_SIM_STEPS", CUBBY_SIM_STEPS) + " --json");
  check_clean(seen);
  const json result = seen.result();
  CHECK(result.at("seeds") == std::stol(seeds));
  for (const char *fault :
       {"eio_transient", "eio_sticky", "short_read", "flip_transit", "flip_rest", "misdirected",
        "stale_block", "late", "stuck", "open_failure", "reserve_failure", "copy_failure"}) {
    INFO(fault);
    CHECK(result.at("faults").at(fault) > 0);
  }
  WARN("moves seen: " << result.at("moves_seen") << ", not seen: " << result.at("moves_missing"));
}

TEST_CASE("every deliberate defect is found within 200 seeds, with a line that replays it",
          "[mutants]") {
  const json listed = run("--list-mutants --json").result();
  REQUIRE(listed.at("mutants").size() == 14);
  for (const auto &mutant : listed.at("mutants")) {
    const auto name = mutant.get<std::string>();
    const ran seen =
        run("--seed 1 --seeds 200 --steps 2000 --json --mutant " + name + " 2>/dev/null");
    INFO(name << ": " << seen.text);
    CHECK(seen.exit_status == 1);
    const json violations = seen.result().at("violations");
    REQUIRE_FALSE(violations.empty());
    const auto replay = violations[0].at("replay").get<std::string>();
    CHECK_FALSE(violations[0].at("last_events").empty());
    // The line that was printed finds it again, at the same step.
    const ran again = run(replay.substr(replay.find(' ')) + " --json 2>/dev/null");
    CHECK(again.exit_status == 1);
    CHECK(again.result().at("violations")[0].at("step") == violations[0].at("step"));
  }
}

}  // namespace
