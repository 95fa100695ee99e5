// `cubby replay` with policies that break the rules: each is named, and none holds the others up.
#include <fstream>

#include "cli/folder.hpp"
#include "cli/process.hpp"

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
  return shell("CUBBY_EVIL=" + how + " timeout 60 " CUBBY_COMMAND " replay --quiet " + arguments);
}

}  // namespace

TEST_CASE("A policy that names one pinned victim again and again is told off, not waited for") {
  const folder here;
  const std::string trace = trace_in(here);
  const std::string io =
      " --io --geometry 2x8x4096 --tiers host:1m,file:" + here.path.string() + " ";
  for (const std::string &drive : {std::string(" --simulate "), io}) {
    const auto told =
        replay("twice", drive + "--capacity 25%,50% --policy " CUBBY_EVIL_POLICY " --trace " +
                            trace + " 2>&1");
    INFO(told.text);
    CHECK(told.exit_status == 2);
    CHECK(told.text.find("policy evil broke the rules: next_victim() named object") !=
          std::string::npos);
    CHECK(told.text.find("twice in a round") != std::string::npos);
  }
}
