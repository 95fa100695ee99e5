// The sums of the plan, each a function of plain numbers. docs/plan.md tells where each is from.
#pragma once

#include <cstdint>
#include <optional>

namespace cubby_cli::plan {

/// For printing: what 64 bits do not hold is their most.
inline uint64_t whole(double value) {
  constexpr double most = 1.8e19;
  if (value >= most) return UINT64_MAX;
  return value > 0 ? static_cast<uint64_t>(value) : 0;
}

/// The roofline: products take as long as reading their weights or as their arithmetic does,
/// whichever is longer. Williams et al., CACM 2009.
double product_s(double bytes, double bytes_per_s, double flops, std::optional<double> flop_per_s);

/// What is moved, and one latency for each round of requests that are waited for together.
double move_s(double bytes, double bytes_per_s, double rounds, double latency_s);

/// Of `layers`, those in which at least one of `each` independent uses has to be fetched.
double layers_with_misses(double layers, double each, double miss_share);

/// Compute waits for moves that are not hidden behind it. Those known beforehand hide as far as
/// they fit; of the rest of compute a share of `overlap` hides what is known only once it is
/// needed.
double stall_s(double compute_s, double known_move_s, double late_move_s, double overlap);

/// Requests a second where prompts are computed one after the other, and answers step by step for
/// all users together.
double sustained_per_s(double users, double prompt_s, double output_tokens, double step_s);

/// Money for a second of a machine that is bought: its price over its years, and electricity.
double usd_per_s(double price_usd, double years, double watt, double usd_per_kwh);
double usd_per_million(double usd_each_s, double tokens_per_s);

/// Joules of one step, or of its share in a token: weights, KV and arithmetic, as arXiv 2508.06978
/// counts them.
struct step_energy {
  double local_bytes = 0, local_joules_per_byte = 0;  // read where the products are
  double moved_joules = 0;                            // to read elsewhere, and to write there
  double flops = 0;
  double background_watt = 0, step_s = 0;
};
double joules(const step_energy &of);
/// On-chip: 0.16 pJ a bf16 operation, 0.16 and 0.3 pJ a bit through L1 and L2.
inline constexpr double joules_per_flop = 0.16e-12, cache_joules_per_byte = 8 * 0.46e-12;

/// Of moving a byte: read there, written here.
double move_joules(double bytes, double joules_per_byte, double local_joules_per_byte);

double years_of_writes(double endurance_bytes, double write_bytes_per_s);
inline constexpr double seconds_per_year = 365.25 * 86400;

/// Price of so many input tokens at a provider that bills cached ones apart.
double input_usd(double tokens, double hit_share, double hit_usd_per_million,
                 double miss_usd_per_million);

/// The least x in [least, most] for which `pays` is true, on a grid and then by halving; nothing
/// where it is true nowhere.
template <class Pays>
std::optional<double> first_that(double least, double most, const Pays &pays) {
  constexpr int grid = 64, halvings = 40;
  double before = least;
  if (pays(least)) return least;
  for (int i = 1; i <= grid; i++) {
    const double at = least + (most - least) * i / grid * i / grid;  // closer together at first
    if (!pays(at)) {
      before = at;
      continue;
    }
    double good = at;
    for (int half = 0; half < halvings; half++) {
      const double middle = (before + good) / 2;
      (pays(middle) ? good : before) = middle;
    }
    return good;
  }
  return std::nullopt;
}

}  // namespace cubby_cli::plan
