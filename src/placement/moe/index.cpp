#include "placement/moe/index.hpp"

#include <algorithm>
#include <cmath>

#include "placement/describe.hpp"

namespace cubby::placement::moe {
namespace {

constexpr float table_rate = 0.008F, young_rate = 5, young_updates = 8;
constexpr uint32_t chosen_limit = 64;  // experts of one token and layer that are learned from
constexpr float batch_gamma = 0.3F;
constexpr uint64_t rebase_cycles = 256;
constexpr uint32_t uses_max = 0xFFFF;
constexpr uint64_t beside_bytes = 32;  // a lane: who is resident, and the net

uint32_t whole_words(uint32_t count) { return (count + words - 1) / words * words; }

/// Of a row that was trained n times: exact while it is young, then in steps of 256.
class rate_table {
 public:
  rate_table() {
    for (uint32_t i = 0; i < steps; ++i) {
      young_[i] = rate(static_cast<float>(i));
      old_[i] = rate(static_cast<float>(i) * steps);
    }
  }
  [[nodiscard]] int16_t at(uint32_t n) const { return n < steps ? young_[n] : old_[n / steps]; }

 private:
  static constexpr uint32_t steps = 256;
  static int16_t rate(float n) {
    const float of = table_rate * (1 + young_rate / std::sqrt(1 + n / young_updates));
    return static_cast<int16_t>(of * rate_scale + 0.5F);
  }
  int16_t young_[steps], old_[steps];
};

int16_t rate_after(uint32_t uses) {
  static const rate_table rates;
  return rates.at(uses);
}

}  // namespace

index::index(const cubby_policy_config &config, const kernel &by)
    : slots_(std::max(1u, config.slot_count)), capacity_(capacity_of(config)), kernel_(&by) {
  lay_out(config);
  averages_.resize(size_t{slots_} * lanes_ * average_count);
  logarithms_.resize(averages_.size());
  values_.resize(size_t{slots_} * lanes_);
  visited_.resize(size_t{slots_} * layers_.size());
  keys_.resize(lanes_);
  uses_.resize(lanes_);
  old_counts_.resize(visited_.size());
  old_own_.resize(visited_.size());
  past_sets_.resize(size_t{slots_} * sources_max * chosen_max_);
  pasts_.resize(slots_);
  on_.resize(width_max_);
  was_on_.resize(width_max_);
  said_.resize(width_max_);
  error_.resize(width_max_);
  slot_values_.resize(slots_);
  choose_sources();
  rates_.resize(row_slots_);
  rows_.resize(row_slots_);
  trained_.resize(row_slots_);
  new_rows_.resize(row_slots_);
  used_mean_ = static_cast<double>(working_set_) / std::max<double>(1, layer_count());
  start_averages();
}

void index::lay_out(const cubby_policy_config &config) {
  for (uint32_t b = 0; b < config.bank_count; ++b) {
    const cubby_policy_bank &bank = config.banks[b];
    first_layer_.push_back(layer_count());
    if (bank.kind != CUBBY_POLICY_BANK_EXPERTS || bank.columns == 0) continue;
    chosen_max_ = std::max(
        chosen_max_, std::min({bank.columns, chosen_limit, std::max(bank.routed_count, 1u) * 2}));
    for (uint32_t row = 0; row < bank.rows; ++row) {
      const uint32_t width = whole_words(bank.columns);
      layers_.push_back({bank.first_object + row * bank.columns, bank.columns, width, lanes_, 0});
      lanes_ += width;
      working_set_ += bank.routed_count;
      width_max_ = std::max(width_max_, width);
    }
  }
  layers_.shrink_to_fit();
}

/// As many as find room beside everything else.
void index::choose_sources() {
  uint64_t row_bytes = 0, experts_max = 1;
  for (const layer_shape &layer : layers_) {
    row_bytes += uint64_t{layer.experts} * layer.width * sizeof(int16_t);
    experts_max = std::max<uint64_t>(experts_max, layer.experts);
  }
  const uint64_t slot_bytes = uint64_t{slots_} * layers_.size() * chosen_max_ * sizeof(told_row);
  const uint64_t others = state_bytes() + beside_bytes * lanes_;
  while (sources_ > 0 && (others + sources_ * (row_bytes + slot_bytes) > state_bytes_max ||
                          sources_ * experts_max > 0x10000))
    --sources_;
  uint64_t numbers = 0;
  for (layer_shape &layer : layers_) {
    layer.table = numbers;
    numbers += uint64_t{sources_} * layer.experts * layer.width;
  }
  tables_.resize(numbers);
  row_slots_ = std::max(sources_, 1u) * chosen_max_;
  old_rows_.resize(visited_.size() * row_slots_);
}

void index::start_averages() {
  for (uint32_t s = 0; s < slots_; ++s) {
    for (const layer_shape &layer : layers_) {
      float *averages = averages_.data() + (size_t{s} * lanes_ + layer.at) * average_count;
      const float start = static_cast<float>(used_mean_) / static_cast<float>(layer.experts);
      for (uint32_t i = 0; i < average_count; ++i)
        std::fill_n(averages + size_t{i} * layer.width, layer.experts, start);
    }
  }
}

bool index::fits(const cubby_policy_config &config) const {
  uint32_t at = 0;
  if (config.bank_count != first_layer_.size()) return false;
  for (uint32_t b = 0; b < config.bank_count; ++b) {
    const cubby_policy_bank &bank = config.banks[b];
    if (first_layer_[b] != at) return false;
    if (bank.kind != CUBBY_POLICY_BANK_EXPERTS || bank.columns == 0) continue;
    for (uint32_t row = 0; row < bank.rows; ++row, ++at) {
      if (at >= layer_count() || layers_[at].experts != bank.columns ||
          layers_[at].first != bank.first_object + row * bank.columns)
        return false;
    }
  }
  return at == layer_count();
}

cubby_object index::object_at(uint32_t lane) const {
  const auto after = std::upper_bound(layers_.begin(), layers_.end(), lane,
                                      [](uint32_t at, const layer_shape &l) { return at < l.at; });
  return (after - 1)->first + (lane - (after - 1)->at);
}

/// How far one looks ahead: further where more token cycles fit.
float index::gamma_now(const cubby_policy_visit &visit) {
  used_mean_ += 0.001 * (visit.used_count - used_mean_);
  if (slots_ > 1) return batch_gamma;
  const double cycles = capacity_ / std::max(1.0, used_mean_ * layer_count());
  return static_cast<float>(std::clamp(2 * cycles / (2 * cycles + 1), 0.6, 0.9));
}

/// Counts a use; how fast the rows of an expert used that often learn.
int16_t index::next_rate(uint32_t lane) {
  const uint16_t n = uses_[lane];
  if (n < uses_max) ++uses_[lane];
  return rate_after(n);
}

/// The rows of the tables that speak of this layer: one for each expert just used in it and in the
/// layers run just before.
uint32_t index::collect_rows(const cubby_policy_route &route, uint32_t slot, uint32_t layer) {
  const layer_shape &shape = layers_[layer];
  const uint32_t own = std::min(route.count, chosen_max_);
  told_row *to = new_rows_.data();
  for (uint32_t i = 0; i < own; ++i) {
    const uint32_t expert = route.objects[i] - shape.first;
    *to++ = {static_cast<uint16_t>(expert), next_rate(shape.at + expert)};
  }
  slot_past &past = pasts_[slot];
  const told_row *ring = past_sets_.data() + size_t{slot} * sources_max * chosen_max_;
  for (uint32_t source = 1; source < sources_ && source <= past.visits; ++source) {
    const uint32_t at = (past.visits - source) % sources_max;
    const told_row *set = ring + size_t{at} * chosen_max_;
    const uint32_t base = source * shape.experts;
    for (uint32_t i = 0; i < past.count[at]; ++i)
      if (set[i].row < shape.experts)
        *to++ = {static_cast<uint16_t>(base + set[i].row), set[i].rate};
  }
  return static_cast<uint32_t>(to - new_rows_.data());
}

/// Asks for the rows that the next layer will train: its tables are mostly not in the near caches.
void index::fetch_ahead(uint32_t slot, uint32_t layer) const {
  const layer_shape &shape = layers_[layer];
  const size_t here = size_t{slot} * layers_.size() + layer;
  const told_row *rows = old_rows_.data() + here * row_slots_;
  for (uint32_t r = 0; sources_ > 0 && r < old_counts_[here]; ++r) {
    const int16_t *row = tables_.data() + shape.table + uint64_t{rows[r].row} * shape.width;
    for (uint32_t at = 0; at < shape.width; at += 32) __builtin_prefetch(row + at, 1);
  }
}

/// The set that was just used is the first of new_rows_.
void index::remember(const cubby_policy_route &route, uint32_t slot) {
  slot_past &past = pasts_[slot];
  const uint32_t at = past.visits % sources_max;
  past.count[at] = std::min(route.count, chosen_max_);
  std::copy_n(new_rows_.data(), past.count[at],
              past_sets_.data() + (size_t{slot} * sources_max + at) * chosen_max_);
  ++past.visits;
}

void index::learn(const cubby_policy_route &route, uint32_t layer, float gamma) {
  const layer_shape &shape = layers_[layer];
  const uint32_t slot = route.slot % slots_;
  const size_t here = size_t{slot} * layers_.size() + layer;
  told_row *old_rows = old_rows_.data() + here * row_slots_;
  const uint32_t new_count = collect_rows(route, slot, layer), old_count = old_counts_[here];
  std::fill_n(on_.data(), shape.width, 0.0F);
  std::fill_n(was_on_.data(), shape.width, 0.0F);
  for (uint32_t i = 0; i < route.count; ++i) on_[route.objects[i] - shape.first] = 1;
  for (uint32_t i = 0; i < old_own_[here]; ++i) was_on_[old_rows[i].row] = 1;
  int16_t *tables = tables_.data() + shape.table;
  for (uint32_t r = 0; r < old_count; ++r) {
    rates_[r] = old_rows[r].rate;
    trained_[r] = tables + uint64_t{old_rows[r].row} * shape.width;
  }
  for (uint32_t r = 0; r < new_count; ++r) {
    rows_[r] = tables + uint64_t{new_rows_[r].row} * shape.width;
    old_rows[r] = new_rows_[r];
  }
  const size_t lane = size_t{slot} * lanes_ + shape.at;
  const bool tabled = sources_ > 0;
  const auto dither = static_cast<uint32_t>((visits_ * slots_ + slot) * 0x9E3779B9U);
  kernel_->learn({shape.width, shape.experts, gamma, visited_[here] != 0, on_.data(),
                  was_on_.data(), averages_.data() + lane * average_count,
                  logarithms_.data() + lane * average_count, values_.data() + lane, rows_.data(),
                  tabled ? new_count : 0, trained_.data(), rates_.data(), tabled ? old_count : 0,
                  dither, weights_, squares_, said_.data(), error_.data()});
  visited_[here] = 1;
  old_counts_[here] = static_cast<uint16_t>(new_count);
  old_own_[here] = static_cast<uint16_t>(std::min(route.count, chosen_max_));
  remember(route, slot);
  fetch_ahead(slot, layer + 1 == layer_count() ? 0 : layer + 1);
}

bool index::visit(const cubby_policy_visit &visit, uint32_t &layer) {
  if (visit.bank >= first_layer_.size()) return false;
  layer = first_layer_[visit.bank] + visit.row;
  if (layer >= layer_count() || visit.route_count == 0) return false;
  const layer_shape &shape = layers_[layer];
  const float gamma = gamma_now(visit);
  uint32_t values = 0;
  for (uint32_t r = 0; r < visit.route_count; ++r) {
    learn(visit.routes[r], layer, gamma);
    if (values == slots_) continue;
    const size_t slot = visit.routes[r].slot % slots_;
    slot_values_[values++] = values_.data() + slot * lanes_ + shape.at;
  }
  if (gamma != gamma_) age_step_ = -std::log(gamma_ = gamma) / static_cast<float>(layer_count());
  age_ += age_step_;
  kernel_->rank({shape.width, slot_values_.data(), values, age_, keys_.data() + shape.at});
  if (++visits_ % (rebase_cycles * layer_count()) == 0) rebase();
  return true;
}

/// Keys grow with time; small ones are held more exactly.
void index::rebase() {
  for (float &key : keys_) key -= age_;
  age_ = 0;
  rebased_ = true;
}

bool index::rebased() {
  const bool was = rebased_;
  rebased_ = false;
  return was;
}

uint64_t index::state_bytes() const {
  const auto bytes = [](const auto &of) { return of.capacity() * sizeof(of[0]); };
  return sizeof *this + bytes(layers_) + bytes(first_layer_) + bytes(averages_) +
         bytes(logarithms_) + bytes(values_) + bytes(visited_) + bytes(keys_) + bytes(uses_) +
         bytes(tables_) + bytes(old_rows_) + bytes(old_counts_) + bytes(old_own_) +
         bytes(past_sets_) + bytes(pasts_) + bytes(on_) + bytes(was_on_) + bytes(said_) +
         bytes(error_) + bytes(rates_) + bytes(rows_) + bytes(slot_values_) + bytes(trained_) +
         bytes(new_rows_);
}

}  // namespace cubby::placement::moe
