// Which part of a model lies in which place.
#pragma once

#include <string>
#include <vector>

#include "cli/plan/places.hpp"

namespace cubby_cli::plan {

enum class part_kind { dense, kv, experts, stored_kv, input, table };

struct part {
  part_kind kind = part_kind::dense;
  std::string name;
  double bytes = 0;
  double read_bytes = 0;       // in one step, which gives every user a token
  bool every_step = true;      // read in every step, so in places that are fast enough alone
  std::vector<double> placed;  // bytes in each place

  /// Read bytes for a byte held: what goes to the fastest place first.
  [[nodiscard]] double heat() const { return bytes > 0 ? read_bytes / bytes : 0; }
  [[nodiscard]] double share_in(size_t at) const { return bytes > 0 ? placed[at] / bytes : 0; }
};

struct layout {
  std::vector<part> parts;
  std::vector<double> used_bytes;  // of each place
  double missing_bytes = 0;        // for which there is no room

  [[nodiscard]] const part *find(part_kind kind) const;
  /// Does all that is read in every step lie in the first place?
  [[nodiscard]] bool all_local() const;
};

/// Different experts of a layer in one step.
double experts_in_step(const question &of);
std::vector<part> parts_of(const question &of);

/// Marks places that cannot serve the steps of the class asked for: there a token that misses once
/// in every layer would be late.
void admit(const question &of, std::vector<place> &places);

/// The hottest first, into the fastest place that has room.
layout lay_out(const question &of, const std::vector<place> &places);

}  // namespace cubby_cli::plan
