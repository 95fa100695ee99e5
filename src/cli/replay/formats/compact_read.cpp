#include <algorithm>
#include <cstring>

#include "cli/replay/formats/compact.hpp"
#include "cli/replay/formats/read.hpp"

namespace cubby_cli::replay {
namespace {

constexpr size_t head_bytes = CUBBY_TRACE_HEAD_BYTES;
constexpr size_t window_bytes = size_t{4} << 20;

uint32_t u32_at(const char *from) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}
uint64_t u64_at(const char *from) { return uint64_t{u32_at(from + 4)} << 32 | u32_at(from); }

}  // namespace

/// Numbers of seven bits a byte, the lowest first.
struct compact_reader::numbers {
  const char *at, *end;
  bool cut = false;  // one reached beyond the block, or beyond 64 bits

  uint64_t next() {
    uint64_t value = 0;
    for (uint32_t shift = 0; at != end && shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at++);
      if (shift == 63 && byte > 1) break;
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    cut = true;
    return 0;
  }
};

bool compact_reader::need(size_t bytes) {
  if (at_ > window_bytes) {
    before_ += at_;
    text_.erase(0, at_);
    at_ = 0;
  }
  while (text_.size() - at_ < bytes)
    if (!source_.more(text_)) return false;
  return true;
}

std::string compact_reader::read() {
  if (!need(head_bytes)) {
    return source_.trouble().empty() ? "ends within its head, the first 16 bytes"
                                     : source_.trouble();
  }
  if (u32_at(text_.data() + 8) != CUBBY_TRACE_VERSION)
    return "is a trace of version " + std::to_string(u32_at(text_.data() + 8)) +
           ", this reads version " + std::to_string(CUBBY_TRACE_VERSION) +
           "; use the cubby that wrote it";
  if (u32_at(text_.data() + 12) != cubby_trace_check(0, text_.data(), 12))
    return "its head is damaged: the check value at byte 12 is another";
  at_ = head_bytes;
  while (!full() && need(1)) {
    const uint64_t begin = before_ + at_;
    if (ended_) return "byte " + std::to_string(begin) + ": bytes behind the end of the trace";
    const std::string wrong = read_block();
    if (!wrong.empty())
      return "block " + std::to_string(blocks_) + " at byte " + std::to_string(begin) + " " + wrong;
    ++blocks_;
  }
  if (!source_.trouble().empty()) return source_.trouble();
  if (!ended_ && !full())
    to_.notes.push_back("has no end mark at byte " + std::to_string(before_ + at_) +
                        ": its recording was not stopped, or its tail is missing");
  return finish();
}

std::string compact_reader::read_block() {
  const auto torn = [&](size_t wanted) {
    if (!source_.trouble().empty()) return "cannot be read: " + source_.trouble();
    return "is cut off: " + std::to_string(wanted - (text_.size() - at_)) +
           " bytes are missing. What lies before it is whole: cut the file there to replay that";
  };
  if (!need(head_bytes)) return torn(head_bytes);
  const uint32_t bytes = u32_at(text_.data() + at_ + 4);
  if (bytes > CUBBY_TRACE_PAYLOAD_BYTES_MAX)
    return "says it has " + std::to_string(bytes) +
           " bytes, 1 MiB are allowed; it is damaged, or does not begin here";
  if (!need(head_bytes + bytes)) return torn(head_bytes + bytes);
  const char *head = text_.data() + at_;
  const uint32_t check =
      cubby_trace_check(cubby_trace_check(0, head, 12), head + head_bytes, bytes);
  if (check != u32_at(head + 12)) return "is damaged: its check value is another";
  if (u32_at(head + 8) != blocks_)
    return "says it is block " + std::to_string(u32_at(head + 8)) +
           "; blocks are missing, or two traces were put together";
  at_ += head_bytes + bytes;
  return take_block(u32_at(head), head + head_bytes, bytes);
}

std::string compact_reader::take_block(uint32_t kind, const char *payload, uint32_t bytes) {
  numbers from = {payload, payload + bytes};
  switch (kind) {
    case CUBBY_TRACE_GRID:
      return take_grid(payload, bytes);
    case CUBBY_TRACE_VISITS:
      return take_visits(from);
    case CUBBY_TRACE_REQUESTS:
      return take_requests(payload, bytes);
    case CUBBY_TRACE_LOST:
      if (bytes != 8) return "tells what was lost in " + std::to_string(bytes) + " bytes, not 8";
      to_.lost += u64_at(payload);
      return {};
    case CUBBY_TRACE_END:
      ended_ = true;
      return bytes == 0 ? "" : "is the end and has " + std::to_string(bytes) + " bytes";
    default:
      return "is of kind " + std::to_string(kind) + ", which version 1 does not have";
  }
}

