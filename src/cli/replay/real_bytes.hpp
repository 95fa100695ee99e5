// A trace through the runtime itself, with real bytes: what is put beside what the simulation says.
#pragma once

#include <memory>

#include "cli/replay/results.hpp"

namespace cubby_cli::replay {

struct io_options {
  bool on = false;
  std::string geometry, tiers;     // of experts
  std::string store, store_bytes;  // of KV blocks
  uint32_t block_bytes = 0;        // not said
};

class real_bytes {
 public:
  real_bytes() = default;
  virtual ~real_bytes() = default;
  real_bytes(const real_bytes &) = delete;
  real_bytes &operator=(const real_bytes &) = delete;

  /// Makes what is read or written, unless it is there.
  virtual done prepare() = 0;
  /// Where none is asked for.
  [[nodiscard]] virtual std::string usual_capacity(
      const std::vector<replayed_policy> &policies) const = 0;
  /// One policy at one capacity: puts what the runtime made of the trace into the line of results.
  virtual done add(replayer &by, const workload &of, const replayed_policy &which,
                   const asked_capacity &capacity, nlohmann::json &line) = 0;
  /// What is to be said once; null = nothing.
  [[nodiscard]] virtual nlohmann::json about() const { return nullptr; }
  /// For people.
  virtual void print(const nlohmann::json &results) const = 0;
};

/// The way of doing it that suits the trace, which stays.
outcome<std::unique_ptr<real_bytes>> make_real_bytes(const io_options &chosen, const workload &of,
                                                     uint64_t seed, bool quiet);

/// Trouble where they are said without --io.
done needs_io(const io_options &chosen);
/// Were all bytes right, and hits the simulation's where they must be? `report`: of --json.
bool good_bytes(const nlohmann::json &report);

}  // namespace cubby_cli::replay
