// What several subcommands need: failures reported in one way, sizes with units, a line of progress
// and a table.
#pragma once

#include <cubby/cubby.hpp>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace cubby_cli {

/// Exit statuses of the command.
inline constexpr int exit_good = 0, exit_bad = 1, exit_usage = 2;

/// Lines of the log that are worth a person's attention go to stderr. Returns the notices.
std::vector<std::string> show_log(cubby::runtime &of);

/// The sentence of this thread's last error.
std::string last_error_text();

/// Tells a failed call on stderr and, for JSON, as the one object on stdout. Gives the exit status.
int report_failure(const std::string &command, const cubby::error &why, bool json);

/// As the one line of --json. Names of files and words of libraries need not be UTF-8: what is not
/// is replaced.
void print_json(const nlohmann::json &object);

std::string bytes_text(uint64_t bytes);      // "2.52 GB"
std::string speed_text(double bytes_per_s);  // "1.21 GB/s"
std::string fixed_text(double value);        // "1.23"
std::string percent_text(double share);      // "12.34 %"
std::string count_text(uint64_t count);      // "1,234,567"
std::string hex_text(uint64_t value);        // 16 digits
/// "512", "64k", "2m", "1g", "3MiB" (powers of 1024); nothing when it is none of these.
std::optional<double> byte_count(const std::string &text);
double seconds_since(uint64_t start_ns);
uint64_t clock_ns();
/// The processor's time of this thread: what others run on a shared machine does not count.
uint64_t thread_cpu_ns();

/// One line on stderr that is written over, only where stderr is a terminal, unless
/// quiet.
class progress_line {
 public:
  explicit progress_line(bool quiet);
  ~progress_line();
  progress_line(const progress_line &) = delete;
  progress_line &operator=(const progress_line &) = delete;
  bool due();  // true some times a second
  void show(const std::string &text);

 private:
  bool active_ = false;
  bool shown_ = false;
  uint64_t next_ns_ = 0;
};

/// Columns as wide as they need to be; the first line is the heading. Numbers stand to the right.
void print_table(const std::vector<std::vector<std::string>> &lines);

}  // namespace cubby_cli
