#include <algorithm>
#include <cctype>
#include <charconv>

#include "cli/replay/formats/read.hpp"

namespace cubby_cli::replay {
namespace {

/// Numbers of a line, whatever stands between them of ",;| \t\"[]"; false on anything else.
bool numbers_of(const std::string &line, std::vector<int64_t> &out, size_t &wrong_at) {
  out.clear();
  const char *at = line.data(), *end = line.data() + line.size();
  while (at != end) {
    if (std::string_view(",;| \t\"[]").find(*at) != std::string_view::npos) {
      ++at;
      continue;
    }
    int64_t number = 0;
    const auto [stop, failed] = std::from_chars(at, end, number);
    if (failed != std::errc{}) {
      wrong_at = static_cast<size_t>(at - line.data()) + 1;
      return false;
    }
    if (out.size() > size_t{2} + top_k_max) return true;  // too many, as the caller will see
    out.push_back(number);
    at = stop;
  }
  return true;
}

/// What a heading of other columns says, and why it is of no use here.
std::string other_heading(std::string line) {
  for (char &letter : line)
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  const auto names = [&](const char *word) { return line.find(word) != std::string::npos; };
  if (names("contexttokens") || names("request tokens"))
    return "requests with counts of tokens only (Azure's and BurstGPT's traces): without the "
           "blocks or experts that they use there is nothing to hold in a tier";
  if (names("obj_id") || names("next_access_vtime") || (names("object") && names("size")))
    return "objects as libCacheSim's CSV has them: write them as its oracleGeneral, which is read";
  return {};
}

}  // namespace

std::string csv_reader::take(const std::string &line) {
  std::vector<int64_t> numbers;
  size_t wrong_at = 0;
  if (!numbers_of(line, numbers, wrong_at)) {
    if (!any_) {
      if (const std::string other = other_heading(line); !other.empty()) return other;
      if (line.find("token") != std::string::npos) return {};  // the heading
    }
    return "column " + std::to_string(wrong_at) + " is no number; token,layer,experts are expected";
  }
  if (numbers.size() < 3) return "token, layer and at least one expert are expected";
  if (numbers[0] < 0) return "token " + std::to_string(numbers[0]) + " is below 0";
  if (numbers[1] < 0 || numbers[1] >= layers_max)
    return "layer " + std::to_string(numbers[1]) + " is not below " + std::to_string(layers_max);
  if (numbers.size() - 2 > top_k_max)
    return "more than " + std::to_string(top_k_max) + " experts in one layer";
  const auto token = static_cast<uint64_t>(numbers[0]);
  if (!any_ || token != last_token_) {
    full_ = tokens_ == limit_;
    if (full_) return {};
    if (!any_ || token < last_token_) starts_.push_back(tokens_);
    ++tokens_;
  }
  any_ = true;
  last_token_ = token;
  uint64_t &last_token = last_token_of_[static_cast<size_t>(numbers[1])];
  if (last_token == tokens_)
    return "layer " + std::to_string(numbers[1]) + " of token " + std::to_string(token) +
           " is given twice; a sequence begins where the token number goes down";
  last_token = tokens_;
  if (experts_.size() + numbers.size() > held_max) return too_much();
  row read = {tokens_ - 1, static_cast<uint32_t>(numbers[1]),
              static_cast<uint32_t>(experts_.size()), 0};
  for (size_t i = 2; i < numbers.size(); ++i) {
    if (numbers[i] < -1 || numbers[i] >= experts_max)
      return "expert " + std::to_string(numbers[i]) + " is not below " +
             std::to_string(experts_max);
    if (numbers[i] < 0) continue;
    const auto expert = static_cast<uint16_t>(numbers[i]);
    if (std::find(experts_.begin() + read.first, experts_.end(), expert) != experts_.end())
      return "expert " + std::to_string(numbers[i]) + " is named twice";
    experts_.push_back(expert);
    to_.experts = std::max(to_.experts, uint32_t{expert} + 1);
  }
  read.count = static_cast<uint32_t>(experts_.size()) - read.first;
  to_.layers = std::max(to_.layers, read.layer + 1);
  to_.top_k = std::max(to_.top_k, read.count);
  rows_.push_back(read);
  return {};
}

std::string csv_reader::finish() {
  if (rows_.empty() || to_.top_k == 0) return "holds no recorded token";
  const uint64_t cells = tokens_ * to_.layers * to_.top_k;
  if (cells > 16 * experts_.size() + 65536)
    return "its shape (" + std::to_string(to_.layers) + " layers, " + std::to_string(to_.top_k) +
           " experts a token) is far larger than what it holds; are the columns token, layer, "
           "experts?";
  to_.chosen.assign(cells, not_recorded);
  for (const row &one : rows_) {
    uint16_t *cell = to_.chosen.data() + (one.token * to_.layers + one.layer) * to_.top_k;
    std::copy_n(experts_.begin() + one.first, one.count, cell);
  }
  for (size_t i = 0; i < starts_.size(); ++i) {
    const uint64_t end = i + 1 < starts_.size() ? starts_[i + 1] : tokens_;
    to_.sequences.push_back({starts_[i], static_cast<uint32_t>(end - starts_[i]), 0});
  }
  return {};
}

}  // namespace cubby_cli::replay
