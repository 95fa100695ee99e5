#include "table/bank.hpp"

#include <algorithm>
#include <bit>

#include "base/checked.hpp"

namespace cubby::table {
namespace {

constexpr uint64_t page_bytes = 4096;

using ull = unsigned long long;

std::string text_of(const char *text) { return text == nullptr ? "" : text; }

}  // namespace

result<void> bank::check_geometry(const cubby_bank_desc &desc) {
  const auto count = base::checked_multiply(desc.rows, desc.columns);
  if (desc.rows == 0 || desc.columns == 0 || !count || *count > locker_count_max) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: %u rows of %u columns; at least one of each and at most %llu lockers",
                name_.c_str(), desc.rows, desc.columns, static_cast<ull>(locker_count_max));
  }
  if (desc.part_count > CUBBY_PARTS_MAX) {
    return fail(CUBBY_ERR_INVALID, "bank %s: %u parts, %d are possible", name_.c_str(),
                desc.part_count, CUBBY_PARTS_MAX);
  }
  if (desc.align_bytes > page_bytes ||
      !(desc.align_bytes == 0 || std::has_single_bit(desc.align_bytes))) {
    return fail(CUBBY_ERR_INVALID, "bank %s: align_bytes %u is no power of two up to 4096",
                name_.c_str(), desc.align_bytes);
  }
  if (desc.routed_count > desc.columns) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: routed_count is %u, but a row has %u lockers; set it to the experts that "
                "a token uses of a row, or to 0",
                name_.c_str(), desc.routed_count, desc.columns);
  }
  if (desc.chunk_bytes != 0 && (!std::has_single_bit(desc.chunk_bytes) ||
                                desc.chunk_bytes < page_bytes || desc.chunk_bytes > (1u << 20))) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: chunk_bytes %u is no power of two between 4096 and 1048576",
                name_.c_str(), desc.chunk_bytes);
  }
  return {};
}

result<std::unique_ptr<bank>> bank::describe(const cubby_bank_desc &desc) {
  std::unique_ptr<bank> made(new bank);
  made->name_ = desc.name == nullptr ? "bank" : desc.name;
  if (auto checked = made->check_geometry(desc); !checked) return checked.failure();
  made->set_grid(desc.rows, desc.columns);
  made->part_count_ = std::max(desc.part_count, 1u);
  for (uint32_t row = 0; row < desc.rows; ++row) {
    const uint64_t bytes = desc.row_bytes != nullptr ? desc.row_bytes[row] : desc.locker_bytes;
    if (bytes == 0 || bytes > (uint64_t{1} << 40)) {
      return fail(CUBBY_ERR_INVALID,
                  "bank %s: lockers of row %u have %llu bytes; between 1 and 2^40",
                  made->name_.c_str(), row, static_cast<ull>(bytes));
    }
    uint64_t sum = 0;
    for (uint32_t part = 0; part < made->part_count_; ++part) {
      const uint32_t at = desc.row_bytes != nullptr ? row * made->part_count_ + part : part;
      const uint64_t of_part =
          desc.part_bytes == nullptr ? (made->part_count_ == 1 ? bytes : 0) : desc.part_bytes[at];
      const auto total = base::checked_add(sum, of_part);
      if (of_part == 0 || !total) {
        return fail(CUBBY_ERR_INVALID, "bank %s: part %u of row %u has no size in part_bytes",
                    made->name_.c_str(), part, row);
      }
      sum = *total;
      made->part_bytes_.push_back(of_part);
    }
    if (sum != bytes) {
      return fail(CUBBY_ERR_INVALID,
                  "bank %s: the parts of row %u have %llu bytes together, its lockers %llu",
                  made->name_.c_str(), row, static_cast<ull>(sum), static_cast<ull>(bytes));
    }
    made->row_bytes_.push_back(bytes);
    made->row_layers_.push_back(desc.row_layers == nullptr ? row : desc.row_layers[row]);
  }
  made->desc_ = desc;
  made->part_types_.resize(size_t{desc.rows} * made->part_count_);
  made->part_tensors_.resize(size_t{desc.rows} * made->part_count_);
  made->part_shapes_.resize(size_t{desc.rows} * made->part_count_);
  for (uint32_t part = 0; part < made->part_count_; ++part) {
    made->part_names_.push_back("part" + std::to_string(part));
  }
  if (made->desc_.align_bytes == 0) made->desc_.align_bytes = 64;
  made->fill_desc(made->name_, text_of(desc.policy));
  made->lay_out();
  return made;
}

