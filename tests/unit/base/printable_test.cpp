// Names from files as they may be shown.
#include "support/catch.hpp"

#include "base/printable.hpp"

namespace printable_test {

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

}  // namespace printable_test
