// The file that is read, in what order, and what may be said about the samples.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::bench {

/// A file of noise of that size in the folder: made when it is not there yet, and left there.
outcome<std::string> blocks_file(const std::string &folder, uint64_t bytes, bool quiet);
/// `count` different numbers below `below`, in a random order of that seed.
std::vector<uint32_t> random_blocks(uint64_t below, uint64_t count, uint64_t seed);

double median(std::vector<double> values);
double quantile(std::vector<double> values, double share);
/// {"median","low","high"}: the interval holds the median with 95 % by order statistics.
nlohmann::json interval(const std::vector<double> &values);

}  // namespace cubby_cli::bench
