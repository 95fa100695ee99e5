// Chunks and the table of their digests.
#include "support/catch.hpp"

#include <algorithm>

#include "base/checked.hpp"
#include "store/chunks.hpp"
#include "store/digest_table.hpp"

using namespace cubby::store;

namespace {

/// The definition, written out byte by byte: the chunk of a position of the file.
uint64_t chunk_by_definition(uint64_t offset, uint64_t position, uint32_t chunk_bytes) {
  return (position - cubby::base::align_down(offset, 4096)) / chunk_bytes;
}

model_bank bank_of(uint64_t first_offset, const std::vector<uint64_t> &part_bytes, uint32_t rows,
                   uint32_t columns) {
  model_bank bank;
  bank.name = "experts";
  bank.columns = columns;
  uint64_t at = first_offset;
  for (uint32_t r = 0; r < rows; r++) {
    bank_row row;
    for (const uint64_t bytes : part_bytes) {
      row_part part;
      part.bytes = bytes + r * 32;
      part.run = {0, at, part.bytes};
      at += part.bytes * columns;
      row.parts.push_back(part);
    }
    bank.rows.push_back(row);
  }
  bank.part_names.assign(part_bytes.size(), "p");
  return bank;
}

/// Every slot of the bank in the order of a seal must be the next number.
void check_order(const model_bank &bank, uint32_t chunk_bytes) {
  auto table = digest_table::make(bank, chunk_bytes);
  REQUIRE(table.ok());
  uint64_t next = 0;
  for (uint64_t number = 0; number < bank.rows.size() * bank.columns; number++)
    for (uint32_t p = 0; p < bank.part_names.size(); p++) {
      const part_place place = place_of(bank, number, p);
      const uint32_t count = chunk_count(place.offset_bytes, place.bytes, chunk_bytes);
      if (table->chunks(number, p) != count) FAIL("count of locker " << number << " part " << p);
      for (uint32_t k = 0; k < count; k++, next++)
        if (table->slot(number, p, k) != next) FAIL("locker " << number << " part " << p);
    }
  CHECK(table->digests().size() == next);
}

}  // namespace

TEST_CASE("chunks cover a part without gap or overlap, cut at aligned positions of the file") {
  const uint64_t sizes[] = {1, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 200000};
  const uint64_t offsets[] = {0, 1, 31, 4095, 4096, 4128, 65536 + 2048, (1ull << 40) + 160};
  for (const uint32_t chunk_bytes : {4096u, 16384u, 65536u, chunk_bytes_default})
    for (const uint64_t offset : offsets)
      for (const uint64_t bytes : sizes) {
        const uint32_t count = chunk_count(offset, bytes, chunk_bytes);
        CHECK(count == chunk_by_definition(offset, offset + bytes - 1, chunk_bytes) + 1);
        uint64_t next = offset;
        for (uint32_t k = 0; k < count; k++) {
          const chunk_range range = chunk_at(offset, bytes, chunk_bytes, k);
          if (range.offset_bytes != next || range.bytes == 0 || range.bytes > chunk_bytes)
            FAIL("offset " << offset << " bytes " << bytes << " chunk " << k);
          if (k > 0 && range.offset_bytes % 4096 != 0) FAIL("a cut that is not aligned");
          const chunk_position first = chunk_of(offset, bytes, chunk_bytes, next - offset);
          const uint64_t last_byte = next - offset + range.bytes - 1;
          const chunk_position last = chunk_of(offset, bytes, chunk_bytes, last_byte);
          if (first.chunk != k || first.at_bytes != 0) FAIL("first byte of chunk " << k);
          if (last.chunk != k || last.at_bytes != range.bytes - 1) FAIL("last byte of " << k);
          next += range.bytes;
        }
        CHECK(next == offset + bytes);
      }
}

TEST_CASE("an empty part has no chunk, and a skewed part of one chunk size has two") {
  CHECK(chunk_count(77, 0, 4096) == 0);
  CHECK(chunk_count(4096, 65536, 65536) == 1);
  CHECK(chunk_count(4096 + 32, 65536, 65536) == 2);
  CHECK(chunk_at(4096 + 32, 65536, 65536, 0).bytes == 65536 - 32);
  CHECK(chunk_at(4096 + 32, 65536, 65536, 1).bytes == 32);
}

TEST_CASE("digests are numbered by locker, part and chunk, also where columns differ by a chunk") {
  // gpt-oss-20b's parts of 4,406,400 bytes, biases between them, and sizes that just fill chunks.
  check_order(bank_of(7136, {4406400, 11520, 4406400, 11520}, 3, 32), chunk_bytes_default);
  check_order(bank_of(4096 + 96, {65536 - 64, 65536 * 2 - 4096 + 8, 34}, 4, 37), 65536);
  check_order(bank_of(0, {4096, 8192}, 2, 4), 4096);
}

TEST_CASE("the table takes digests one by one or from a seal, and says what it knows and uses") {
  const model_bank bank = bank_of(160, {70000, 5000}, 2, 8);
  auto table = digest_table::make(bank, 65536);
  REQUIRE(table.ok());
  CHECK(table->known_count() == 0);
  CHECK(table->get(15, 1, 0) == 0);
  table->set(15, 1, 0, 99);
  table->set(0, 0, 1, 98);
  CHECK(table->get(15, 1, 0) == 99);
  CHECK(table->known_count() == 2);
  auto other = digest_table::make(bank, 65536);
  REQUIRE(other->load(table->digests()).ok());
  CHECK(other->get(0, 0, 1) == 98);
  auto wrong = other->load(std::vector<uint64_t>(3));
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.failure().status == CUBBY_ERR_FORMAT);
  CHECK(other->get(0, 0, 1) == 98);
  const uint64_t index = table->bytes_used() - table->digests().size() * 8;
  CHECK(index <= 16 * 8);
}

TEST_CASE("tables that cannot be are refused with a reason") {
  CHECK(digest_table::make(bank_of(0, {64}, 1, 1), 5000).failure().status == CUBBY_ERR_INVALID);
  CHECK(digest_table::make(bank_of(0, {64}, 1, 1), 2048).failure().status == CUBBY_ERR_INVALID);
  const std::vector<uint64_t> nine(9, 64);
  CHECK(digest_table::make(bank_of(0, nine, 1, 1), 4096).failure().status == CUBBY_ERR_INVALID);
  const auto huge = digest_table::make(bank_of(0, {1ull << 42, 1ull << 42}, 9, 1 << 16), 4096);
  CHECK(huge.failure().status == CUBBY_ERR_BUDGET);
}
