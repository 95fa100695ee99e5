// `cubby replay --io --store`: KV blocks with real bytes through the runtime, in memory and in a
// store. Hits are those of the simulation, every byte is checked, and what the store has is found
// again after the process has ended or was killed.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/prng.hpp"
#include "cli/folder.hpp"
#include "cli/process.hpp"

namespace replay_blocks_test {

namespace {
using nlohmann::json;
using process::command;
using process::folder;

json command_json(const std::string &line) { return process::command_json(line, 0); }

/// Sessions over a common beginning grow by some blocks a request; now and then one starts anew.
std::string make_trace(const folder &here, uint32_t requests) {
  constexpr uint32_t sessions = 12, common = 8, grown_max = 6;
  cubby::base::prng random(7);
  uint64_t next = common;
  std::vector<std::vector<uint64_t>> chains(sessions);
  std::ofstream out(here.at("t.jsonl"));
  for (uint32_t r = 0; r < requests; ++r) {
    auto &chain = chains[std::min(random.below(sessions), random.below(sessions))];
    if (chain.empty() || random.below(25) == 0) {
      chain.clear();
      for (uint64_t block = 0; block < common; ++block) chain.push_back(block);
    }
    for (uint64_t grown = 1 + random.below(grown_max); grown > 0; --grown) chain.push_back(next++);
    out << R"({"timestamp":)" << r * 100 << R"(,"input_length":1,"output_length":1,"hash_ids":)"
        << json(chain).dump() << "}\n";
  }
  return here.at("t.jsonl");
}

std::string io_line(const folder &here, const std::string &trace) {
  std::filesystem::create_directory(here.path / "store");
  return "replay --io --quiet --store " + here.at("store") + " --trace " + trace;
}

/// Nothing wrong, nothing lost, and as simulated; `there`: blocks that were found.
void check_line(const json &line, uint64_t there) {
  INFO(line.dump());
  CHECK(line.at("hits") == line.at("simulated_hits"));
  CHECK(line.at("equal") == true);
  const json &io = line.at("io");
  CHECK(io.at("wrong_bytes") == 0);
  CHECK(io.at("damaged") == 0);
  CHECK(io.at("put_again") == 0);
  CHECK(io.at("found_at_open") == there);
  CHECK(io.at("usable") >= line.at("hits"));
}

constexpr char by_order[] = "lru,lru-2,lfu,sieve,s3-fifo,arc,gdsf,random";

struct child {
  pid_t pid = -1;
  explicit child(const std::string &line) {
    std::string shell = "sh", flag = "-c", run = "exec " CUBBY_COMMAND " " + line;
    char *const arguments[] = {shell.data(), flag.data(), run.data(), nullptr};
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
    REQUIRE(posix_spawn(&pid, "/bin/sh", &quiet, nullptr, arguments, environ) == 0);
    posix_spawn_file_actions_destroy(&quiet);
  }
  /// True when it was still running.
  [[nodiscard]] bool kill_after(std::chrono::milliseconds time) const {
    std::this_thread::sleep_for(time);
    int status = 0;
    REQUIRE(kill(pid, SIGKILL) == 0);
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
};

}  // namespace

TEST_CASE("hits are the simulation's for every policy that goes by the order of uses") {
  const folder here;
  const std::string trace = make_trace(here, 150);
  const std::string chosen = std::string(" --capacity 5%,25%,60% --policy ") + by_order;
  const json simulated = command_json("replay --simulate --quiet --trace " + trace + chosen);
  const json seen = command_json(io_line(here, trace) + chosen);
  REQUIRE(seen.at("results").size() == simulated.at("results").size());
  const auto unique = seen.at("unique").get<uint64_t>();
  CHECK(seen.at("store").at("found_at_open") == 0);
  uint64_t there = 0;
  for (size_t i = 0; i < seen.at("results").size(); ++i) {
    const json &one = seen.at("results")[i];
    check_line(one, there);
    CHECK(one.at("hits") == simulated.at("results")[i].at("hits"));
    CHECK(one.at("io").at("put") == unique - there);
    if (there != 0) CHECK(one.at("io").at("read_bytes") >= 4096 * unique);
    CHECK(one.at("io").at("checked") == seen.at("accesses").get<uint64_t>() - (unique - there));
    there = unique;  // the next finds what this one has left
  }
}

TEST_CASE("the next command finds what the store has, reads all of it, and hits as before") {
  const folder here;
  const std::string trace = make_trace(here, 150);
  const std::string line = io_line(here, trace) + " --capacity 25% --policy lru,sieve";
  const json first = command_json(line);
  const json second = command_json(line);
  const auto unique = first.at("unique").get<uint64_t>();
  CHECK(second.at("store").at("found_at_open") == unique);
  CHECK(second.at("store").at("checked") == unique);
  CHECK(second.at("store").at("wrong_bytes") == 0);
  for (size_t i = 0; i < 2; ++i) {
    const json &one = second.at("results")[i];
    check_line(one, unique);
    CHECK(one.at("hits") == first.at("results")[i].at("hits"));
    CHECK(one.at("io").at("put") == 0);
    CHECK(one.at("io").at("usable") == second.at("accesses"));
  }
}

TEST_CASE("after a kill in mid-replay no byte is wrong, and what was put is found") {
  const folder here;
  const std::string trace = make_trace(here, 1200);
  const std::string line = io_line(here, trace) + " --capacity 25% --policy lru --json";
  uint64_t there = 0;
  bool in_time = true;
  for (auto time = std::chrono::milliseconds(25); there == 0 && in_time; time *= 2) {
    in_time = child(line).kill_after(time);
    const auto looked =
        process::shell(CUBBY_COMMAND " store info --json " + here.at("store") + " 2>/dev/null");
    const json info = json::parse(looked.text, nullptr, false);
    if (info.is_object() && info.contains("blocks")) there = info.at("blocks");
  }
  REQUIRE(in_time);
  const json seen = command_json(io_line(here, trace) + " --capacity 25% --policy lru");
  CHECK(seen.at("store").at("found_at_open") == there);
  CHECK(seen.at("store").at("checked") == there);
  CHECK(seen.at("store").at("wrong_bytes") == 0);
  CHECK(seen.at("store").at("damaged") == 0);
  CHECK(there < seen.at("unique").get<uint64_t>());
  const json &one = seen.at("results").at(0);
  check_line(one, there);
  CHECK(one.at("io").at("put") == seen.at("unique").get<uint64_t>() - there);
}

TEST_CASE("blocks that were damaged on disk are reported, not delivered, and put anew") {
  const folder here;
  const std::string trace = make_trace(here, 40);
  const std::string line = io_line(here, trace) + " --capacity 25% --policy lru";
  const auto unique = command_json(line).at("unique").get<uint64_t>();
  std::fstream file(here.at("store/cubby.store"), std::ios::in | std::ios::out | std::ios::binary);
  std::string page(4096, 0);
  bool flipped = false;
  // Pages of blocks have hardly a zero, those of the store's own many.
  for (std::streamoff at = 0; !flipped && file.seekg(at).read(page.data(), 4096); at += 4096) {
    if (std::count(page.begin(), page.end(), 0) > 100) continue;
    file.seekp(at + 1000).put(static_cast<char>(page[1000] ^ 1));
    flipped = true;
  }
  file.close();
  REQUIRE(flipped);
  const json damaged = process::command_json(line, 1);
  CHECK(damaged.at("store").at("found_at_open") == unique);
  CHECK(damaged.at("store").at("checked") == unique - 1);
  CHECK(damaged.at("store").at("damaged") == 1);
  CHECK(damaged.at("store").at("wrong_bytes") == 0);
  check_line(damaged.at("results").at(0), unique - 1);
  CHECK(damaged.at("results").at(0).at("io").at("put") == 1);
  CHECK(command_json(line).at("store").at("checked") == unique);
}

TEST_CASE("a policy whose hits may be others is named, with the difference") {
  const folder here;
  const std::string trace = make_trace(here, 150);
  const std::string line = io_line(here, trace) + " --capacity 25% --policy auto";
  const json seen = command_json(line);
  const json &one = seen.at("results").at(0);
  CHECK(one.at("policy") == "kv");
  CHECK(one.at("may_differ").get<std::string>().find("kv chooses") == 0);
  CHECK(one.at("io").at("wrong_bytes") == 0);
  const auto said = command(line);
  INFO(said.text);
  CHECK(said.exit_status == 0);
  if (one.at("equal") == false) CHECK(said.text.find("as simulated; kv") != std::string::npos);
}

TEST_CASE("a store that is too small gives blocks up, and hits stay the simulation's") {
  const folder here;
  const std::string trace = make_trace(here, 150);
  const json seen = command_json(io_line(here, trace) +
                                 " --object-bytes 65536 --store-bytes 16MiB --capacity 25%"
                                 " --policy lru");
  const json &one = seen.at("results").at(0);
  INFO(one.dump());
  CHECK(one.at("equal") == true);
  CHECK(one.at("io").at("wrong_bytes") == 0);
  CHECK(one.at("io").at("damaged") == 0);
  CHECK(one.at("io").at("put_again") > 0);
}

TEST_CASE("published traces hit as simulated, again when the store is opened again") {
  const std::string trace =
      std::string(CUBBY_TRACES_DIR) + "/kv/lmcache-agent_miniswe.b64.jsonl.xz";
  if (!std::filesystem::exists(trace)) {
    WARN("SKIPPED: there is no " << trace);
    return;
  }
  const folder here;
  const std::string line = io_line(here, trace) + " --capacity 10%,50% --policy lru";
  const json first = command_json(line);
  const auto unique = first.at("unique").get<uint64_t>();
  check_line(first.at("results").at(0), 0);
  check_line(first.at("results").at(1), unique);
  const json second = command_json(line);
  for (size_t i = 0; i < 2; ++i) {
    check_line(second.at("results")[i], unique);
    CHECK(second.at("results")[i].at("hits") == first.at("results")[i].at("hits"));
  }
}

TEST_CASE("--io of KV blocks says what is wrong") {
  const folder here;
  const std::string trace = make_trace(here, 4);
  const auto refused = [&](const std::string &options, const std::string &word) {
    const auto said = command("replay --quiet --trace " + trace + " " + options);
    INFO(said.text);
    CHECK(said.exit_status == 2);
    CHECK(said.text.find(word) != std::string::npos);
  };
  const std::string store = " --store " + here.path.string();
  refused("--io", "needs --store DIR");
  refused("--io --store /no/such/folder", "is no folder");
  refused("--io" + store + " --geometry 1x2x3", "for traces of experts");
  refused("--io" + store + " --object-bytes 100", "a multiple of 8 bytes");
  refused("--io" + store + " --store-bytes many", "is no size");
  refused("--simulate" + store, "are for --io");
  refused("--io" + store + " --policy belady", "needs the future");
  const std::string experts = here.write("e.csv", "token,layer,experts\n0,0,1\n1,0,2\n");
  const auto said = command("replay --io --quiet --trace " + experts + store +
                            " --geometry 1x3x4096 --tiers host:1m,file:" + here.path.string());
  CHECK(said.exit_status == 2);
  CHECK(said.text.find("are for traces of KV blocks") != std::string::npos);
}

}  // namespace replay_blocks_test
