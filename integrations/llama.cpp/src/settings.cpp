#include "settings.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

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

/// Pages of files that the kernel may drop, of a group's memory.stat.
uint64_t droppable_bytes(const std::string &path, const std::string &key) {
  std::ifstream in(path);
  std::string name;
  for (uint64_t bytes = 0; in >> name >> bytes;)
    if (name == key) return bytes;
  return 0;
}

/// What the cgroups over this process allow it, and what they leave of that.
struct bounds {
  uint64_t limit_bytes = UINT64_MAX, left_bytes = UINT64_MAX;

  /// A group and those above it: a limit holds for all below it.
  void narrow(const std::string &mount, std::string group, bool second) {
    for (;; group.erase(group.rfind('/'))) {
      const std::string folder = mount + group + "/memory.";
      const auto limit = number_in(folder + (second ? "max" : "limit_in_bytes"));
      const uint64_t used = number_in(folder + (second ? "current" : "usage_in_bytes")).value_or(0);
      const uint64_t taken =
          used - std::min(used, droppable_bytes(folder + "stat",
                                                second ? "inactive_file" : "total_inactive_file"));
      if (limit) {
        limit_bytes = std::min(limit_bytes, *limit);
        left_bytes = std::min(left_bytes, *limit - std::min(*limit, taken));
      }
      if (group.empty() || group.rfind('/') == std::string::npos) return;
    }
  }
};

bounds bounds_here() {
  std::ifstream in("/proc/self/cgroup");
  bounds made;
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,")
      made.narrow("/sys/fs/cgroup", group, true);
    else if (controllers.find(",memory,") != std::string::npos)
      made.narrow("/sys/fs/cgroup/memory", group, false);
  }
  return made;
}

/// Half of the memory there is: the rest is for the other weights, for KV and for the program.
uint64_t default_budget_bytes() { return room_bytes(0) / 2; }

}  // namespace

uint64_t room_bytes(uint64_t held_bytes) {
  const bounds here = bounds_here();
  return std::min(std::min(available_bytes(), here.left_bytes) + held_bytes, here.limit_bytes);
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
  std::istringstream copies(variable("CUBBY_MODEL_COPIES").value_or(""));
  for (std::string path; std::getline(copies, path, ':');)
    if (!path.empty()) made.copies.push_back(path);
  made.summary = variable("CUBBY_SUMMARY").value_or("1") != "0";
  made.look_ahead = variable("CUBBY_LOOK_AHEAD").value_or("1") != "0";
  if (const auto text = variable("CUBBY_PUBLISH_MS")) {
    const char *end = text->data() + text->size();
    const auto read = std::from_chars(text->data(), end, made.publish_ms);
    if (read.ptr != end || read.ec != std::errc())
      say("CUBBY_PUBLISH_MS is \"" + *text + "\", which is no number of milliseconds");
  }
  return made;
}

}  // namespace cubby_ggml
