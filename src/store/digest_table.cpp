#include "store/digest_table.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "base/assert.hpp"
#include "store/chunks.hpp"

namespace cubby::store {

static_assert(CUBBY_PARTS_MAX <= 8, "longer_ has a bit for each part");

void digest_table::count_row(const model_bank &bank, uint32_t row, uint64_t &next) {
  const uint64_t lockers_before = static_cast<uint64_t>(row) * columns_;
  uint32_t *before = &row_before_[static_cast<size_t>(row) * (parts_ + 1)];
  for (uint32_t p = 0; p < parts_; p++) {
    // Page-aligned, a part has the fewest chunks; skewed, the same or one more.
    const uint64_t bytes = bank.rows[row].parts[p].bytes;
    before[p + 1] = before[p] + chunk_count(0, bytes, chunk_bytes_);
  }
  for (uint32_t column = 0; column < columns_; column++) {
    const uint64_t number = lockers_before + column;
    first_[number] = static_cast<uint32_t>(next);
    for (uint32_t p = 0; p < parts_; p++) {
      const part_place place = place_of(bank, number, p);
      const uint32_t count = chunk_count(place.offset_bytes, place.bytes, chunk_bytes_);
      const uint32_t extra = count - (before[p + 1] - before[p]);
      CUBBY_ASSERT(extra <= 1);
      longer_[number] = static_cast<uint8_t>(longer_[number] | extra << p);
      next += count;
    }
  }
}

result<digest_table> digest_table::make(const model_bank &bank, uint32_t chunk_bytes) try {
  if (!is_chunk_size(chunk_bytes))
    return fail(CUBBY_ERR_INVALID,
                "a chunk of %u bytes: chunk sizes are powers of two from %u bytes on", chunk_bytes,
                chunk_bytes_min);
  digest_table table;
  table.chunk_bytes_ = chunk_bytes;
  table.columns_ = bank.columns;
  table.parts_ = static_cast<uint32_t>(bank.part_names.size());
  if (bank.part_names.size() > CUBBY_PARTS_MAX)
    return fail(CUBBY_ERR_INVALID, "bank %s has lockers of %zu parts, at most %d are possible",
                bank.name.c_str(), bank.part_names.size(), CUBBY_PARTS_MAX);
  const auto rows = static_cast<uint32_t>(bank.rows.size());
  uint64_t least = 0;  // before any memory is taken for them
  for (const bank_row &row : bank.rows)
    for (const row_part &part : row.parts) {
      least += (part.bytes / chunk_bytes + 1) * bank.columns;
      if (part.bytes <= part_bytes_max && least <= UINT32_MAX / 2) continue;
      return fail(CUBBY_ERR_BUDGET,
                  "bank %s has more chunks of %u bytes than can be numbered; use larger chunks",
                  bank.name.c_str(), chunk_bytes);
    }
  const size_t lockers = static_cast<size_t>(rows) * bank.columns;
  table.row_before_.assign(static_cast<size_t>(rows) * (table.parts_ + 1), 0);
  table.first_.assign(lockers, 0);
  table.longer_.assign(lockers, 0);
  uint64_t count = 0;
  for (uint32_t row = 0; row < rows; row++) table.count_row(bank, row, count);
  table.digests_.assign(count, 0);
  return table;
} catch (const std::bad_alloc &) {
  return fail(CUBBY_ERR_NO_MEMORY,
              "there is no memory for the digests of bank %s; use larger chunks",
              bank.name.c_str());
}

result<void> digest_table::load(std::vector<uint64_t> digests) {
  if (digests.size() != digests_.size())
    return fail(CUBBY_ERR_FORMAT,
                "the seal holds %zu digests where the bank has %zu chunks; seal the file again",
                digests.size(), digests_.size());
  digests_ = std::move(digests);
  return {};
}

uint64_t digest_table::slot(uint64_t number, uint32_t part, uint32_t chunk) const {
  CUBBY_ASSERT(number < first_.size() && part < parts_);
  const uint32_t *before = &row_before_[number / columns_ * (parts_ + 1)];
  const uint32_t earlier_mask = (1u << part) - 1;
  const auto longer =
      static_cast<uint32_t>(std::popcount(uint32_t{longer_[number]} & earlier_mask));
  const uint64_t found = uint64_t{first_[number]} + before[part] + longer + chunk;
  CUBBY_ASSERT(chunk < chunks(number, part));
  return found;
}

uint32_t digest_table::chunks(uint64_t number, uint32_t part) const {
  const uint32_t *before = &row_before_[number / columns_ * (parts_ + 1)];
  return before[part + 1] - before[part] + (uint32_t{longer_[number]} >> part & 1u);
}

uint64_t digest_table::known_count() const {
  return digests_.size() -
         static_cast<uint64_t>(std::count(digests_.begin(), digests_.end(), uint64_t{0}));
}

uint64_t digest_table::bytes_used() const {
  return row_before_.capacity() * sizeof row_before_[0] + first_.capacity() * sizeof first_[0] +
         longer_.capacity() * sizeof longer_[0] + digests_.capacity() * sizeof digests_[0];
}

}  // namespace cubby::store
