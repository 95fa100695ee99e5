// Where parts lie in files: with a stride, without one, and which extents are refused.
#include "catalog/file_map.hpp"

#include "support/catch.hpp"

namespace file_map_test {

using namespace cubby;
using namespace cubby::catalog;

namespace {

constexpr cubby_bank handle = 9;

/// One row of four lockers of one part.
struct one_row {
  static constexpr uint64_t bytes = 100;
  bank_geometry grid = described();
  std::vector<bank_file> files{2};
  std::vector<cubby_extent> extents;

  one_row() {
    for (bank_file &file : files) file.bytes = 10'000;
    for (uint32_t c = 0; c < 4; ++c) extents.push_back({CUBBY_ID(handle, c), 0, 0, c * 128, bytes});
  }
  static bank_geometry described() {
    cubby_bank_desc desc{};
    desc.rows = 1;
    desc.columns = 4;
    desc.locker_bytes = bytes;
    return *bank_geometry::describe(desc);
  }
  [[nodiscard]] result<file_map> build() const {
    return file_map::build(grid, handle, files, extents);
  }
  [[nodiscard]] std::string refusal() const {
    const auto made = build();
    return made.ok() ? std::string() : std::string(made.failure().text);
  }
};

bool says(const std::string &text, const char *part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a bank without files has an empty map") { CHECK(file_map().empty()); }

TEST_CASE("even columns have a stride, and no list") {
  const one_row some;
  const auto made = some.build();
  REQUIRE(made.ok());
  CHECK_FALSE(made->empty());
  CHECK_FALSE(made->scattered(0));
  CHECK(made->run(0).stride_bytes == 128);
  CHECK(made->position(0, 3).offset_bytes == 384);
  CHECK(made->natural_align_bytes() == 128);
}

TEST_CASE("columns out of order, or in another file, are found one by one") {
  one_row some;
  SECTION("out of order") { std::swap(some.extents[1].offset_bytes, some.extents[2].offset_bytes); }
  SECTION("another file") { some.extents[3].file = 1; }
  SECTION("not in steps") { some.extents[3].offset_bytes = 388; }
  const auto made = some.build();
  REQUIRE(made.ok());
  CHECK(made->scattered(0));
  for (const cubby_extent &extent : some.extents) {
    const auto at = made->position(0, static_cast<uint32_t>(extent.id & 3));
    CHECK(at.offset_bytes == extent.offset_bytes);
    CHECK(at.file == extent.file);
  }
}

TEST_CASE("extents that do not name every part once and whole are refused") {
  one_row some;
  SECTION("too few") {
    some.extents.pop_back();
    CHECK(says(some.refusal(), "3 extents were given"));
  }
  SECTION("one twice") {
    some.extents[3].id = some.extents[2].id;
    CHECK(says(some.refusal(), "that an earlier one named"));
  }
  SECTION("another bank's") {
    some.extents[1].id = CUBBY_ID(handle + 1, 1);
    CHECK(says(some.refusal(), "extent 1 names a locker"));
  }
  SECTION("no such file") {
    some.extents[1].file = 2;
    CHECK(says(some.refusal(), "extent 1 names a locker, part or file"));
  }
  SECTION("a part of a part") {
    some.extents[1].bytes = 99;
    CHECK(says(some.refusal(), "has 99 bytes"));
  }
  SECTION("past the end, also where the sum is more than 64 bits") {
    some.extents[1].offset_bytes = GENERATE(uint64_t{9'901}, ~uint64_t{0});
    CHECK(says(some.refusal(), "ends at 10000"));
  }
}

}  // namespace file_map_test
