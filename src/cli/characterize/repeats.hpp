// Loads that are measured several times in a run: by them it says how far two runs may lie apart.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

class repeats {
 public:
  void add(const std::string &op, uint64_t block_bytes, uint32_t depth, double bytes_per_s);
  /// Nothing where no load was measured twice.
  [[nodiscard]] std::optional<profile::spread> result() const;
  /// In the order of time; empty where there is none.
  [[nodiscard]] std::vector<double> of(const std::string &op, uint64_t block_bytes,
                                       uint32_t depth) const;

 private:
  /// Most over least, less one, of the load for which that is most.
  [[nodiscard]] profile::number spread_of(const std::string &op) const;

  std::map<std::tuple<std::string, uint64_t, uint32_t>, std::vector<double>> all_;
};

/// A sentence where it lies beyond what two runs are to agree within (10 %), else empty.
std::string spread_note(const std::optional<profile::spread> &of);

}  // namespace cubby_cli::characterize