std::string compact_reader::take_grid(const char *payload, uint32_t bytes) {
  if (bytes != 16) return "is a grid of " + std::to_string(bytes) + " bytes, not 16";
  const uint32_t first = u32_at(payload), layers = u32_at(payload + 4),
                 experts = u32_at(payload + 8), top_k = u32_at(payload + 12);
  if (first != experts_of_.size())
    return "is a grid that begins with layer " + std::to_string(first) + "; " +
           std::to_string(experts_of_.size()) + " is the next";
  if (layers == 0 || layers > layers_max - first || experts == 0 || experts > experts_max ||
      top_k > top_k_max)
    return "is a grid of " + std::to_string(layers) + " layers of " + std::to_string(experts) +
           " experts, " + std::to_string(top_k) + " a token; " + std::to_string(layers_max) +
           " layers, " + std::to_string(experts_max) + " experts and " + std::to_string(top_k_max) +
           " a token are allowed";
  experts_of_.resize(first + layers, experts);
  top_k_ = std::max(top_k_, top_k);
  return {};
}

std::string compact_reader::take_visits(numbers &from) {
  if (request_open_) return "tells visits within a request";
  to_.kind = to_.kv.requests.empty() ? trace_kind::experts : trace_kind::mixed;
  slots_.resize(CUBBY_TRACE_SLOTS_MAX);
  while (from.at != from.end && !full()) {
    const std::string wrong = take_visit(from);
    if (!wrong.empty()) return "tells a visit that " + wrong;
  }
  return {};
}

std::string compact_reader::take_visit(numbers &from) {
  const uint64_t head = from.next(), lane = from.next(), token = from.next(), count = from.next();
  if (from.cut) return "is cut off";
  const uint64_t layer = head >> 2;
  if (layer >= experts_of_.size())
    return "names layer " + std::to_string(layer) + " of " + std::to_string(experts_of_.size());
  if (lane >= slots_.size()) return "names slot " + std::to_string(lane);
  if (count > top_k_max) return "names " + std::to_string(count) + " experts";
  if (uses_.size() + count > held_max || rows_.size() >= held_max) return too_much();
  if (close(slots_[lane], head, token)) {
    for (uint64_t i = 0; i < count; ++i) from.next();
    return from.cut ? "is cut off" : "";
  }
  std::string wrong = place_visit(slots_[lane], head, token);
  if (!wrong.empty()) return wrong;
  row made = {uses_.size(), slots_[lane].sequence, sequences_[slots_[lane].sequence].tokens - 1,
              static_cast<uint16_t>(layer), static_cast<uint16_t>(count)};
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t expert = from.next();
    if (from.cut) return "is cut off";
    if (expert >= experts_of_[layer])
      return "names expert " + std::to_string(expert) + " of " + std::to_string(experts_of_[layer]);
    const auto mine = uses_.begin() + static_cast<std::ptrdiff_t>(made.first);
    if (std::find(mine, uses_.end(), expert) != uses_.end())
      return "names expert " + std::to_string(expert) + " twice";
    uses_.push_back(static_cast<uint16_t>(expert));
  }
  if (count != 0) rows_.push_back(made);
  return {};
}

/// As many tokens or requests as may be, and whole: other slots may still be at their last token.
/// A grid foretells visits: tokens count then, however many requests come before the first.
bool compact_reader::full() const {
  if (request_open_) return false;
  if (!experts_of_.empty()) return tokens_ >= limit_ && open_slots_ == 0;
  return to_.kv.requests.size() >= limit_;
}

/// Is the visit of a token beyond the limit? Then its slot has no more to tell.
bool compact_reader::close(slot &here, uint64_t head, uint64_t token) {
  if (here.closed || tokens_ < limit_) return here.closed;
  if (here.begun && (head & 1) == 0 && token <= here.token) return false;
  if (here.begun) --open_slots_;
  return beyond_limit_ = here.closed = true;
}

