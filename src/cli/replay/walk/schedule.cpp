#include "cli/replay/walk/schedule.hpp"

#include <algorithm>

namespace cubby_cli::replay {
namespace {

/// Gives each slot its tokens: a slot whose sequence is over takes the next one that waits.
class dealer {
 public:
  dealer(const std::vector<expert_sequence> &sequences, uint32_t slots)
      : sequences_(sequences), slots_(slots, {0, 0}) {}

  /// The next token of a slot; false when none is left for it.
  bool next(uint32_t slot, uint64_t &at, bool &prefill) {
    place &here = slots_[slot];
    while (here.left == 0) {
      if (waiting_ == sequences_.size()) return false;
      here = {sequences_[waiting_].token_count, waiting_};
      ++waiting_;
    }
    const expert_sequence &of = sequences_[here.sequence];
    const uint32_t token = of.token_count - here.left--;
    at = of.first_token + token;
    prefill = token < of.prefill_tokens;
    return true;
  }

 private:
  struct place {
    uint32_t left;
    size_t sequence;
  };
  const std::vector<expert_sequence> &sequences_;
  std::vector<place> slots_;
  size_t waiting_ = 0;
};

class builder {
 public:
  builder(const expert_trace &of, expert_schedule &to)
      : of_(of), to_(to), seen_(to.objects()), last_(to.objects(), ~uint64_t{0}) {}

  struct token {
    uint32_t slot;
    uint64_t at;
    bool prefill;
  };

  void add_step(const std::vector<token> &tokens) {
    for (uint32_t layer = 0; layer < of_.layers; ++layer) add_visit(tokens, layer);
  }

 private:
  void add_visit(const std::vector<token> &tokens, uint32_t layer) {
    visit_record visit;
    visit.row = layer;
    visit.first_used = to_.used.size();
    visit.first_route = to_.routes.size();
    ++stamp_;
    for (const token &one : tokens) {
      cubby_policy_route route = {one.slot, 0, nullptr};
      const uint16_t *chosen = of_.at(one.at, layer);
      for (uint32_t k = 0; k < of_.top_k; ++k) {
        if (chosen[k] == not_recorded) continue;
        const cubby_object object = layer * of_.experts + chosen[k];
        ++route.count;
        if (to_.batch > 1) to_.routed.push_back(object);
        if (seen_[object] == stamp_) continue;
        if (seen_[object] == 0) ++to_.unique;
        seen_[object] = stamp_;
        use(object);
      }
      if (route.count != 0) to_.routes.push_back(route);
      visit.prefill |= one.prefill ? 1u : 0u;
    }
    visit.used_count = static_cast<uint32_t>(to_.used.size() - visit.first_used);
    visit.route_count = static_cast<uint32_t>(to_.routes.size() - visit.first_route);
    if (visit.used_count != 0) to_.visits.push_back(visit);
  }
  void use(cubby_object object) {
    if (last_[object] != ~uint64_t{0})
      to_.next[last_[object]] = static_cast<uint32_t>(to_.visits.size());
    last_[object] = to_.used.size();
    to_.used.push_back(object);
    to_.next.push_back(~uint32_t{0});
  }

  const expert_trace &of_;
  expert_schedule &to_;
  std::vector<uint32_t> seen_;
  std::vector<uint64_t> last_;  // where each was used last
  uint32_t stamp_ = 0;
};

}  // namespace

expert_schedule make_schedule(const expert_trace &of, uint32_t batch) {
  std::vector<uint64_t> none;
  return make_schedule(of, batch, {}, none);
}

expert_schedule make_schedule(const expert_trace &of, uint32_t batch,
                              std::span<const kv_request> requests,
                              std::vector<uint64_t> &visits_before) {
  expert_schedule made;
  made.rows = of.layers;
  made.columns = of.experts;
  made.top_k = of.top_k;
  // Slots that no sequence is left for are none: a runtime never hears of them.
  batch = std::clamp<uint32_t>(static_cast<uint32_t>(of.sequences.size()), 1, batch);
  made.batch = batch;
  dealer deal(of.sequences, batch);
  builder build(of, made);
  std::vector<builder::token> step;
  uint64_t dealt = 0;
  do {
    while (visits_before.size() < requests.size() &&
           requests[visits_before.size()].tokens_before <= dealt)
      visits_before.push_back(made.visits.size());
    step.clear();
    for (uint32_t slot = 0; slot < batch; ++slot) {
      builder::token one = {slot, 0, false};
      if (deal.next(slot, one.at, one.prefill)) step.push_back(one);
    }
    dealt += step.size();
    build.add_step(step);
  } while (!step.empty());
  const std::vector<cubby_object> &from = batch > 1 ? made.routed : made.used;
  uint64_t at = 0;
  for (cubby_policy_route &route : made.routes) {
    route.objects = from.data() + at;
    at += route.count;
  }
  return made;
}

namespace {

std::vector<uint32_t> next_touches(const kv_trace &of) {
  std::vector<uint32_t> next(of.blocks.size()), upcoming(of.unique, ~uint32_t{0});
  for (size_t r = of.requests.size(); r-- > 0;) {
    const kv_request &request = of.requests[r];
    const size_t first = request.first_block;
    for (size_t i = first; i < first + request.block_count; ++i) next[i] = upcoming[of.blocks[i]];
    for (size_t i = first; i < first + request.block_count; ++i)
      upcoming[of.blocks[i]] = static_cast<uint32_t>(r);
  }
  return next;
}

}  // namespace

request_schedule make_requests(const kv_trace &of, cubby_object first_block) {
  request_schedule made;
  made.requests = of.requests;
  made.blocks = of.blocks;
  made.first_block = first_block;
  made.unique = of.unique;
  made.next = next_touches(of);
  if (first_block == 0) return made;
  made.renumbered = of.blocks;
  for (cubby_object &block : made.renumbered) block += first_block;
  made.blocks = made.renumbered;
  return made;
}

}  // namespace cubby_cli::replay
