#include "cli/model/vocabulary.hpp"

namespace cubby_cli::model {
namespace {

/// A code point below 2048 as UTF-8.
std::string utf8(uint32_t point) {
  if (point < 128) return {static_cast<char>(point)};
  return {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 63))};
}

/// Byte-level vocabularies write printable bytes as themselves and the others, in their order, as
/// the code points from 256 on.
std::vector<std::string> byte_names() {
  std::vector<std::string> names(256);
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; byte++) {
    const bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    names[byte] = utf8(printable ? byte : next++);
  }
  return names;
}

}  // namespace

vocabulary small_vocabulary() {
  vocabulary made;
  made.tokens = byte_names();
  const std::string space = made.tokens[' '];
  const std::string pairs[][2] = {{space, "t"}, {"h", "e"},   {space + "t", "he"}, {space, "a"},
                                  {"i", "n"},   {"e", "r"},   {"o", "n"},          {"r", "e"},
                                  {space, "s"}, {space, "o"}, {"a", "t"},          {"e", "n"}};
  for (const auto &[left, right] : pairs) {
    made.merges.push_back(left + " " + right);
    made.tokens.push_back(left + right);
  }
  made.types.assign(made.tokens.size(), 1);
  const auto mark = [&made](const char *text) {
    made.tokens.emplace_back(text);
    made.types.push_back(3);
    return static_cast<uint32_t>(made.tokens.size() - 1);
  };
  made.end_of_text = mark("<|endoftext|>");
  made.start_of_turn = mark("<|im_start|>");
  made.end_of_turn = mark("<|im_end|>");
  return made;
}

}  // namespace cubby_cli::model
