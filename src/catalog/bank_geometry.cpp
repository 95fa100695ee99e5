#include "catalog/bank_geometry.hpp"

#include <algorithm>
#include <bit>

#include "base/checked.hpp"
#include "store/chunks.hpp"

namespace cubby::catalog {
namespace {

using ull = unsigned long long;

constexpr uint64_t locker_bytes_max = uint64_t{1} << 40;
constexpr uint32_t align_bytes_default = 64;

}  // namespace

result<void> bank_geometry::check_grid(const cubby_bank_desc &desc) const {
  const auto count = base::checked_multiply(desc.rows, desc.columns);
  if (desc.rows == 0 || desc.columns == 0 || !count || *count > locker_count_max) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: %u rows of %u columns; at least one of each and at most %llu lockers",
                name_.c_str(), desc.rows, desc.columns, static_cast<ull>(locker_count_max));
  }
  if (desc.routed_count > desc.columns) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: routed_count is %u, but a row has %u lockers; set it to the experts that "
                "a token uses of a row, or to 0",
                name_.c_str(), desc.routed_count, desc.columns);
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
  if (desc.chunk_bytes != 0 && (!std::has_single_bit(desc.chunk_bytes) ||
                                desc.chunk_bytes < page_bytes || desc.chunk_bytes > (1u << 20))) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: chunk_bytes %u is no power of two between 4096 and 1048576",
                name_.c_str(), desc.chunk_bytes);
  }
  return {};
}

result<bank_geometry> bank_geometry::describe(const cubby_bank_desc &desc) {
  bank_geometry made;
  made.name_ = desc.name == nullptr ? "bank" : desc.name;
  made.policy_ = desc.policy == nullptr ? "" : desc.policy;
  if (auto checked = made.check_grid(desc); !checked) return checked.failure();
  made.kind_ = desc.kind;
  made.routed_count_ = desc.routed_count;
  made.align_bytes_ = desc.align_bytes == 0 ? align_bytes_default : desc.align_bytes;
  made.set_grid(desc.rows, desc.columns, std::max(desc.part_count, 1u));
  for (uint32_t row = 0; row < desc.rows; ++row) {
    if (auto added = made.add_row(desc, row); !added) return added.failure();
  }
  made.part_types_.resize(made.row_parts());
  made.part_tensors_.resize(made.row_parts());
  made.part_shapes_.resize(made.row_parts());
  for (uint32_t part = 0; part < made.part_count_; ++part) {
    made.part_names_.push_back("part" + std::to_string(part));
  }
  if (desc.kind == CUBBY_BANK_ROWS) {
    if (auto checked = made.check_table(desc); !checked) return checked.failure();
    const uint64_t most = made.count_ * (made.row_bytes_[0] / desc.table_row_bytes);
    made.set_table(desc.table_row_bytes, desc.table_row_count == 0 ? most : desc.table_row_count);
  }
  made.choose_chunk_bytes(desc.chunk_bytes);
  return made;
}

result<void> bank_geometry::check_table(const cubby_bank_desc &desc) const {
  const uint64_t bytes = row_bytes_[0];
  if (rows_ != 1 || part_count_ != 1) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: a table of rows has one row of pages, each of one part; it was given %u "
                "rows and %u parts: set columns to the number of pages",
                name_.c_str(), rows_, part_count_);
  }
  if (desc.table_row_bytes == 0 || bytes % desc.table_row_bytes != 0) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: a page of %llu bytes holds no whole number of rows of %u bytes; set "
                "locker_bytes to a multiple of table_row_bytes",
                name_.c_str(), static_cast<ull>(bytes), desc.table_row_bytes);
  }
  const uint64_t a_page = bytes / desc.table_row_bytes;
  const uint64_t wanted = desc.table_row_count;
  if (wanted == 0 || (wanted - 1) / a_page + 1 == count_) return {};
  return fail(CUBBY_ERR_INVALID,
              "bank %s: %llu rows of a table take %llu pages of %llu rows, and columns is %u",
              name_.c_str(), static_cast<ull>(wanted), static_cast<ull>((wanted - 1) / a_page + 1),
              static_cast<ull>(a_page), columns_);
}

void bank_geometry::set_table(uint32_t row_bytes, uint64_t row_count) {
  table_row_bytes_ = row_bytes;
  table_row_count_ = row_count;
  last_page_bytes_ = row_count * row_bytes - (count_ - 1) * row_bytes_[0];
}

