#include <algorithm>

#include "cli/replay/formats/compact.hpp"

namespace cubby_cli::replay {
namespace {

constexpr size_t block_bytes = size_t{1} << 16;  // a block is told once it has so much

void put_u32(std::string &to, uint32_t value) {
  for (int i = 0; i < 4; ++i) to += static_cast<char>(value >> (8 * i));
}

void put_number(std::string &to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

class compact_writer {
 public:
  explicit compact_writer(const std::function<done(std::string_view)> &put) : put_(put) {}

  done head() {
    std::string text = CUBBY_TRACE_MAGIC;
    put_u32(text, CUBBY_TRACE_VERSION);
    put_u32(text, cubby_trace_check(0, text.data(), text.size()));
    return put_(text);
  }
  done block(uint32_t kind, const std::string &payload) {
    std::string text;
    put_u32(text, kind);
    put_u32(text, static_cast<uint32_t>(payload.size()));
    put_u32(text, blocks_++);
    put_u32(text, cubby_trace_check(cubby_trace_check(0, text.data(), text.size()), payload.data(),
                                    payload.size()));
    return put_(text + payload);
  }

 private:
  const std::function<done(std::string_view)> &put_;
  uint32_t blocks_ = 0;
};

/// One layer of a token; nothing where nothing was recorded, unless the token would go unsaid.
void put_visit(std::string &to, const expert_trace &of, uint64_t token, uint32_t layer,
               uint64_t flags, uint64_t number, bool always) {
  const uint16_t *chosen = of.at(token, layer);
  const uint32_t count =
      of.top_k - static_cast<uint32_t>(std::count(chosen, chosen + of.top_k, not_recorded));
  if (count == 0 && !always) return;
  put_number(to, uint64_t{layer} << 2 | flags);
  put_number(to, 0);  // the slot: sequences are told one after the other
  put_number(to, number);
  put_number(to, count);
  for (uint32_t k = 0; k < of.top_k; ++k)
    if (chosen[k] != not_recorded) put_number(to, chosen[k]);
}

done write_experts(const expert_trace &of, compact_writer &to) {
  std::string payload;
  for (const uint32_t value : {0u, of.layers, std::max(of.experts, 1u), of.top_k})
    put_u32(payload, value);
  if (auto good = to.block(CUBBY_TRACE_GRID, payload); !good) return good;
  payload.clear();
  for (const expert_sequence &one : of.sequences) {
    for (uint32_t token = 0; token < one.token_count; ++token) {
      const uint64_t prefill = token < one.prefill_tokens ? 2 : 0;
      bool told = false;
      for (uint32_t layer = 0; layer < of.layers; ++layer) {
        const size_t before = payload.size();
        const bool always = !told && layer + 1 == of.layers;
        const uint64_t begins = !told && token == 0 ? 1 : 0;
        put_visit(payload, of, one.first_token + token, layer, prefill | begins, token, always);
        told = told || payload.size() != before;
      }
      if (payload.size() < block_bytes) continue;
      if (auto good = to.block(CUBBY_TRACE_VISITS, payload); !good) return good;
      payload.clear();
    }
  }
  return payload.empty() ? nothing{} : to.block(CUBBY_TRACE_VISITS, payload);
}

void begin_requests(std::string &payload, uint64_t at_ns) {
  payload.clear();
  put_u32(payload, static_cast<uint32_t>(at_ns));
  put_u32(payload, static_cast<uint32_t>(at_ns >> 32));
}

done write_blocks(const kv_trace &of, compact_writer &to) {
  constexpr uint32_t piece_max = 8192;  // blocks of a request that are told in one go
  std::string payload;
  uint64_t at_ns = 0;
  for (const kv_request &one : of.requests) {
    uint32_t told = 0;
    do {
      if (payload.size() >= block_bytes) {
        if (auto good = to.block(CUBBY_TRACE_REQUESTS, payload); !good) return good;
        payload.clear();
      }
      if (payload.empty()) {
        begin_requests(payload, one.at_ns);
        at_ns = one.at_ns;
      }
      const uint32_t count = std::min(one.block_count - told, piece_max);
      put_number(payload, one.at_ns - at_ns);
      put_number(payload, uint64_t{count} << 1 | (told + count < one.block_count ? 1 : 0));
      for (uint32_t i = 0; i < count; ++i)
        put_number(payload, of.blocks[one.first_block + told + i]);
      at_ns = one.at_ns;
      told += count;
    } while (told < one.block_count);
  }
  return payload.empty() ? nothing{} : to.block(CUBBY_TRACE_REQUESTS, payload);
}

}  // namespace

done write_compact(const trace &of, const std::function<done(std::string_view)> &put) {
  compact_writer to(put);
  if (auto good = to.head(); !good) return good;
  if (auto good = of.of_experts ? write_experts(of.experts, to) : write_blocks(of.kv, to); !good)
    return good;
  return to.block(CUBBY_TRACE_END, {});
}

}  // namespace cubby_cli::replay
