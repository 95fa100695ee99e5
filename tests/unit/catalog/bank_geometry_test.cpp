// Which descriptions of a bank are taken, and what is known of its grid then.
#include "catalog/bank_geometry.hpp"

#include "support/catch.hpp"

namespace bank_geometry_test {

using namespace cubby;
using namespace cubby::catalog;

namespace {

cubby_bank_desc grid(uint32_t rows, uint32_t columns, uint64_t bytes) {
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.name = "weights";
  desc.rows = rows;
  desc.columns = columns;
  desc.locker_bytes = bytes;
  return desc;
}

std::string refusal(const cubby_bank_desc &desc) {
  const auto made = bank_geometry::describe(desc);
  return made.ok() ? std::string() : std::string(made.failure().text);
}

bool says(const std::string &text, const char *part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a grid of one part has its size, default alignment and one chunk a locker") {
  const auto made = bank_geometry::describe(grid(3, 5, 10'000));
  REQUIRE(made.ok());
  CHECK(made->count() == 15);
  CHECK(made->row_of(9) == 1);
  CHECK(made->column_of(9) == 4);
  CHECK(made->part_bytes(2, 0) == 10'000);
  CHECK(made->align_bytes() == 64);
  CHECK(made->chunk_bytes() == 16'384);
  CHECK(made->part_name(0) == "part0");
}

TEST_CASE("rows may differ in size, and the view says so") {
  const uint64_t row_bytes[] = {300, 500}, part_bytes[] = {100, 200, 400, 100};
  const uint32_t layers[] = {4, 7};
  cubby_bank_desc desc = grid(2, 8, 0);
  desc.row_bytes = row_bytes;
  desc.part_count = 2;
  desc.part_bytes = part_bytes;
  desc.row_layers = layers;
  const auto made = bank_geometry::describe(desc);
  REQUIRE(made.ok());
  CHECK(made->row_bytes(1) == 500);
  CHECK(made->part_bytes(1, 0) == 400);
  CHECK(made->row_part(1, 1) == 3);
  const cubby_bank_desc view = made->desc();
  CHECK(view.locker_bytes == 0);
  CHECK(view.row_bytes[1] == 500);
  CHECK(view.row_layers[1] == 7);
  CHECK(view.policy == nullptr);
  CHECK(std::string(view.name) == "weights");
}

TEST_CASE("what cannot be a grid is refused with the field's name") {
  CHECK(says(refusal(grid(0, 5, 10)), "0 rows of 5 columns"));
  CHECK(says(refusal(grid(1u << 16, 1u << 16, 10)), "at most"));
  CHECK(says(refusal(grid(1, 1, 0)), "have 0 bytes"));
  cubby_bank_desc desc = grid(1, 1, 10);
  desc.align_bytes = 48;
  CHECK(says(refusal(desc), "align_bytes 48"));
  desc = grid(1, 1, 10);
  desc.chunk_bytes = 2048;
  CHECK(says(refusal(desc), "chunk_bytes 2048"));
  desc = grid(1, 1, 10);
  desc.part_count = CUBBY_PARTS_MAX + 1;
  CHECK(says(refusal(desc), "parts"));
  desc = grid(1, 1, 10);
  desc.part_count = 2;
  CHECK(says(refusal(desc), "part 0 of row 0 has no size"));
  const uint64_t parts[] = {4, 4};
  desc.part_bytes = parts;
  CHECK(says(refusal(desc), "8 bytes together, its lockers 10"));
}

}  // namespace bank_geometry_test
