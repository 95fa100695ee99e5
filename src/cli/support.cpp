#include "cli/support.hpp"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <iostream>
#include <map>

#include "cli/outcome.hpp"
#include "cli/printable.hpp"

namespace cubby_cli {

std::vector<std::string> show_log(cubby::runtime &of) {
  std::vector<std::string> notices;
  cubby_log_line line = {};
  while (of.take_log({&line, 1}) == 1) {
    if (line.level <= 1) std::cerr << "cubby: " << printable(line.text) << "\n";
    if (line.level == 2) notices.emplace_back(line.text);
  }
  return notices;
}

std::string last_error_text() { return cubby::error::last(CUBBY_ERR_INVALID).text(); }

int report_failure(const std::string &command, const cubby::error &why, bool json) {
  const std::string text = why.text();
  std::cerr << "cubby " << command << ": " << why.name();
  if (!text.empty()) std::cerr << ": " << printable(text);
  std::cerr << "\n";
  if (json) {
    const nlohmann::json object = {{"error",
                                    {{"status", why.name()},
                                     {"text", text},
                                     {"native", why.details().native},
                                     {"offset_bytes", why.details().offset_bytes}}}};
    print_json(object);
  }
  return why.status() == CUBBY_ERR_INVALID ? exit_usage : exit_bad;
}

int report_trouble(const std::string &command, const trouble &failed, bool json) {
  if (json) print_json({{"error", failed.text}});
  std::cerr << "cubby " << command << ": " << printable(failed.text) << "\n";
  return failed.exit_status;
}

void print_json(const nlohmann::json &object) {
  std::cout << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

std::string fixed_text(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.2f", value);
  return text;
}

std::string bytes_text(uint64_t bytes) {
  static constexpr const char *units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(units); unit++) value /= 1000;
  char text[32];
  snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.3g %s", value, units[unit]);
  return text;
}

std::string speed_text(double bytes_per_s) {
  return bytes_text(static_cast<uint64_t>(std::max(0.0, bytes_per_s))) + "/s";
}

std::string percent_text(double share) { return fixed_text(100 * share) + " %"; }

std::string count_text(uint64_t count) {
  std::string digits = std::to_string(count);
  for (size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

std::string hex_text(uint64_t value) {
  char text[17];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

namespace {

uint64_t ns_of(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t clock_ns() { return ns_of(CLOCK_MONOTONIC); }

uint64_t thread_cpu_ns() { return ns_of(CLOCK_THREAD_CPUTIME_ID); }

std::optional<double> byte_count(const std::string &text) {
  char *end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  std::string unit = end;
  for (char &letter : unit) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  static const std::map<std::string, double> scales = {{"", 1},
                                                       {"k", 1024},
                                                       {"m", 1024 * 1024},
                                                       {"g", 1024 * 1024 * 1024},
                                                       {"kib", 1024},
                                                       {"mib", 1024 * 1024},
                                                       {"gib", 1024 * 1024 * 1024},
                                                       {"t", 1024.0 * 1024 * 1024 * 1024},
                                                       {"tib", 1024.0 * 1024 * 1024 * 1024}};
  const auto scale = scales.find(unit);
  if (end == text.c_str() || scale == scales.end()) return std::nullopt;
  const double bytes = number * scale->second;
  if (!(bytes >= 0) || bytes > 1e15) return std::nullopt;
  return bytes;
}

double seconds_since(uint64_t start_ns) { return static_cast<double>(clock_ns() - start_ns) / 1e9; }

progress_line::progress_line(bool quiet) : active_(!quiet && isatty(STDERR_FILENO) == 1) {}

progress_line::~progress_line() {
  if (shown_) std::cerr << "\r\x1b[K" << std::flush;
}

bool progress_line::due() {
  if (!active_) return false;
  const uint64_t now = clock_ns();
  if (now < next_ns_) return false;
  next_ns_ = now + 200'000'000;
  return true;
}

void progress_line::show(const std::string &text) {
  if (!active_) return;
  std::cerr << "\r\x1b[K" << printable(text) << std::flush;
  shown_ = true;
}

void print_table(const std::vector<std::vector<std::string>> &given) {
  std::vector<std::vector<std::string>> lines = given;
  for (auto &line : lines)
    for (std::string &cell : line) cell = printable(cell);
  std::vector<size_t> widths;
  for (const auto &line : lines)
    for (size_t i = 0; i < line.size(); i++) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], line[i].size());
    }
  for (const auto &line : lines) {
    std::string out;
    for (size_t i = 0; i < line.size(); i++) {
      const bool number = !line[i].empty() && line[i][0] >= '0' && line[i][0] <= '9';
      const std::string gap(widths[i] - line[i].size(), ' ');
      out += (i > 0 ? "  " : "") + (number ? gap + line[i] : line[i] + gap);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    std::cout << out << "\n";
  }
}

}  // namespace cubby_cli