result<std::unique_ptr<bank>> bank::adopt(const store::model_bank &model,
                                          const std::vector<store::model_part_file> &files,
                                          const std::string &name) {
  std::unique_ptr<bank> made(new bank);
  const auto parts = static_cast<uint32_t>(model.part_names.size());
  if (parts > CUBBY_PARTS_MAX) {
    return fail(CUBBY_ERR_NOT_SUPPORTED, "%s: an expert has %u parts, %d are possible",
                files.front().path.c_str(), parts, CUBBY_PARTS_MAX);
  }
  made->set_grid(static_cast<uint32_t>(model.rows.size()), model.columns);
  made->part_count_ = parts;
  made->part_names_ = model.part_names;
  for (const store::model_part_file &file : files) {
    made->files.push_back(
        {file.path, 0, file.bytes, file.device, file.inode, file.mtime_ns, file.header_digest});
  }
  for (const store::bank_row &row : model.rows) {
    uint64_t sum = 0;
    for (const store::row_part &part : row.parts) {
      sum += part.bytes;
      made->part_bytes_.push_back(part.bytes);
      made->runs_.push_back(part.run);
      if (!part.column_runs.empty()) made->runs_.back().stride_bytes = 0;
      made->loose_.push_back(part.column_runs);
      made->part_types_.push_back(part.type);
      made->part_tensors_.push_back(part.tensor);
      made->part_shapes_.push_back(part.shape);
    }
    made->row_bytes_.push_back(sum);
    made->row_layers_.push_back(row.layer);
  }
  made->desc_.kind = model.name == "experts" ? CUBBY_BANK_EXPERTS : CUBBY_BANK_OTHER;
  made->desc_.routed_count = model.routed_count;
  made->fill_desc(name, "");
  made->find_strides();
  made->lay_out();
  made->desc_.align_bytes = static_cast<uint32_t>(made->natural_align_);
  made->lay_out();
  return made;
}

void bank::set_grid(uint32_t rows, uint32_t columns) {
  rows_ = rows;
  columns_ = columns;
  count_ = uint64_t{rows} * columns;
  places_ = word_places(count_);
}

void bank::fill_desc(const std::string &name, const std::string &policy) {
  name_ = name;
  policy_ = policy;
  desc_.struct_size = sizeof desc_;
  desc_.name = name_.c_str();
  desc_.rows = rows_;
  desc_.columns = columns_;
  desc_.part_count = part_count_;
  desc_.row_bytes = row_bytes_.data();
  desc_.part_bytes = part_bytes_.data();
  desc_.row_layers = row_layers_.data();
  desc_.policy = policy_.empty() ? nullptr : policy_.c_str();
  const bool uniform = std::all_of(row_bytes_.begin(), row_bytes_.end(),
                                   [&](uint64_t b) { return b == row_bytes_[0]; });
  desc_.locker_bytes = uniform ? row_bytes_[0] : 0;
  // Lockers smaller than a chunk are one chunk (two where they straddle a page).
  const uint64_t largest = *std::max_element(part_bytes_.begin(), part_bytes_.end());
  const uint64_t whole = std::bit_ceil(std::max(largest, page_bytes));
  chunk_bytes_ = desc_.chunk_bytes != 0
                     ? desc_.chunk_bytes
                     : static_cast<uint32_t>(std::min<uint64_t>(whole, store::chunk_bytes_default));
  desc_.chunk_bytes = chunk_bytes_;
}

