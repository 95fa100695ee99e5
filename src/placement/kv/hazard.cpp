#include "placement/kv/hazard.hpp"

#include <algorithm>
#include <cmath>

namespace cubby::placement::kv {
namespace {

constexpr float transfer_s = 0.2F;  // what keeps the index finite at short horizons

/// Of a block of which nothing else is known.
float prior_hazard(float age_s) { return 0.3F / (1 + age_s); }

constexpr uint32_t lanes = 8;  // that the compiler may take together
static_assert(bin_count % lanes == 0);

template <class Array>
void add(Array &to, const Array &from) {
  for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

}  // namespace

uint32_t class_of(uint32_t uses, uint32_t depth_class, bool last) {
  const uint32_t use = uses <= 3 ? std::max(uses, 1u) - 1 : uses <= 6 ? 3 : uses <= 20 ? 4 : 5;
  return (use * depth_classes + depth_class) * 2 + (last ? 1 : 0);
}

uint32_t depth_class_of(uint32_t depth) { return depth < 6 ? 0 : depth < 30 ? 1 : 2; }

hazard_model::hazard_model() {
  edge_s_[0] = 0;
  for (uint32_t bin = 1; bin <= bin_count; ++bin)
    edge_s_[bin] = first_edge_s * std::exp2(static_cast<float>(bin - 1) / 3);
}

void hazard_model::reused(uint32_t of_class, float from_age_s, float age_s) {
  hits_[of_class][bin_of(age_s)] += 1;
  lived(of_class, from_age_s, age_s, 1);
}

void hazard_model::lived(uint32_t of_class, float from_age_s, float age_s, float weight) {
  from_age_s = std::max(from_age_s, 0.0F);
  for (uint32_t bin = bin_of(from_age_s); bin < bin_count && edge_s_[bin] < age_s; ++bin) {
    const float end = bin + 1 == bin_count ? age_s : std::min(age_s, edge_s_[bin + 1]);
    const float begin = std::max(from_age_s, edge_s_[bin]);
    if (end > begin) time_[of_class][bin] += weight * (end - begin);
  }
}

void hazard_model::fade(float factor) {
  for (uint32_t c = 0; c < class_count; ++c) {
    for (uint32_t bin = 0; bin < bin_count; ++bin) {
      hits_[c][bin] *= factor;
      time_[c][bin] *= factor;
    }
  }
}

void hazard_model::smooth(by_bin &hazard, const by_bin &hits, const by_bin &time,
                          const by_bin &prior, float prior_hits) {
  for (uint32_t bin = 0; bin < bin_count; ++bin)
    hazard[bin] = (hits[bin] + prior_hits) / (time[bin] + prior_hits / prior[bin]);
}

/// The prior speaks for all, all for those that are last or not, and those for each class.
void hazard_model::rebuild() {
  stale_ = false;
  by_bin prior, all;
  std::array<by_bin, 2> tail_hits{}, tail_time{}, tail;
  by_bin all_hits{}, all_time{};
  for (uint32_t c = 0; c < class_count; ++c) {
    add(tail_hits[c % 2], hits_[c]);
    add(tail_time[c % 2], time_[c]);
  }
  for (uint32_t last = 0; last < 2; ++last) {
    add(all_hits, tail_hits[last]);
    add(all_time, tail_time[last]);
  }
  for (uint32_t bin = 0; bin < bin_count; ++bin)
    prior[bin] = prior_hazard((edge_s_[bin] + edge_s_[bin + 1]) / 2);
  smooth(all, all_hits, all_time, prior, prior_hits_);
  for (uint32_t last = 0; last < 2; ++last)
    smooth(tail[last], tail_hits[last], tail_time[last], all, prior_hits_);
  for (uint32_t c = 0; c < class_count; ++c) {
    by_bin hazard;
    smooth(hazard, hits_[c], time_[c], tail[c % 2], prior_hits_);
    fill_index(c, hazard);
  }
}

void hazard_model::fill_index(uint32_t of_class, const by_bin &hazard) {
  by_bin stays, lives_s;  // through a whole bin: the chance to, and the mean time
  for (uint32_t bin = 0; bin < bin_count; ++bin) {
    const float width = edge_s_[bin + 1] - edge_s_[bin];
    stays[bin] = std::exp(-hazard[bin] * width);
    lives_s[bin] = (1 - stays[bin]) / hazard[bin];
  }
  // For every horizon, from the highest age down: the chance to live through all bins until then,
  // and the mean time until then or the reuse. Lanes below `from` repeat the last of their eight.
  by_bin alive, time_s;
  alive.fill(1);
  time_s.fill(0);
  for (uint32_t from = bin_count; from-- > 0;) {
    alive[from] = 1;
    time_s[from] = 0;
    std::array<float, lanes> best{};
    for (uint32_t at = from / lanes * lanes; at < bin_count; at += lanes) {
      for (uint32_t i = 0; i < lanes; ++i) {
        alive[at + i] *= stays[from];
        time_s[at + i] = time_s[at + i] * stays[from] + lives_s[from];
        const float worth = (1 - alive[at + i]) / (time_s[at + i] + transfer_s);
        best[i] = best[i] < worth ? worth : best[i];
      }
    }
    index_[of_class][from] = *std::max_element(best.begin(), best.end());
  }
}

}  // namespace cubby::placement::kv
