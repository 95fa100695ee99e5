#include "cli/plan/layout.hpp"

#include <algorithm>

#include "cli/plan/formulas.hpp"

namespace cubby_cli::plan {
namespace {

void put(part &one, const std::vector<place> &places, layout &into) {
  one.placed.assign(places.size(), 0);
  double left = one.bytes;
  for (size_t at = 0; at < places.size() && left > 0; at++) {
    if (one.every_step && !places[at].serves_steps) continue;
    const double room = std::max(0.0, places[at].budget_bytes - into.used_bytes[at]);
    const double taken = std::min(room, left);
    one.placed[at] = taken;
    into.used_bytes[at] += taken;
    left -= taken;
  }
  into.missing_bytes += left;
}

/// Of the input's embeddings a token reads a row, so they may lie anywhere; where the output shares
/// their matrix, all of it is read.
double input_bytes(const model_shape &of) {
  if (of.tied_embeddings) return 0;
  if (of.input_embedding_bytes) return *of.input_embedding_bytes;
  return std::min(embedding_parameters(of) * of.dense_weight_bytes, dense_bytes(of) / 2);
}

std::string milliseconds(double seconds) { return short_number(1e3 * seconds) + " ms"; }

}  // namespace

const part *layout::find(part_kind kind) const {
  for (const part &one : parts)
    if (one.kind == kind) return &one;
  return nullptr;
}

bool layout::all_local() const {
  for (const part &one : parts)
    if (one.every_step && one.bytes - one.placed[0] > 1) return false;
  return true;
}

double longest_context(const question &of) {
  constexpr double usual = 1 << 20;
  return of.model.context_max > 0 ? static_cast<double>(of.model.context_max)
                                  : std::max(of.context.value, usual);
}

double experts_in_step(const question &of) {
  return distinct_experts(of.model.routed_experts, of.model.top_k, of.users.value);
}

std::vector<part> parts_of(const question &of) {
  const model_shape &model = of.model;
  const double context = of.context.value, users = of.users.value;
  const double all_but_experts = of.experts_alone ? 0 : 1;
  const double input = all_but_experts * input_bytes(model);
  const double dense = all_but_experts * dense_bytes(model) - input;
  std::vector<part> all = {{part_kind::dense, "dense weights", dense, dense, true, {}},
                           {part_kind::kv,
                            "KV of active users",
                            all_but_experts * users * kv_bytes(model, of.kv, context),
                            all_but_experts * users * kv_read_bytes(model, of.kv, context),
                            true,
                            {}}};
  if (model.has_experts())
    all.push_back({part_kind::experts,
                   "routed experts",
                   routed_bytes(model),
                   model.moe_layers * experts_in_step(of) * expert_bytes_each(model),
                   true,
                   {}});
  if (of.sessions.value > users && !of.experts_alone)
    all.push_back({part_kind::stored_kv,
                   "KV of other sessions",
                   (of.sessions.value - users) * kv_bytes(model, of.kv, context),
                   0,
                   false,
                   {}});
  if (input > 0)
    all.push_back(
        {part_kind::input, "input embeddings", input, users * input / model.vocab, false, {}});
  if (model.table_bytes > 0 && !of.experts_alone)
    all.push_back({part_kind::table,
                   "lookup tables",
                   model.table_bytes,
                   users * model.table_read_bytes,
                   false,
                   {}});
  return all;
}

void admit(const question &of, std::vector<place> &places) {
  if (!of.wanted) return;
  const double layers = of.model.layers;
  const double piece = expert_bytes_each(of.model);
  for (size_t at = 1; at < places.size(); at++) {
    place &one = places[at];
    const double worst = move_s(std::max(piece, 1.0), one.bytes_per_s, 1, one.latency_s) * layers;
    if (worst <= of.wanted->token_s) continue;
    one.serves_steps = false;
    one.excluded = "one miss in each of " + short_number(layers) + " layers takes " +
                   milliseconds(worst) + ", " + of.wanted->name + " allows " +
                   milliseconds(of.wanted->token_s) + " a token";
  }
}

layout lay_out(const question &of, const std::vector<place> &places) {
  layout made;
  made.parts = parts_of(of);
  made.used_bytes.assign(places.size(), 0);
  std::vector<part *> order;
  for (part &one : made.parts) order.push_back(&one);
  std::stable_sort(order.begin(), order.end(),
                   [](const part *a, const part *b) { return a->heat() > b->heat(); });
  for (part *one : order) put(*one, places, made);
  return made;
}

}  // namespace cubby_cli::plan
