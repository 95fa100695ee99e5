// How long a replay would have taken: two links with a queue each, compute that overlaps moves. A
// pure model; docs/timing.md has its equations.
#pragma once

#include <array>
#include <list>
#include <nlohmann/json.hpp>

#include "cli/replay/simulate.hpp"

namespace cubby_cli::replay {

struct link_speed {
  std::string name;  // "host" or "nvme"
  double bytes_per_s = 0;
  uint64_t latency_ns = 0;
};

/// "host:25GB/s,10us".
outcome<link_speed> read_link(const std::string &text);

/// What is known of the next layer's route while a layer is computed: nothing, all of it (within a
/// token), or what the layer used last, which may be wrong.
enum class forecast { none, exact, repeat };

struct timing_rules {
  link_speed host, nvme;
  uint64_t compute_ns = 0;  // of one layer
  uint64_t object_bytes = 0;
  forecast ahead = forecast::none;
  bool host_has_all = true;    // then nothing comes over nvme
  uint32_t host_capacity = 0;  // lockers in host memory, beside those in the device
};

/// What a token waited for.
enum class stall_cause { host, host_queue, nvme, nvme_queue };
inline constexpr uint32_t stall_causes = 4;
inline constexpr std::array<const char *, stall_causes> stall_names = {"host", "host_queue", "nvme",
                                                                       "nvme_queue"};

/// Watches a simulation and keeps its clock.
class timing final : public observer {
 public:
  timing(const expert_schedule &of, const timing_rules &rules);
  void used(uint64_t number, std::span<const cubby_object> used,
            std::span<const cubby_object> missing) override;
  void came(cubby_object who) override { resident_[who] = 1; }
  void left(cubby_object who) override;
  void ended() override;
  /// The fields that a result gets.
  [[nodiscard]] nlohmann::json report();

 private:
  using by_cause = std::array<uint64_t, stall_causes>;

  /// When each leg of a move begins and ends.
  struct move {
    uint64_t asked = 0, nvme_begins = 0, nvme_ends = 0, host_begins = 0, host_ends = 0;
  };
  struct queue {
    uint64_t move_ns = 0, latency_ns = 0, free_ns = 0;
    /// Takes its turn; when it begins, and when it has come.
    std::pair<uint64_t, uint64_t> take(uint64_t asked_ns);
  };

  void prefetch(uint32_t row, bool same_token, std::span<const cubby_object> missing,
                std::vector<move> &moves);
  move bring(cubby_object who, uint64_t asked_ns);
  void compute(uint32_t used, std::vector<move> &moves);
  void wait(const move &until);
  void keep_in_host(cubby_object who);
  void drop_from_host(cubby_object who);

  const expert_schedule &of_;
  const timing_rules rules_;
  queue host_, nvme_;
  std::list<cubby_object> in_host_;  // the longest unused first
  std::vector<std::list<cubby_object>::iterator> place_;
  uint64_t now_ns_ = 0, began_ns_ = 0;  // of the visit under way
  uint32_t last_row_ = 0;
  bool begun_ = false;
  std::vector<cubby_object> missing_, gone_, fetched_;  // of a visit
  std::vector<uint8_t> resident_;
  std::vector<std::vector<cubby_object>> last_used_;  // by row
  std::vector<by_cause> tokens_;                      // stalls of each
  uint64_t token_count_ = 0;
  uint64_t demand_ = 0, prefetch_used_ = 0, prefetch_wasted_ = 0, write_back_ = 0,
           from_nvme_ = 0;  // lockers
};

}  // namespace cubby_cli::replay
