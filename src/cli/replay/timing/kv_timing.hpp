// How long the requests of a KV trace would have taken: blocks that some tier has are loaded, the
// others are computed, loads of a request while the one before computes. A pure model;
// docs/timing.md has its equations.
#pragma once

#include "cli/replay/timing/timing.hpp"

namespace cubby_cli::replay {

/// Watches a simulation and keeps its clock.
class kv_timing final : public reporter {
 public:
  kv_timing(const kv_trace &of, const timing_rules &rules);
  void used(uint64_t number, std::span<const cubby_object> used,
            std::span<const cubby_object> missing) override;
  void came(cubby_object object) override { at_[object].in_device = true; }
  void left(cubby_object object) override;
  void ended() override;
  /// Nothing begins before.
  void wait_until(uint64_t ns) { ended_ns_ = ns; }
  [[nodiscard]] uint64_t now_ns() const { return ended_ns_; }
  [[nodiscard]] const std::vector<stalls> &waited() const { return stalls_; }
  /// The fields that a result gets.
  [[nodiscard]] nlohmann::json report() override;

 private:
  struct place {
    bool in_device : 1 = false, in_file : 1 = false;
    bool in_host : 1 = false;  // where the host holds all; else in_host_ knows
    bool known : 1 = false;    // was computed before
    bool gone : 1 = false;     // left the device since it was used last
  };
  /// Loads the first blocks and computes the rest.
  struct split {
    size_t loaded = 0;  // blocks, those in the device among them
    std::vector<move> loads;
  };

  [[nodiscard]] bool host_has(cubby_object object) const {
    return rules_.host_has_all ? at_[object].in_host : in_host_.list_of(object) == 0;
  }
  [[nodiscard]] bool below(cubby_object object) const {
    return at_[object].in_file || host_has(object);
  }
  [[nodiscard]] size_t found_in(std::span<const cubby_object> blocks) const;
  [[nodiscard]] split best_split(std::span<const cubby_object> blocks, size_t found,
                                 uint64_t asked_ns, uint64_t free_ns) const;
  void bring(std::span<const cubby_object> blocks);
  [[nodiscard]] nlohmann::json load() const;
  uint64_t compute(std::span<const cubby_object> blocks, size_t found, size_t loaded);
  void write_down(cubby_object object);
  void keep_in_host(cubby_object object);
  void write_to_file(cubby_object object);

  const kv_trace &of_;
  const timing_rules rules_;
  const bool back_to_back_;  // each arrives when the one before is through
  std::vector<place> at_;
  cubby::placement::object_lists in_host_;    // one list: by use
  std::span<const cubby_object> request_;     // under way
  uint64_t ended_ns_ = 0, computing_ns_ = 0;  // of the one before
  uint64_t busy_ns_ = 0;
  std::vector<stalls> stalls_;  // of each request
  std::vector<uint64_t> first_token_, queued_;
  uint64_t in_device_ = 0, from_host_ = 0, from_nvme_ = 0, fresh_ = 0, again_ = 0, by_choice_ = 0,
           write_back_ = 0, file_write_ = 0;  // blocks
};

}  // namespace cubby_cli::replay
