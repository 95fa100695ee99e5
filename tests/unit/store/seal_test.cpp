// Seals: written whole, read back, and held against damage and change.
#include "support/catch.hpp"

#include "scratch.hpp"
#include "store/seal.hpp"

using namespace cubby::store;

namespace {

seal seal_of(const model_file &model) {
  seal content;
  content.chunk_bytes = 65536;
  content.files = model.files;
  content.banks = {{1, 0, UINT64_MAX}, {}, {7}};
  content.complete = true;
  return content;
}

}  // namespace

TEST_CASE("a seal comes back as it was written, and leaves no temporary file") {
  const scratch::folder folder;
  auto model = open_model(folder.write("m.gguf", scratch::mixed_model().bytes()), "");
  REQUIRE(model.ok());
  const std::string path = seal_path_of(*model, "");
  CHECK(path == folder.path("m.gguf.cubby-seal"));
  CHECK(seal_path_of(*model, "x") == "x");
  auto missing = read_seal(path);
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.failure().status == CUBBY_MISS);
  const seal content = seal_of(*model);
  REQUIRE(write_seal(path, content).ok());
  auto again = read_seal(path);
  REQUIRE(again.ok());
  CHECK(again->banks == content.banks);
  CHECK(again->complete);
  CHECK(again->chunk_bytes == 65536);
  CHECK(check_seal(*again, *model).ok());
  const std::filesystem::directory_iterator entries(folder.path(""));
  CHECK(std::distance(begin(entries), end(entries)) == 2);
}

TEST_CASE("a seal with any byte flipped or cut off is refused") {
  const scratch::folder folder;
  auto model = open_model(folder.write("m.gguf", scratch::mixed_model().bytes()), "");
  REQUIRE(model.ok());
  REQUIRE(write_seal(folder.path("s"), seal_of(*model)).ok());
  const std::string bytes = scratch::read(folder.path("s"));
  for (size_t at = 0; at < bytes.size(); at++) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0xff);
    auto flipped = read_seal(folder.write("t", changed));
    if (flipped || flipped.failure().status != CUBBY_ERR_FORMAT) FAIL("byte " << at);
    auto cut = read_seal(folder.write("t", bytes.substr(0, at)));
    if (cut || cut.failure().status != CUBBY_ERR_FORMAT) FAIL("cut at " << at);
  }
  CHECK_FALSE(read_seal(folder.write("t", bytes + "x")).ok());
}

TEST_CASE("a file changed since it was sealed is named, with what differs") {
  const scratch::folder folder;
  const std::string path = folder.write("m.gguf", scratch::mixed_model().bytes());
  auto before = open_model(path, "");
  REQUIRE(before.ok());
  const seal content = seal_of(*before);
  folder.write("m.gguf", scratch::mixed_model().pair("more", 1).bytes());
  auto after = open_model(path, "");
  REQUIRE(after.ok());
  auto checked = check_seal(content, *after);
  REQUIRE_FALSE(checked.ok());
  CHECK(checked.failure().status == CUBBY_ERR_CORRUPT);
  CHECK(checked.failure().text.find(path) != std::string::npos);
  CHECK(checked.failure().text.find("size differs") != std::string::npos);
}
