// A bank as a whole: digests by number, part and chunk, and what mapping it changes.
#include "catalog/bank_description.hpp"

#include "store/chunks.hpp"

#include "support/catch.hpp"

namespace bank_description_test {

using namespace cubby;
using namespace cubby::catalog;

namespace {

store::model_bank stacked(uint64_t first_offset, const std::vector<uint64_t> &part_bytes,
                          uint32_t rows, uint32_t columns) {
  store::model_bank model;
  model.name = "experts";
  model.columns = columns;
  uint64_t at = first_offset;
  for (uint32_t r = 0; r < rows; r++) {
    store::bank_row row;
    row.layer = r;
    for (const uint64_t bytes : part_bytes) {
      store::row_part part;
      part.bytes = bytes + r * 32;
      part.run = {0, at, part.bytes};
      at += part.bytes * columns;
      row.parts.push_back(part);
    }
    model.rows.push_back(row);
  }
  model.part_names.assign(part_bytes.size(), "p");
  return model;
}

std::unique_ptr<bank_description> adopt(const store::model_bank &model) {
  auto grid = bank_geometry::adopt(model, "experts", "model");
  REQUIRE(grid.ok());
  auto mapping = bank_description::adopt(*grid, model, std::vector<store::model_part_file>(1));
  auto made = std::make_unique<bank_description>(std::move(*grid), std::move(mapping));
  made->make_digests();
  return made;
}

/// Gives every chunk a number of its own in the order of a seal; returns how many there are.
template <class Visit>
uint64_t each_chunk(bank_description &bank, const Visit &visit) {
  uint64_t serial = 0;
  for (uint32_t number = 0; number < bank.count(); number++)
    for (uint32_t part = 0; part < bank.part_count(); part++) {
      const part_extent here = bank.extent(number, part);
      const uint32_t chunks =
          store::chunk_count(here.offset_bytes, here.bytes, bank.grid().chunk_bytes());
      for (uint32_t chunk = 0; chunk < chunks; chunk++) visit(number, part, chunk, ++serial);
    }
  return serial;
}

}  // namespace

TEST_CASE("every chunk has a place of its own, also where columns differ by a chunk") {
  // gpt-oss-20b's parts of 4,406,400 bytes with biases between them, and sizes that just fill
  // chunks.
  const store::model_bank models[] = {
      stacked(7136, {4406400, 11520, 4406400, 11520}, 3, 32),
      stacked(4096 + 96, {262144 - 64, 2 * 262144 - 4096 + 8, 34}, 4, 37),
      stacked(0, {4096, 8192}, 2, 4)};
  for (const auto &model : models) {
    const auto bank = adopt(model);
    const uint64_t total =
        each_chunk(*bank, [&](uint32_t n, uint32_t p, uint32_t c, uint64_t serial) {
          if (bank->digest(n, p, c) != 0) FAIL("locker " << n << " part " << p << " chunk " << c);
          bank->digest(n, p, c) = serial;
        });
    CHECK(total == bank->chunk_total());
    each_chunk(*bank, [&](uint32_t n, uint32_t p, uint32_t c, uint64_t serial) {
      if (bank->digest(n, p, c) != serial) FAIL("locker " << n << " part " << p << " chunk " << c);
    });
  }
}

TEST_CASE("a seal's digests go where they belong, and another bank's are refused") {
  const auto bank = adopt(stacked(160, {270000, 5000}, 2, 8));
  std::vector<uint64_t> digests(bank->chunk_total());
  for (size_t i = 0; i < digests.size(); i++) digests[i] = i + 1;
  REQUIRE(bank->load_seal(digests).ok());
  each_chunk(*bank, [&](uint32_t n, uint32_t p, uint32_t c, uint64_t serial) {
    if (bank->digest(n, p, c) != serial) FAIL("locker " << n << " part " << p << " chunk " << c);
  });
  digests.pop_back();
  const auto wrong = bank->load_seal(digests);
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.failure().status == CUBBY_ERR_FORMAT);
}

TEST_CASE("a bank that could not be mapped is as it was, one that was has all of the mapping") {
  cubby_bank_desc desc{};
  desc.name = "weights";
  desc.rows = 1;
  desc.columns = 2;
  desc.locker_bytes = 5000;
  auto grid = bank_geometry::describe(desc);
  REQUIRE(grid.ok());
  auto unmapped = bank_description::unmapped(*grid);
  bank_description bank(std::move(*grid), std::move(unmapped));
  CHECK(std::string(bank.desc().name) == "weights");
  const std::vector<bank_file> files{{.path = "f", .bytes = 20'000}};
  std::vector<cubby_extent> extents{{CUBBY_ID(3, 0), 0, 0, 64, 5000},
                                    {CUBBY_ID(3, 1), 0, 0, 15'001, 5000}};
  CHECK_FALSE(bank.prepare(3, files, extents, true).ok());
  CHECK_FALSE(bank.mapped());
  CHECK(bank.files.empty());
  CHECK(bank.digest_bytes() == 0);

  extents[1].offset_bytes = 8000;
  auto prepared = bank.prepare(3, files, extents, true);
  REQUIRE(prepared.ok());
  CHECK_FALSE(bank.mapped());
  bank.install(std::move(*prepared));
  CHECK(bank.mapped());
  CHECK(bank.files.size() == 1);
  CHECK(bank.extent(1, 0).offset_bytes == 8000);
  CHECK(bank.digest_bytes() == digest_table::bytes_for(bank.grid()));
  CHECK(bank.skew_ok());
  CHECK(bank.part_offset(frame_layout::skewed, 1, 0) == 8000 % 4096);
  CHECK(bank.part_offset(frame_layout::packed, 1, 0) == 0);
  CHECK(bank.place_of(frame_layout::skewed, 0, 0).file_stride_bytes == 7936);
}

}  // namespace bank_description_test
