// Lists of pieces: where bytes in a row go.
#include "transfer/pieces.hpp"

#include <algorithm>
#include <string>

#include "support/catch.hpp"

namespace pieces_test {

using namespace cubby::transfer;

namespace {

std::byte *at(std::string &memory, size_t offset) {
  return reinterpret_cast<std::byte *>(memory.data() + offset);
}

void put(const indexed_pieces &to, uint64_t at_bytes, std::string text) {
  copy_to(to, at_bytes, at(text, 0), text.size());
}

}  // namespace

TEST_CASE("bytes go to the pieces they belong to, wherever they begin and end") {
  std::string memory;
  const auto clear = [&] { return at(memory.assign(20, '.'), 0); };
  std::byte *const base = clear();
  const std::vector<memory_piece> pieces = {
      {base, 3}, {base + 5, 4}, {base + 9, 0}, {base + 12, 5}};
  const std::vector<uint64_t> ends = ends_of(pieces);
  CHECK(ends == std::vector<uint64_t>{3, 7, 7, 12});
  const indexed_pieces to = {pieces, ends};
  put(to, 0, "abcdefghijkl");
  CHECK(memory == "abc..defg...hijkl...");
  clear();
  put(to, 0, "abc");
  put(to, 7, "h");
  CHECK(memory == "abc.........h.......");
  clear();
  put(to, 2, "cdefghi");
  CHECK(memory == "..c..defg...hi......");
  clear();
  put(to, 12, "");
  CHECK(memory == std::string(20, '.'));
}

TEST_CASE("pieces before those that are written to are not looked at") {
  std::string memory(40, '.');
  std::vector<memory_piece> pieces;
  for (size_t i = 0; i < 10; ++i) pieces.push_back({at(memory, i * 4), 2});
  const std::vector<uint64_t> ends = ends_of(pieces);
  // A walk from the first piece would end up elsewhere, or nowhere.
  for (size_t i = 0; i < 8; ++i) pieces[i] = {nullptr, 1000};
  put({pieces, ends}, 17, "xyz");
  CHECK(memory == std::string(33, '.') + "x..yz..");
}

}  // namespace pieces_test
