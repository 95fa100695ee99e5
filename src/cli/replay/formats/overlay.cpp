#include "cli/replay/formats/overlay.hpp"
#include "cli/replay/formats/read_trace.hpp"

#include <algorithm>
#include <utility>

namespace cubby_cli::replay {
namespace {

/// Is it of experts, or of blocks, alone?
done suits_overlay(const std::string &path, const trace &of) {
  if (of.kind != trace_kind::mixed) return nothing{};
  return usage_trouble(path + " holds experts and KV blocks already: replay it without --with");
}

void spread(kv_trace &of, uint64_t tokens) {
  const uint64_t first_ns = of.requests.front().at_ns;
  const auto time_ns = static_cast<double>(of.requests.back().at_ns - first_ns);
  const auto count = static_cast<double>(of.requests.size());
  const auto last_token = static_cast<double>(tokens - 1);
  for (size_t i = 0; i < of.requests.size(); ++i) {
    kv_request &one = of.requests[i];
    const double part = time_ns == 0 ? static_cast<double>(i) / count
                                     : static_cast<double>(one.at_ns - first_ns) / time_ns;
    one.tokens_before = static_cast<uint64_t>(part * last_token);
  }
}

void keep_tokens(expert_trace &of, uint64_t count) {
  if (count >= of.tokens()) return;
  of.chosen.resize(count * of.layers * of.top_k);
  std::erase_if(of.sequences, [&](const auto &one) { return one.first_token >= count; });
  expert_sequence &last = of.sequences.back();
  last.token_count =
      static_cast<uint32_t>(std::min<uint64_t>(last.token_count, count - last.first_token));
  last.prefill_tokens = std::min(last.prefill_tokens, last.token_count);
}

}  // namespace

outcome<trace> read_overlaid(const std::string &path, const std::string &with, uint64_t limit) {
  auto below = read_trace(path), above = read_trace(with);
  for (const auto *one : {&below, &above})
    if (!*one) return one->failure();
  if (auto good = suits_overlay(path, *below); !good) return good.failure();
  if (auto good = suits_overlay(with, *above); !good) return good.failure();
  if (below->kind == above->kind)
    return usage_trouble(path + " and " + with + " are both of " + words_for(below->kind) +
                         "; --with lays a trace of KV blocks over one of experts");
  if (!below->has_experts()) std::swap(*below, *above);
  trace made = std::move(*below);
  made.kind = trace_kind::mixed;
  made.kv = std::move(above->kv);
  made.kv.tokens = 0;  // those of prompts are not those that are decoded
  made.lost += above->lost;
  made.notes.insert(made.notes.end(), above->notes.begin(), above->notes.end());
  spread(made.kv, made.experts.tokens());
  keep_tokens(made.experts, limit);
  const auto behind = std::find_if(made.kv.requests.begin(), made.kv.requests.end(),
                                   [&](const auto &one) { return one.tokens_before > limit; });
  keep_requests(made.kv, static_cast<size_t>(behind - made.kv.requests.begin()));
  if (made.kv.blocks.empty())
    return usage_trouble(with + " names no block within --limit; make it larger");
  return made;
}

}  // namespace cubby_cli::replay
