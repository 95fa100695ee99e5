// `cubby characterize`: its profile, its page, its refusals, and what it leaves behind. No figure
// is judged.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "cli/folder.hpp"
#include "cli/process.hpp"
#include "cli/profile/profile.hpp"
#include "cli/served_folder.hpp"
#include "support/sanitized.hpp"

namespace characterize_test {

namespace {
using cubby_cli::profile::machine_profile;
using nlohmann::json;
using process::command;
using process::folder;
using process::served_folder;

/// As little as shows that it works.
const std::string tiny = "characterize --quick --size 8m --runtime 0.002 ";

/// The folder, where its file system can be measured; empty where it cannot.
std::string disk_of(const folder &here) {
  static const process::outcome seen =
      command("characterize --quick --runtime 0.001 --size 1m --dir " + here.path.string());
  if (seen.exit_status == 0) return here.path.string();
  WARN("SKIPPED: " << seen.text);
  // The temporary directory may be unfit, as tmpfs is; anything else is a fault.
  const std::regex unfit("in memory|on a network|a program serves|no O_DIRECT");
  CHECK(std::regex_search(seen.text, unfit));
  return {};
}

std::string text_of(const std::string &path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

/// Has that process a file open in that folder?
bool has_open_file(pid_t process, const std::string &folder) {
  std::error_code failed;
  const std::string files = "/proc/" + std::to_string(process) + "/fd";
  for (const auto &one : std::filesystem::directory_iterator(files, failed))
    if (std::filesystem::read_symlink(one.path(), failed).string().starts_with(folder + "/"))
      return true;
  return false;
}

/// Is there one to measure? Said where there is none.
bool is_there(const served_folder &one) {
  if (!one.why_not().empty())
    WARN("SKIPPED: no folder could be mounted by bindfs: " << one.why_not());
  return one.why_not().empty();
}

bool is_empty(const folder &here) { return std::filesystem::is_empty(here.path); }

std::string refusal(const std::string &arguments) {
  const auto seen = command(arguments);
  INFO(seen.text);
  CHECK(seen.exit_status == 2);
  return seen.text;
}

bool mentions(const std::string &text, const std::string &part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

machine_profile read_back(const json &file) {
  auto read = cubby_cli::profile::from_json(file, "stdout");
  INFO((read ? std::string() : read.failure().text));
  REQUIRE(read);
  return *read;
}

void check_host(const machine_profile &of) {
  const auto *host = of.find("host:0");
  REQUIRE(host != nullptr);
  CHECK(host->kind == "host");
  REQUIRE(host->read);
  REQUIRE(host->write);
  CHECK(host->read->latency_ns > 0);
  REQUIRE(host->spread);
  CHECK(host->spread->times == 3);
  std::set<std::string> ops, sizes;
  for (const auto &one : host->curves) {
    ops.insert(one.op);
    sizes.insert(one.pages.value_or("none"));
  }
  CHECK(ops == std::set<std::string>{"read", "write", "copy", "mix70", "chase"});
  CHECK(sizes == std::set<std::string>{"small", "huge"});
}

}  // namespace

TEST_CASE("Without a directory, memory and processors are measured") {
  const json file = json::parse(process::shell(CUBBY_COMMAND " " + tiny + "--json").text);
  const machine_profile made = read_back(file);
  check_host(made);
  CHECK(made.made.quick);
  CHECK(made.machine.processors > 0);
  CHECK_FALSE(made.machine.topology.empty());
  REQUIRE(made.compute);
  CHECK(made.compute->product_bytes_per_s > 0);
  CHECK(made.digest_bytes_per_s.value_or(0) > 0);
  const std::string notes = file["notes"].dump();
  CHECK(mentions(notes, "--dir"));
}

TEST_CASE("A directory's device has curves of both paths, and a link") {
  const folder here;
  const std::string disk = disk_of(here);
  if (disk.empty()) return;
  const machine_profile made = read_back(
      json::parse(process::shell(CUBBY_COMMAND " " + tiny + "--json --dir " + disk).text));
  CHECK(is_empty(here));
  check_host(made);
  const auto *file = made.find("file:" + disk);
  REQUIRE(file != nullptr);
  CHECK(file->kind == "file");
  CHECK(file->place == disk);
  CHECK(file->origin == "measured");
  REQUIRE(file->read);
  REQUIRE(file->write);
  REQUIRE(file->steady);
  REQUIRE(file->spread);
  CHECK(file->spread->times == 4);
  CHECK(file->spread->read.value_or(-1) >= 0);
  CHECK(file->spread->write.value_or(-1) >= 0);
  CHECK_FALSE(file->knees.empty());
  std::set<std::string> seen;
  for (const auto &one : file->curves) {
    CHECK(one.bytes_per_s > 0);
    CHECK(one.p50_ns.value_or(0) <= one.p99_ns.value_or(0));
    CHECK(one.p99_ns.value_or(0) <= one.p999_ns.value_or(0));
    seen.insert(one.op + " " + one.path + " " + one.beside);
  }
  CHECK(seen == std::set<std::string>{"read bare nothing", "read cubby nothing",
                                      "write bare nothing", "mix70 bare nothing",
                                      "first_write bare nothing", "read bare write-back",
                                      "read cubby write-back"});
  REQUIRE(made.links.size() == 1);
  CHECK(made.links[0].from == "file:" + disk);
  CHECK(made.links[0].to == "host:0");
}

TEST_CASE("A profile and a page are saved, and replaced by their own kind alone") {
  const folder here;
  const std::string save = here.at("p.json"), page = here.at("p.html");
  const std::string arguments = tiny + "--save " + save + " --html " + page;
  for (int i = 0; i < 2; i++) REQUIRE(command(arguments).exit_status == 0);
  REQUIRE(cubby_cli::profile::load(save));

  const std::string text = text_of(page);
  const std::regex outside("https?:|//[a-z]|@import|url\\(|<link|<img|\\bsrc=|\\bhref=");
  CHECK_FALSE(std::regex_search(text, outside));
  CHECK(mentions(text, "<svg"));
  CHECK(mentions(text, "host:0"));
  CHECK_FALSE(mentions(text, "{{"));
  const size_t data = text.find("id=\"profile\">");
  REQUIRE(data != std::string::npos);
  const size_t begin = data + 13;
  const json inside = json::parse(text.substr(begin, text.find("</script>") - begin));
  CHECK(inside == json::parse(text_of(save)));

  const std::string other = here.write("other", "mine\n");
  CHECK(mentions(refusal(tiny + "--save " + other), "was not made by this command"));
  CHECK(mentions(refusal(tiny + "--html " + other), "was not made by this command"));
  CHECK(mentions(refusal(tiny + "--html " + save), "was not made by this command"));
  CHECK(mentions(refusal(tiny + "--save " + page + " --html " + page), "overwrite"));
  CHECK(mentions(refusal(tiny + "--save " + here.at("none/p.json")), "make it first"));
  CHECK(text_of(other) == "mine\n");
}

TEST_CASE("Directories that cannot be measured are refused with cause and remedy") {
  const folder here;
  CHECK(mentions(refusal(tiny + "--dir " + here.at("none")), "make it first"));
  CHECK(mentions(refusal(tiny + "--dir " + here.write("f", "x")), "is no directory"));
  CHECK(mentions(refusal(tiny + "--dir /proc"), "--dir /proc"));
  if (std::filesystem::is_directory("/dev/shm"))
    CHECK(mentions(refusal(tiny + "--dir /dev/shm"), "in memory (tmpfs)"));
  const std::string disk = disk_of(here);
  if (disk.empty()) return;
  CHECK(mentions(refusal(tiny + "--dir " + disk + " " + disk), "named twice"));
  CHECK(mentions(refusal("characterize --size 1t --dir " + disk), "smaller --size"));
}

TEST_CASE("What is mounted over a network is measured as such alone") {
  const folder here;
  CHECK(mentions(refusal(tiny + "--remote " + here.at("none")), "make it first"));
  CHECK(mentions(refusal(tiny + "--remote " + here.write("f", "x")), "is no directory"));
  if (std::filesystem::is_directory("/dev/shm"))
    CHECK(mentions(refusal(tiny + "--remote /dev/shm"), "mounted over a network"));
  if (!disk_of(here).empty())
    CHECK(mentions(refusal(tiny + "--remote " + here.path.string()), "measure it with --dir"));
  const served_folder served;
  if (!is_there(served)) return;
  CHECK(mentions(refusal(tiny + "--dir " + served.path()), "with --remote"));
  CHECK(mentions(refusal(tiny + "--remote " + served.path() + " " + served.path() + "/."),
                 "named twice"));
}

TEST_CASE("A remote store is a tier of its own, with its source and a link") {
  const served_folder served;
  if (!is_there(served)) return;
  const folder here;
  const std::string save = here.at("p.json"), name = "remote:" + served.path();
  const auto seen = command(tiny + "--remote " + served.path() + " --save " + save + " --html " +
                            here.at("p.html"));
  INFO(seen.text);
  REQUIRE(seen.exit_status == 0);
  CHECK(mentions(seen.text, "link " + name + " to host:0"));
  CHECK(mentions(text_of(here.at("p.html")), name));
  CHECK(std::filesystem::is_empty(served.behind()));
  const auto made = cubby_cli::profile::load(save);
  REQUIRE(made);
  const auto *store = made->find(name);
  REQUIRE(store != nullptr);
  CHECK(store->kind == "remote");
  CHECK(store->place == served.path());
  CHECK(store->is_of_files());
  CHECK(mentions(store->source, "fuse of " + served.behind().string()));
  CHECK(mentions(json(store->notes).dump(), "caches of what serves it"));
  std::set<std::string> seen_points;
  for (const auto &one : store->curves)
    seen_points.insert(one.op + " " + one.path + " " + one.beside);
  CHECK(seen_points.size() >= 6);
  REQUIRE(made->links.size() == 1);
  CHECK(made->links[0].from == name);
  CHECK(mentions(made->machine.topology.dump(), R"("type":"mount")"));
  CHECK(mentions(made->machine.topology.dump(), R"("file_system":"fuse")"));
  const auto planned = command("plan --model gpt-oss-20b --profile " + save + " --json");
  INFO(planned.text);
  CHECK(planned.exit_status == 0);
  CHECK(mentions(planned.text, name));
}

TEST_CASE("Options out of range are refused") {
  CHECK(mentions(refusal("characterize --size 1k"), "--size is from 1m"));
  CHECK(mentions(refusal("characterize --size much"), "--size is from 1m"));
  CHECK(mentions(refusal("characterize --runtime 0"), "--runtime is the seconds"));
  CHECK(mentions(refusal("characterize --runtime 5s"), "--runtime is the seconds"));
  CHECK(mentions(refusal("characterize --direct 2"), "--direct"));
}

TEST_CASE("The page cache may be measured as well, and the profile says so") {
  const folder here;
  const std::string disk = disk_of(here);
  if (disk.empty()) return;
  const machine_profile made = read_back(json::parse(
      process::shell(CUBBY_COMMAND " " + tiny + "--json --direct 0 --dir " + disk).text));
  const auto *file = made.find("file:" + disk);
  REQUIRE(file != nullptr);
  CHECK(mentions(file->source, "buffered"));
  REQUIRE_FALSE(file->notes.empty());
  CHECK(mentions(file->notes.front(), "page cache"));
}

TEST_CASE("Without O_DIRECT a disk is refused, and a remote store measured with a word about it") {
  if (cubby_test::sanitized) return;  // its library is to be loaded before any other
  const std::string without = "LD_PRELOAD=" CUBBY_NO_DIRECT " " CUBBY_COMMAND " " + tiny;
  const folder here;
  const std::string disk = disk_of(here);
  if (!disk.empty()) {
    const auto seen = process::shell(without + "--dir " + disk + " 2>&1");
    CHECK(seen.exit_status == 2);
    CHECK(mentions(seen.text, "no O_DIRECT"));
    CHECK(is_empty(here));
  }
  const served_folder served;
  if (!is_there(served)) return;
  const auto seen = process::shell(without + "--remote " + served.path() + " 2>&1");
  CHECK(seen.exit_status == 0);
  CHECK(mentions(seen.text, "page cache of this machine may have answered"));
  CHECK(mentions(seen.text, ", buffered, "));
  CHECK(std::filesystem::is_empty(served.behind()));
}

namespace {

/// Kills a run that measures there; `behind` is where its files would be left.
void check_killed(const char *option, const std::string &disk,
                  const std::filesystem::path &behind) {
  for (const int signal : {SIGINT, SIGKILL}) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      execl(CUBBY_COMMAND, CUBBY_COMMAND, "characterize", option, disk.c_str(), "--size", "64m",
            "--runtime", "5", nullptr);
      _exit(127);
    }
    bool opened = false;
    for (int i = 0; i < 3000 && !opened; i++) {
      opened = has_open_file(child, disk);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(opened);
    CHECK(kill(child, signal) == 0);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    // What serves a folder lets go of a file a moment after its last user.
    for (int i = 0; i < 500 && !std::filesystem::is_empty(behind); i++)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK(std::filesystem::is_empty(behind));
  }
}

}  // namespace

TEST_CASE("Nothing is left of a run that is killed") {
  const folder here;
  const std::string disk = disk_of(here);
  if (!disk.empty()) check_killed("--dir", disk, here.path);
  const served_folder served;
  if (is_there(served)) check_killed("--remote", served.path(), served.behind());
}

}  // namespace characterize_test
