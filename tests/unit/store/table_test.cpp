// Tables of rows in model files: which tensor is one, and how it is cut into pages.
#include "support/catch.hpp"

#include "scratch.hpp"
#include "store/model_file.hpp"
#include "store/seal.hpp"

namespace table_test {

using cubby::store::open_table;
using cubby::store::place_of;

namespace {

constexpr uint32_t f32 = 0, q4_k = 12, q4_k_r4 = 212;

struct file {
  scratch::folder folder;
  std::string path;

  file() {
    scratch::gguf made;
    made.tensor("token_embd.weight", q4_k, {256, 1000}, 144'000)
        .tensor("output_norm.weight", f32, {256}, 1024)
        .tensor("per_layer_token_embd.weight", f32, {8192, 3}, 3 * 32'768)
        .tensor("mixed.weight", q4_k_r4, {256, 8}, 8 * 144)
        .tensor("blk.0.ffn_up_exps.weight", f32, {4, 4, 4}, 256);
    path = folder.write("m.gguf", made.bytes());
  }
  void refused(const std::string &tensor, cubby_status status, const char *said) const {
    const auto table = open_table(path, tensor, 16'384);
    REQUIRE_FALSE(table);
    INFO(table.failure().text);
    CHECK(table.failure().status == status);
    CHECK(table.failure().text.find(said) != std::string::npos);
  }
};

}  // namespace

TEST_CASE("a page has whole rows of any type, and the last one what is left") {
  const file model;
  auto table = open_table(model.path, "token_embd.*", 16'384);
  REQUIRE(table);
  REQUIRE(table->banks.size() == 1);
  const auto &bank = table->banks[0];
  CHECK(bank.table_row_bytes == 144);
  CHECK(bank.table_row_count == 1000);
  CHECK(bank.columns == 9);  // of 113 rows
  const auto first = place_of(bank, 0, 0), last = place_of(bank, 8, 0);
  CHECK(first.bytes == 113 * 144);
  CHECK(last.offset_bytes == first.offset_bytes + 8 * 113 * 144);
  CHECK(last.bytes == (1000 - 8 * 113) * 144);
  CHECK(bank.rows[0].parts[0].type == "Q4_K");
  CHECK(bank.rows[0].parts[0].shape[0] == 256);
  CHECK(bank.rows[0].parts[0].shape[1] == 113);
}

TEST_CASE("a row that is larger than a page is a page; a small table is one") {
  const file model;
  auto table = open_table(model.path, "per_layer_token_embd.weight", 16'384);
  REQUIRE(table);
  CHECK(table->banks[0].columns == 3);
  CHECK(place_of(table->banks[0], 2, 0).bytes == 32'768);
  table = open_table(model.path, "per_layer_token_embd.weight", 1 << 20);
  REQUIRE(table);
  CHECK(table->banks[0].columns == 1);
  CHECK(place_of(table->banks[0], 0, 0).bytes == 3 * 32'768);
}

TEST_CASE("what is no table is refused by its name") {
  const file model;
  model.refused("", CUBBY_ERR_INVALID, "name it");
  model.refused("no.such", CUBBY_ERR_INVALID, "no tensor that matches");
  model.refused("*token_embd.weight", CUBBY_ERR_INVALID, "2 tensors that match");
  model.refused("output_norm.weight", CUBBY_ERR_INVALID, "has 1 dimensions");
  model.refused("blk.*", CUBBY_ERR_INVALID, "has 3 dimensions");
  model.refused("mixed.weight", CUBBY_ERR_NOT_SUPPORTED, "interleaved");
}

TEST_CASE("a table's seal lies beside that of the experts") {
  const file model;
  auto table = open_table(model.path, "token_embd.weight", 16'384);
  REQUIRE(table);
  CHECK(cubby::store::seal_path_of(*table, "") ==
        model.path + ".token_embd.weight.p16272.cubby-seal");
  CHECK(cubby::store::seal_path_of(*table, "there") == "there");
}

TEST_CASE("a seal is of one table, in pages of one size") {
  const scratch::folder folder;
  const std::string path = folder.write(
      "t.gguf",
      scratch::gguf().tensor("a", f32, {4, 8}, 128).tensor("b", f32, {4, 8}, 128).bytes());
  auto sealed = open_table(path, "a", 4096), other = open_table(path, "b", 4096),
       recut = open_table(path, "a", 64);
  REQUIRE((sealed && other && recut));
  cubby::store::seal content;
  content.chunk_bytes = 65536;
  content.files = sealed->files;
  content.banks = {{1}};
  content.complete = true;
  content.table_digest = cubby::store::table_digest_of(*sealed);
  REQUIRE(cubby::store::write_seal(folder.path("s"), content));
  const auto read = cubby::store::read_seal(folder.path("s"));
  REQUIRE(read);
  CHECK(cubby::store::is_untouched(*read, *sealed));
  for (const auto *table : {&*other, &*recut}) {
    const auto checked = cubby::store::check_seal(*read, *table);
    REQUIRE_FALSE(checked);
    CHECK(checked.failure().status == CUBBY_ERR_FORMAT);
    CHECK(checked.failure().text.find("pages of another size") != std::string::npos);
    CHECK_FALSE(cubby::store::is_untouched(*read, *table));
  }
}

TEST_CASE("a tensor whose name is too long for a seal's has none") {
  const scratch::folder folder;
  const std::string tensor(240, 'n');
  const std::string path =
      folder.write("t.gguf", scratch::gguf().tensor(tensor, f32, {4, 8}, 128).bytes());
  auto table = open_table(path, tensor, 4096);
  REQUIRE(table);
  const std::string to = cubby::store::seal_path_of(*table, "");
  CHECK(cubby::store::read_seal(to).failure().status == CUBBY_MISS);
  const auto placed = cubby::store::try_place(to);
  REQUIRE_FALSE(placed);
  INFO(placed.failure().text);
  CHECK(placed.failure().text.find("seal path") != std::string::npos);
}

}  // namespace table_test
