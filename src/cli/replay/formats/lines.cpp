#include "cli/replay/formats/lines.hpp"

namespace cubby_cli::replay {
namespace {

constexpr size_t line_bytes_max = size_t{256} << 20;

}  // namespace

line_reader::line_reader(byte_source &from, std::string begun)
    : source_(from), text_(std::move(begun)), trouble_(from.trouble()) {}

bool line_reader::next(std::string &line) {
  size_t looked = at_;
  while (trouble_.empty()) {
    const size_t end = text_.find('\n', looked);
    if (end != std::string::npos) {
      line.assign(text_, at_, end - at_);
      at_ = end + 1;
      ++line_number_;
      return true;
    }
    text_.erase(0, at_);
    at_ = 0;
    looked = text_.size();
    if (looked > line_bytes_max) {
      trouble_ = "line " + std::to_string(line_number_ + 1) + " is longer than 256 MiB";
      return false;
    }
    if (ended_) break;
    ended_ = !source_.more(text_);
    if (ended_) trouble_ = source_.trouble();
  }
  if (!trouble_.empty() || text_.empty()) return false;
  line = std::move(text_);
  text_.clear();
  ++line_number_;
  return true;
}

}  // namespace cubby_cli::replay
