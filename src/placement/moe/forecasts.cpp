#include "placement/moe/forecasts.hpp"

#include <algorithm>

namespace cubby::placement::moe {
namespace {

constexpr float fade = 0.999F;     // of what was measured, a layer visit
constexpr float prior_uses = 32;   // that the first belief counts for
constexpr float ratio_max = 1000;  // of likelihoods

uint32_t level_of(float probability) {
  return 1 + static_cast<uint32_t>(std::clamp(probability, 0.0F, 0.999F) * 4);
}
/// A level's place among the bits of a code.
uint32_t shift_of(uint32_t token) { return token % 4 * 4; }

}  // namespace

forecasts::forecasts(uint32_t slot_count, uint32_t layer_count, uint32_t lane_count)
    : layers_(layer_count),
      lanes_(lane_count),
      token_(slot_count),
      last_layer_(slot_count, layer_count),
      run_(size_t{slot_count} * layer_count),
      coming_(run_.size() * tokens_stored),
      codes_(size_t{slot_count} * lane_count) {
  // Believed at first: six of ten that are used were named, and two of a hundred that are not.
  constexpr float used[levels] = {0.4F, 0.05F, 0.1F, 0.15F, 0.3F};
  constexpr float unused[levels] = {0.98F, 0.008F, 0.005F, 0.004F, 0.003F};
  for (record &one : records_) {
    for (uint32_t i = 0; i < levels; ++i) {
      one.used[i] = prior_uses * used[i];
      one.unused[i] = 10 * prior_uses * unused[i];
    }
  }
}

void forecasts::run(uint32_t slot, uint32_t layer) {
  if (layer <= last_layer_[slot]) ++token_[slot];
  last_layer_[slot] = layer;
  run_[size_t{slot} * layers_ + layer] = token_[slot];
}

void forecasts::compare(uint32_t slot, uint32_t layer, uint32_t first_lane, const float *on,
                        uint32_t experts) {
  const uint32_t token = token_[slot];
  coming &expected = of(slot, layer, token);
  if (expected.token != token) return;
  record &measured = records_[std::min<uint32_t>(expected.visits, far) - 1];
  for (uint32_t i = 0; i < levels; ++i) {
    measured.used[i] *= fade;
    measured.unused[i] *= fade;
  }
  uint16_t *codes = codes_.data() + size_t{slot} * lanes_ + first_lane;
  for (uint32_t e = 0; e < experts; ++e) {
    const uint32_t level = codes[e] >> shift_of(token) & 15;
    (on[e] != 0 ? measured.used : measured.unused)[level] += 1;
    codes[e] &= static_cast<uint16_t>(~(15u << shift_of(token)));
  }
  expected = {};
}

bool forecasts::begin(uint32_t slot, uint32_t layer, uint32_t first_lane, uint32_t experts,
                      uint32_t ahead) {
  const uint32_t last = run_[size_t{slot} * layers_ + layer], token = token_[slot] + ahead;
  if (token <= last || token - last > tokens_stored) return false;
  coming &expected = of(slot, layer, token);
  if (expected.token == token) return true;
  // A forecast of a token that never ran this layer may still be there.
  uint16_t *codes = codes_.data() + size_t{slot} * lanes_ + first_lane;
  for (uint32_t e = 0; e < experts; ++e)
    codes[e] &= static_cast<uint16_t>(~(15u << shift_of(token)));
  expected.token = token & 0x1FFFFFFF;
  expected.visits = (token - last) & 7;
  return true;
}

void forecasts::expect(uint32_t slot, uint32_t lane, uint32_t ahead, float probability) {
  const uint32_t shift = shift_of(token_[slot] + ahead);
  uint16_t &code = codes_[size_t{slot} * lanes_ + lane];
  const uint32_t level = std::max<uint32_t>(code >> shift & 15, level_of(probability));
  code = static_cast<uint16_t>((code & ~(15u << shift)) | level << shift);
}

const forecasts::coming *forecasts::known(uint32_t slot, uint32_t layer, uint32_t token) const {
  const coming &one =
      coming_[(size_t{slot} * layers_ + layer) * tokens_stored + token % tokens_stored];
  return one.token == token ? &one : nullptr;
}

bool forecasts::any(uint32_t slot, uint32_t layer) const {
  const uint32_t last = run_[size_t{slot} * layers_ + layer];
  return known(slot, layer, last + 1) != nullptr || known(slot, layer, last + 2) != nullptr;
}

/// How much likelier each level is with those that are used than with the others.
void forecasts::ratios(const record &from, float (&to)[levels]) const {
  float used = 0, unused = 0;
  for (uint32_t i = 0; i < levels; ++i) {
    used += from.used[i];
    unused += from.unused[i];
  }
  for (uint32_t i = 0; i < levels; ++i) {
    const float ratio = (from.used[i] + 0.05F) / used * (unused / (from.unused[i] + 0.05F));
    to[i] = std::clamp(ratio, 1 / ratio_max, ratio_max);
  }
}

void forecasts::apply(uint32_t slot, uint32_t layer, uint32_t first_lane, const float *values,
                      float gamma, uint32_t experts, float *to) const {
  const uint32_t last = run_[size_t{slot} * layers_ + layer];
  const uint16_t *codes = codes_.data() + size_t{slot} * lanes_ + first_lane;
  std::copy_n(values, experts, to);
  for (uint32_t visits = 2; visits > 0; --visits) {
    const coming *expected = known(slot, layer, last + visits);
    float ratio[levels] = {1, 1, 1, 1, 1};
    if (expected != nullptr) ratios(records_[std::min<uint32_t>(expected->visits, far) - 1], ratio);
    for (uint32_t e = 0; e < experts; ++e) {
      // The chance of a use at one visit that makes up the value when it stays the same.
      const float value = values[e];
      const float chance = std::clamp(value * (1 - gamma) / (1 - gamma * value), 1e-4F, 0.98F);
      const float odds = chance / (1 - chance) * ratio[codes[e] >> shift_of(last + visits) & 15];
      const float use = odds / (1 + odds);
      to[e] = use + (1 - use) * gamma * to[e];
    }
  }
}

uint64_t forecasts::bytes() const {
  const auto bytes_of = [](const auto &list) { return list.capacity() * sizeof(list[0]); };
  return bytes_of(token_) + bytes_of(last_layer_) + bytes_of(run_) + bytes_of(coming_) +
         bytes_of(codes_);
}

}  // namespace cubby::placement::moe
