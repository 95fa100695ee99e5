#include "cli/characterize/repeats.hpp"

#include <algorithm>
#include <cmath>

#include "cli/support.hpp"

namespace cubby_cli::characterize {

void repeats::add(const std::string &op, uint64_t block_bytes, uint32_t depth, double bytes_per_s) {
  all_[{op, block_bytes, depth}].push_back(bytes_per_s);
}

profile::number repeats::spread_of(const std::string &op) const {
  profile::number made;
  for (const auto &[load, speeds] : all_) {
    if (std::get<0>(load) != op || speeds.size() < 2) continue;
    const auto [least, most] = std::minmax_element(speeds.begin(), speeds.end());
    if (*least > 0) made = std::max(made.value_or(0), *most / *least - 1);
  }
  return made;
}

std::optional<profile::spread> repeats::result() const {
  profile::spread made = {spread_of("read"), spread_of("write"), 0};
  if (!made.read && !made.write) return std::nullopt;
  for (const auto &[load, speeds] : all_) made.times = std::max(made.times, speeds.size());
  return made;
}

std::vector<double> repeats::of(const std::string &op, uint64_t block_bytes, uint32_t depth) const {
  const auto found = all_.find({op, block_bytes, depth});
  return found == all_.end() ? std::vector<double>() : found->second;
}

std::string spread_note(const std::optional<profile::spread> &of) {
  constexpr double close = 0.1;
  if (!of || std::max(of->read.value_or(0), of->write.value_or(0)) <= close) return {};
  const auto text = [](const profile::number &share) {
    return share ? std::to_string(std::lround(100 * *share)) + " %" : std::string("-");
  };
  return "the same loads, measured " + std::to_string(of->times) +
         " times in this run, lay apart by " + text(of->read) + " (reads) and " + text(of->write) +
         " (writes): another run may differ by as much";
}

}  // namespace cubby_cli::characterize