result<void> bank_geometry::add_row(const cubby_bank_desc &desc, uint32_t row) {
  const uint64_t bytes = desc.row_bytes != nullptr ? desc.row_bytes[row] : desc.locker_bytes;
  if (bytes == 0 || bytes > locker_bytes_max) {
    return fail(CUBBY_ERR_INVALID, "bank %s: lockers of row %u have %llu bytes; between 1 and 2^40",
                name_.c_str(), row, static_cast<ull>(bytes));
  }
  uint64_t sum = 0;
  for (uint32_t part = 0; part < part_count_; ++part) {
    const size_t at = desc.row_bytes != nullptr ? row_part(row, part) : part;
    const uint64_t undescribed = part_count_ == 1 ? bytes : 0;
    const uint64_t part_bytes = desc.part_bytes == nullptr ? undescribed : desc.part_bytes[at];
    const auto total = base::checked_add(sum, part_bytes);
    if (part_bytes == 0 || !total) {
      return fail(CUBBY_ERR_INVALID, "bank %s: part %u of row %u has no size in part_bytes",
                  name_.c_str(), part, row);
    }
    sum = *total;
    part_bytes_.push_back(part_bytes);
  }
  if (sum != bytes) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: the parts of row %u have %llu bytes together, its lockers %llu",
                name_.c_str(), row, static_cast<ull>(sum), static_cast<ull>(bytes));
  }
  row_bytes_.push_back(bytes);
  row_layers_.push_back(desc.row_layers == nullptr ? row : desc.row_layers[row]);
  return {};
}

result<bank_geometry> bank_geometry::adopt(const store::model_bank &model, const std::string &name,
                                           const std::string &path) {
  const auto parts = static_cast<uint32_t>(model.part_names.size());
  if (parts > CUBBY_PARTS_MAX) {
    return fail(CUBBY_ERR_NOT_SUPPORTED, "%s: an expert has %u parts, %d are possible",
                path.c_str(), parts, CUBBY_PARTS_MAX);
  }
  bank_geometry made;
  made.name_ = name;
  made.kind_ = model.name == "experts" ? CUBBY_BANK_EXPERTS : CUBBY_BANK_OTHER;
  if (model.table_row_bytes != 0) made.kind_ = CUBBY_BANK_ROWS;
  made.routed_count_ = model.routed_count;
  made.set_grid(static_cast<uint32_t>(model.rows.size()), model.columns, parts);
  made.part_names_ = model.part_names;
  for (const store::bank_row &row : model.rows) {
    uint64_t sum = 0;
    for (const store::row_part &part : row.parts) {
      sum += part.bytes;
      made.part_bytes_.push_back(part.bytes);
      made.part_types_.push_back(part.type);
      made.part_tensors_.push_back(part.tensor);
      made.part_shapes_.push_back(part.shape);
    }
    made.row_bytes_.push_back(sum);
    made.row_layers_.push_back(row.layer);
  }
  if (model.table_row_bytes != 0) made.set_table(model.table_row_bytes, model.table_row_count);
  made.choose_chunk_bytes(0);
  return made;
}

void bank_geometry::set_grid(uint32_t rows, uint32_t columns, uint32_t part_count) {
  rows_ = rows;
  columns_ = columns;
  part_count_ = part_count;
  count_ = uint64_t{rows} * columns;
}

/// Lockers smaller than the default chunk are one chunk, or two where they straddle a page.
void bank_geometry::choose_chunk_bytes(uint32_t wanted) {
  const uint64_t largest = *std::max_element(part_bytes_.begin(), part_bytes_.end());
  const uint64_t whole = std::bit_ceil(std::max(largest, page_bytes));
  chunk_bytes_ = wanted != 0
                     ? wanted
                     : static_cast<uint32_t>(std::min<uint64_t>(whole, store::chunk_bytes_default));
}

cubby_bank_desc bank_geometry::desc() const {
  const bool uniform = std::all_of(row_bytes_.begin(), row_bytes_.end(),
                                   [&](uint64_t bytes) { return bytes == row_bytes_[0]; });
  cubby_bank_desc view{};
  view.struct_size = sizeof view;
  view.kind = kind_;
  view.name = name_.c_str();
  view.rows = rows_;
  view.columns = columns_;
  view.locker_bytes = uniform ? row_bytes_[0] : 0;
  view.row_bytes = row_bytes_.data();
  view.part_count = part_count_;
  view.part_bytes = part_bytes_.data();
  view.align_bytes = align_bytes_;
  view.routed_count = routed_count_;
  view.chunk_bytes = chunk_bytes_;
  view.table_row_bytes = table_row_bytes_;
  view.policy = policy_.empty() ? nullptr : policy_.c_str();
  view.row_layers = row_layers_.data();
  view.table_row_count = table_row_count_;
  return view;
}

}  // namespace cubby::catalog
