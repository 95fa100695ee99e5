#include "cli/characterize/run.hpp"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <filesystem>
#include <set>

#include "cli/characterize/compute_here.hpp"
#include "cli/characterize/device_tier.hpp"
#include "cli/characterize/file_tier.hpp"
#include "cli/characterize/host_tier.hpp"
#include "cli/characterize/machine_here.hpp"
#include "platform/memory_left.hpp"

namespace cubby_cli::characterize {
namespace {

constexpr double quick_seconds = 46;
constexpr int32_t devices_max = 8;

std::string now_text() {
  const time_t now = ::time(nullptr);
  tm parts = {};
  ::gmtime_r(&now, &parts);
  char text[32];
  ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string version_text() {
  const uint32_t version = cubby_version();
  return "cubby " + std::to_string(version >> 16) + "." + std::to_string(version >> 8 & 255) + "." +
         std::to_string(version & 255);
}

/// What the largest step takes: its buffers, and the library's frames beside them.
done check_memory(const options &chosen) {
  const uint64_t needed =
      !chosen.measures_files()
          ? chosen.memory_bytes()
          : std::max(chosen.memory_bytes(), std::min(chosen.file_bytes() * 2, uint64_t{1} << 30));
  const uint64_t left = cubby::platform::free_memory_bytes();
  if (needed <= left) return nothing{};
  return usage_trouble("measuring takes " + bytes_text(needed) + " of memory, and " +
                       bytes_text(left) + " are free; give a smaller --size, or free some");
}

/// Everything that is measured, in the order in which it is.
class session {
 public:
  explicit session(const options &chosen) : chosen_(chosen), here_(look_at_platform()) {}
  done open();
  done measure(progress_line &line);
  [[nodiscard]] profile::machine_profile result() const;

 private:
  done open_files();
  done open_file(const work_place &in);
  void open_hosts();
  void open_devices();
  void plan(steps &to);

  const options &chosen_;
  const platform_here here_;
  energy_counters energy_;
  uint32_t processors_ = 1;
  std::deque<host_tier> hosts_;  // steps speak of them: they stay where they are
  std::deque<file_tier> files_;
  std::deque<device_tier> devices_;
  std::set<std::string> folders_;
  std::set<uint64_t> devices_of_files_;
  std::optional<compute_here> compute_;
  std::vector<std::string> notes_;
  uint64_t start_ns_ = clock_ns();
};

/// Disks first: copies to a device are out of the first file.
done session::open_files() {
  for (const std::string &folder : chosen_.dirs)
    if (auto good = open_file({folder, false}); !good) return good;
  for (const std::string &folder : chosen_.remotes)
    if (auto good = open_file({folder, true}); !good) return good;
  if (!chosen_.measures_files())
    notes_.emplace_back("no directory was measured: name them with --dir");
  return nothing{};
}

done session::open_file(const work_place &in) {
  std::error_code failed;  // what cannot be followed is refused when it is opened
  const auto whole = std::filesystem::canonical(in.folder, failed);
  if (!folders_.insert(failed ? in.folder : whole.string()).second)
    return usage_trouble(in.named() + " is named twice; name each directory once");
  files_.emplace_back(chosen_, in, energy_);
  if (auto good = files_.back().open(); !good) return good;
  if (!devices_of_files_.insert(files_.back().device()).second)
    notes_.push_back(in.named() +
                     " is on a file system that another one is on, too: what is free there is "
                     "shared out among them, and their speeds do not add up");
  return nothing{};
}

void session::open_hosts() {
  std::vector<uint32_t> all;
  for (const node_here &node : here_.nodes)
    all.insert(all.end(), node.cpus.begin(), node.cpus.end());
  processors_ = std::max(1u, static_cast<uint32_t>(all.size()));
  for (const node_here &node : here_.nodes)
    if (node.memory_bytes != 0 || !node.cpus.empty())
      hosts_.emplace_back(chosen_, node, all, energy_);
  compute_.emplace(chosen_, processors_);
}

/// The library says itself why there is no device.
void session::open_devices() {
  for (int32_t i = 0; i < devices_max; i++) {
    devices_.emplace_back(device_place{.ordinal = i});
    // Of a file to copy from, its path alone is needed by now.
    const std::string path = files_.empty() ? std::string() : files_.front().path();
    const auto opened = devices_.back().open(path, path.empty() ? 0 : files_.front().bytes());
    if (opened) continue;
    if (i == 0) notes_.push_back("no device memory was measured: " + opened.failure().text);
    devices_.pop_back();
    return;
  }
}

done session::open() {
  if (auto good = check_memory(chosen_); !good) return good;
  if (auto good = open_files(); !good) return good;
  open_hosts();
  open_devices();
  if (!here_.why.empty()) notes_.push_back("the picture of the machine: " + here_.why);
  return nothing{};
}

void session::plan(steps &to) {
  for (file_tier &one : files_) one.plan(to);
  for (host_tier &one : hosts_) {
    one.plan(to);
    for (host_tier &other : hosts_)
      if (&one != &other && other.has_processors()) one.plan_link(to, other);
    one.plan_end(to);
  }
  compute_->plan(to);
  for (device_tier &one : devices_) one.plan(to);
}

done session::measure(progress_line &line) {
  steps all;
  plan(all);
  pace allowed;
  allowed.point_seconds = chosen_.runtime_seconds;
  if (chosen_.quick) allowed.all_seconds = quick_seconds - seconds_since(start_ns_);
  return all.run(allowed, line);
}

profile::machine_profile session::result() const {
  profile::machine_profile made;
  made.made = {version_text(), now_text(), chosen_.quick, seconds_since(start_ns_)};
  std::vector<uint64_t> devices;
  for (const file_tier &one : files_) devices.push_back(one.device());
  made.machine = describe_machine(here_, devices);
  for (const device_tier &one : devices_) made.tiers.push_back(one.result());
  for (const host_tier &one : hosts_) {
    if (!one.why_not().empty()) {
      made.notes.push_back(one.why_not());
      continue;
    }
    made.tiers.push_back(one.result());
    made.links.insert(made.links.end(), one.links().begin(), one.links().end());
  }
  for (const file_tier &one : files_) {
    made.tiers.push_back(one.result());
    auto &free_bytes = made.tiers.back().capacity_bytes;
    const auto sharers = std::count(devices.begin(), devices.end(), one.device());
    if (free_bytes) *free_bytes = std::floor(*free_bytes / static_cast<double>(sharers));
  }
  // The library reads into the first of them.
  const auto host = std::find_if(made.tiers.begin(), made.tiers.end(),
                                 [](const profile::tier &one) { return one.kind == "host"; });
  if (host != made.tiers.end()) {
    for (const file_tier &one : files_)
      if (const auto link = one.link_to(host->name)) made.links.push_back(*link);
    for (const device_tier &one : devices_)
      if (const auto link = one.link_from(host->name)) made.links.push_back(*link);
  }
  compute_->into(made);
  made.notes.insert(made.notes.end(), notes_.begin(), notes_.end());
  return made;
}

}  // namespace

outcome<profile::machine_profile> run(const options &chosen) {
  session all(chosen);
  if (auto opened = all.open(); !opened) return opened.failure();
  progress_line line(chosen.json);
  if (auto measured = all.measure(line); !measured) return measured.failure();
  return all.result();
}

}  // namespace cubby_cli::characterize