/// Which sequence and token of its slot the visit belongs to.
std::string compact_reader::place_visit(slot &here, uint64_t head, uint64_t token) {
  const auto layer = static_cast<uint32_t>(head >> 2);
  if (!here.begun) ++open_slots_;
  if (!here.begun || (head & 1) != 0) {
    ++tokens_;
    here.sequence = static_cast<uint32_t>(sequences_.size());
    here.next_layer = 0;
    sequences_.push_back({1, 0});
  } else if (token > here.token) {
    here.next_layer = 0;
    ++tokens_;
    ++sequences_[here.sequence].tokens;
  } else if (token < here.token) {
    return "goes back from token " + std::to_string(here.token) + " to " + std::to_string(token);
  }
  if (layer < here.next_layer)
    return "goes back to layer " + std::to_string(layer) + " within token " + std::to_string(token);
  here.begun = true;
  here.token = token;
  here.next_layer = layer + 1;
  sequence &of = sequences_[here.sequence];
  if ((head & 2) != 0 && of.prefill_tokens + 1 >= of.tokens) of.prefill_tokens = of.tokens;
  return {};
}

std::string compact_reader::take_requests(const char *payload, uint32_t bytes) {
  if (beyond_limit_) return {};
  if (to_.kind == trace_kind::experts) to_.kind = trace_kind::mixed;
  if (bytes < 8) return "is cut off before its time";
  numbers from = {payload + 8, payload + bytes};
  uint64_t at_ns = u64_at(payload);
  while (from.at != from.end && !full()) {
    const std::string wrong = take_request(from, at_ns);
    if (!wrong.empty()) return "tells a request that " + wrong;
  }
  return {};
}

std::string compact_reader::take_request(numbers &from, uint64_t &at_ns) {
  kv_trace &to = to_.kv;
  const uint64_t later_ns = from.next(), head = from.next();
  if (from.cut) return "is cut off";
  if (later_ns > ~uint64_t{0} - at_ns) return "comes after the end of time";
  at_ns += later_ns;
  const uint64_t count = head >> 1;
  if (to.blocks.size() + count > held_max || to.requests.size() >= held_max) return too_much();
  if (!request_open_) {
    if (!to.requests.empty() && at_ns < to.requests.back().at_ns)
      return "comes before the one before it";
    to.requests.push_back({at_ns, to.blocks.size(), 0, tokens_});
  }
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t key = from.next();
    if (from.cut) return "is cut off";
    const auto number = static_cast<uint32_t>(blocks_by_key_.size());
    to.blocks.push_back(blocks_by_key_.try_emplace(key, number).first->second);
  }
  to.unique = static_cast<uint32_t>(blocks_by_key_.size());
  to.requests.back().block_count += static_cast<uint32_t>(count);
  request_open_ = (head & 1) != 0;
  return {};
}

std::string compact_reader::finish() {
  if (to_.has_blocks() && to_.kv.blocks.empty())
    return to_.has_experts() ? "holds requests that name no block"
                             : "holds no visit and no request";
  if (to_.has_experts()) return finish_experts();
  keep_requests(to_.kv, limit_);
  return {};
}

std::string compact_reader::finish_experts() {
  expert_trace &to = to_.experts;
  to.layers = static_cast<uint32_t>(experts_of_.size());
  to.experts = *std::max_element(experts_of_.begin(), experts_of_.end());
  to.top_k = top_k_;
  for (const row &one : rows_) to.top_k = std::max<uint32_t>(to.top_k, one.count);
  if (rows_.empty()) return "holds no recorded use";
  uint64_t tokens = 0;
  for (const sequence &one : sequences_) {
    to.sequences.push_back({tokens, one.tokens, one.prefill_tokens});
    tokens += one.tokens;
  }
  const uint64_t a_token = uint64_t{to.layers} * to.top_k, cells = tokens * a_token;
  if (cells > held_max || cells > 4096 * uses_.size() + (uint64_t{1} << 20))
    return "its shape (" + std::to_string(tokens) + " tokens, " + std::to_string(to.layers) +
           " layers, " + std::to_string(to.top_k) +
           " experts) is far larger than what it holds, or than can be replayed in one piece";
  to.chosen.assign(cells, not_recorded);
  for (const row &one : rows_) {
    const uint64_t token = to.sequences[one.sequence].first_token + one.token;
    uint16_t *cell = to.chosen.data() + token * a_token + uint64_t{one.layer} * to.top_k;
    std::copy_n(uses_.begin() + static_cast<std::ptrdiff_t>(one.first), one.count, cell);
  }
  return {};
}

}  // namespace cubby_cli::replay
