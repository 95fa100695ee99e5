// How likely a block is used again, by class and age. Classes: how often it was used, how deep it
// hangs in its prefix, and whether it was the last block of its latest request. A class has hits
// and person-time (seconds lived without a use) in bins of age, of resident blocks and of ghosts
// alike: without ghosts one's own evictions would censor what is measured.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace cubby::placement::kv {

inline constexpr uint32_t use_classes = 6, depth_classes = 3;
inline constexpr uint32_t class_count = use_classes * depth_classes * 2;
inline constexpr uint32_t bin_count = 56;  // three an octave, from half a second
inline constexpr float first_edge_s = 0.5F;

/// 1, 2, 3, 4 to 6, 7 to 20, more.
uint32_t class_of(uint32_t uses, uint32_t depth_class, bool last);
/// Fewer than 6, fewer than 30, more blocks before it.
uint32_t depth_class_of(uint32_t depth);
inline uint32_t bin_of(float age_s) {
  if (!(age_s >= first_edge_s)) return 0;
  const auto bits = std::bit_cast<uint32_t>(age_s / first_edge_s);
  const uint32_t octave = (bits >> 23) - 127;
  const uint32_t mantissa = bits & 0x7FFFFF;
  const uint32_t third = mantissa >= 0x4B2FF5   ? 2
                         : mantissa >= 0x214517 ? 1
                                                : 0;  // 2^(2/3), 2^(1/3)
  return std::min(3 * octave + third + 1, bin_count - 1);
}

class hazard_model {
 public:
  hazard_model();

  /// A block of the class was used again at this age, having been unused since `from_age_s`.
  void reused(uint32_t of_class, float from_age_s, float age_s);
  /// `weight` blocks of the class lived from one age to the other.
  void lived(uint32_t of_class, float from_age_s, float age_s, float weight);
  /// Old evidence fades.
  void fade(float factor);
  /// Evidence that the prior counts for, in hits.
  void set_prior_hits(float hits) { prior_hits_ = hits; }
  /// The index is computed anew when it is next asked for.
  void changed() { stale_ = true; }

  /// Expected uses per second of residence, under the best of all horizons.
  float index(uint32_t of_class, float age_s) {
    if (stale_) rebuild();
    return index_[of_class][bin_of(age_s)];
  }

 private:
  using by_bin = std::array<float, bin_count>;

  void rebuild();
  static void smooth(by_bin &hazard, const by_bin &hits, const by_bin &time, const by_bin &prior,
                     float prior_hits);
  void fill_index(uint32_t of_class, const by_bin &hazard);

  std::array<float, bin_count + 1> edge_s_;
  std::array<by_bin, class_count> hits_{}, time_{}, index_{};
  float prior_hits_ = 1;
  bool stale_ = true;
};

}  // namespace cubby::placement::kv
