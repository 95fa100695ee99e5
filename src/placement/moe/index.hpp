// How soon each expert is wanted again: the learned index. After a visit of a layer, V[e] is the
// expectation of gamma^(T-1), T = visits of the layer until e is used next, as a logistic function
// of e's own averages and of the experts just used: in this layer (source 0) and in the layers run
// just before (sources 1 to 3). It is trained by temporal differences, one visit of the layer
// later.
#pragma once

#include <cubby/policy.h>

#include <cstdint>
#include <vector>

#include "placement/moe/forecasts.hpp"
#include "placement/moe/kernel.hpp"

namespace cubby::placement::moe {

inline constexpr uint32_t sources_max = 8;
/// All state together stays below this; tables take what the rest leaves of it.
inline constexpr uint64_t state_bytes_max = uint64_t{64} << 20;

/// Where a layer's experts stand.
struct layer_shape {
  cubby_object first = 0;
  uint32_t experts = 0, width = 0;  // width: experts rounded up to whole words
  uint32_t at = 0;                  // of its first lane, in arrays over all layers
  uint64_t table = 0;               // of its tables
  float worth = 0;                  // ln of the time a hit saves a byte, to the mean's
  double weight = 1;                // the time a hit saves, to the mean's
};

class index {
 public:
  explicit index(const cubby_policy_config &config, const kernel &by = best_kernel());

  /// Learns from a visit and gives the layer's keys anew. False: no layer of ours.
  bool visit(const cubby_policy_visit &visit, uint32_t &layer);

  /// Takes forecasts of coming tokens; calls `changed` with each layer whose keys are new.
  template <class Changed>
  bool hint(const cubby_policy_hint &hint, const Changed &changed) {
    bool taken = false;
    for (uint32_t l = 0; l < layer_count(); ++l) {
      if (!expect(hint, l)) continue;
      taken = true;
      rank(l);
      changed(l);
    }
    return taken;
  }

  /// Of the banks that it was made for?
  [[nodiscard]] bool fits(const cubby_policy_config &config) const;
  /// Another budget, or other costs.
  void change(const cubby_policy_config &config);
  [[nodiscard]] uint32_t layer_count() const { return static_cast<uint32_t>(layers_.size()); }
  [[nodiscard]] const layer_shape &layer(uint32_t at) const { return layers_[at]; }
  [[nodiscard]] const std::vector<layer_shape> &layers() const { return layers_; }
  /// Whose lane it is.
  [[nodiscard]] uint32_t layer_at(uint32_t lane) const;
  /// Larger leaves earlier.
  [[nodiscard]] const float *keys(uint32_t layer) const { return keys_.data() + layers_[layer].at; }
  [[nodiscard]] uint32_t lane_count() const { return static_cast<uint32_t>(keys_.size()); }
  /// Experts that one token uses in all layers.
  [[nodiscard]] uint64_t working_set() const { return working_set_; }
  [[nodiscard]] const kernel &functions() const { return *kernel_; }
  /// Keys were made smaller by this much since the last call, all of them.
  bool rebased();
  [[nodiscard]] uint64_t state_bytes() const;

 private:
  void lay_out(const cubby_policy_config &config);
  void weigh(const cubby_policy_config &config);
  [[nodiscard]] uint32_t slots_that_fit() const;
  void choose_sources();
  void start_averages();
  void learn(const cubby_policy_route &route, uint32_t layer);
  void remember(const cubby_policy_route &route, uint32_t slot, uint32_t layer);
  [[nodiscard]] uint32_t sets_before(uint32_t slot, uint32_t visit, used_rows *to) const;
  void fetch_ahead(uint32_t slot, uint32_t layer);
  [[nodiscard]] int16_t next_rate(uint32_t lane);
  void look_ahead();
  bool expect(const cubby_policy_hint &hint, uint32_t layer);
  void rank(uint32_t layer);
  void rebase();

  std::vector<layer_shape> layers_;
  std::vector<uint32_t> first_layer_;     // of each bank, and past the last
  uint32_t batch_slots_ = 1, slots_ = 1;  // of a batch; those that have a state of their own
  uint32_t sources_ = sources_max, chosen_max_ = 1, lanes_ = 0;
  uint32_t width_max_ = words, table_rows_ = 1, ring_ = 16;
  uint64_t working_set_ = 0, visits_ = 0;
  double capacity_ = 1, used_mean_ = 0;
  float age_ = 0, gamma_ = 0, age_step_ = 0;
  bool rebased_ = false, far_ = false;  // far: tables are mostly not in the near caches
  const kernel *kernel_;

  // Over slots and all layers' lanes.
  std::vector<float> averages_, logarithms_, values_;
  std::vector<float> keys_;            // [lane]
  std::vector<uint16_t> uses_;         // [lane]: how often; stops at the end
  std::vector<int16_t> tables_;        // [layer][source][expert][lane]
  std::vector<uint32_t> past_sets_;    // [slot][ring][chosen]: of the slot's last visits
  std::vector<uint16_t> past_counts_;  // [slot][ring]
  std::vector<uint32_t> past_visits_;  // [slot]
  std::vector<uint32_t> last_visit_;   // [slot][layer]: its number in the slot, from 1
  // What the keys of a layer stand on: when it was visited last, and by which slots.
  std::vector<float> layer_ages_;
  std::vector<uint32_t> layer_visits_;  // [layer]
  std::vector<uint32_t> took_part_;     // [slot][layer]: in which of them
  forecasts forecasts_;
  float weights_[input_count] = {-0.6F, 0.3F, 0.3F, 0.1F, 0.3F, 0.2F};
  float squares_[input_count] = {};

  // Scratch of one visit.
  std::vector<float> on_, was_on_, foreseen_;
  std::vector<int16_t> said_, error_;
  std::vector<const float *> slot_values_;
};

}  // namespace cubby::placement::moe
