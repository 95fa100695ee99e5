// Who of the residents has the largest key: a maximum a layer, found again when it is asked for.
#pragma once

#include <algorithm>
#include <limits>

#include "placement/moe/index.hpp"

namespace cubby::placement::moe {

class ranking {
 public:
  explicit ranking(const index &of)
      : bias_(of.lane_count(), absent),
        resident_(of.lane_count()),
        tops_(of.layer_count()),
        stale_(of.layer_count(), 1) {
    hidden_.reserve(of.lane_count());
  }

  /// Lanes, not objects.
  [[nodiscard]] bool holds(uint32_t lane) const { return resident_[lane] != 0; }
  void insert(uint32_t lane, uint32_t layer) {
    resident_[lane] = 1;
    bias_[lane] = 0;
    stale_[layer] = 1;
  }
  void remove(uint32_t lane, uint32_t layer) {
    resident_[lane] = 0;
    if (bias_[lane] == absent) return;
    bias_[lane] = absent;
    stale_[layer] = 1;
  }
  [[nodiscard]] uint32_t size() const {
    return static_cast<uint32_t>(std::count(resident_.begin(), resident_.end(), 1));
  }
  /// Keeps it out of largest() until show_all().
  void hide(uint32_t lane, uint32_t layer) {
    hidden_.push_back({lane, layer});
    bias_[lane] = absent;
    stale_[layer] = 1;
  }
  void show_all() {
    for (const hidden &one : hidden_)
      if (holds(one.lane)) insert(one.lane, one.layer);
    hidden_.clear();
  }
  /// The keys of the layer changed.
  void changed(uint32_t layer) { stale_[layer] = 1; }
  void all_changed() { stale_.assign(stale_.size(), 1); }

  struct top {
    float key = absent;
    uint32_t lane = 0, layer = 0;
  };
  /// The largest; key == absent: there is none.
  top largest(const index &of) {
    top best;
    for (uint32_t layer = 0; layer < tops_.size(); ++layer) {
      if (stale_[layer] != 0) find(of, layer);
      if (tops_[layer].key > best.key) best = tops_[layer];
    }
    return best;
  }

  [[nodiscard]] uint64_t bytes() const {
    return bias_.capacity() * sizeof(float) + resident_.capacity() +
           tops_.capacity() * sizeof(top) + stale_.capacity() + hidden_.capacity() * sizeof(hidden);
  }

  static constexpr float absent = -std::numeric_limits<float>::infinity();

 private:
  struct hidden {
    uint32_t lane, layer;
  };
  void find(const index &of, uint32_t layer) {
    const layer_shape &shape = of.layer(layer);
    const float *keys = of.keys(layer), *bias = bias_.data() + shape.at;
    stale_[layer] = 0;
    top &best = tops_[layer];
    best = {of.functions().largest(keys, bias, shape.width), 0, layer};
    if (best.key == absent) return;
    for (uint32_t e = 0; e < shape.width; ++e) {
      if (keys[e] + bias[e] != best.key) continue;
      best.lane = shape.at + e;
      return;
    }
  }

  std::vector<float> bias_;  // 0 where resident and not hidden
  std::vector<uint8_t> resident_;
  std::vector<top> tops_;
  std::vector<uint8_t> stale_;
  std::vector<hidden> hidden_;
};

}  // namespace cubby::placement::moe
