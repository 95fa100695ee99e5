// A trace through the runtime itself: every visit a pin of real bytes, read from a real file. Its
// hits are those of the simulation, to the unit.
#pragma once

#include "cli/replay/real_bytes.hpp"
#include "cli/replay/timing/timing.hpp"

namespace cubby_cli::replay {

/// What is read: lockers of one size in a file in `folder`, cached in at most `host_bytes`.
struct io_place {
  uint32_t rows = 0, columns = 0;
  uint64_t locker_bytes = 0, host_bytes = 0;
  std::string folder;
};

/// "24x32x3MiB" and "host:1GiB,file:DIR", held against the trace.
outcome<io_place> read_place(const io_options &chosen, const expert_schedule &of);

struct io_run {
  uint64_t hits = 0, accesses = 0, evictions = 0, bytes = 0;
  double seconds = 0;
};

/// One runtime after the other, each for one policy at one capacity, over one file.
class io_replayer final : public real_bytes {
 public:
  io_replayer(const io_place &place, const expert_schedule &of, uint64_t seed, bool quiet)
      : place_(place), of_(of), seed_(seed), quiet_(quiet), progress_(quiet) {}
  /// Makes the file unless it is there, and looks how much memory a locker takes.
  done prepare() override;
  /// Lockers that one visit may use.
  [[nodiscard]] uint64_t used_at_once() const {
    return std::min<uint64_t>(uint64_t{of_.top_k} * of_.batch, place_.columns);
  }
  [[nodiscard]] uint64_t locker_bytes() const { return place_.locker_bytes; }
  /// As many lockers as the memory keeps for a policy.
  [[nodiscard]] uint32_t capacity_for(const cubby_policy_ops &policy) const;
  /// `name` is what the runtime knows the policy by.
  /// What the file gives to plain reads of whole lockers, several at once.
  outcome<link_speed> measure_link() const;
  outcome<io_run> run(const cubby_policy_ops &policy, const std::string &name, uint32_t capacity);

  [[nodiscard]] std::string usual_capacity(
      const std::vector<replayed_policy> &policies) const override;
  /// Hits, speed, and the speed that the model of --timing predicts with the file's speed as
  /// measured.
  done add(replayer &by, const workload &of, const replayed_policy &which,
           const asked_capacity &capacity, nlohmann::json &line) override;
  void print(const nlohmann::json &results) const override { print_io(results); }

 private:
  class pinning_runtime;
  [[nodiscard]] uint64_t budget_for(const cubby_policy_ops &policy, uint64_t capacity) const;

  const io_place place_;
  const expert_schedule &of_;
  const uint64_t seed_;
  const bool quiet_;
  progress_line progress_;
  std::string path_;
  uint64_t frame_bytes_ = 0;
};

}  // namespace cubby_cli::replay
