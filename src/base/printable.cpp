#include "base/printable.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace cubby::base {
namespace {

struct character {
  size_t bytes;  // taken from the text
  bool shown;    // as it is; else each of its bytes as \xNN
};

constexpr uint32_t beyond_unicode = 0x110000;

/// The UTF-8 character at the front of a text that is not empty; one byte where there is none.
character front_of(std::string_view text) {
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {1, first >= 0x20 && first != 0x7f};
  const size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return {1, false};
  uint32_t value = first & (0x7fu >> bytes);
  for (size_t i = 1; i < bytes; i++) {
    if ((byte(i) & 0xc0) != 0x80) return {1, false};
    value = value << 6 | (byte(i) & 0x3fu);
  }
  const uint32_t least = bytes == 4 ? 0x10000 : bytes == 3 ? 0x800 : 0x80;
  const bool surrogate = value >= 0xd800 && value < 0xe000;
  if (value < least || value >= beyond_unicode || surrogate) return {1, false};
  // U+0080 to U+009F are control characters too; the others turn the direction of writing round.
  const bool control =
      value < 0xa0 || (value >= 0x202a && value <= 0x202e) || (value >= 0x2066 && value <= 0x2069);
  return {bytes, !control};
}

constexpr size_t escape_bytes = 4;

/// The character as it is shown; returns how many bytes that takes, at most 16.
size_t show(std::string_view text, const character &one, char *to) {
  if (one.shown) {
    memcpy(to, text.data(), one.bytes);
    return one.bytes;
  }
  static constexpr char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < one.bytes; i++) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const char escape[escape_bytes] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    memcpy(to + i * escape_bytes, escape, escape_bytes);
  }
  return one.bytes * escape_bytes;
}

}  // namespace

std::string printable(std::string_view text, size_t bytes_max) {
  std::string out;
  out.reserve(std::min(text.size(), bytes_max));
  while (!text.empty()) {
    char shown[4 * escape_bytes];
    const character one = front_of(text);
    const size_t bytes = show(text, one, shown);
    if (bytes > bytes_max - out.size()) return out + "...";
    out.append(shown, bytes);
    text.remove_prefix(one.bytes);
  }
  return out;
}

void print_into(char *to, size_t room, std::string_view text) noexcept {
  size_t used = 0;
  while (!text.empty()) {
    char shown[4 * escape_bytes];
    const character one = front_of(text);
    const size_t bytes = show(text, one, shown);
    if (bytes >= room - used) break;
    memcpy(to + used, shown, bytes);
    used += bytes;
    text.remove_prefix(one.bytes);
  }
  to[used] = '\0';
}

void cut_into(char *to, size_t room, std::string_view text) noexcept {
  size_t bytes = std::min(text.size(), room - 1);
  if (bytes < text.size()) {
    // A character has at most three bytes behind its first; more of them are no UTF-8.
    size_t end = bytes;
    const size_t least = bytes - std::min<size_t>(bytes, 3);
    while (end > least && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80) bytes = end;
  }
  memcpy(to, text.data(), bytes);
  to[bytes] = '\0';
}

}  // namespace cubby::base
