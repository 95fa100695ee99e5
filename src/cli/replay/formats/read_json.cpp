#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/replay/formats/read.hpp"

namespace cubby_cli::replay {

/// What one line said; arrays flat, with the shape that they had.
struct parsed_line {
  bool has_layers = false, has_routes = false, has_hashes = false, has_chat = false;
  bool has_lengths = false;
  double moe_layers = -1, experts_per_layer = -1, top_k = -1, prefill_tokens = 0, timestamp = 0,
         input_length = 0;
  std::vector<int32_t> routes;  // [token][layer][k]
  uint32_t tokens = 0, layers = 0, k = 0;
  std::vector<uint64_t> hashes;
};

namespace {

using json = nlohmann::json;

/// Collects a line without building a tree of it. The first thing that is wrong stops the parser.
class line_handler : public nlohmann::json_sax<json> {
 public:
  explicit line_handler(parsed_line &to) : to_(to) {}
  std::string wrong;

  bool null() override { return other("null"); }
  bool boolean(bool) override { return other("true or false"); }
  bool number_integer(number_integer_t value) override {
    return integer(value) || number(static_cast<double>(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ == 2 && in_ == hash_array) {
      to_.hashes.push_back(value);
      return true;
    }
    if (value <= uint64_t{std::numeric_limits<int64_t>::max()} &&
        integer(static_cast<int64_t>(value)))
      return true;
    return number(static_cast<double>(value));
  }
  bool number_float(number_float_t value, const string_t &) override { return number(value); }
  bool string(string_t &value) override {
    if (in_ != hash_array || depth_ != 2) return other("a text");
    uint64_t mixed = 0xCBF29CE484222325ull;  // hashes written as text: FNV-1a of it
    for (const char c : value) mixed = (mixed ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
    to_.hashes.push_back(mixed | uint64_t{1} << 63);
    return true;
  }
  bool binary(binary_t &) override { return other("bytes"); }

  bool start_object(size_t) override {
    if (in_ != nothing_known) return fail("an object where numbers are expected");
    if (++depth_ == 1) return true;
    return true;
  }
  bool key(string_t &name) override {
    if (depth_ != 1) return true;
    name_ = name;
    to_.has_chat = to_.has_chat || name == "chat_id";
    to_.has_lengths = to_.has_lengths || name == "input_length" || name == "input_tokens";
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ == 0)
      return fail("an array where an object a line is expected (jq -c '.[]' writes them so)");
    if (depth_ == 1 && name_ == "routed_experts") {
      in_ = route_array;
      to_.has_routes = true;
    } else if (depth_ == 1 && name_ == "hash_ids") {
      in_ = hash_array;
      to_.has_hashes = true;
    }
    ++depth_;
    if (in_ == hash_array && depth_ > 2) return fail("hash_ids holds arrays");
    if (in_ == route_array && depth_ > 4) return fail("routed_experts is deeper than [t][l][k]");
    if (in_ == route_array && depth_ == 3) layers_ = 0;
    if (in_ == route_array && depth_ == 4) k_ = 0;
    return true;
  }
  bool end_array() override {
    --depth_;
    if (in_ == route_array && depth_ == 3) return end_layer();
    if (in_ == route_array && depth_ == 2) return end_token();
    if (depth_ == 1) in_ = nothing_known;
    return true;
  }
  bool parse_error(size_t position, const std::string &,
                   const nlohmann::detail::exception &e) override {
    if (wrong.empty()) {
      const std::string text = e.what();
      const size_t reason = text.rfind(
          ": ", text.find("; ") == std::string::npos ? std::string::npos : text.find("; "));
      wrong = "byte " + std::to_string(position) + ": no JSON" +
              (reason == std::string::npos ? std::string() : text.substr(reason));
    }
    return false;
  }

 private:
  enum inside { nothing_known, route_array, hash_array };

  bool fail(const std::string &what) {
    wrong = what;
    return false;
  }
  bool other(const char *what) {
    if (in_ == nothing_known && depth_ > 0) return true;
    return fail(std::string(what) + " where a number is expected");
  }
  bool integer(int64_t value) {
    if (in_ == hash_array) {
      to_.hashes.push_back(static_cast<uint64_t>(value));
      return true;
    }
    if (in_ != route_array || depth_ != 4) return false;
    if (value < -1 || value >= experts_max) return expert_wrong_ = true;
    if (k_ == top_k_max)
      return fail("more than " + std::to_string(top_k_max) + " experts in one layer");
    to_.routes.push_back(static_cast<int32_t>(value));
    ++k_;
    return true;
  }
  bool number(double value) {
    if (!wrong.empty()) return false;
    if (in_ != nothing_known) return fail("a number out of place");
    if (depth_ == 0) return fail("a number where an object is expected");
    if (depth_ != 1) return true;
    if (name_ == "moe_layers") {
      to_.has_layers = true;
      to_.moe_layers = value;
    }
    if (name_ == "experts_per_layer") to_.experts_per_layer = value;
    if (name_ == "top_k") to_.top_k = value;
    if (name_ == "prefill_tokens") to_.prefill_tokens = value;
    if (name_ == "timestamp") to_.timestamp = value;
    if (name_ == "input_length") to_.input_length = value;
    return true;
  }
  bool end_layer() {
    if (expert_wrong_) return fail("an expert is not below " + std::to_string(experts_max));
    if (++layers_ > layers_max)
      return fail("a token of more than " + std::to_string(layers_max) + " layers");
    if (to_.k == 0) to_.k = k_;
    if (k_ != to_.k || k_ == 0)
      return fail("layer " + std::to_string(layers_ - 1) + " of token " +
                  std::to_string(to_.tokens) + " has " + std::to_string(k_) +
                  " experts, others have " + std::to_string(to_.k));
    return true;
  }
  bool end_token() {
    if (to_.layers == 0) to_.layers = layers_;
    if (layers_ != to_.layers || layers_ == 0)
      return fail("token " + std::to_string(to_.tokens) + " has " + std::to_string(layers_) +
                  " layers, others have " + std::to_string(to_.layers));
    ++to_.tokens;
    return true;
  }

  parsed_line &to_;
  inside in_ = nothing_known;
  uint32_t depth_ = 0, layers_ = 0, k_ = 0;
  bool expert_wrong_ = false;
  std::string name_;
};

bool whole(double value, double least, double most) {
  return value >= least && value <= most && value == std::floor(value);
}

}  // namespace

std::string json_lines::take(const std::string &line) {
  parsed_line read;
  line_handler handler(read);
  if (!json::sax_parse(line, &handler) || !handler.wrong.empty())
    return handler.wrong.empty() ? "no JSON" : handler.wrong;
  if (read.has_hashes && !(any_ && to_.has_experts()) && !with_header_) return take_request(read);
  if (read.has_routes && !(any_ && !to_.has_experts())) return take_sequence(read);
  if (read.has_layers && !any_ && !with_header_) return take_header(read);
  if (read.has_hashes || read.has_routes) return "routed_experts and hash_ids in one trace";
  if (read.has_lengths)
    return "a request tells its length but no hash_ids: without the blocks that it uses there is "
           "nothing to hold in a tier";
  return "neither routed_experts nor hash_ids are in it";
}

std::string json_lines::take_header(const parsed_line &line) {
  if (!whole(line.moe_layers, 1, layers_max))
    return "moe_layers is not a number from 1 to " + std::to_string(layers_max);
  if (!whole(line.experts_per_layer, 1, experts_max))
    return "experts_per_layer is not a number from 1 to " + std::to_string(experts_max);
  if (!whole(line.top_k, 1, std::min<double>(top_k_max, line.experts_per_layer)))
    return "top_k is not a number from 1 to " + std::to_string(top_k_max) +
           " and at most experts_per_layer";
  with_header_ = true;
  to_.kind = trace_kind::experts;
  to_.experts.layers = static_cast<uint32_t>(line.moe_layers);
  to_.experts.experts = static_cast<uint32_t>(line.experts_per_layer);
  to_.experts.top_k = static_cast<uint32_t>(line.top_k);
  return {};
}

std::string json_lines::take_sequence(parsed_line &line) {
  expert_trace &to = to_.experts;
  any_ = true;
  to_.kind = trace_kind::experts;
  if (line.tokens == 0) return {};
  if (to.layers == 0) {
    to.layers = line.layers;
    to.top_k = line.k;
  }
  if (line.layers != to.layers || line.k != to.top_k)
    return "its tokens have " + std::to_string(line.layers) + " layers of " +
           std::to_string(line.k) + " experts, the trace has " + std::to_string(to.layers) +
           " of " + std::to_string(to.top_k);
  if (line.prefill_tokens < 0) return "prefill_tokens is below 0";
  const uint64_t first = to.tokens();
  const bool whole_prefill = whole(line.prefill_tokens, 0, line.tokens);
  line.tokens = static_cast<uint32_t>(std::min<uint64_t>(line.tokens, limit_ - first));
  line.routes.resize(uint64_t{line.tokens} * line.layers * line.k);
  if (to.chosen.size() + line.routes.size() > held_max) return too_much();
  for (size_t cell = 0; cell < line.routes.size(); cell += line.k) {
    for (uint32_t k = 0; k < line.k; ++k) {
      const int32_t expert = line.routes[cell + k];
      if (with_header_ && expert >= static_cast<int32_t>(to.experts))
        return "expert " + std::to_string(expert) + " of token " +
               std::to_string(cell / line.k / line.layers) + " is not below experts_per_layer, " +
               std::to_string(to.experts);
      for (uint32_t other = 0; other < k; ++other)
        if (expert >= 0 && line.routes[cell + other] == expert)
          return "token " + std::to_string(cell / line.k / line.layers) + " names expert " +
                 std::to_string(expert) + " twice in one layer";
      to.chosen.push_back(expert < 0 ? not_recorded : static_cast<uint16_t>(expert));
      if (!with_header_) to.experts = std::max(to.experts, static_cast<uint32_t>(expert + 1));
    }
  }
  const double prefill = whole_prefill ? std::min<double>(line.prefill_tokens, line.tokens) : 0;
  to.sequences.push_back({first, line.tokens, static_cast<uint32_t>(prefill)});
  return {};
}

std::string json_lines::take_request(const parsed_line &line) {
  kv_trace &to = to_.kv;
  if (!any_) in_seconds_ = line.has_chat;
  if (line.has_chat != in_seconds_)
    return in_seconds_ ? "has no chat_id, the requests before it have: of which unit are its times?"
                       : "has a chat_id, the requests before it have none: of which unit are its "
                         "times?";
  any_ = true;
  const double unit_ns = in_seconds_ ? 1e9 : 1e6;
  if (!(line.timestamp >= 0 && line.timestamp * unit_ns < 1e19))
    return std::string("timestamp is no time in ") + (in_seconds_ ? "seconds" : "ms");
  if (to.blocks.size() + line.hashes.size() > held_max || to.requests.size() >= held_max)
    return too_much();
  constexpr double length_max = 1e9;  // also keeps the sum of all far from its end
  if (line.input_length >= 1 && line.input_length <= length_max) {
    to.tokens += static_cast<uint64_t>(line.input_length);
  } else {
    tells_tokens_ = false;
  }
  // Time stands still rather than going back: no policy is made for that.
  last_ns_ = std::max(last_ns_, static_cast<uint64_t>(line.timestamp * unit_ns));
  to.requests.push_back({last_ns_, to.blocks.size(), static_cast<uint32_t>(line.hashes.size())});
  for (const uint64_t hash : line.hashes) {
    const auto [at, is_new] = numbers_.try_emplace(hash, static_cast<uint32_t>(numbers_.size()));
    to.blocks.push_back(at->second);
  }
  to.unique = static_cast<uint32_t>(numbers_.size());
  return {};
}

std::string json_lines::finish() {
  if (to_.has_experts()) {
    if (to_.experts.chosen.empty()) return "holds no recorded token";
    return {};
  }
  if (to_.kv.blocks.empty()) return "holds no token and no block";
  if (!tells_tokens_) to_.kv.tokens = 0;
  if (in_seconds_)
    to_.notes.emplace_back("has a chat_id in its requests, as Bailian's traces: times are seconds");
  return {};
}

}  // namespace cubby_cli::replay
