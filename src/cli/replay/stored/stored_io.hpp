// `cubby replay --io --store`: one runtime after the other, each for one policy at one capacity,
// over one store, which every one of them finds as the last has left it.
#pragma once

#include "cli/replay/stored/stored_walk.hpp"

namespace cubby_cli::replay {

class stored_io final : public real_bytes {
 public:
  stored_io(const stored_plan &plan, const workload &of, uint64_t seed, bool quiet)
      : plan_(plan), of_(of.requests), seed_(seed), progress_(quiet) {}

  /// Opens the store, and reads and checks what an earlier command has left in it.
  done prepare() override;
  [[nodiscard]] std::string usual_capacity(const std::vector<replayed_policy> &) const override {
    return "25%";
  }
  done add(replayer &by, const workload &of, const replayed_policy &which,
           const asked_capacity &capacity, nlohmann::json &line) override;
  [[nodiscard]] nlohmann::json about() const override;
  void print(const nlohmann::json &results) const override;

 private:
  done measure_frame(stored_cache &in, const std::vector<uint32_t> &there);
  outcome<stored_run> run(const replayed_policy &which, uint64_t capacity);

  const stored_plan plan_;
  const request_schedule &of_;
  const uint64_t seed_;
  progress_line progress_;
  uint64_t frame_bytes_ = 0;
  uint64_t found_at_open_ = 0;
  checked_blocks checked_at_open_;
};

}  // namespace cubby_cli::replay
