// cubby top: a process's runtimes as another process sees them.
#include <unistd.h>

#include <cubby/cubby.hpp>

#include <chrono>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>
#include <vector>

#include "cli/process.hpp"
#include "support/catch.hpp"

namespace top_test {

namespace {

const std::string here = std::to_string(getpid());

std::string said_by(const std::string &arguments, int exit_status) {
  const process::outcome found = process::command(arguments);
  INFO(arguments << " said: " << found.text);
  CHECK(found.exit_status == exit_status);
  return found.text;
}

/// A runtime with some blocks put and got.
cubby::runtime busy_runtime(const char *tier) {
  cubby::runtime rt = cubby::runtime::open({}).value();
  REQUIRE(rt.add_tier({.name = tier, .budget_bytes = 1 << 20}));
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_KV;
  desc.name = "blocks";
  desc.rows = 1;
  desc.columns = 64;
  desc.locker_bytes = 4096;
  REQUIRE(rt.add_bank(desc));
  return rt;
}

}  // namespace

TEST_CASE("top shows the runtimes of a process that publishes") {
  cubby::runtime rt = busy_runtime("host:fast");
  const std::string none = said_by("top " + here, 1);
  CHECK(none.find("cubby_publish()") != std::string::npos);

  REQUIRE(rt.publish(20));
  const auto object = process::command_json("top " + here + " --interval-ms 100", 0);
  REQUIRE(object["runtimes"].size() == 1);
  const auto &one = object["runtimes"][0];
  CHECK(one["pid"] == getpid());
  CHECK(one["version"] == "0.1.0");
  CHECK(one["interval_s"].get<double>() > 0);
  CHECK(one["age_s"].get<double>() < 10);
  REQUIRE(one["tiers"].size() == 1);
  const auto &tier = one["tiers"][0];
  CHECK(tier["name"] == "host:fast");
  CHECK(tier["backend"] == "host");
  CHECK(tier["values"]["budget_bytes"] == 1 << 20);
  CHECK(tier["values"]["health"] == 0);
  CHECK(tier["load_count"] == 0);
  CHECK(tier["load_p99_s"].is_null());

  const std::string shown = said_by("top " + here + " --once --interval-ms 100", 0);
  CHECK(shown.find("host:fast") != std::string::npos);
  CHECK(shown.find("1.05 MB") != std::string::npos);
  CHECK(shown.find("healthy") != std::string::npos);
  CHECK(shown.find("\x1b[") == std::string::npos);

  cubby::runtime second = busy_runtime("host:other");
  REQUIRE(second.publish(60'000));
  const std::string both = said_by("top " + here + " --once --interval-ms 100", 0);
  CHECK(both.find("host:fast") != std::string::npos);
  CHECK(both.find("host:other") != std::string::npos);

  REQUIRE(rt.publish(0));
  const std::string left = said_by("top " + here + " --prometheus", 0);
  CHECK(left.find("host:fast") == std::string::npos);
  CHECK(left.find(R"(cubby_tier_budget_bytes{tier="host:other",backend="host"} 1048576)") !=
        std::string::npos);
}

TEST_CASE("top says what is wrong with a process") {
  CHECK(said_by("top 2147483647", 2).find("no process 2147483647") != std::string::npos);
  said_by("top x", 2);
  said_by("top --interval-ms 5", 2);
}

TEST_CASE("top that has shown nothing when the process ends its page fails") {
  cubby::runtime rt = busy_runtime("host:0");
  REQUIRE(rt.publish(20));
  bool ended = false;
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // between its two looks
    ended = static_cast<bool>(rt.publish(0));
  });
  const auto object = process::command_json("top " + here + " --interval-ms 4000", 1);
  ends.join();
  CHECK(ended);
  CHECK(object["error"].get<std::string>().find("metrics") != std::string::npos);
}

TEST_CASE("the dashboard of the examples names metrics that there are") {
  cubby::runtime rt = busy_runtime("host:0");
  const std::string text = rt.metrics().value();
  std::ifstream file(CUBBY_DASHBOARD);
  std::stringstream content;
  content << file.rdbuf();
  const auto dashboard = nlohmann::json::parse(content.str());
  REQUIRE(dashboard["panels"].size() >= 8);
  const std::regex name("cubby_[a-z_]+");
  uint32_t count = 0;
  for (const auto &panel : dashboard["panels"]) {
    for (const auto &target : panel["targets"]) {
      const std::string wanted = target["expr"];
      for (auto at = std::sregex_iterator(wanted.begin(), wanted.end(), name);
           at != std::sregex_iterator(); ++at, ++count) {
        INFO(at->str());
        CHECK(text.find("\n" + at->str()) != std::string::npos);
      }
    }
  }
  CHECK(count >= 12);
}

}  // namespace top_test