void bank::lay_out() {
  for (auto &offsets : part_offsets_) offsets.assign(size_t{rows_} * part_count_, 0);
  for (auto &bytes : frame_bytes_) bytes.assign(rows_, 0);
  const uint64_t pack_align = std::max<uint64_t>(desc_.align_bytes, 64);
  for (uint32_t row = 0; row < rows_; ++row) {
    uint64_t packed = 0;
    for (uint32_t part = 0; part < part_count_; ++part) {
      const uint32_t at = row * part_count_ + part;
      part_offsets_[1][at] = packed;
      packed = base::align_up(packed + part_bytes_[at], pack_align);
    }
    frame_bytes_[1][row] = packed;
  }
  lay_out_pages();
}

/// How frames hold the pages of the files; of a bank that is not mapped there are none. Takes no
/// memory, and changes nothing of how packed frames lie.
void bank::lay_out_pages() {
  natural_align_ = page_bytes;
  if (!mapped()) return;
  for (uint32_t row = 0; row < rows_; ++row) {
    uint64_t skewed = 0;
    for (uint32_t part = 0; part < part_count_; ++part) {
      part_offsets_[0][row * part_count_ + part] = skewed;
      uint64_t pages = 0;
      for (uint32_t column = 0; column < columns_; ++column) {
        const part_extent here = extent(row * columns_ + column, part);
        natural_align_ = std::min(natural_align_,
                                  uint64_t{1} << std::min(12, std::countr_zero(here.offset_bytes)));
        const uint64_t skew = here.offset_bytes & (page_bytes - 1);
        pages = std::max(pages, base::align_up(skew + here.bytes, page_bytes));
      }
      skewed += pages;
    }
    frame_bytes_[0][row] = skewed;
  }
}

uint64_t bank::frame_bytes_max(frame_layout layout) const {
  const auto &bytes = frame_bytes_[layout == frame_layout::skewed ? 0 : 1];
  return *std::max_element(bytes.begin(), bytes.end());
}

result<void> bank::map(std::vector<bank_file> &&with, const cubby_extent *extents, uint64_t count,
                       bool digests) {
  const uint64_t wanted = this->count() * part_count_;
  if (count != wanted) {
    return fail(CUBBY_ERR_INVALID, "bank %s: %llu extents were given, its lockers have %llu parts",
                name_.c_str(), static_cast<ull>(count), static_cast<ull>(wanted));
  }
  std::vector<std::vector<store::part_run>> loose(
      size_t{rows_} * part_count_,
      std::vector<store::part_run>(columns_, store::part_run{~0u, 0, 0}));
  for (uint64_t i = 0; i < count; ++i) {
    const cubby_extent &e = extents[i];
    const uint64_t number = e.id & ((uint64_t{1} << 48) - 1);
    if (e.id >> 48 != handle || number >= this->count() || e.part >= part_count_ ||
        e.file >= with.size()) {
      return fail(CUBBY_ERR_INVALID,
                  "bank %s: extent %llu names a locker, part or file that is not there",
                  name_.c_str(), static_cast<ull>(i));
    }
    const uint32_t row = row_of(static_cast<uint32_t>(number));
    const uint32_t at = row * part_count_ + e.part;
    const auto end = base::checked_add(e.offset_bytes, e.bytes);
    if (e.bytes != part_bytes_[at] || !end || *end > with[e.file].bytes) {
      error failure = fail(CUBBY_ERR_INVALID,
                           "bank %s: extent %llu has %llu bytes at %llu; the part has %llu and %s "
                           "ends at %llu",
                           name_.c_str(), static_cast<ull>(i), static_cast<ull>(e.bytes),
                           static_cast<ull>(e.offset_bytes), static_cast<ull>(part_bytes_[at]),
                           with[e.file].path.c_str(), static_cast<ull>(with[e.file].bytes));
      failure.id = e.id;
      failure.offset_bytes = e.offset_bytes;
      return failure;
    }
    store::part_run &run = loose[at][number - uint64_t{row} * columns_];
    if (run.file != ~0u) {
      return fail(CUBBY_ERR_INVALID, "bank %s: extent %llu names a part that an earlier one named",
                  name_.c_str(), static_cast<ull>(i));
    }
    run = {e.file, e.offset_bytes, 0};
  }
  std::vector<store::part_run> runs;
  runs.reserve(loose.size());
  for (const auto &columns : loose) runs.push_back(columns.front());
  if (digests) make_digests();
  // Nothing takes memory from here on.
  files = std::move(with);
  runs_ = std::move(runs);
  loose_ = std::move(loose);
  find_strides();
  lay_out_pages();
  return {};
}

