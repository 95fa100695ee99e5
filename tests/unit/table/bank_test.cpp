// Where a bank keeps what belongs to a locker: digests by number, part and chunk, words apart from
// their neighbours', parts in frames.
#include "table/bank.hpp"

#include <set>

#include "support/catch.hpp"

using namespace cubby;
using namespace cubby::table;

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

std::unique_ptr<bank> adopt(const store::model_bank &model) {
  const std::vector<store::model_part_file> files(1);
  auto made = bank::adopt(model, files, "experts");
  REQUIRE(made.ok());
  (*made)->make_digests();
  return std::move(*made);
}

/// Gives every chunk a number of its own in the order of a seal; returns how many there are.
template <class Visit>
uint64_t each_chunk(bank &where, const Visit &visit) {
  uint64_t serial = 0;
  for (uint32_t number = 0; number < where.count(); number++)
    for (uint32_t part = 0; part < where.part_count(); part++) {
      const part_extent here = where.extent(number, part);
      const uint32_t chunks =
          store::chunk_count(here.offset_bytes, here.bytes, where.chunk_bytes());
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
    const auto where = adopt(model);
    const uint64_t total =
        each_chunk(*where, [&](uint32_t n, uint32_t p, uint32_t c, uint64_t serial) {
          if (where->digest(n, p, c) != 0) FAIL("locker " << n << " part " << p << " chunk " << c);
          where->digest(n, p, c) = serial;
        });
    CHECK(total == where->chunk_total());
    each_chunk(*where, [&](uint32_t n, uint32_t p, uint32_t c, uint64_t serial) {
      if (where->digest(n, p, c) != serial) FAIL("locker " << n << " part " << p << " chunk " << c);
    });
  }
}

TEST_CASE("a seal's digests go where they belong, and another bank's are refused") {
  const auto where = adopt(stacked(160, {270000, 5000}, 2, 8));
  std::vector<uint64_t> digests(where->chunk_total());
  for (size_t i = 0; i < digests.size(); i++) digests[i] = i + 1;
  REQUIRE(where->load_seal(digests).ok());
  each_chunk(*where, [&](uint32_t n, uint32_t p, uint32_t c, uint64_t serial) {
    if (where->digest(n, p, c) != serial) FAIL("locker " << n << " part " << p << " chunk " << c);
  });
  digests.pop_back();
  const auto wrong = where->load_seal(digests);
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.failure().status == CUBBY_ERR_FORMAT);
}

TEST_CASE("words of a layer's neighbours lie on different cache lines, none twice") {
  const auto where = adopt(stacked(0, {65536}, 24, 32));
  where->add_tier(0, frame_layout::skewed, {});
  std::set<const locker_word *> places;
  for (uint32_t number = 0; number < where->count(); number++) {
    places.insert(&where->word(0, number));
    if (number % 32 == 0) continue;
    const auto here = reinterpret_cast<uintptr_t>(&where->word(0, number));
    const auto before = reinterpret_cast<uintptr_t>(&where->word(0, number - 1));
    if (here / 64 == before / 64) FAIL("lockers " << number - 1 << " and " << number);
  }
  CHECK(places.size() == where->count());
}

TEST_CASE("tables take at most 64 bytes a locker without digests") {
  const auto where = adopt(stacked(0, {65536, 65536, 65536}, 48, 128));
  where->add_tier(0, frame_layout::skewed, {});
  where->add_tier(1, frame_layout::packed, {});
  CHECK(where->table_bytes() <= 64 * where->count());
}
