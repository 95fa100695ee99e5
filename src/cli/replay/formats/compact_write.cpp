#include <algorithm>

#include "cli/replay/formats/compact.hpp"
#include "cli/replay/formats/read_trace.hpp"

namespace cubby_cli::replay {
namespace {

constexpr size_t block_bytes = size_t{1} << 16;  // a block is written once it has so much

void put_u32(std::string &to, uint32_t value) {
  for (int i = 0; i < 4; ++i) to += static_cast<char>(value >> (8 * i));
}

void put_number(std::string &to, uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

/// Gathers records of one kind into blocks.
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
  /// What follows goes into records().
  done begin(uint32_t kind) {
    if (kind == kind_ && records_.size() < block_bytes) return nothing{};
    auto good = flush();
    kind_ = kind;
    return good;
  }
  std::string &records() { return records_; }
  done flush() {
    if (records_.empty()) return nothing{};
    auto good = block(kind_, records_);
    records_.clear();
    return good;
  }

 private:
  const std::function<done(std::string_view)> &put_;
  uint32_t blocks_ = 0, kind_ = 0;
  std::string records_;
};

/// One layer of a token; nothing where nothing was recorded, unless the token would go unsaid.
void put_visit(std::string &to, const expert_trace &of, uint64_t token, uint32_t layer,
               uint64_t flags, uint64_t number, bool always) {
  const uint16_t *chosen = of.at(token, layer);
  const uint32_t count =
      of.top_k - static_cast<uint32_t>(std::count(chosen, chosen + of.top_k, not_recorded));
  if (count == 0 && !always) return;
  put_number(to, uint64_t{layer} << 2 | flags);
  put_number(to, 0);  // the slot: sequences are written one after the other
  put_number(to, number);
  put_number(to, count);
  for (uint32_t k = 0; k < of.top_k; ++k)
    if (chosen[k] != not_recorded) put_number(to, chosen[k]);
}

done put_grid(const expert_trace &of, compact_writer &to) {
  std::string payload;
  for (const uint32_t value : {0u, of.layers, std::max(of.experts, 1u), of.top_k})
    put_u32(payload, value);
  return to.block(CUBBY_TRACE_GRID, payload);
}

done put_token(const expert_trace &of, const expert_sequence &sequence, uint32_t token,
               compact_writer &to) {
  if (auto good = to.begin(CUBBY_TRACE_VISITS); !good) return good;
  std::string &records = to.records();
  const uint64_t prefill = token < sequence.prefill_tokens ? 2 : 0;
  bool written = false;
  for (uint32_t layer = 0; layer < of.layers; ++layer) {
    const size_t before = records.size();
    const bool always = !written && layer + 1 == of.layers;
    const uint64_t begins = !written && token == 0 ? 1 : 0;
    put_visit(records, of, sequence.first_token + token, layer, prefill | begins, token, always);
    written = written || records.size() != before;
  }
  return nothing{};
}

/// Tells requests in their order.
class request_writer {
 public:
  request_writer(const kv_trace &of, compact_writer &to) : of_(of), to_(to) {}

  /// Those that are served before this token.
  done write_before(uint64_t token) {
    for (; next_ < of_.requests.size() && of_.requests[next_].tokens_before <= token; ++next_)
      if (auto good = write(of_.requests[next_]); !good) return good;
    return nothing{};
  }

 private:
  done write(const kv_request &one) {
    constexpr uint32_t piece_max = 8192;  // blocks of a request in one record
    uint32_t written = 0;
    do {
      if (auto good = to_.begin(CUBBY_TRACE_REQUESTS); !good) return good;
      std::string &records = to_.records();
      if (records.empty()) {
        put_u32(records, static_cast<uint32_t>(one.at_ns));
        put_u32(records, static_cast<uint32_t>(one.at_ns >> 32));
        at_ns_ = one.at_ns;
      }
      const uint32_t count = std::min(one.block_count - written, piece_max);
      put_number(records, one.at_ns - at_ns_);
      put_number(records, uint64_t{count} << 1 | (written + count < one.block_count ? 1 : 0));
      for (uint32_t i = 0; i < count; ++i)
        put_number(records, of_.blocks[one.first_block + written + i]);
      at_ns_ = one.at_ns;
      written += count;
    } while (written < one.block_count);
    return nothing{};
  }

  const kv_trace &of_;
  compact_writer &to_;
  size_t next_ = 0;
  uint64_t at_ns_ = 0;
};

done write_records(const trace &of, compact_writer &to) {
  if (of.has_experts())
    if (auto good = put_grid(of.experts, to); !good) return good;
  request_writer requests(of.kv, to);
  for (const expert_sequence &one : of.experts.sequences)
    for (uint32_t token = 0; token < one.token_count; ++token) {
      if (auto good = requests.write_before(one.first_token + token); !good) return good;
      if (auto good = put_token(of.experts, one, token, to); !good) return good;
    }
  if (auto good = requests.write_before(no_limit); !good) return good;
  return to.flush();
}

}  // namespace

done write_compact(const trace &of, const std::function<done(std::string_view)> &put) {
  compact_writer to(put);
  if (auto good = to.head(); !good) return good;
  if (auto good = write_records(of, to); !good) return good;
  return to.block(CUBBY_TRACE_END, {});
}

}  // namespace cubby_cli::replay
