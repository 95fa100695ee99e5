#include "cli/bench/blocks.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <span>

#include "cli/model/new_file.hpp"
#include "cli/model/weights.hpp"

namespace cubby_cli::bench {

namespace {

constexpr uint64_t noise_stream = 7;

/// The numbers depend on the file's size, and the first one tells.
bool is_blocks_file(std::string_view begin, uint64_t bytes) {
  const uint64_t first = model::random_stream(bytes, noise_stream).next();
  return begin.size() >= sizeof first && std::memcmp(begin.data(), &first, sizeof first) == 0;
}

}  // namespace

outcome<std::string> blocks_file(const std::string &folder, uint64_t bytes, bool quiet) {
  const std::string path = folder + "/cubby-bench-" + std::to_string(bytes >> 20) + "m";
  struct stat seen {};
  if (::stat(path.c_str(), &seen) == 0 && static_cast<uint64_t>(seen.st_size) == bytes) {
    return path;
  }
  model::new_file out(is_blocks_file);
  if (auto opened = out.open(path, bytes); !opened) return opened.failure();
  model::random_stream noise(bytes, noise_stream);
  std::vector<uint64_t> piece(uint64_t{1} << 17);
  progress_line line(quiet);
  for (uint64_t at = 0; at < bytes; at += piece.size() * 8) {
    for (uint64_t &word : piece) word = noise.next();
    const auto all = std::as_bytes(std::span(piece));
    if (auto put = out.write(all.first(std::min<uint64_t>(all.size(), bytes - at))); !put) {
      return put.failure();
    }
    if (line.due()) line.show("making " + path + ": " + bytes_text(at));
  }
  if (auto published = out.publish(); !published) return published.failure();
  return path;
}

std::vector<uint32_t> random_blocks(uint64_t below, uint64_t count, uint64_t seed) {
  std::vector<uint32_t> all(below);
  std::iota(all.begin(), all.end(), 0u);
  model::random_stream random(seed, 11);
  count = std::min(count, below);
  for (uint64_t i = 0; i < count; i++) {
    std::swap(all[i], all[i + random.below(static_cast<uint32_t>(below - i))]);
  }
  all.resize(count);
  return all;
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

nlohmann::json interval(const std::vector<double> &values) {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const auto count = static_cast<double>(sorted.size());
  // Ranks n/2 -+ 1.96 sqrt(n)/2: Conover, Practical Nonparametric Statistics, 3rd ed., 3.2.
  const double half = 0.98 * std::sqrt(count);
  const auto low = static_cast<size_t>(std::max(0.0, std::floor(count / 2 - half)));
  const auto high = static_cast<size_t>(std::min(count - 1, std::ceil(count / 2 + half)));
  return {{"median", median(sorted)}, {"low", sorted[low]}, {"high", sorted[high]}};
}

}  // namespace cubby_cli::bench
