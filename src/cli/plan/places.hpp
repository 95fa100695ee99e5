// A machine's tiers as a plan sees them: how much fits, and how fast it comes to where products
// read.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/plan/question.hpp"

namespace cubby_cli::plan {

struct place {
  std::string name, kind, title, source;
  origin from = origin::preset;
  double capacity_bytes = 0, budget_bytes = 0;
  double bytes_per_s = 0;  // to the first place; of that itself, for products
  double latency_s = 0;
  /// How fast pieces of an expert are read where fewer are in flight than the fastest reads have:
  /// bytes a second by the number in flight, where that was measured.
  double piece_bytes = 0;
  std::map<double, double> speed_in_flight;
  std::string way;                     // over which links
  origin speed_from = origin::preset;  // of bytes_per_s: of what limits it
  std::string speed_source;
  double write_bytes_per_s = 0;  // 0 = not known
  profile::number joules_per_byte, price_usd_per_byte, endurance_bytes;
  bool serves_steps = true;  // fast enough for what every step reads
  std::string excluded;      // why it does not

  /// With so many bytes asked for at once: bytes_per_s at most.
  [[nodiscard]] double speed_with(double asked_bytes) const;
};

/// The place where products read first, then by speed. Trouble where the profile leaves out what is
/// needed, or a budget is absurd.
outcome<std::vector<place>> places_of(const question &of);

/// What the plan does without, and why: tiers that were not measured, devices whose products nobody
/// has timed.
std::vector<std::string> left_out_of(const question &of);

/// `n` times the memory in which products read, with its links, its compute, and what the
/// machine costs and takes: those numbers are of one device.
question with_devices(question of, double n);

}  // namespace cubby_cli::plan
