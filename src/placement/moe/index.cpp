#include "placement/moe/index.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "placement/describe.hpp"

namespace cubby::placement::moe {
namespace {

constexpr float table_rate = 0.008F, young_rate = 5, young_updates = 8;
constexpr uint32_t chosen_limit = 64;  // experts of one token and layer that are learned from
constexpr float batch_gamma = 0.3F;
constexpr uint64_t rebase_cycles = 256;
constexpr uint32_t uses_max = 0xFFFF;
constexpr uint64_t near_bytes = uint64_t{1} << 20;  // tables that a processor's own cache holds
constexpr uint32_t many_experts = 64, sources_of_many = 4;  // their tables are beyond the caches
constexpr uint64_t line_words = 32;                         // of a table, in a cache line
constexpr uint64_t beside_bytes = 32;                       // a lane: residents, and the LRU guard

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
    return static_cast<int16_t>(std::lround(of * rate_scale));
  }
  int16_t young_[steps], old_[steps];
};

int16_t rate_after(uint32_t uses) {
  static const rate_table rates;
  return rates.at(uses);
}

}  // namespace

index::index(const cubby_policy_config &config, const kernel &by)
    : batch_slots_(std::max(1u, config.slot_count)),
      capacity_(capacity_of(config)),
      kernel_(&by),
      forecasts_(0, 0, 0) {
  lay_out(config);
  ring_ = std::bit_ceil(2 * layer_count() + sources_max);
  slots_ = std::clamp(batch_slots_, 1u, slots_that_fit());
  forecasts_ = forecasts(slots_, layer_count(), lanes_);
  foreseen_.resize(size_t{slots_} * width_max_);
  layer_ages_.resize(layers_.size());
  layer_visits_.resize(layers_.size());
  took_part_.resize(slots_ * layers_.size());
  averages_.resize(size_t{slots_} * lanes_ * average_count);
  logarithms_.resize(averages_.size());
  values_.resize(size_t{slots_} * lanes_);
  last_visit_.resize(size_t{slots_} * layers_.size());
  keys_.resize(lanes_);
  uses_.resize(lanes_);
  past_sets_.resize(size_t{slots_} * ring_ * chosen_max_);
  past_counts_.resize(size_t{slots_} * ring_);
  past_visits_.resize(slots_);
  on_.resize(width_max_);
  was_on_.resize(width_max_);
  said_.resize(width_max_);
  error_.resize(width_max_);
  slot_values_.resize(slots_);
  choose_sources();
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
      layers_.push_back(
          {bank.first_object + row * bank.columns, bank.columns, width, lanes_, 0, 0, 1});
      lanes_ += width;
      working_set_ += bank.routed_count;
      width_max_ = std::max(width_max_, width);
    }
  }
  first_layer_.push_back(layer_count());
  layers_.shrink_to_fit();
  weigh(config);
}

/// Beside the tables, which get as much again. Where there are more, several sequences share a
/// slot.
uint32_t index::slots_that_fit() const {
  constexpr uint64_t of_lane = (2 * average_count + 1) * sizeof(float);
  const uint64_t of_past = ring_ * (chosen_max_ * sizeof(uint32_t) + sizeof(uint16_t));
  const uint64_t of_slot = lanes_ * of_lane + layers_.size() * 2 * sizeof(uint32_t) + of_past +
                           width_max_ * sizeof(float) + sizeof(uint32_t) + sizeof(float *);
  return static_cast<uint32_t>(std::max<uint64_t>(1, state_bytes_max / 2 / of_slot));
}

/// What a hit in each layer saves: alike where not all costs are known.
void index::weigh(const cubby_policy_config &config) {
  double time = 0, bytes = 0, count = 0;
  bool known = true;
  for (uint32_t b = 0; b < config.bank_count; ++b) {
    const cubby_policy_bank &bank = config.banks[b];
    if (bank.kind != CUBBY_POLICY_BANK_EXPERTS || bank.columns == 0) continue;
    const double lockers = static_cast<double>(bank.rows) * bank.columns;
    known = known && bank.refetch_ns != 0 && bank.object_bytes != 0;
    time += lockers * static_cast<double>(bank.refetch_ns);
    bytes += lockers * static_cast<double>(bank.object_bytes);
    count += lockers;
  }
  for (uint32_t b = 0; b < config.bank_count; ++b) {
    const cubby_policy_bank &bank = config.banks[b];
    if (bank.kind != CUBBY_POLICY_BANK_EXPERTS || bank.columns == 0) continue;
    const auto cost = static_cast<double>(bank.refetch_ns);
    const double a_byte = cost / static_cast<double>(std::max<uint64_t>(bank.object_bytes, 1));
    for (uint32_t row = 0; row < bank.rows; ++row) {
      layer_shape &layer = layers_[first_layer_[b] + row];
      layer.worth = known ? static_cast<float>(std::log(a_byte * bytes / time)) : 0;
      layer.weight = known ? cost * count / time : 1;
    }
  }
}