/// Columns that lie evenly behind each other in one file, as most do, need no list.
void bank::find_strides() {
  for (size_t at = 0; at < loose_.size(); ++at) {
    std::vector<store::part_run> &columns = loose_[at];
    if (columns.size() < 2 || columns[1].offset_bytes <= columns[0].offset_bytes) continue;
    const uint64_t stride = columns[1].offset_bytes - columns[0].offset_bytes;
    bool even = true;
    for (size_t i = 0; even && i < columns.size(); ++i) {
      even = columns[i].file == columns[0].file &&
             columns[i].offset_bytes == columns[0].offset_bytes + i * stride;
    }
    if (!even) continue;
    runs_[at].stride_bytes = stride;
    columns = {};
  }
}

part_extent bank::extent(uint32_t number, uint32_t part) const {
  const uint32_t row = row_of(number);
  const uint32_t at = row * part_count_ + part;
  const uint32_t column = number - row * columns_;
  if (loose_[at].empty()) {
    const store::part_run &run = runs_[at];
    return {run.file, run.offset_bytes + column * run.stride_bytes, part_bytes_[at]};
  }
  const store::part_run &run = loose_[at][column];
  return {run.file, run.offset_bytes, part_bytes_[at]};
}

void bank::make_digests() {
  if (!digests_.empty()) return;
  std::vector<uint64_t> start;
  std::vector<uint32_t> span;
  uint64_t total = 0;
  for (uint32_t at = 0; at < rows_ * part_count_; ++at) {
    // A column's skew may add one chunk.
    start.push_back(total);
    span.push_back(store::chunk_count(page_bytes - 1, part_bytes_[at], chunk_bytes_));
    total += uint64_t{span.back()} * columns_;
  }
  digests_.assign(total, 0);
  digest_start_ = std::move(start);
  digest_span_ = std::move(span);
}

uint64_t &bank::digest(uint32_t number, uint32_t part, uint32_t chunk) {
  const uint32_t row = row_of(number);
  const uint32_t at = row * part_count_ + part;
  CUBBY_ASSERT(chunk < digest_span_[at]);
  return digests_[digest_start_[at] + uint64_t{number - row * columns_} * digest_span_[at] + chunk];
}

uint64_t bank::chunk_total() const {
  uint64_t total = 0;
  for (uint32_t number = 0; number < count(); ++number) {
    for (uint32_t part = 0; part < part_count_; ++part) {
      const part_extent here = extent(number, part);
      total += store::chunk_count(here.offset_bytes, here.bytes, chunk_bytes_);
    }
  }
  return total;
}

result<void> bank::load_seal(const std::vector<uint64_t> &digests) {
  if (digests.size() != chunk_total()) {
    return fail(CUBBY_ERR_FORMAT,
                "bank %s: the seal has %zu digests, the lockers %llu chunks; "
                "seal the file again",
                name_.c_str(), digests.size(), static_cast<ull>(chunk_total()));
  }
  make_digests();
  size_t next = 0;
  for (uint32_t number = 0; number < count(); ++number) {
    for (uint32_t part = 0; part < part_count_; ++part) {
      const part_extent here = extent(number, part);
      const uint32_t chunks = store::chunk_count(here.offset_bytes, here.bytes, chunk_bytes_);
      for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
        digest(number, part, chunk) = digests[next++];
      }
    }
  }
  return {};
}

