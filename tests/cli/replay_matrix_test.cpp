// `cubby replay --matrix`: every cell once, also after it was broken off; what is not understood is
// refused by its line.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "cli/folder.hpp"
#include "cli/made_up_traces.hpp"
#include "cli/process.hpp"
#include "cli/replay/matrix/toml.hpp"

namespace replay_matrix_test {

namespace {
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;

std::string experts_trace() {
  return made_up_experts(100, [](int layer) { return 2 * layer + 2; });
}

bool mentions(const std::string &text, const std::string &part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

/// Two traces, of experts and of blocks, two policies, two capacities, two machines: 16 cells.
std::string write_study(const folder &in) {
  in.write("experts.csv", experts_trace());
  in.write("blocks.jsonl", made_up_blocks(80));
  return in.write("study.toml",
                  "# a small study\n"
                  "traces = [\n  \"experts.csv\",  # of experts\n  \"blocks.jsonl\",\n]\n"
                  "policies = [\"lru\", \"arc\"]\ncapacities = [\"25%\", \"50%\"]\n"
                  "links = [\"host:1GB/s,10us\", \"host:1GB/s,10us nvme:100MB/s,80us\"]\n"
                  "compute_ns = 100_000\nobject-bytes = 1000000\nblock-bytes = 500000\n");
}

std::vector<json> lines_in(const std::string &path) {
  std::ifstream in(path);
  std::vector<json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

std::string text_in(const std::string &path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// Refused with exit 2, by its line.
void refuses(const folder &in, const std::string &text, const std::vector<std::string> &parts) {
  const std::string path = in.write("bad.toml", text);
  const auto found = command("replay --matrix " + path);
  INFO(text);
  CHECK(found.exit_status == 2);
  for (const std::string &part : parts) CHECK(mentions(found.text, part));
  CHECK_FALSE(std::filesystem::exists(in.at("bad.jsonl")));
}

}  // namespace

TEST_CASE("A matrix has a line for each cell, which says what replay says") {
  const folder here;
  const std::string study = write_study(here);
  const json report = command_json("replay --quiet --matrix " + study, 0);
  CHECK(report["cells"] == 16);
  CHECK(report["added"] == 16);
  const auto lines = lines_in(here.at("study.jsonl"));
  REQUIRE(lines.size() == 16);
  for (const json &line : lines) {
    CHECK(line["hits"] <= line["accesses"]);
    CHECK(line.contains("stall"));
  }
  const json alone =
      command_json("replay --timing --quiet --trace " + here.at("experts.csv") +
                       " --policy lru --capacity 25% --object-bytes 1000000 --compute-ns 100000 "
                       "--link host:1GB/s,10us",
                   0);
  bool found = false;
  for (const json &line : lines) {
    if (line["trace"] != "experts.csv" || line["policy"] != "lru" || line["capacity"] != "25%" ||
        line["links"] != "host:1GB/s,10us")
      continue;
    found = true;
    const json &same = alone["results"][0];
    for (const char *field : {"hits", "hit_ratio", "time_ns", "stall", "bytes_by_link"})
      CHECK(line[field] == same[field]);
  }
  CHECK(found);
  const std::string page = text_in(here.at("study.html"));
  CHECK(mentions(page, "experts.csv, host:1GB/s,10us nvme:100MB/s,80us"));
  CHECK(mentions(page, "<svg"));
  for (const char *outside : {"src=", "href=", "url(", "@import"})
    CHECK(page.find(outside) == std::string::npos);
}

TEST_CASE("A matrix that was broken off goes on, and computes nothing twice") {
  const folder here;
  const std::string study = write_study(here), results = here.at("study.jsonl");
  command_json("replay --quiet --matrix " + study, 0);
  const std::string whole = text_in(results);
  // As after a kill: some lines, and the beginning of one.
  size_t at = 0;
  for (int line = 0; line < 5; line++) at = whole.find('\n', at) + 1;
  std::ofstream(results, std::ios::trunc) << whole.substr(0, at + 20);
  const json report = command_json("replay --quiet --threads 2 --matrix " + study, 0);
  CHECK(report["known"] == 5);
  CHECK(report["added"] == 11);
  std::map<std::string, json> before, now;
  std::istringstream in(whole);
  for (std::string line; std::getline(in, line);) {
    const json one = json::parse(line);
    before[one["cell"]] = one;
  }
  for (const json &one : lines_in(results)) now[one["cell"]] = one;
  CHECK(before == now);
  CHECK(command_json("replay --quiet --matrix " + study, 0)["added"] == 0);
}

TEST_CASE("A trace that has changed makes new cells") {
  const folder here;
  const std::string study = write_study(here);
  command_json("replay --quiet --matrix " + study, 0);
  here.write("experts.csv", experts_trace() + "100,0,1 2\n");
  const json report = command_json("replay --quiet --matrix " + study, 0);
  CHECK(report["added"] == 8);
  CHECK(lines_in(here.at("study.jsonl")).size() == 24);
}

TEST_CASE("A matrix writes over nothing that is not its own") {
  const folder here;
  const std::string study = write_study(here);
  here.write("study.jsonl", "{\"mine\": 1}\n");
  const auto found = command("replay --matrix " + study);
  CHECK(found.exit_status == 2);
  CHECK(mentions(found.text, "study.jsonl:1"));
  CHECK(text_in(here.at("study.jsonl")) == "{\"mine\": 1}\n");
  std::filesystem::remove(here.at("study.jsonl"));
  here.write("study.html", "mine");
  CHECK(command("replay --matrix " + study).exit_status == 2);
  CHECK(text_in(here.at("study.html")) == "mine");
}

TEST_CASE("What has no end of line is cut only where a run of ours was broken off") {
  const folder here;
  const std::string study = write_study(here), results = here.at("study.jsonl");
  const std::string deep(200000, '[');
  for (const std::string &mine :
       {std::string("{\"a\":1,\"precious\":\"data\"}"), std::string("{\"mine\": 1,"),
        std::string("{"), std::string("{\"accesses\":1}"), std::string("{\"cell\":\"x\"}\n"),
        deep}) {
    here.write("study.jsonl", mine);
    const auto found = command("replay --quiet --matrix " + study);
    CHECK(found.exit_status == 2);
    CHECK(mentions(found.text, "study.jsonl:1 is no line"));
    CHECK(text_in(results) == mine);
  }
  std::filesystem::remove(results);
  command_json("replay --quiet --matrix " + study, 0);
  const std::string whole = text_in(results);
  // Broken off at the last line's end: it is whole, and stays.
  std::ofstream(results, std::ios::trunc) << whole.substr(0, whole.size() - 1);
  CHECK(command_json("replay --quiet --matrix " + study, 0)["added"] == 0);
  CHECK(text_in(results) == whole);
  std::ofstream(results, std::ios::trunc) << whole << "{";
  CHECK(command_json("replay --quiet --matrix " + study, 0)["added"] == 0);
  CHECK(text_in(results) == whole);
}

TEST_CASE("A known line that lacks something is refused by its number") {
  const folder here;
  const std::string study = write_study(here), results = here.at("study.jsonl");
  command_json("replay --quiet --matrix " + study, 0);
  const auto lines = lines_in(results);
  for (const char *field : {"trace", "links", "lockers", "hit_ratio"}) {
    json second = lines[1];
    second.erase(field);
    here.write("study.jsonl", lines[0].dump() + "\n" + second.dump() + "\n");
    const auto found = command("replay --quiet --matrix " + study);
    CHECK(found.exit_status == 2);
    CHECK(mentions(found.text, "study.jsonl:2"));
    CHECK(mentions(found.text, field));
  }
}

TEST_CASE("Traces of one name in two folders are two") {
  const folder here;
  std::filesystem::create_directory(here.at("a"));
  std::filesystem::create_directory(here.at("b"));
  here.write("a/t.csv", experts_trace());
  here.write("b/t.csv", experts_trace() + "100,0,1 2\n");
  const std::string head = "traces = [\"a/t.csv\", \"b/t.csv\"]\npolicies = [\"lru\"]\n";
  const std::string study = here.write("s.toml", head + "capacities = [\"50%\"]\n");
  command_json("replay --quiet --matrix " + study, 0);
  const auto lines = lines_in(here.at("s.jsonl"));
  REQUIRE(lines.size() == 2);
  CHECK(lines[0]["trace"] == "a/t.csv");
  CHECK(lines[1]["trace"] == "b/t.csv");
  const std::string page = text_in(here.at("s.html"));
  CHECK(mentions(page, "<h2>a/t.csv</h2>"));
  CHECK(mentions(page, "<h2>b/t.csv</h2>"));
}

TEST_CASE("A matrix does not write its results over a trace") {
  const folder here;
  here.write("experts.csv", experts_trace());
  for (const char *output : {"results", "page"}) {
    const std::string study = here.write(
        "s.toml", std::string("traces = [\"experts.csv\"]\n") + output + " = \"./experts.csv\"\n");
    const auto found = command("replay --quiet --matrix " + study);
    CHECK(found.exit_status == 2);
    CHECK(mentions(found.text, "is the file of traces"));
  }
  CHECK(text_in(here.at("experts.csv")) == experts_trace());
}

TEST_CASE("A capacity that a trace is too small for is named, the others have their lines") {
  const folder here;
  here.write("experts.csv", experts_trace());
  const std::string study = here.write("s.toml",
                                       "traces = [\"experts.csv\"]\npolicies = [\"lru\"]\n"
                                       "capacities = [\"1%\", \"50%\"]\n");
  const auto found = command("replay --quiet --matrix " + study);
  CHECK(found.exit_status == 2);
  CHECK(mentions(found.text, "capacity 1% is"));
  CHECK(lines_in(here.at("s.jsonl")).size() == 1);
}

TEST_CASE("What a matrix file cannot say is refused by its line") {
  const folder here;
  here.write("experts.csv", experts_trace());
  const std::string traces = "traces = [\"experts.csv\"]\n";
  refuses(here, "", {"names no traces"});
  refuses(here, traces + "depth = 3\n", {"bad.toml:2", "depth", "is not known here"});
  refuses(here, traces + "\n[links]\n", {"bad.toml:3", "tables"});
  refuses(here, traces + "batch = \"two\"\n", {"bad.toml:2", "batch has to be a whole number"});
  refuses(here, traces + "batch = 0\n", {"bad.toml:2", "out of bounds"});
  refuses(here, traces + "batch = 1.5\n", {"bad.toml:2", "1.5"});
  refuses(here, traces + "batch = 1 2\n", {"bad.toml:2", "more on the line"});
  refuses(here, traces + traces, {"bad.toml:2", "twice"});
  refuses(here, "traces = [1]\n", {"bad.toml:1", "strings"});
  refuses(here, "traces = [\"a\" \"b\"]\n", {"bad.toml:1", "comma"});
  refuses(here, "traces = [\"a\",\n", {"bad.toml:2", "no ]"});
  refuses(here, "traces = \"a\n", {"bad.toml:1", "does not end"});
  refuses(here, "traces = \"a\"\n", {"bad.toml:1", "list of strings"});
  refuses(here, "traces = []\n", {"bad.toml:1", "empty"});
  refuses(here, "= 3\n", {"bad.toml:1", "key"});
  refuses(here, "traces\n", {"bad.toml:1", "="});
  refuses(here, "traces = [\"nowhere.csv\"]\n", {"nowhere.csv", "not there"});
  refuses(here, traces + "policies = [\"best\"]\n", {"there is no policy \"best\""});
  refuses(here, traces + "links = [\"host:1GB/s,10us\"]\n", {"compute-ns"});
  refuses(here, traces + "compute-ns = 5\n", {"links"});
  for (const char *const size : {"object-bytes = 5\n", "block-bytes = 5\n"})
    refuses(here, traces + size, {"object-bytes and block-bytes are for links", "add links"});
  const auto missing = command("replay --matrix " + here.at("none.toml"));
  CHECK(missing.exit_status == 2);
  CHECK(mentions(missing.text, "docs/study.md"));
  CHECK(command("replay --matrix a.toml --trace b.csv").exit_status == 2);
  CHECK(command("replay").exit_status == 2);
}

TEST_CASE("Strings have their escapes, and numbers their underscores") {
  const auto read = cubby_cli::replay::read_toml(
      "a_b = \"x\\\"y\\\\z\\n\\t\" # end\r\nc = -1_000\nd = true\ne = []\n\n# last", "t");
  REQUIRE(read);
  CHECK(std::get<std::string>(read->at("a-b").what) == "x\"y\\z\n\t");
  CHECK(std::get<int64_t>(read->at("c").what) == -1000);
  CHECK(std::get<bool>(read->at("d").what));
  CHECK(std::get<std::vector<std::string>>(read->at("e").what).empty());
  CHECK(read->at("d").line == 3);
  CHECK_FALSE(cubby_cli::replay::read_toml("a = \"\\u0041\"", "t"));
  CHECK_FALSE(cubby_cli::replay::read_toml("a = \"x\\", "t"));
}

}  // namespace replay_matrix_test
