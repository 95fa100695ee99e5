#include "residency/locker_bank.hpp"

#include <algorithm>

namespace cubby::residency {

using catalog::bank_geometry;

locker_bank::locker_bank(bank_geometry grid, catalog::bank_mapping mapping)
    : bank_description(std::move(grid), std::move(mapping)), places_(count()) {}

result<std::unique_ptr<locker_bank>> locker_bank::describe(const cubby_bank_desc &desc) {
  auto grid = bank_geometry::describe(desc);
  if (!grid) return grid.failure();
  auto mapping = bank_description::unmapped(*grid);
  std::unique_ptr<locker_bank> made(new locker_bank(std::move(*grid), std::move(mapping)));
  if (desc.kind != CUBBY_BANK_KV) return made;
  if (made->grid().rows() != 1) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: a bank of KV blocks has one row, and as many columns as blocks; it was "
                "given %u rows",
                made->desc().name, made->grid().rows());
  }
  auto blocks = key_blocks::make(made->grid().columns(), made->part_count());
  if (!blocks) return blocks.failure();
  made->blocks = std::move(*blocks);
  return made;
}

result<std::unique_ptr<locker_bank>> locker_bank::adopt(
    const store::model_bank &model, const std::vector<store::model_part_file> &files,
    const std::string &name) {
  auto grid = bank_geometry::adopt(model, name, files.front().path);
  if (!grid) return grid.failure();
  auto mapping = bank_description::adopt(*grid, model, files);
  return std::unique_ptr<locker_bank>(new locker_bank(std::move(*grid), std::move(mapping)));
}

result<void> locker_bank::map(std::vector<catalog::bank_file> &&with, const cubby_extent *extents,
                              uint64_t count, bool with_digests) {
  auto prepared = prepare(handle, with, {extents, count}, with_digests);
  if (!prepared) return prepared.failure();
  with.clear();
  install(std::move(*prepared));
  return {};
}

void locker_bank::add_tier(uint32_t tier, catalog::frame_layout layout,
                           const tier::frame_address &memory) {
  if (words(tier) == nullptr) make_rows(tier);
  place_rows(tier, layout, memory);
  layouts_[tier].store(layout, std::memory_order_release);
}

void locker_bank::make_rows(uint32_t tier) {
  auto words = std::make_unique<locker_word[]>(places_.size());
  auto addresses = std::make_unique<part_address[]>(size_t{grid().rows()} * part_count());
  auto tier_rows = std::make_unique<bank_row[]>(grid().rows());
  for (uint32_t row = 0; row < grid().rows(); ++row) {
    bank_row &made = tier_rows[row];
    made.first_id_ = CUBBY_ID(handle, uint64_t{row} * grid().columns());
    made.columns_ = grid().columns();
    made.words_ = words.get();
    made.places_ = places_;
    made.parts_ = &addresses[size_t{row} * part_count()];
    made.last_part_ = made.parts_ + part_count() - 1;
    made.bank_ = this;
    made.tier_ = tier;
    made.space_mark_ = blocks != nullptr ? block_number_mark : 0;
  }
  addresses_[tier] = std::move(addresses);
  tier_rows_[tier] = std::move(tier_rows);
  owned_words_[tier] = std::move(words);
  words_[tier].store(owned_words_[tier].get(), std::memory_order_release);
}

void locker_bank::place_rows(uint32_t tier, catalog::frame_layout layout,
                             const tier::frame_address &memory) {
  for (uint32_t row = 0; row < grid().rows(); ++row) {
    for (uint32_t p = 0; p < part_count(); ++p) {
      if (part_bytes(row, p) == 0) continue;  // the row lacks it, and its address stays NULL
      const catalog::part_place at = place_of(layout, row, p);
      addresses_[tier][size_t{row} * part_count() + p] = {memory.base[p] + at.fixed_bytes,
                                                          memory.stride[p], at.file_offset_bytes,
                                                          at.file_stride_bytes, at.skew_mask};
      if (at.scattered) __atomic_store_n(&tier_rows_[tier][row].scattered_, true, __ATOMIC_RELAXED);
    }
  }
}

void bank_row::write_scattered(const cubby_item *items, uint32_t count,
                               const std::atomic<locker_word *> *words, const void **addr) const {
  const catalog::frame_layout layout = bank_->layout(tier_);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t frame = words[i].load(std::memory_order_relaxed)->look().frame;
    const auto number = static_cast<uint32_t>(items[i].id);
    for (uint32_t p = 0; p < part_count(); ++p) {
      if (bank_->part_bytes(bank_->row_of(number), p) == 0) {
        *addr++ = nullptr;
        continue;
      }
      const uint64_t fixed = bank_->place_of(layout, bank_->row_of(number), p).fixed_bytes;
      *addr++ =
          reinterpret_cast<const void *>(parts_[p].base - fixed + frame * parts_[p].stride_bytes +
                                         bank_->part_offset(layout, number, p));
    }
  }
}

catalog::part_extent locker_bank::block_extent(uint32_t number, uint32_t part) const {
  uint64_t left = blocks->length(number);
  for (uint32_t p = 0; p < part; ++p) left -= std::min(left, part_bytes(0, p));
  return {0, 0, std::min(left, part_bytes(0, part))};
}

uint64_t locker_bank::tier_bytes() const {
  return places_.size() * sizeof(locker_word) +
         grid().rows() * (sizeof(bank_row) + part_count() * sizeof(part_address));
}

uint64_t locker_bank::table_bytes() const {
  uint64_t bytes = sizeof *this + bank_description::table_bytes();
  if (blocks != nullptr) bytes += blocks->bytes();
  for (const auto &words : owned_words_) {
    if (words != nullptr) bytes += tier_bytes();
  }
  return bytes;
}

}  // namespace cubby::residency
