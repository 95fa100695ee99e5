#include "catalog/bank_description.hpp"

#include <type_traits>

namespace cubby::catalog {

static_assert(std::is_nothrow_move_assignable_v<bank_mapping>);

bank_description::bank_description(bank_geometry grid, bank_mapping mapping)
    : files(std::move(mapping.files)),
      grid_(std::move(grid)),
      map_(std::move(mapping.map)),
      layouts_(std::move(mapping.layouts)),
      digests_(std::move(mapping.digests)),
      desc_(grid_.desc()) {
  desc_.align_bytes = mapping.align_bytes;
}

bank_mapping bank_description::unmapped(const bank_geometry &grid) {
  bank_mapping made;
  made.align_bytes = grid.align_bytes();
  made.layouts = frame_layouts(grid, made.map, made.align_bytes);
  return made;
}

bank_mapping bank_description::adopt(const bank_geometry &grid, const store::model_bank &model,
                                     const std::vector<store::model_part_file> &files) {
  bank_mapping made;
  for (const store::model_part_file &file : files) {
    made.files.push_back(
        {file.path, 0, file.bytes, file.device, file.inode, file.mtime_ns, file.header_digest});
  }
  made.map = file_map::adopt(grid, model);
  made.align_bytes = static_cast<uint32_t>(made.map.natural_align_bytes());
  made.layouts = frame_layouts(grid, made.map, made.align_bytes);
  return made;
}

result<bank_mapping> bank_description::prepare(cubby_bank handle, std::vector<bank_file> with,
                                               std::span<const cubby_extent> extents,
                                               bool with_digests) const {
  auto map = file_map::build(grid_, handle, with, extents);
  if (!map) return map.failure();
  bank_mapping made;
  made.files = std::move(with);
  made.map = std::move(*map);
  made.align_bytes = desc_.align_bytes;  // and so packed frames stay as they are
  made.layouts = frame_layouts(grid_, made.map, made.align_bytes);
  if (with_digests) made.digests = digest_table(grid_);
  return made;
}

void bank_description::install(bank_mapping &&mapping) noexcept {
  files = std::move(mapping.files);
  map_ = std::move(mapping.map);
  layouts_.take_skewed(std::move(mapping.layouts));
  digests_ = std::move(mapping.digests);
}

part_place bank_description::place_of(frame_layout layout, uint32_t row, uint32_t part) const {
  if (layout == frame_layout::pieces) return {};
  const size_t at = grid_.row_part(row, part);
  const uint64_t fixed_bytes = layouts_.part_offset(layout, at);
  if (layout == frame_layout::packed) return {fixed_bytes, 0, 0, 0, false};
  const store::part_run &run = map_.run(at);
  return {fixed_bytes, run.offset_bytes, run.stride_bytes, page_bytes - 1, map_.scattered(at)};
}

void bank_description::make_digests() {
  if (digests_.empty()) digests_ = digest_table(grid_);
}

uint64_t bank_description::chunk_total() const {
  uint64_t total = 0;
  for (uint32_t number = 0; number < count(); ++number) {
    for (uint32_t part = 0; part < part_count(); ++part) {
      const part_extent here = extent(number, part);
      total += store::chunk_count(here.offset_bytes, here.bytes, grid_.chunk_bytes());
    }
  }
  return total;
}

result<void> bank_description::load_seal(const std::vector<uint64_t> &digests) {
  const uint64_t wanted = chunk_total();
  if (digests.size() != wanted) {
    return fail(CUBBY_ERR_FORMAT,
                "bank %s: the seal has %zu digests, the lockers %llu chunks; "
                "seal the file again",
                desc_.name, digests.size(), static_cast<unsigned long long>(wanted));
  }
  make_digests();
  size_t next = 0;
  for (uint32_t number = 0; number < count(); ++number) {
    for (uint32_t part = 0; part < part_count(); ++part) {
      const part_extent here = extent(number, part);
      const uint32_t chunks =
          store::chunk_count(here.offset_bytes, here.bytes, grid_.chunk_bytes());
      for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
        digest(number, part, chunk) = digests[next++];
      }
    }
  }
  return {};
}

}  // namespace cubby::catalog
