// A machine's tiers as a plan sees them: how much fits, and how fast it comes to where products
// read.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/plan/question.hpp"
#include "cli/plan/read_tail.hpp"

namespace cubby_cli::plan {

/// One thing that bytes pass on their way, one after the other: reads of a tier, or a link.
struct passage {
  std::string name;
  double bytes_per_s = 0, latency_s = 0;
};

struct place {
  std::string name, kind, title, source;
  bool of_files = false;
  origin from = origin::preset;
  double capacity_bytes = 0, budget_bytes = 0;
  double bytes_per_s = 0;  // to the first place; of that itself, for products
  double latency_s = 0;
  /// How fast pieces of an expert are read where fewer are in flight than the fastest reads have:
  /// bytes a second by the number in flight, where that was measured.
  double piece_bytes = 0;
  std::map<double, double> speed_in_flight;
  std::map<double, read_tail> tail_in_flight;  // and how long single ones take
  bool digests_in_reads = false;               // by the library: what it reads, it verifies
  std::vector<passage> passages;               // the first is the reading
  std::string way;                             // how it is read, and over which links it comes
  origin speed_from = origin::preset;          // of bytes_per_s: of what limits it
  std::string speed_source;
  double write_bytes_per_s = 0;  // 0 = not known
  profile::number joules_per_byte, price_usd_per_byte, endurance_bytes;
  bool serves_steps = true;  // fast enough for what every step reads
  std::string excluded;      // why it does not

  /// With so many bytes asked for at once: bytes_per_s at most.
  [[nodiscard]] double speed_with(double asked_bytes) const;
  /// The same of the reading alone.
  [[nodiscard]] double reads_with(double asked_bytes) const;
  /// With so many bytes asked for at once, how much later than the mean read the last is expected
  /// to end; 0 where no latencies were measured.
  [[nodiscard]] double last_behind_s(double asked_bytes) const;
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
