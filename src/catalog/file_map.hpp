// Where the parts of a bank's lockers lie in files. A map is complete when it is made; a bank that
// is not mapped has an empty one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "catalog/bank_geometry.hpp"
#include "store/model_file.hpp"

namespace cubby::catalog {

/// A file that a bank reads, opened through the runtime's file channel.
struct bank_file {
  std::string path;
  uint32_t number = 0;  // of the backend; 0 = not open
  uint64_t bytes = 0, device = 0, inode = 0, mtime_ns = 0, header_digest = 0;
};

/// A part's bytes in a file.
struct part_extent {
  uint32_t file = 0;
  uint64_t offset_bytes = 0, bytes = 0;
};

class file_map {
 public:
  file_map() = default;
  /// The runs of an adopted model file.
  static file_map adopt(const bank_geometry &grid, const store::model_bank &model);
  /// Extents given by the caller. They must name every part of every locker of the bank `handle`
  /// whole, each once, and lie inside the files.
  static result<file_map> build(const bank_geometry &grid, cubby_bank handle,
                                std::span<const bank_file> files,
                                std::span<const cubby_extent> extents);

  [[nodiscard]] bool empty() const { return runs_.empty(); }
  /// `at` is the geometry's row_part().
  [[nodiscard]] store::part_run position(size_t at, uint32_t column) const {
    if (!scattered(at)) {
      const store::part_run &run = runs_[at];
      return {run.file, run.offset_bytes + column * run.stride_bytes, 0};
    }
    return loose_[at][column];
  }
  /// Column 0, and how far apart the columns are unless they are scattered.
  [[nodiscard]] const store::part_run &run(size_t at) const { return runs_[at]; }
  /// Columns follow no stride: only position() knows where they lie.
  [[nodiscard]] bool scattered(size_t at) const { return !loose_[at].empty(); }
  /// Largest power of two up to 4096 that every part's offset is a multiple of.
  [[nodiscard]] uint64_t natural_align_bytes() const { return natural_align_bytes_; }
  [[nodiscard]] uint64_t table_bytes() const { return table_bytes_; }

 private:
  void add_row_part(std::vector<store::part_run> columns);
  void measure(uint32_t columns);

  std::vector<store::part_run> runs_;                // [row_part()]
  std::vector<std::vector<store::part_run>> loose_;  // the same, empty where there is a stride
  uint64_t natural_align_bytes_ = page_bytes;
  uint64_t table_bytes_ = 0;
};

}  // namespace cubby::catalog
