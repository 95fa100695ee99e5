// cubby store: looks into, checks and shrinks the files in which KV blocks outlive the process.
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/interrupts.hpp"
#include "cli/outcome.hpp"
#include "cli/printable.hpp"
#include "cli/store/show.hpp"
#include "cli/store/store_files.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;

constexpr char file_name[] = "cubby.store";

struct options {
  std::vector<std::string> paths;
  std::string budget;
  bool json = false;
};

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) { interrupted = 1; }

/// The directory of a store, which PATH names itself or by its file.
outcome<std::string> directory_of(const std::string &path) {
  struct stat seen = {};
  if (stat(path.c_str(), &seen) != 0)
    return usage_trouble(path + ": " + std::strerror(errno) +
                         "; name the directory of a store, or its file " + file_name);
  if (S_ISDIR(seen.st_mode)) {
    struct stat file = {};
    if (lstat((path + "/" + file_name).c_str(), &file) != 0 && errno == ENOENT)
      return usage_trouble(path + " has no " + file_name +
                           " in it; name a directory that a file tier was given in its paths");
    return path;
  }
  const size_t slash = path.rfind('/');
  if (path.substr(slash == std::string::npos ? 0 : slash + 1) != file_name)
    return usage_trouble(path + " is no directory, and no file of the name " + file_name +
                         "; name the directory of a store, or its file");
  if (slash == std::string::npos) return std::string(".");
  return slash == 0 ? std::string("/") : path.substr(0, slash);
}

outcome<std::vector<std::string>> directories_of(const options &chosen) {
  std::vector<std::string> all;
  for (const std::string &path : chosen.paths) {
    auto one = directory_of(path);
    if (!one) return one.failure();
    all.push_back(std::move(*one));
  }
  return all;
}

int report_refusal(const std::string &command, const store_refusal &why, bool as_json) {
  std::cerr << "cubby " << command << ": " << why.status << ": " << printable(why.text) << "\n";
  if (as_json)
    print_json({{"error",
                 {{"status", why.status},
                  {"text", why.text},
                  {"native", why.native},
                  {"offset_bytes", why.offset_bytes}}}});
  return why.usage ? exit_usage : exit_bad;
}

/// The way that all three go: places, the work, what is said of it.
template <class Work, class Show>
int run(const std::string &command, const options &chosen, const Work &work, const Show &show) {
  auto directories = directories_of(chosen);
  if (!directories) return report_trouble(command, directories.failure(), chosen.json);
  store_answer answer = work(*directories);
  if (answer.refused) return report_refusal(command, *answer.refused, chosen.json);
  if (chosen.json)
    print_json(answer.object);
  else
    show(answer.object);
  return answer.lost ? exit_bad : exit_good;
}

/// Shows how far the work is, and stops it when the person interrupts.
class watched {
 public:
  watched(std::string what, bool quiet) : what_(std::move(what)), line_(quiet) {}
  store_progress watch() {
    return [this](uint64_t done, uint64_t all, uint64_t bytes) {
      bytes_ = bytes;
      if (line_.due())
        line_.show(what_ + ": " + count_text(done) + " of " + count_text(all) + " blocks, " +
                   speed_text(speed()));
      return interrupted == 0;
    };
  }
  [[nodiscard]] double speed() const {
    const double seconds = seconds_since(start_ns_);
    return seconds > 0 ? static_cast<double>(bytes_) / seconds : 0;
  }

 private:
  const std::string what_;
  progress_line line_;
  const interrupt_guard guard_{on_interrupt};
  const uint64_t start_ns_ = clock_ns();
  uint64_t bytes_ = 0;
};

int run_info(const options &chosen) {
  return run("store info", chosen, store_info, show_store_info);
}

int run_verify(const options &chosen) {
  const auto work = [&](const std::vector<std::string> &directories) {
    const uint64_t start_ns = clock_ns();
    watched reading("verifying", chosen.json);
    store_answer answer = store_verify(directories, reading.watch());
    if (answer.refused) return answer;
    const double seconds = seconds_since(start_ns);
    const double bytes = answer.object["bytes"].get<double>();
    answer.object["gb_per_s"] = seconds > 0 ? bytes / seconds / 1e9 : 0;
    return answer;
  };
  return run("store verify", chosen, work, show_store_check);
}

int run_trim(const options &chosen) {
  const auto budget = byte_count(chosen.budget);
  if (!chosen.budget.empty() && (!budget || *budget < 1))
    return report_trouble("store trim",
                          usage_trouble("--budget " + chosen.budget +
                                        " is no number of bytes; write one as 536870912 or 512MiB"),
                          chosen.json);
  const auto work = [&](const std::vector<std::string> &directories) {
    watched copying(budget ? "copying" : "verifying", chosen.json);
    if (!budget) return store_drop_damaged(directories, copying.watch());
    return store_shrink(directories, static_cast<uint64_t>(*budget), copying.watch());
  };
  return run("store trim", chosen, work, show_store_trim);
}

std::shared_ptr<options> add_options(command &to) {
  auto chosen = std::make_shared<options>();
  to.option("path", chosen->paths,
            "The store's directory or its file cubby.store; of a striped store all directories, "
            "in their order")
      .required();
  to.flag("--json", chosen->json, "One JSON object on stdout");
  return chosen;
}

}  // namespace

void add_store(command &program) {
  command group = program.subcommand(
      "store", "Look into, check or shrink a store of KV blocks on disk that no process has open");
  group.require_subcommand();
  command info = group.subcommand("info", "What is in a store, and what was found at its opening");
  const auto of_info = add_options(info);
  info.runs([of_info] { return run_info(*of_info); });

  command verify = group.subcommand(
      "verify",
      "Read every block and hold it against its digest; changes nothing. Exit 1 where a "
      "block is damaged or lost");
  const auto of_verify = add_options(verify);
  verify.runs([of_verify] { return run_verify(*of_verify); });

  command trim = group.subcommand(
      "trim",
      "Drop the damaged blocks; with --budget, make the store smaller, too. Exit 0 when "
      "that is done, whatever was dropped");
  const auto of_trim = add_options(trim);
  trim.option("--budget", of_trim->budget,
              "Bytes that the store's file shall take (512MiB): the newest blocks that fit are "
              "copied to a new file, which needs room beside the old one until it takes its place")
      .not_empty();
  trim.runs([of_trim] { return run_trim(*of_trim); });
}

}  // namespace cubby_cli
