#include "catalog/file_map.hpp"

#include <algorithm>
#include <bit>

#include "base/checked.hpp"

namespace cubby::catalog {
namespace {

using ull = unsigned long long;

constexpr uint32_t no_file = ~uint32_t{0};

/// The stride of columns that lie evenly behind each other in one file, as most do; 0 = there is
/// none.
uint64_t stride_of(const std::vector<store::part_run> &columns) {
  if (columns.size() < 2 || columns[1].offset_bytes <= columns[0].offset_bytes) return 0;
  const uint64_t stride = columns[1].offset_bytes - columns[0].offset_bytes;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].file != columns[0].file ||
        columns[i].offset_bytes != columns[0].offset_bytes + i * stride) {
      return 0;
    }
  }
  return stride;
}

/// The extent names a part that there is, whole and inside its file.
result<void> check_extent(const bank_geometry &grid, cubby_bank handle,
                          std::span<const bank_file> files, const cubby_extent &extent,
                          uint64_t index) {
  const uint64_t number = extent.id & ((uint64_t{1} << 48) - 1);
  if (extent.id >> 48 != handle || number >= grid.count() || extent.part >= grid.part_count() ||
      extent.file >= files.size()) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s: extent %llu names a locker, part or file that is not there",
                grid.name().c_str(), static_cast<ull>(index));
  }
  const uint64_t bytes = grid.bytes_of_part(static_cast<uint32_t>(number), extent.part);
  const bank_file &file = files[extent.file];
  const auto end = base::checked_add(extent.offset_bytes, extent.bytes);
  if (extent.bytes == bytes && end && *end <= file.bytes) return {};
  error failure = fail(CUBBY_ERR_INVALID,
                       "bank %s: extent %llu has %llu bytes at %llu; the part has %llu and %s "
                       "ends at %llu",
                       grid.name().c_str(), static_cast<ull>(index), static_cast<ull>(extent.bytes),
                       static_cast<ull>(extent.offset_bytes), static_cast<ull>(bytes),
                       file.path.c_str(), static_cast<ull>(file.bytes));
  failure.id = extent.id;
  failure.offset_bytes = extent.offset_bytes;
  return failure;
}

}  // namespace

file_map file_map::adopt(const bank_geometry &grid, const store::model_bank &model) {
  file_map made;
  for (const store::bank_row &row : model.rows) {
    for (const store::row_part &part : row.parts) {
      if (part.column_runs.empty()) {
        made.runs_.push_back(part.run);
        made.loose_.emplace_back();
      } else {
        made.add_row_part(part.column_runs);
      }
    }
  }
  made.measure(grid.columns());
  return made;
}

result<file_map> file_map::build(const bank_geometry &grid, cubby_bank handle,
                                 std::span<const bank_file> files,
                                 std::span<const cubby_extent> extents) {
  const uint64_t wanted = grid.count() * grid.part_count();
  if (extents.size() != wanted) {
    return fail(CUBBY_ERR_INVALID, "bank %s: %llu extents were given, its lockers have %llu parts",
                grid.name().c_str(), static_cast<ull>(extents.size()), static_cast<ull>(wanted));
  }
  std::vector<std::vector<store::part_run>> columns(
      grid.row_parts(), std::vector<store::part_run>(grid.columns(), {no_file, 0, 0}));
  for (uint64_t i = 0; i < extents.size(); ++i) {
    const cubby_extent &extent = extents[i];
    if (auto good = check_extent(grid, handle, files, extent, i); !good) return good.failure();
    const auto number = static_cast<uint32_t>(extent.id);
    store::part_run &run =
        columns[grid.row_part(grid.row_of(number), extent.part)][grid.column_of(number)];
    if (run.file != no_file) {
      return fail(CUBBY_ERR_INVALID, "bank %s: extent %llu names a part that an earlier one named",
                  grid.name().c_str(), static_cast<ull>(i));
    }
    run = {extent.file, extent.offset_bytes, 0};
  }
  file_map made;
  for (auto &of_row_part : columns) made.add_row_part(std::move(of_row_part));
  made.measure(grid.columns());
  return made;
}

void file_map::add_row_part(std::vector<store::part_run> columns) {
  store::part_run run = columns.front();
  run.stride_bytes = stride_of(columns);
  runs_.push_back(run);
  // One column needs no list either.
  if (run.stride_bytes != 0 || columns.size() == 1) columns = {};
  loose_.push_back(std::move(columns));
}

void file_map::measure(uint32_t columns) {
  for (size_t at = 0; at < runs_.size(); ++at) {
    for (uint32_t column = 0; column < columns; ++column) {
      const int zeros = std::countr_zero(position(at, column).offset_bytes);
      natural_align_bytes_ = std::min(natural_align_bytes_, uint64_t{1} << std::min(12, zeros));
    }
  }
  table_bytes_ = runs_.capacity() * sizeof(store::part_run);
  for (const auto &of_row_part : loose_) {
    table_bytes_ += of_row_part.capacity() * sizeof(store::part_run);
  }
}

}  // namespace cubby::catalog
