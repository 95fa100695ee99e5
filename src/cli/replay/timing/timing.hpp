// How long a replay of experts would have taken: two links with a queue each, compute that overlaps
// moves. A pure model; docs/timing.md has its equations.
#pragma once

#include "cli/replay/timing/link.hpp"
#include "cli/replay/walk/simulate.hpp"
#include "placement/object_list.hpp"

namespace cubby_cli::replay {

/// What is known of the next layer's route while a layer is computed: nothing, all of it (within a
/// token), or what the layer used last, which may be wrong.
enum class forecast { none, exact, repeat };

struct timing_rules {
  link_speed host, nvme;
  uint64_t compute_ns = 0;  // of one layer, or of one KV block
  uint64_t object_bytes = 0;
  forecast ahead = forecast::none;
  bool host_has_all = true;    // then nothing comes over nvme
  uint32_t host_capacity = 0;  // lockers in host memory, beside those in the device
  uint32_t block_tokens = 0;   // of a KV block; 0 = not known
  // Of KV blocks where there are experts too, of which the others are then.
  uint64_t block_compute_ns = 0, block_bytes = 0;
  bool in_turn = false;  // requests come when it is their turn, whatever their time

  [[nodiscard]] bool has_file() const { return !nvme.name.empty(); }
};

/// Watches a simulation and keeps its clock.
class timing final : public reporter {
 public:
  timing(const expert_schedule &of, const timing_rules &rules);
  void used(uint64_t number, std::span<const cubby_object> used,
            std::span<const cubby_object> missing) override;
  void came(cubby_object object) override { resident_[object] = 1; }
  void left(cubby_object object) override;
  void ended() override;
  /// Nothing begins before.
  void wait_until(uint64_t ns) { now_ns_ = ns; }
  [[nodiscard]] uint64_t now_ns() const { return now_ns_; }
  [[nodiscard]] const std::vector<stalls> &waited() const { return tokens_; }
  /// The fields that a result gets.
  [[nodiscard]] nlohmann::json report() override;

 private:
  void prefetch(uint32_t row, bool same_token, std::span<const cubby_object> missing,
                std::vector<move> &moves);
  move bring(cubby_object object, uint64_t asked_ns);
  void compute(uint32_t used, std::vector<move> &moves);
  void keep_in_host(cubby_object object);

  const expert_schedule &of_;
  const timing_rules rules_;
  link_queue host_, nvme_;
  cubby::placement::object_lists in_host_;  // one list: by use
  uint64_t now_ns_ = 0, began_ns_ = 0;      // of the visit under way
  uint32_t last_row_ = 0;
  bool begun_ = false;
  std::vector<cubby_object> missing_, gone_, fetched_;  // of a visit
  std::vector<uint8_t> resident_;
  std::vector<std::vector<cubby_object>> last_used_;  // by row
  std::vector<stalls> tokens_;                        // of each
  uint64_t token_count_ = 0;
  uint64_t demand_ = 0, prefetch_used_ = 0, prefetch_wasted_ = 0, write_back_ = 0,
           from_nvme_ = 0;  // lockers
};

}  // namespace cubby_cli::replay
