#include "cli/characterize/energy.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace cubby_cli::characterize {
namespace {

std::optional<uint64_t> number_in(const std::filesystem::path &path) {
  std::ifstream in(path);
  uint64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;
}

/// "intel-rapl:0", not its parts "intel-rapl:0:1" nor another view of the same ("-mmio").
bool is_package(const std::string &name) {
  constexpr std::string_view begin = "intel-rapl:";
  return name.starts_with(begin) && name.find(':', begin.size()) == std::string::npos;
}

}  // namespace

energy_counters::energy_counters(const std::string &root) {
  std::error_code failed;
  bool refused = false;
  for (const auto &one : std::filesystem::directory_iterator(root, failed)) {
    if (!is_package(one.path().filename().string())) continue;
    const auto now = number_in(one.path() / "energy_uj");
    const auto range = number_in(one.path() / "max_energy_range_uj");
    if (now && range) packages_.push_back({(one.path() / "energy_uj").string(), *now, *range});
    refused = refused || !now;
  }
  if (!packages_.empty()) return;
  why_ = refused ? "the energy counters in " + root +
                       " may be read by root alone; run as root, or chmod a+r "
                       "intel-rapl:*/energy_uj"
                 : "the kernel shows no energy counters (RAPL) in " + root +
                       "; virtual machines and containers have none, run on the machine itself";
}

std::optional<double> energy_counters::joules() {
  if (packages_.empty()) return std::nullopt;
  for (package &one : packages_) {
    const uint64_t now = number_in(one.path).value_or(one.last_uj);
    const uint64_t more = now >= one.last_uj
                              ? now - one.last_uj
                              : now + one.range_uj - std::min(one.range_uj, one.last_uj);
    joules_ += static_cast<double>(more) / 1e6;
    one.last_uj = now;
  }
  return joules_;
}

}  // namespace cubby_cli::characterize