void index::change(const cubby_policy_config &config) {
  capacity_ = capacity_of(config);
  weigh(config);
}

/// As many as find room beside everything else.
void index::choose_sources() {
  uint64_t row_bytes = 0;
  for (const layer_shape &layer : layers_) {
    table_rows_ = std::max(table_rows_, layer.experts);
    row_bytes += layer.width * sizeof(int16_t);
  }
  const uint64_t others = state_bytes() + beside_bytes * lanes_ + 4096;
  if (table_rows_ > many_experts) sources_ = sources_of_many;
  while (sources_ > 0 && (others + uint64_t{sources_} * table_rows_ * row_bytes > state_bytes_max ||
                          table_rows_ > 0x10000))
    --sources_;
  uint64_t numbers = 0;
  for (layer_shape &layer : layers_) {
    layer.table = numbers;
    numbers += uint64_t{sources_} * table_rows_ * layer.width;
  }
  tables_.resize(numbers + line_words);
  far_ = numbers * sizeof(int16_t) > near_bytes;
  // Rows begin where a cache line does.
  const auto behind = reinterpret_cast<uintptr_t>(tables_.data()) / sizeof(int16_t) % line_words;
  for (layer_shape &layer : layers_) layer.table += (line_words - behind) % line_words;
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
  if (config.bank_count + 1 != first_layer_.size()) return false;
  if (config.slot_count > batch_slots_) return false;
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

/// Where all layers are alike the first guess is right.
uint32_t index::layer_at(uint32_t lane) const {
  auto at = static_cast<uint32_t>(uint64_t{lane} * layer_count() / lanes_);
  while (layers_[at].at > lane) --at;
  while (at + 1 < layer_count() && layers_[at + 1].at <= lane) ++at;
  return at;
}

/// How far one looks ahead: further where more token cycles fit.
void index::look_ahead() {
  const double cycles = capacity_ / std::max(1.0, used_mean_ * layer_count());
  const double gamma = std::clamp(2 * cycles / (2 * cycles + 1), 0.6, 0.9);
  gamma_ = slots_ > 1 ? batch_gamma : static_cast<float>(gamma);
  age_step_ = -std::log(gamma_) / static_cast<float>(layer_count());
}

/// Counts a use; how fast the rows of an expert used that often learn.
int16_t index::next_rate(uint32_t lane) {
  const uint16_t n = uses_[lane];
  if (n < uses_max) ++uses_[lane];
  return rate_after(n);
}

/// Stores the used experts as rows of tables.
void index::remember(const cubby_policy_route &route, uint32_t slot, uint32_t layer) {
  const layer_shape &shape = layers_[layer];
  const size_t at = size_t{slot} * ring_ + (past_visits_[slot]++ & (ring_ - 1));
  const uint32_t count = std::min(route.count, chosen_max_);
  uint32_t *to = past_sets_.data() + at * chosen_max_;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t expert = route.objects[i] - shape.first;
    to[i] = expert | static_cast<uint32_t>(next_rate(shape.at + expert)) << 16;
  }
  past_counts_[at] = static_cast<uint16_t>(count);
}

/// The sets of a slot's visits up to the one of this number, the last first.
uint32_t index::sets_before(uint32_t slot, uint32_t visit, used_rows *to) const {
  if (past_visits_[slot] - visit + sources_ > ring_) return 0;  // written over
  const uint32_t count = std::min(sources_, visit), mask = ring_ - 1, chosen = chosen_max_;
  const uint32_t *sets = past_sets_.data() + size_t{slot} * ring_ * chosen;
  const uint16_t *counts = past_counts_.data() + size_t{slot} * ring_;
  for (uint32_t source = 0; source < count; ++source) {
    const uint32_t at = (visit - 1 - source) & mask;
    to[source] = {sets + size_t{at} * chosen, counts[at]};
  }
  return count;
}

/// Asks for the rows that the next layer will train.
void index::fetch_ahead(uint32_t slot, uint32_t layer) {
  const layer_shape &shape = layers_[layer];
  used_rows sets[sources_max];
  const uint32_t count =
      sets_before(slot, last_visit_[size_t{slot} * layers_.size() + layer], sets);
  const int16_t *table = tables_.data() + shape.table;
  for (uint32_t s = 0; s < count; ++s, table += size_t{table_rows_} * shape.width) {
    for (uint32_t i = 0; i < sets[s].count; ++i) {
      const int16_t *row = table + size_t{sets[s].rows[i] & 0xFFFF} * shape.width;
      for (uint32_t at = 0; at < shape.width; at += line_words) __builtin_prefetch(row + at, 1);
    }
  }
}