void bank::add_tier(uint32_t tier, frame_layout layout, const tier::frame_address &memory) {
  if (owned_words_[tier] == nullptr) {
    auto words = std::make_unique<locker_word[]>(places_.size());
    auto addresses = std::make_unique<part_address[]>(size_t{rows_} * part_count_);
    tier_rows_[tier] = std::make_unique<bank_row[]>(rows_);
    owned_words_[tier] = std::move(words);
    addresses_[tier] = std::move(addresses);
    for (uint32_t row = 0; row < rows_; ++row) {
      bank_row &made = tier_rows_[tier][row];
      made.first_id_ = CUBBY_ID(handle, uint64_t{row} * columns_);
      made.columns_ = columns_;
      made.words_ = owned_words_[tier].get();
      made.places_ = places_;
      made.parts_ = &addresses_[tier][size_t{row} * part_count_];
      made.last_part_ = made.parts_ + part_count_ - 1;
      made.where_ = this;
      made.tier_ = tier;
    }
    words_[tier].store(owned_words_[tier].get(), std::memory_order_release);
  }
  place_rows(tier, layout, memory);
  layouts_[tier].store(layout, std::memory_order_release);
}

void bank::place_rows(uint32_t tier, frame_layout layout, const tier::frame_address &memory) {
  for (uint32_t row = 0; row < rows_; ++row) {
    for (uint32_t p = 0; p < part_count_; ++p) {
      if (part_bytes(row, p) == 0) continue;  // its address stays NULL
      const part_place at = place_of(layout, row, p);
      addresses_[tier][size_t{row} * part_count_ + p] = {memory.base[p] + at.fixed_bytes,
                                                         memory.stride[p], at.file_offset_bytes,
                                                         at.file_stride_bytes, at.skew_mask};
      if (at.scattered) __atomic_store_n(&tier_rows_[tier][row].scattered_, true, __ATOMIC_RELAXED);
    }
  }
}

void bank_row::write_scattered(const cubby_item *items, uint32_t count, locker_word *const *words,
                               const void **addr) const {
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t frame = words[i]->look().frame;
    const auto number = static_cast<uint32_t>(items[i].id);
    for (uint32_t p = 0; p < part_count(); ++p) {
      if (where_->part_bytes(where_->row_of(number), p) == 0) {
        *addr++ = nullptr;
        continue;
      }
      const uint64_t fixed =
          where_->place_of(where_->layout(tier_), where_->row_of(number), p).fixed_bytes;
      *addr++ =
          reinterpret_cast<const void *>(parts_[p].base - fixed + frame * parts_[p].stride_bytes +
                                         where_->part_offset(where_->layout(tier_), number, p));
    }
  }
}

uint64_t bank::tier_bytes() const {
  return places_.size() * sizeof(locker_word) +
         rows_ * (sizeof(bank_row) + part_count_ * sizeof(part_address));
}

uint64_t bank::digest_bytes_wanted() const {
  uint64_t total = 0;
  for (const uint64_t bytes : part_bytes_) {
    total += uint64_t{store::chunk_count(page_bytes - 1, bytes, chunk_bytes_)} * columns_;
  }
  return total * sizeof(uint64_t);
}

uint64_t bank::table_bytes() const {
  uint64_t bytes = sizeof *this;
  for (const auto &words : owned_words_) {
    if (words != nullptr) bytes += tier_bytes();
  }
  for (const auto &offsets : part_offsets_) bytes += offsets.capacity() * sizeof(uint64_t);
  for (const auto &columns : loose_) bytes += columns.capacity() * sizeof(store::part_run);
  return bytes + runs_.capacity() * sizeof(store::part_run);
}

}  // namespace cubby::table
