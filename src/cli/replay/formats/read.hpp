// Readers of the line formats. take() gives what is wrong with a line, finish() with the whole; an
// empty text means nothing is.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cli/replay/trace.hpp"

namespace cubby_cli::replay {

inline std::string too_much() {
  return "holds more than " + std::to_string(held_max) + " uses; replay it in pieces";
}

/// One line a layer of a token: token, layer, and the experts as further columns or in one column
/// with spaces, ';' or '|' between them. A token number that goes down begins a sequence.
class csv_reader {
 public:
  csv_reader(expert_trace &to, uint64_t limit) : to_(to), limit_(limit) {}
  std::string take(const std::string &line);
  /// Has it as many tokens as it may have, and seen that another one begins?
  [[nodiscard]] bool full() const { return full_; }
  std::string finish();

 private:
  struct row {
    uint64_t token = 0;  // counted over all sequences
    uint32_t layer = 0, first = 0, count = 0;
  };
  expert_trace &to_;
  const uint64_t limit_;
  std::vector<row> rows_;
  std::vector<uint16_t> experts_;
  std::vector<uint64_t> starts_;                         // tokens with which sequences begin
  std::array<uint64_t, layers_max> last_token_of_ = {};  // of a layer: the last token that named it
  uint64_t last_token_ = 0, tokens_ = 0;
  bool any_ = false, full_ = false;
};

/// JSON objects, one a line: a header and sequences of `routed_experts`, or Mooncake's requests.
class json_lines {
 public:
  json_lines(trace &to, uint64_t limit) : to_(to), limit_(limit) {}
  std::string take(const std::string &line);
  [[nodiscard]] bool full() const {
    return (to_.has_experts() ? to_.experts.tokens() : to_.kv.requests.size()) >= limit_;
  }
  std::string finish();

 private:
  std::string take_header(const struct parsed_line &line);
  std::string take_sequence(struct parsed_line &line);
  std::string take_request(const struct parsed_line &line);

  trace &to_;
  const uint64_t limit_;
  bool with_header_ = false, any_ = false;
  bool in_seconds_ = false;  // Bailian's times, of requests with a chat_id; Mooncake's are ms
  uint64_t last_ns_ = 0;
  bool tells_tokens_ = true;                        // each request so far
  std::unordered_map<uint64_t, uint32_t> numbers_;  // hash → block
};

}  // namespace cubby_cli::replay
