// Names from files as they may be shown.
#include <cstring>

#include "support/catch.hpp"

#include "base/printable.hpp"

namespace printable_test {

using cubby::base::cut_into;
using cubby::base::print_into;
using cubby::base::printable;

TEST_CASE("control characters and bytes that are no UTF-8 are escaped, all else stays") {
  CHECK(printable("blk.0.ffn_up ü €😀") == "blk.0.ffn_up ü €😀");
  CHECK(printable(std::string_view("a\0b\x1b[2J\n\x7f", 9)) == "a\\x00b\\x1b[2J\\x0a\\x7f");
  CHECK(printable("\xff\xc3 \xc0\xaf \xed\xa0\x80") == "\\xff\\xc3 \\xc0\\xaf \\xed\\xa0\\x80");
  CHECK(printable("\xc2\x9b\xe2\x80\xae") == "\\xc2\\x9b\\xe2\\x80\\xae");
  CHECK(printable("\xe2\x82") == "\\xe2\\x82");
}

TEST_CASE("what is too long is cut between characters") {
  CHECK(printable("abcdef", 6) == "abcdef");
  CHECK(printable("abcdef", 5) == "abcde...");
  CHECK(printable("ab€", 4) == "ab...");
  CHECK(printable("abc\n", 6) == "abc...");
  char room[5];
  print_into(room, sizeof room, "ab€");
  CHECK(std::string(room) == "ab");
  print_into(room, sizeof room, "abcd");
  CHECK(std::string(room) == "abcd");
  print_into(room, sizeof room, "\n");
  CHECK(std::string(room) == "\\x0a");
}

TEST_CASE("text that stays as it is is cut between characters, too") {
  const auto cut = [](std::string_view text, size_t room_bytes) {
    char room[16];
    memset(room, 'x', sizeof room);
    cut_into(room, room_bytes, text);
    CHECK(room[room_bytes] == 'x');
    return std::string(room);
  };
  CHECK(cut("abcd", 5) == "abcd");
  CHECK(cut("abcde", 5) == "abcd");
  CHECK(cut("ab\n", 5) == "ab\n");
  CHECK(cut("ab€", 6) == "ab€");
  for (const size_t room : {3u, 4u, 5u}) CHECK(cut("ab€", room) == "ab");
  for (const size_t room : {1u, 2u, 3u, 4u}) CHECK(cut("😀", room).empty());
  CHECK(cut("😀", 5) == "😀");
  CHECK(cut("a\x80\x80\x80\x80\x80\x80", 6) == "a\x80\x80\x80\x80");  // no UTF-8
  CHECK(cut("", 1).empty());
}

}  // namespace printable_test
