// `cubby bench`: its fields, its figures being figures, its refusals. No times are judged.
#include <linux/magic.h>
#include <pthread.h>
#include <sys/vfs.h>

#include <map>

#include "cli/bench/reader.hpp"
#include "cli/folder.hpp"
#include "cli/process.hpp"

namespace bench_test {

namespace {
using nlohmann::json;

using process::outcome;

outcome run(const std::string &arguments) {
  return process::shell(CUBBY_COMMAND " bench " + arguments + " 2>/dev/null");
}

TEST_CASE("bench read has the promised fields, one result a size") {
  const outcome seen = run(
      "read --file-mib 64 --sample-mib 1 --pairs 3 --blocks 64k,256k --against bare,pread --json");
  INFO(seen.text);
  REQUIRE(seen.exit_status == 0);
  const json all = json::parse(seen.text);
  CHECK(all.at("file_bytes") == 64u << 20);
  REQUIRE(all.at("results").size() == 2);
  for (const json &one : all["results"]) {
    CHECK(one.at("gb_per_s").at("cubby").get<double>() > 0);
    CHECK(one.at("cpu_ns_per_read").at("cubby").get<double>() > 0);
    const json &ratio = one.at("ratio").at("pread");
    CHECK(ratio.at("low").get<double>() <= ratio.at("median").get<double>());
    CHECK(ratio.at("median").get<double>() <= ratio.at("high").get<double>());
    bool bare_skipped = false;  // as where io_uring is not to be had
    for (const json &skipped : all.at("skipped")) {
      CHECK_FALSE(skipped.at("why").get<std::string>().empty());
      bare_skipped = bare_skipped || skipped.at("name") == "bare";
    }
    if (!bare_skipped) CHECK(one["ratio"].at("best").at("median").get<double>() > 0);
  }
}

TEST_CASE("where threads cannot be made, those that there are read all of it") {
  const process::folder here;
  const std::string path = here.write("f", std::string(1 << 20, 'x'));
  const cubby_cli::bench::layout file{path, 1 << 20, 1 << 16, 1 << 16, 0};
  const auto reader = cubby_cli::bench::make_pread(file, 8);
  if (!reader) {
    WARN("SKIPPED: " << reader.failure().text);  // as on a file system without direct reads
    return;
  }
  pthread_attr_t usual, huge;
  REQUIRE(pthread_getattr_default_np(&usual) == 0);
  REQUIRE(pthread_attr_init(&huge) == 0);
  REQUIRE(pthread_attr_setstacksize(&huge, size_t{1} << 50) == 0);  // more than addresses reach
  REQUIRE(pthread_setattr_default_np(&huge) == 0);
  const auto seen = (*reader)->run({0, 5, 15});
  pthread_setattr_default_np(&usual);
  REQUIRE(seen);
  CHECK(seen->bytes == 3 << 16);
}

TEST_CASE("bench miss and bench extents tell what they measured") {
  const outcome miss = run("miss --file-mib 64 --rounds 20 --json");
  INFO(miss.text);
  REQUIRE(miss.exit_status == 0);
  const json report = json::parse(miss.text);
  REQUIRE(report.at("results").size() == 3);
  for (const json &one : report["results"]) {
    CHECK(one.at("p50_ns").get<double>() > 0);
    CHECK(one.at("p50_ns").get<double>() <= one.at("p99_ns").get<double>());
  }
  const outcome extents = run("extents --file-mib 320 --sample-mib 1 --pairs 2 --json");
  INFO(extents.text);
  REQUIRE(extents.exit_status == 0);
  CHECK(json::parse(extents.text).at("ratio").at("median").get<double>() > 0);
}

TEST_CASE("bench kv has its rows, and its blocks their bytes") {
  const process::folder here;
  const outcome seen = run("kv --quick --json --dir " + here.path.string());
  INFO(seen.text);
  REQUIRE(seen.exit_status == 0);  // wrong bytes would be 1
  CHECK(std::filesystem::is_empty(here.path));
  const json all = json::parse(seen.text);
  CHECK(all.at("set_bytes") == 32u << 20);
  std::map<std::string, uint32_t> counts;
  for (const json &one : all.at("rows")) {
    INFO(one.dump());
    ++counts[one.at("row")];
    CHECK(one.at("block_bytes").get<uint64_t>() > 0);
    CHECK(one.at("goal_met").is_boolean());
    if (one.contains("present_count")) {
      CHECK(one.at("ours_ns_per_key").get<double>() > 0);
      continue;
    }
    const json &ratio = one.at("ratio");
    CHECK(ratio.at("low").get<double>() > 0);
    CHECK(ratio.at("low").get<double>() <= ratio.at("median").get<double>());
    CHECK(ratio.at("median").get<double>() <= ratio.at("high").get<double>());
    CHECK_FALSE(one.at("reference").get<std::string>().empty());
    if (one.contains("alone_p99_ns")) {
      CHECK(one.at("busy_p99_ns").get<double>() > 0);
      CHECK(one.at("reference_ratio").at("median").get<double>() > 0);
      continue;
    }
    for (const char *side : {"ours", "reference"}) {
      CHECK(one.at(std::string(side) + "_gb_per_s").get<double>() > 0);
      CHECK(one.at(std::string(side) + "_cpu_s_per_gb").get<double>() >= 0);
    }
  }
  CHECK(counts == std::map<std::string, uint32_t>{{"put and get in memory", 1},
                                                  {"get from disk", 3},
                                                  {"get past memory", 3},
                                                  {"get past memory, in a row", 3},
                                                  {"get with digests", 1},
                                                  {"put to outlive the process", 1},
                                                  {"put to outlive a power cut", 1},
                                                  {"put to outlive the process, past memory", 1},
                                                  {"put to outlive a power cut, past memory", 1},
                                                  {"match", 2},
                                                  {"p99 of gets beside puts", 1}});
}

TEST_CASE("bench kv says that a directory is in memory") {
  struct statfs memory {};
  if (statfs("/dev/shm", &memory) != 0 || memory.f_type != TMPFS_MAGIC) {
    WARN("SKIPPED: /dev/shm is no tmpfs here");
    return;
  }
  const std::string arguments = "kv --quick --rows match --json --dir /dev/shm";
  const json all = json::parse(run(arguments).text);
  CHECK(all.at("note").get<std::string>().find("/dev/shm is in memory (tmpfs)") == 0);
  const outcome said = process::shell(CUBBY_COMMAND " bench " + arguments + " 2>&1 >/dev/null");
  CHECK(said.text.find("/dev/shm is in memory (tmpfs)") != std::string::npos);
}

TEST_CASE("bench rows tells what each way took, and the bytes are the same") {
  const process::folder here;
  const outcome seen =
      run("rows --file-mib 16 --row-bytes 500 --prompt-rows 300 --rounds 11 --json --dir " +
          here.path.string());
  INFO(seen.text);
  REQUIRE(seen.exit_status == 0);  // wrong bytes would be 1
  const json all = json::parse(seen.text);
  CHECK(all.at("table_bytes") == 16u << 20);
  CHECK(all.at("read_latency_us").get<double>() > 0);
  CHECK(all.at("mmap_to_cubby_prompt").at("median").get<double>() > 0);
  CHECK(all.at("memory").at("tables_bytes").get<uint64_t>() > 0);
  std::vector<std::string> names;
  for (const json &one : all.at("results")) {
    names.push_back(one.at("name"));
    for (const char *figure : {"warm", "cold"}) {
      const double half = one.at(std::string(figure) + "_p50_us").get<double>();
      CHECK(half > 0);
      CHECK(half <= one.at(std::string(figure) + "_p99_us").get<double>());
    }
    CHECK(one.at("prompt_p50_us").get<double>() > 0);
  }
  CHECK(names == std::vector<std::string>{"cubby", "mmap", "mmap, random", "pread"});
  CHECK(run("rows --pump nobody").exit_status == 2);
}

TEST_CASE("what cannot be measured is refused with 2") {
  CHECK(run("kv --bytes 5k").exit_status == 2);
  CHECK(run("kv --rows nothing").exit_status == 2);
  CHECK(run("kv --pump nobody").exit_status == 2);
  CHECK(run("read --blocks 5k").exit_status == 2);
  CHECK(run("read --file-mib 64 --against nobody").exit_status == 2);
  CHECK(run("read --file-mib 16 --blocks 2m").exit_status == 2);
  CHECK(run("read --dir /no/such/folder").exit_status == 2);
  CHECK(run("").exit_status == 2);
}

}  // namespace

}  // namespace bench_test
