#include "settings.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace cubby_ggml {
namespace {

constexpr uint64_t kib = 1024;

std::optional<std::string> variable(const char *name) {
  const char *value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

std::optional<uint64_t> number_in(const std::string &path) {
  std::ifstream in(path);
  uint64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;  // "max", or no such file
}

uint64_t available_bytes() {
  std::ifstream in("/proc/meminfo");
  std::string key;
  for (uint64_t value = 0; in >> key >> value; in.ignore(64, '\n'))
    if (key == "MemAvailable:") return value * kib;
  return 0;
}

/// The tightest limit of a hierarchy over this process's cgroup, from its own up.
uint64_t limit_of(const std::string &mount, std::string group, const char *file) {
  uint64_t least = UINT64_MAX;
  for (;; group.erase(group.rfind('/'))) {
    least = std::min(least, number_in(mount + group + "/" + file).value_or(least));
    if (group.empty() || group.rfind('/') == std::string::npos) return least;
  }
}

uint64_t limit_bytes() {
  std::ifstream in("/proc/self/cgroup");
  uint64_t least = UINT64_MAX;
  for (std::string line; std::getline(in, line);) {
    const std::string group = line.substr(line.rfind(':') + 1);
    if (line.starts_with("0::"))
      least = std::min(least, limit_of("/sys/fs/cgroup", group, "memory.max"));
    else if (line.find(":memory:") != std::string::npos)
      least = std::min(least, limit_of("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
  }
  return least;
}

/// Half of the memory there is: the rest is for the other weights, for KV and for the program.
uint64_t default_budget_bytes() { return room_bytes(0) / 2; }

}  // namespace

uint64_t room_bytes(uint64_t held_bytes) {
  return std::min(available_bytes() + held_bytes, limit_bytes());
}

std::optional<uint64_t> byte_count(std::string_view text) {
  double number = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (bad != std::errc() || !(number >= 0)) return std::nullopt;
  std::string unit(end, text.data() + text.size());
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char one) { return static_cast<char>(std::tolower(one)); });
  if (unit.ends_with("ib")) unit.resize(unit.size() - 2);
  constexpr std::string_view units = "kmgt";
  double factor = 1;
  if (unit.size() == 1 && units.find(unit[0]) != std::string_view::npos) {
    for (size_t i = 0; i <= units.find(unit[0]); ++i) factor *= static_cast<double>(kib);
  } else if (!unit.empty()) {
    return std::nullopt;
  }
  const double bytes = number * factor;
  if (bytes >= 9e18) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::string bytes_text(uint64_t bytes) {
  constexpr const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.2f %s", value, units[unit]);
  return text;
}

void say(const std::string &line) { std::fprintf(stderr, "cubby: %s\n", line.c_str()); }

settings settings::from_environment() {
  settings made;
  made.host_budget_bytes = default_budget_bytes();
  if (const auto text = variable("CUBBY_HOST_BUDGET")) {
    const auto bytes = byte_count(*text);
    if (bytes && *bytes > 0)
      made.host_budget_bytes = *bytes;
    else
      say("CUBBY_HOST_BUDGET is \"" + *text + "\", which is no size such as 12GiB or 800MiB; " +
          bytes_text(made.host_budget_bytes) + " is used, half of the memory there is");
  }
  if (const auto text = variable("CUBBY_TABLE_MIN")) {
    const auto bytes = byte_count(*text);
    if (bytes)
      made.table_bytes_min = *bytes;
    else
      say("CUBBY_TABLE_MIN is \"" + *text + "\", which is no size such as 1GiB or 256MiB");
  }
  made.policy = variable("CUBBY_POLICY").value_or("");
  made.summary = variable("CUBBY_SUMMARY").value_or("1") != "0";
  if (const auto text = variable("CUBBY_PUBLISH_MS")) {
    const char *end = text->data() + text->size();
    if (std::from_chars(text->data(), end, made.publish_ms).ptr != end)
      say("CUBBY_PUBLISH_MS is \"" + *text + "\", which is no number of milliseconds");
  }
  return made;
}

}  // namespace cubby_ggml
