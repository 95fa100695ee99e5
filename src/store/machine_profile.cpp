#include "store/machine_profile.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/printable.hpp"
#include "platform/processor.hpp"
#include "store/header_reader.hpp"
#include "store/json_text.hpp"

namespace cubby::store {
namespace {

using nlohmann::json;

constexpr uint64_t version_known = 1;

std::optional<uint64_t> device_of(const std::string &path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return std::nullopt;
  return found.st_dev;
}

std::string text_of(const json &object, const char *name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// A store over a network has a directory, too; remote memory has none.
bool is_directory_tier(const json &tier) {
  const std::string kind = text_of(tier, "kind");
  return kind == "file" || (kind == "remote" && text_of(tier, "where").starts_with('/'));
}

// No memory or disk is outside of these.
constexpr double bytes_per_s_min = 1e3, bytes_per_s_max = 1e15;
constexpr double latency_ns_min = 1, latency_ns_max = 1e12;

/// A number within bounds, or nothing.
std::optional<double> number_of(const json &object, const char *name, double min, double max) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  const auto value = found->get<double>();
  return value >= min && value <= max ? std::optional(value) : std::nullopt;
}

result<void> check_kind(const std::string &path, const json &file) {
  if (text_of(file, "format") != "cubby-profile") {
    return format_error(path, 0, "this is no profile of a machine",
                        "make one with cubby characterize --save");
  }
  const auto version = file.contains("version") ? unsigned_of(file["version"]) : std::nullopt;
  if (version == version_known) return {};
  return format_error(path, 0, "this profile has another version than 1",
                      "make it again with cubby characterize --save of this version");
}

std::string machine_text(const std::string &cpu, double memory_bytes) {
  return cpu + ", " + std::to_string(std::llround(memory_bytes / 1e9)) + " GB";
}

/// Where a processor of that name with about as much memory was measured, it is taken for this one:
/// names of hosts change with each container.
std::string other_machine_in(const std::string &path, const json &file) {
  constexpr double memory_share = 0.1;
  const auto machine = file.find("machine");
  if (machine == file.end() || !machine->is_object()) return {};
  const std::string cpu = text_of(*machine, "cpu"), here = platform::processor_name();
  const auto memory = number_of(*machine, "memory_bytes", 1, 1e18);
  const double memory_here = platform::memory_bytes();
  const bool same = (cpu.empty() || cpu == here) &&
                    (!memory || std::fabs(*memory / memory_here - 1) <= memory_share);
  if (same) return {};
  return "the profile " + path + " is of another machine (" +
         base::printable(machine_text(cpu, memory.value_or(0)), 48) + "; this is " +
         machine_text(here, memory_here) +
         "): its speeds are not used; make one here with cubby characterize --save";
}

}  // namespace

result<machine_profile> machine_profile::load(const std::string &path) {
  auto file = read_json(path);
  if (!file) return file.failure();
  if (auto checked = check_kind(path, *file); !checked) return checked.failure();
  machine_profile made;
  made.other_machine_ = other_machine_in(base::printable(path, 40), *file);
  const auto tiers = file->find("tiers");
  if (tiers == file->end() || !tiers->is_array()) {
    return format_error(path, 0, "the profile has no list of tiers",
                        "make it again with cubby characterize --save");
  }
  for (size_t i = 0; i < tiers->size(); ++i) {
    const json &tier = (*tiers)[i];
    if (!tier.is_object() || !is_directory_tier(tier)) continue;
    const auto read = tier.find("read");
    if (read == tier.end() || !read->is_object()) continue;
    const auto speed = number_of(*read, "bytes_per_s", bytes_per_s_min, bytes_per_s_max);
    const auto latency = number_of(*read, "latency_ns", latency_ns_min, latency_ns_max);
    if (!speed || !latency) {
      return format_error(path, 0,
                          "tiers[" + std::to_string(i) +
                              "].read: bytes_per_s is to be 1e3 to 1e15, latency_ns 1 to 1e12");
    }
    // A directory that is not there any more is of no use, and no error.
    const auto device = device_of(text_of(tier, "where"));
    if (device && made.other_machine_.empty()) made.files_.push_back({*device, {*speed, *latency}});
  }
  return made;
}

std::optional<read_speed> machine_profile::of_devices_below(
    const std::vector<std::string> &paths) const {
  if (files_.empty()) return std::nullopt;
  std::set<uint64_t> seen;
  std::optional<read_speed> all;
  for (const std::string &path : paths) {
    const auto device = device_of(path);
    if (!device || !seen.insert(*device).second) continue;
    const auto found = std::find_if(files_.begin(), files_.end(),
                                    [&](const measured &one) { return one.device == *device; });
    if (found == files_.end()) continue;
    if (!all) all.emplace();
    all->bytes_per_s += found->read.bytes_per_s;
    all->latency_ns = std::max(all->latency_ns, found->read.latency_ns);
  }
  return all;
}

}  // namespace cubby::store
