// Joules of the processors' packages, by the counters that the kernel shows of RAPL.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cubby_cli::characterize {

class energy_counters {
 public:
  /// `root` is a parameter for tests.
  explicit energy_counters(const std::string &root = "/sys/class/powercap");
  /// Since it was made, over all packages; nothing where there are no counters.
  [[nodiscard]] std::optional<double> joules();
  /// Why there are none, and what would change that; empty where there are.
  [[nodiscard]] const std::string &why() const { return why_; }

 private:
  struct package {
    std::string path;
    uint64_t last_uj = 0, range_uj = 0;  // a counter begins again behind its range
  };
  std::vector<package> packages_;
  double joules_ = 0;
  std::string why_;
};

}  // namespace cubby_cli::characterize
