#include "cli/printable.hpp"

#include <cstdint>
#include <cstdio>

namespace cubby_cli {
namespace {

/// Bytes of the character of UTF-8 that the text begins with, and its number; 0 bytes: none.
struct character {
  size_t bytes = 0;
  uint32_t number = 0;
};

character first_of(std::string_view text) {
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, lead};
  const size_t bytes = lead >= 0xf0 && lead < 0xf5   ? 4
                       : lead >= 0xe0 && lead < 0xf0 ? 3
                       : lead >= 0xc2 && lead < 0xe0 ? 2
                                                     : 0;
  if (bytes == 0 || text.size() < bytes) return {};
  uint32_t number = lead & (0xffu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    number = number << 6 | (byte(i) & 0x3fu);
  }
  constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = number >= 0xd800 && number < 0xe000;
  return number < least[bytes] || number > 0x10ffff || surrogate ? character{}
                                                                 : character{bytes, number};
}

/// C0 and C1 controls, and what turns the direction of a line around.
bool is_control(uint32_t number) {
  return number < 0x20 || (number >= 0x7f && number < 0xa0) ||
         (number >= 0x202a && number <= 0x202e) || (number >= 0x2066 && number <= 0x2069);
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const character first = first_of(text);
    const size_t bytes = first.bytes == 0 ? 1 : first.bytes;
    if (first.bytes != 0 && !is_control(first.number)) {
      shown += text.substr(0, bytes);
    } else if (text[0] == '\n') {
      shown += "\\n";
    } else if (text[0] == '\t') {
      shown += "\\t";
    } else {
      for (size_t i = 0; i < bytes; ++i) {
        char escape[5];
        std::snprintf(escape, sizeof escape, "\\x%02x",
                      static_cast<unsigned>(static_cast<unsigned char>(text[i])));
        shown += escape;
      }
    }
    text.remove_prefix(bytes);
  }
  return shown;
}

}  // namespace cubby_cli
