// cubby top: a live view of running processes, from the page of metrics that cubby_publish() shows.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <iostream>

#include "cli/commands.hpp"
#include "cli/interrupts.hpp"
#include "cli/printable.hpp"
#include "cli/top/view.hpp"

namespace cubby_cli {
namespace {

using namespace top;

struct options {
  uint32_t pid = 0;
  uint32_t interval_ms = 1000;
  bool once = false, json = false, prometheus = false;
};

volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) { interrupted = 1; }

/// The terminal's other screen, while this stands.
class full_screen {
 public:
  full_screen() { std::cout << "\x1b[?1049h\x1b[?25l"; }
  full_screen(const full_screen &) = delete;
  full_screen &operator=(const full_screen &) = delete;
  ~full_screen() { std::cout << "\x1b[?25h\x1b[?1049l" << std::flush; }
  static void begin() { std::cout << "\x1b[H\x1b[2J"; }
};

outcome<std::vector<page_reader>> open_pages(const options &chosen) {
  auto found = find_pages(static_cast<pid_t>(chosen.pid));
  if (!found) return found.failure();
  if (found->empty())
    return trouble{(chosen.pid == 0 ? std::string("no process shows")
                                    : "process " + std::to_string(chosen.pid) + " shows no") +
                   " metrics to this user: the program has to call cubby_publish(), with an "
                   "interval of 1000 ms for example"};
  std::string others;
  for (const page_place &one : *found)
    if (one.pid != found->front().pid) others = " or " + std::to_string(one.pid);
  if (!others.empty())
    return usage_trouble("several processes show metrics: name one, " +
                         std::to_string(found->front().pid) + others);
  std::vector<page_reader> opened;
  for (const page_place &one : *found) {
    auto page = page_reader::open(one);
    if (!page) return page.failure();
    opened.push_back(std::move(*page));
  }
  return opened;
}

void rest(uint32_t interval_ms) {
  timespec left{interval_ms / 1000, static_cast<long>(interval_ms % 1000) * 1'000'000};
  while (interrupted == 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

/// What changes from one look at a page to the next.
class watched_page {
 public:
  explicit watched_page(page_reader &&page) : page_(std::move(page)) {}
  /// The first look, or one at a page that was not renewed, is an interval of no length.
  outcome<interval> look() {
    auto seen = page_.look();
    if (!seen) return seen.failure();
    interval made;
    made.place = page_.place();
    made.now = sort_metrics(read_metrics(seen->text));
    made.before = last_ns_ == 0 ? made.now : last_;
    made.seconds = last_ns_ == 0 ? 0 : static_cast<double>(seen->published_ns - last_ns_) / 1e9;
    made.age_s = static_cast<double>(clock_ns() - seen->published_ns) / 1e9;
    last_ = made.now;
    last_ns_ = seen->published_ns;
    return made;
  }

 private:
  page_reader page_;
  numbers last_;
  uint64_t last_ns_ = 0;
};

int print_text(const std::vector<page_reader> &pages) {
  for (const page_reader &page : pages) {
    const auto seen = page.look();
    if (!seen) return report_trouble("top", seen.failure(), false);
    std::cout << seen->text;
  }
  return exit_good;
}

int watch(const options &chosen, std::vector<watched_page> &pages) {
  const bool live = !chosen.once && !chosen.json && isatty(STDOUT_FILENO) != 0;
  const interrupt_guard guard(on_interrupt);
  std::optional<full_screen> screen;
  if (live) screen.emplace();
  for (uint32_t round = 0; interrupted == 0; ++round) {
    const bool last = !live && round == 1;
    nlohmann::json all = nlohmann::json::array();
    if (live) full_screen::begin();
    for (watched_page &page : pages) {
      const auto seen = page.look();
      if (!seen) {
        screen.reset();
        const int status = report_trouble("top", seen.failure(), chosen.json);
        return live ? status : exit_bad;  // nothing was shown yet
      }
      if (!live && !last) continue;
      if (chosen.json)
        all.push_back(describe(*seen));
      else
        show(*seen);
    }
    if (last && chosen.json) print_json({{"runtimes", all}});
    if (last) break;
    std::cout << std::flush;
    rest(chosen.interval_ms);
  }
  return exit_good;
}

int run(const options &chosen) {
  auto pages = open_pages(chosen);
  if (!pages) return report_trouble("top", pages.failure(), chosen.json);
  if (chosen.prometheus) return print_text(*pages);
  std::vector<watched_page> watched;
  for (page_reader &one : *pages) watched.emplace_back(std::move(one));
  return watch(chosen, watched);
}

}  // namespace

void add_top(command &program) {
  command top = program.subcommand(
      "top", "A live view of the runtimes of a process that calls cubby_publish()");
  auto chosen = std::make_shared<options>();
  top.option("pid", chosen->pid, "The process; not needed where one alone shows metrics");
  top.option("--interval-ms", chosen->interval_ms, "Milliseconds between two looks")
      .between(100, 3'600'000)
      .show_default();
  top.flag("--once", chosen->once,
           "Two looks, an interval apart, printed and over; as where stdout is no terminal");
  top.flag("--prometheus", chosen->prometheus, "The text for Prometheus as the process shows it");
  top.flag("--json", chosen->json, "One JSON object on stdout, after two looks");
  top.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