void index::learn(const cubby_policy_route &route, uint32_t layer) {
  const layer_shape &shape = layers_[layer];
  const uint32_t slot = route.slot % slots_;
  uint32_t &last = last_visit_[size_t{slot} * layers_.size() + layer];
  remember(route, slot, layer);
  used_rows said_by[sources_max], trained[sources_max];
  const uint32_t said_count = sets_before(slot, past_visits_[slot], said_by);
  const uint32_t trained_count = sets_before(slot, last, trained);
  std::fill_n(on_.data(), shape.width, 0.0F);
  std::fill_n(was_on_.data(), shape.width, 0.0F);
  for (uint32_t i = 0; i < route.count; ++i) on_[route.objects[i] - shape.first] = 1;
  for (uint32_t i = 0; trained_count > 0 && i < trained[0].count; ++i)
    was_on_[trained[0].rows[i] & 0xFFFF] = 1;
  const size_t lane = size_t{slot} * lanes_ + shape.at;
  const auto dither = static_cast<uint32_t>((visits_ * slots_ + slot) * 0x9E3779B9U);
  kernel_->learn({shape.width,
                  shape.experts,
                  gamma_,
                  last != 0,
                  on_.data(),
                  was_on_.data(),
                  averages_.data() + lane * average_count,
                  logarithms_.data() + lane * average_count,
                  values_.data() + lane,
                  tables_.data() + shape.table,
                  table_rows_,
                  said_by,
                  said_count,
                  trained,
                  trained_count,
                  dither,
                  weights_,
                  squares_,
                  said_.data(),
                  error_.data()});
  last = past_visits_[slot];
  forecasts_.run(slot, layer);
  forecasts_.compare(slot, layer, shape.at, on_.data(), shape.experts);
  if (far_) fetch_ahead(slot, layer + 1 == layer_count() ? 0 : layer + 1);
}

bool index::visit(const cubby_policy_visit &visit, uint32_t &layer) {
  // A bank of another kind has no layers.
  if (visit.bank + 1 >= first_layer_.size() || visit.route_count == 0) return false;
  if (visit.row >= first_layer_[visit.bank + 1] - first_layer_[visit.bank]) return false;
  layer = first_layer_[visit.bank] + visit.row;
  used_mean_ += 0.001 * (visit.used_count - used_mean_);
  if (layer == 0 || age_step_ == 0) look_ahead();
  ++layer_visits_[layer];
  for (uint32_t r = 0; r < visit.route_count; ++r) {
    learn(visit.routes[r], layer);
    took_part_[visit.routes[r].slot % slots_ * layers_.size() + layer] = layer_visits_[layer];
  }
  age_ += age_step_;
  layer_ages_[layer] = age_;
  rank(layer);
  if (++visits_ % (rebase_cycles * layer_count()) == 0) rebase();
  return true;
}

/// The layer's keys, by what its slots are worth together.
void index::rank(uint32_t layer) {
  const layer_shape &shape = layers_[layer];
  uint32_t count = 0;
  for (uint32_t slot = 0; slot < slots_; ++slot) {
    if (took_part_[slot * layers_.size() + layer] != layer_visits_[layer]) continue;
    const float *values = values_.data() + size_t{slot} * lanes_ + shape.at;
    if (forecasts_.any(slot, layer)) {
      float *foreseen = foreseen_.data() + size_t{slot} * width_max_;
      forecasts_.apply(slot, layer, shape.at, values, gamma_, shape.width, foreseen);
      values = foreseen;
    }
    slot_values_[count++] = values;
  }
  if (layer_visits_[layer] == 0) return;  // nothing is known
  kernel_->rank({shape.width, slot_values_.data(), count, layer_ages_[layer] - shape.worth,
                 keys_.data() + shape.at});
}

bool index::expect(const cubby_policy_hint &hint, uint32_t layer) {
  const layer_shape &shape = layers_[layer];
  const uint32_t slot = hint.slot % slots_;
  bool taken = false;
  for (uint32_t i = 0; i < hint.object_count; ++i) {
    const uint32_t expert = hint.objects[i] - shape.first;  // wraps for lower numbers
    if (expert >= shape.experts) continue;
    taken = forecasts_.begin(slot, layer, shape.at, shape.experts, hint.ahead);
    if (!taken) break;
    const float probability = hint.probabilities == nullptr ? 1 : hint.probabilities[i];
    forecasts_.expect(slot, shape.at + expert, hint.ahead, probability);
  }
  return taken;
}

/// Keys grow with time; small ones are held more exactly.
void index::rebase() {
  for (float &key : keys_) key -= age_;
  for (float &age : layer_ages_) age -= age_;
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
         bytes(logarithms_) + bytes(values_) + bytes(keys_) + bytes(uses_) + bytes(tables_) +
         bytes(past_sets_) + bytes(past_counts_) + bytes(past_visits_) + bytes(last_visit_) +
         bytes(on_) + bytes(was_on_) + bytes(said_) + bytes(error_) + bytes(slot_values_) +
         bytes(foreseen_) + bytes(layer_ages_) + bytes(layer_visits_) + bytes(took_part_) +
         forecasts_.bytes();
}

}  // namespace cubby::placement::moe
