// How long a step and the first token take with a given layout.
#pragma once

#include <algorithm>
#include <vector>

#include "cli/plan/layout.hpp"

namespace cubby_cli::plan {

/// So much the runtime has in flight of one path: what is fetched ahead, and what is waited for
/// (transfer/channel.hpp).
inline constexpr double ahead_bytes_max = 4 << 20, demand_bytes_max = 8 << 20;

/// One step: a token for every user.
struct step_times {
  double local_bytes = 0;  // read by products
  double flops = 0;
  double compute_s = 0, known_move_s = 0, late_move_s = 0, stall_s = 0;
  double digest_s = 0;               // of what is moved, by one thread; a part of the moves
  std::vector<double> move_s;        // from each place, whatever hides it
  double hits = 1;                   // of routed experts, in the first place
  std::vector<double> moved_bytes;   // from each place
  std::vector<double> expert_share;  // of the experts used, found in each place
  /// How fast they come from each place, with as many in flight as a layer misses.
  std::vector<double> expert_bytes_per_s;
  /// And by how much the last of those reads is expected to end behind the mean of them.
  std::vector<double> last_behind_s;

  [[nodiscard]] double step_s() const { return compute_s + stall_s; }
  [[nodiscard]] double stall_share() const { return stall_s / step_s(); }
};
step_times time_step(const question &of, const std::vector<place> &places, const layout &parts);

/// Of a prompt, computed together.
inline constexpr double prompt_chunk_tokens = 2048;

/// The first token of a request whose prompt is the context.
struct first_token {
  double new_tokens = 0, flops = 0;
  double compute_s = 0;               // of the tokens that are new
  double move_s = 0;                  // of the weights they need
  double load_bytes = 0, load_s = 0;  // of KV that is found
  double step_s = 0;
  double local_bytes = 0;           // read by products
  std::vector<double> moved_bytes;  // from each place: weights, and KV that is found

  /// What the machine spends on the prompt.
  [[nodiscard]] double prompt_s() const { return std::max(compute_s, move_s) + load_s; }
  [[nodiscard]] double all_s() const { return prompt_s() + step_s; }
};
first_token time_first(const question &of, const std::vector<place> &places, const layout &parts,
                       const step_times &step);

/// Arithmetic that a prompt can count on: a part of the peak, or, where no peak is known, what
/// products of one vector reach, which is a lower bound.
quantity prompt_flop_per_s(const question &of);

/// Where the KV of a session that is not active lies; the first place where none does.
size_t kv_store(const layout &parts);
/// Loading the KV of so many tokens from there, and computing it anew.
double load_kv_s(const question &of, const place &from, double tokens);
double recompute_kv_s(const question &of, double tokens);

}  // namespace cubby_cli::plan
