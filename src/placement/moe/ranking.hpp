// Who of the residents has the largest key: a maximum a layer, found again when it is asked for.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>

#include "placement/moe/index.hpp"

namespace cubby::placement::moe {

/// A bit a lane.
class lane_bits {
 public:
  explicit lane_bits(uint32_t lane_count) : bytes_((lane_count + 7) / 8) {}
  [[nodiscard]] bool operator[](uint32_t lane) const {
    return (bytes_[lane / 8] >> lane % 8 & 1) != 0;
  }
  void set(uint32_t lane) { bytes_[lane / 8] |= static_cast<uint8_t>(1u << lane % 8); }
  void clear(uint32_t lane) { bytes_[lane / 8] &= static_cast<uint8_t>(~(1u << lane % 8)); }
  [[nodiscard]] const uint8_t *from(uint32_t lane) const { return bytes_.data() + lane / 8; }
  [[nodiscard]] const std::vector<uint8_t> &bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

class ranking {
 public:
  explicit ranking(const index &of)
      : resident_(of.lane_count()),
        visible_(of.lane_count()),
        top_keys_(size_t{(of.layer_count() + lanes - 1) / lanes} * lanes, absent),
        top_lanes_(of.layer_count()),
        stale_(of.layer_count(), 1),
        asked_(top_keys_.size() / lanes, 0xFF) {
    hidden_.reserve(hidden_max);
    stale_list_.reserve(of.layer_count());
    all_changed();
  }

  /// Lanes, not objects.
  [[nodiscard]] bool holds(uint32_t lane) const { return resident_[lane]; }
  void insert(uint32_t lane, uint32_t layer) {
    resident_.set(lane);
    visible_.set(lane);
    changed(layer);
  }
  void remove(uint32_t lane, uint32_t layer) {
    resident_.clear(lane);
    visible_.clear(lane);
    // Of the others of its layer the largest is as before.
    if (top_lanes_[layer] == lane) changed(layer);
  }
  /// Keeps it out of largest() until show_all().
  void hide(uint32_t lane, uint32_t layer) {
    if (hidden_.size() < hidden_max)
      hidden_.push_back({lane, layer});
    else
      many_hidden_ = true;
    visible_.clear(lane);
    if (top_lanes_[layer] == lane) changed(layer);
  }
  void show_all() {
    if (many_hidden_) {
      visible_ = resident_;
      all_changed();
    }
    for (const hidden &one : hidden_)
      if (holds(one.lane)) insert(one.lane, one.layer);
    hidden_.clear();
    many_hidden_ = false;
  }
  /// The keys of the layer changed.
  void changed(uint32_t layer) {
    if (stale_[layer] != 0) return;
    stale_[layer] = 1;
    stale_list_.push_back(layer);
  }
  void all_changed() {
    stale_list_.clear();
    for (uint32_t layer = 0; layer < stale_.size(); ++layer) {
      stale_[layer] = 0;
      changed(layer);
    }
  }

  struct top {
    float key = absent;
    uint32_t lane = 0, layer = 0;
  };
  /// The largest; key == absent: there is none.
  top largest(const index &of) {
    for (const uint32_t layer : stale_list_) {
      const layer_shape &shape = of.layer(layer);
      const largest_key found =
          of.functions().largest(of.keys(layer), visible_.from(shape.at), shape.width);
      top_keys_[layer] = found.key;
      top_lanes_[layer] = shape.at + found.at;
      stale_[layer] = 0;
    }
    stale_list_.clear();
    const auto count = static_cast<uint32_t>(top_keys_.size());
    if (count == 0) return {};
    const largest_key best = of.functions().largest(top_keys_.data(), asked_.data(), count);
    if (best.key == absent) return {};
    return {best.key, top_lanes_[best.at], best.at};
  }

  [[nodiscard]] uint64_t bytes() const {
    return resident_.bytes().capacity() + visible_.bytes().capacity() +
           top_keys_.capacity() * sizeof(float) +
           (top_lanes_.capacity() + stale_list_.capacity()) * sizeof(uint32_t) + stale_.capacity() +
           asked_.capacity() + hidden_.capacity() * sizeof(hidden);
  }

  static constexpr float absent = -std::numeric_limits<float>::infinity();

 private:
  static constexpr size_t hidden_max = 16;
  struct hidden {
    uint32_t lane, layer;
  };

  lane_bits resident_, visible_;  // visible: and not hidden
  std::vector<float> top_keys_;   // a layer; absent behind the last
  std::vector<uint32_t> top_lanes_;
  std::vector<uint8_t> stale_;
  std::vector<uint32_t> stale_list_;
  std::vector<uint8_t> asked_;  // all bits
  std::vector<hidden> hidden_;
  bool many_hidden_ = false;
};

}  // namespace cubby::placement::moe
