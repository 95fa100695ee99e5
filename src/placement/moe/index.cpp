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

uint32_t whole_lanes(uint32_t count) { return (count + lanes - 1) / lanes * lanes; }

}  // namespace

index::index(const cubby_policy_config &config)
    : slots_(std::max(1u, config.slot_count)),
      capacity_(capacity_of(config)),
      kernel_(&best_kernel()) {
  uint64_t row_bytes = 0, rows = 0;
  uint32_t width_max = lanes;
  for (uint32_t b = 0; b < config.bank_count; ++b) {
    const cubby_policy_bank &bank = config.banks[b];
    first_layer_.push_back(layer_count());
    if (bank.kind != CUBBY_POLICY_BANK_EXPERTS || bank.columns == 0) continue;
    chosen_max_ = std::max(
        chosen_max_, std::min({bank.columns, chosen_limit, std::max(bank.routed_count, 1u) * 2}));
    for (uint32_t row = 0; row < bank.rows; ++row) {
      const uint32_t width = whole_lanes(bank.columns);
      layers_.push_back(
          {bank.first_object + row * bank.columns, bank.columns, width, lanes_, 0, 0});
      lanes_ += width;
      row_bytes += uint64_t{bank.columns} * width * sizeof(float);
      working_set_ += bank.routed_count;
      width_max = std::max(width_max, width);
    }
  }
  while (sources_ > 0 && sources_ * row_bytes > table_bytes_max) --sources_;
  uint64_t table_floats = 0;
  for (layer_shape &layer : layers_) {
    layer.updates = rows;
    layer.table = table_floats;
    rows += uint64_t{sources_} * layer.experts;
    table_floats += uint64_t{sources_} * layer.experts * layer.width;
  }
  averages_.resize(size_t{slots_} * lanes_ * average_count);
  logarithms_.resize(averages_.size());
  values_.resize(size_t{slots_} * lanes_);
  was_on_.resize(values_.size());
  visited_.resize(size_t{slots_} * layers_.size());
  keys_.resize(lanes_);
  exists_.resize(lanes_);
  tables_.resize(table_floats);
  updates_.resize(rows);
  const size_t row_slots = size_t{std::max(sources_, 1u)} * chosen_max_;
  old_rows_.resize(size_t{slots_} * layers_.size() * row_slots);
  old_counts_.resize(size_t{slots_} * layers_.size());
  past_sets_.resize(size_t{slots_} * sources_max * chosen_max_);
  pasts_.resize(slots_);
  on_.resize(width_max);
  error_.resize(width_max);
  rates_.resize(row_slots);
  rows_.resize(row_slots);
  trained_.resize(row_slots);
  new_rows_.resize(row_slots);
  slot_values_.resize(slots_);
  for (const layer_shape &layer : layers_)
    for (uint32_t e = 0; e < layer.experts; ++e) exists_[layer.at + e] = 1;
  used_mean_ = static_cast<double>(working_set_) / std::max<double>(1, layer_count());
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

/// How far one looks ahead: further where more token cycles fit.
float index::gamma_now(const cubby_policy_visit &visit) {
  used_mean_ += 0.001 * (visit.used_count - used_mean_);
  if (slots_ > 1) return batch_gamma;
  const double cycles = capacity_ / std::max(1.0, used_mean_ * layer_count());
  return static_cast<float>(std::clamp(2 * cycles / (2 * cycles + 1), 0.6, 0.9));
}

/// The rows of the tables that speak of this layer: one for each expert just used in it and in the
/// layers run just before.
void index::collect_rows(const cubby_policy_route &route, uint32_t slot, uint32_t layer) {
  const layer_shape &shape = layers_[layer];
  new_rows_.clear();
  const uint32_t own = std::min(route.count, chosen_max_);
  for (uint32_t i = 0; sources_ > 0 && i < own; ++i)
    new_rows_.push_back(route.objects[i] - shape.first);
  const slot_past &past = pasts_[slot];
  for (uint32_t source = 1; source < sources_ && source <= past.visits; ++source) {
    const uint32_t at = (past.visits - source) % sources_max;
    const uint16_t *set = past_sets_.data() + (size_t{slot} * sources_max + at) * chosen_max_;
    for (uint32_t i = 0; i < past.count[at]; ++i)
      if (set[i] < shape.experts) new_rows_.push_back(source * shape.experts + set[i]);
  }
}

/// Asks for the rows that the next layer will train: its tables are mostly not in the near caches.
void index::fetch_ahead(uint32_t slot, uint32_t layer) const {
  const layer_shape &shape = layers_[layer];
  const size_t here = size_t{slot} * layers_.size() + layer;
  const size_t row_slots = size_t{std::max(sources_, 1u)} * chosen_max_;
  const uint32_t *rows = old_rows_.data() + here * row_slots;
  for (uint32_t r = 0; r < old_counts_[here]; ++r) {
    const float *row = tables_.data() + shape.table + uint64_t{rows[r]} * shape.width;
    for (uint32_t at = 0; at < shape.width; at += 16) __builtin_prefetch(row + at, 1);
  }
}

void index::remember(const cubby_policy_route &route, uint32_t slot, uint32_t layer) {
  slot_past &past = pasts_[slot];
  const uint32_t at = past.visits % sources_max;
  uint16_t *set = past_sets_.data() + (size_t{slot} * sources_max + at) * chosen_max_;
  past.count[at] = std::min(route.count, chosen_max_);
  past.layer[at] = layer;
  for (uint32_t i = 0; i < past.count[at]; ++i)
    set[i] = static_cast<uint16_t>(route.objects[i] - layers_[layer].first);
  ++past.visits;
}

void index::learn(const cubby_policy_route &route, uint32_t layer, float gamma) {
  const layer_shape &shape = layers_[layer];
  const uint32_t slot = route.slot % slots_;
  std::fill_n(on_.begin(), shape.width, 0.0F);
  for (uint32_t i = 0; i < route.count; ++i) on_[route.objects[i] - shape.first] = 1;
  collect_rows(route, slot, layer);
  float *tables = tables_.data() + shape.table;
  const size_t here = size_t{slot} * layers_.size() + layer;
  const size_t row_slots = size_t{std::max(sources_, 1u)} * chosen_max_;
  uint32_t *old_rows = old_rows_.data() + here * row_slots;
  const uint32_t old_count = old_counts_[here];
  for (uint32_t r = 0; r < old_count; ++r) {
    const auto n = static_cast<float>(updates_[shape.updates + old_rows[r]]++);
    rates_[r] = table_rate * (1 + young_rate / std::sqrt(1 + n / young_updates));
    trained_[r] = tables + uint64_t{old_rows[r]} * shape.width;
  }
  const auto new_count = static_cast<uint32_t>(new_rows_.size());
  for (uint32_t r = 0; r < new_count; ++r) rows_[r] = tables + uint64_t{new_rows_[r]} * shape.width;
  const size_t lane = size_t{slot} * lanes_ + shape.at;
  kernel_->learn({shape.width, gamma, visited_[here] != 0, on_.data(), exists_.data() + shape.at,
                  was_on_.data() + lane, averages_.data() + lane * average_count,
                  logarithms_.data() + lane * average_count, values_.data() + lane, rows_.data(),
                  new_count, trained_.data(), rates_.data(), old_count, weights_, squares_,
                  error_.data()});
  visited_[here] = 1;
  std::copy(new_rows_.begin(), new_rows_.end(), old_rows);
  old_counts_[here] = new_count;
  remember(route, slot, layer);
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
  age_ += -std::log(gamma) / static_cast<float>(layer_count());
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
         bytes(logarithms_) + bytes(values_) + bytes(was_on_) + bytes(visited_) + bytes(keys_) +
         bytes(exists_) + bytes(tables_) + bytes(updates_) + bytes(old_rows_) + bytes(old_counts_) +
         bytes(past_sets_) + bytes(pasts_) + bytes(on_) + bytes(error_) + bytes(rates_) +
         bytes(rows_) + bytes(slot_values_) + bytes(trained_) + bytes(new_rows_);
}

}  // namespace cubby::placement::moe
