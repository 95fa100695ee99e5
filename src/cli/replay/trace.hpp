// A trace in memory: which experts tokens chose, which KV blocks requests named, or both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cubby_cli::replay {

inline constexpr uint16_t not_recorded = 0xFFFF;
inline constexpr uint32_t experts_max = 4096, layers_max = 1024, top_k_max = 256;
inline constexpr uint64_t held_max = uint64_t{1} << 28;  // uses in one trace

struct expert_sequence {
  uint64_t first_token = 0;
  uint32_t token_count = 0, prefill_tokens = 0;
};

struct expert_trace {
  uint32_t layers = 0, experts = 0, top_k = 0;
  std::vector<expert_sequence> sequences;
  std::vector<uint16_t> chosen;  // [token][layer][k]; not_recorded where there is nothing

  [[nodiscard]] const uint16_t *at(uint64_t token, uint32_t layer) const {
    return chosen.data() + (token * layers + layer) * top_k;
  }
  [[nodiscard]] uint64_t tokens() const {
    return layers * top_k == 0 ? 0 : chosen.size() / (uint64_t{layers} * top_k);
  }
};

struct kv_request {
  uint64_t at_ns = 0;
  uint64_t first_block = 0;  // in kv_trace::blocks
  uint32_t block_count = 0;
  uint64_t tokens_before = 0;  // of all sequences: behind so many it is served; 0 without experts
};

struct kv_trace {
  std::vector<kv_request> requests;
  std::vector<uint32_t> blocks;  // numbered in the order of their first coming
  uint32_t unique = 0;
  uint64_t tokens = 0;  // of all prompts; 0 where not every request tells its own
};

enum class trace_kind { experts, kv, mixed };

struct trace {
  trace_kind kind = trace_kind::kv;
  expert_trace experts;
  kv_trace kv;
  uint64_t lost = 0;               // visits or requests that the recorder could not keep
  std::vector<std::string> notes;  // what is worth saying of it

  [[nodiscard]] bool has_experts() const { return kind != trace_kind::kv; }
  [[nodiscard]] bool has_blocks() const { return kind != trace_kind::experts; }
};

/// "experts", "kv" or "mixed".
const char *name_of(trace_kind kind);
/// For sentences: "experts", "KV blocks" or "experts and KV blocks".
const char *words_for(trace_kind kind);

/// Cuts all requests but the first `count` off.
void keep_requests(kv_trace &of, size_t count);

}  // namespace cubby_cli::replay
