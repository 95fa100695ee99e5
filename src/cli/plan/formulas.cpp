#include "cli/plan/formulas.hpp"

#include <algorithm>
#include <cmath>

namespace cubby_cli::plan {

double product_s(double bytes, double bytes_per_s, double flops, std::optional<double> flop_per_s) {
  const double reading = bytes / bytes_per_s;
  return flop_per_s ? std::max(reading, flops / *flop_per_s) : reading;
}

double move_s(double bytes, double bytes_per_s, double rounds, double latency_s) {
  return bytes <= 0 ? 0 : bytes / bytes_per_s + rounds * latency_s;
}

double layers_with_misses(double layers, double each, double miss_share) {
  return layers * (1 - std::pow(1 - std::clamp(miss_share, 0.0, 1.0), each));
}

double stall_s(double compute_s, double known_move_s, double late_move_s, double overlap) {
  const double hidden = std::min(compute_s, known_move_s);
  return known_move_s - hidden + std::max(0.0, late_move_s - overlap * (compute_s - hidden));
}

double sustained_per_s(double users, double prompt_s, double output_tokens, double step_s) {
  return users / (users * prompt_s + output_tokens * step_s);
}

double usd_per_s(double price_usd, double years, double watt, double usd_per_kwh) {
  return price_usd / (years * seconds_per_year) + watt * usd_per_kwh / 3.6e6;
}

double usd_per_million(double usd_each_s, double tokens_per_s) {
  return 1e6 * usd_each_s / tokens_per_s;
}

double joules(const step_energy &of) {
  return of.local_bytes * (of.local_joules_per_byte + cache_joules_per_byte) + of.moved_joules +
         of.flops * joules_per_flop + of.background_watt * of.step_s;
}

double move_joules(double bytes, double joules_per_byte, double local_joules_per_byte) {
  return bytes * (joules_per_byte + local_joules_per_byte);
}

double years_of_writes(double endurance_bytes, double write_bytes_per_s) {
  return endurance_bytes / (write_bytes_per_s * seconds_per_year);
}

double input_usd(double tokens, double hit_share, double hit_usd_per_million,
                 double miss_usd_per_million) {
  return tokens / 1e6 * (hit_share * hit_usd_per_million + (1 - hit_share) * miss_usd_per_million);
}

}  // namespace cubby_cli::plan
