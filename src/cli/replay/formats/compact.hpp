// The library's own trace format, as docs/trace_format.md tells it.
#pragma once

#include "cli/trace_header.hpp"

#include <functional>
#include <string_view>
#include <unordered_map>

#include "cli/outcome.hpp"
#include "cli/replay/formats/bytes.hpp"
#include "cli/replay/trace.hpp"

namespace cubby_cli::replay {

inline bool is_compact(std::string_view begin) { return begin.starts_with(CUBBY_TRACE_MAGIC); }
inline bool is_compact_file(std::string_view begin, uint64_t /*bytes*/) {
  return is_compact(begin);
}

/// Reads a trace block by block.
class compact_reader {
 public:
  /// `begun`: bytes of the source that were taken before.
  compact_reader(byte_source &from, std::string begun, trace &to, uint64_t limit)
      : source_(from), text_(std::move(begun)), to_(to), limit_(limit) {}
  /// What is wrong, with the byte where; empty when nothing is.
  std::string read();

 private:
  struct row {
    uint64_t first = 0;  // in uses_
    uint32_t sequence = 0, token = 0;
    uint16_t layer = 0, count = 0;
  };
  struct sequence {
    uint32_t tokens = 0, prefill_tokens = 0;
  };
  struct slot {
    bool begun = false, closed = false;  // closed: its next token is beyond the limit
    uint32_t sequence = 0, next_layer = 0;
    uint64_t token = 0;
  };
  struct numbers;  // of a block

  bool need(size_t bytes);
  [[nodiscard]] bool full() const;
  bool close(slot &here, uint64_t head, uint64_t token);
  std::string read_block();
  std::string take_block(uint32_t kind, const char *payload, uint32_t bytes);
  std::string take_grid(const char *payload, uint32_t bytes);
  std::string take_visits(numbers &from);
  std::string take_visit(numbers &from);
  std::string place_visit(slot &here, uint64_t head, uint64_t token);
  std::string take_requests(const char *payload, uint32_t bytes);
  std::string take_request(numbers &from, uint64_t &at_ns);
  std::string finish();
  std::string finish_experts();

  byte_source &source_;
  std::string text_;
  size_t at_ = 0;        // in text_
  uint64_t before_ = 0;  // bytes before text_
  uint32_t blocks_ = 0;
  bool ended_ = false, request_open_ = false;
  trace &to_;
  const uint64_t limit_;
  uint64_t tokens_ = 0;               // of all sequences
  uint32_t open_slots_ = 0;           // begun and not closed
  bool beyond_limit_ = false;         // a slot has closed: requests come too late too
  std::vector<uint32_t> experts_of_;  // by layer
  uint32_t top_k_ = 0;
  std::vector<row> rows_;
  std::vector<uint16_t> uses_;
  std::vector<sequence> sequences_;
  std::vector<slot> slots_;
  std::unordered_map<uint64_t, uint32_t> blocks_by_key_;
};

/// Gives the trace to `put` piece by piece; stops at the first trouble.
done write_compact(const trace &of, const std::function<done(std::string_view)> &put);

}  // namespace cubby_cli::replay
