// The grid of a bank: how many lockers, how many bytes each row and part has, and what the parts
// are called. It knows nothing of files and frames.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "store/model_file.hpp"

namespace cubby::catalog {

inline constexpr uint64_t locker_count_max = uint64_t{1} << 31;
inline constexpr uint64_t page_bytes = 4096;

class bank_geometry {
 public:
  /// From a description by the caller.
  static result<bank_geometry> describe(const cubby_bank_desc &desc);
  /// From an adopted model file; `path` is the file's, for messages.
  static result<bank_geometry> adopt(const store::model_bank &model, const std::string &name,
                                     const std::string &path);

  [[nodiscard]] const std::string &name() const { return name_; }
  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] uint32_t rows() const { return rows_; }
  [[nodiscard]] uint32_t columns() const { return columns_; }
  [[nodiscard]] uint32_t part_count() const { return part_count_; }
  [[nodiscard]] uint32_t row_of(uint32_t number) const { return number / columns_; }
  [[nodiscard]] uint32_t column_of(uint32_t number) const { return number % columns_; }
  /// Tables of one entry a row and part have it here.
  [[nodiscard]] size_t row_part(uint32_t row, uint32_t part) const {
    return size_t{row} * part_count_ + part;
  }
  [[nodiscard]] size_t row_parts() const { return size_t{rows_} * part_count_; }
  [[nodiscard]] uint64_t row_bytes(uint32_t row) const { return row_bytes_[row]; }
  [[nodiscard]] uint64_t part_bytes(uint32_t row, uint32_t part) const {
    return part_bytes_[row_part(row, part)];
  }
  /// The same of one locker: the last page of a table may be shorter than the others.
  [[nodiscard]] uint64_t locker_bytes(uint32_t number) const {
    return is_last_page(number) ? last_page_bytes_ : row_bytes(row_of(number));
  }
  [[nodiscard]] uint64_t bytes_of_part(uint32_t number, uint32_t part) const {
    return is_last_page(number) ? last_page_bytes_ : part_bytes(row_of(number), part);
  }
  /// Size of a chunk, the unit of digests.
  [[nodiscard]] uint32_t chunk_bytes() const { return chunk_bytes_; }
  /// Alignment that the caller asked for; 0 = as the adopted file has it.
  [[nodiscard]] uint32_t align_bytes() const { return align_bytes_; }
  [[nodiscard]] const std::string &part_name(uint32_t part) const { return part_names_[part]; }
  [[nodiscard]] const std::string &part_type(uint32_t row, uint32_t part) const {
    return part_types_[row_part(row, part)];
  }
  [[nodiscard]] const std::string &part_tensor(uint32_t row, uint32_t part) const {
    return part_tensors_[row_part(row, part)];
  }
  [[nodiscard]] const std::array<uint64_t, 4> &part_shape(uint32_t row, uint32_t part) const {
    return part_shapes_[row_part(row, part)];
  }
  /// The caller's view. Its pointers are valid while this geometry stays where it is.
  [[nodiscard]] cubby_bank_desc desc() const;

 private:
  bank_geometry() = default;
  result<void> check_grid(const cubby_bank_desc &desc) const;
  result<void> add_row(const cubby_bank_desc &desc, uint32_t row);
  result<void> check_table(const cubby_bank_desc &desc) const;
  void set_table(uint32_t row_bytes, uint64_t row_count);
  [[nodiscard]] bool is_last_page(uint32_t number) const {
    return table_row_bytes_ != 0 && number + 1 == count_;
  }
  void set_grid(uint32_t rows, uint32_t columns, uint32_t part_count);
  void choose_chunk_bytes(uint32_t wanted);

  std::string name_, policy_;
  uint32_t kind_ = CUBBY_BANK_OTHER, routed_count_ = 0, table_row_bytes_ = 0;
  uint64_t table_row_count_ = 0, last_page_bytes_ = 0;
  uint32_t rows_ = 0, columns_ = 0, part_count_ = 1;
  uint64_t count_ = 0;  // rows · columns
  uint32_t chunk_bytes_ = 0, align_bytes_ = 0;
  std::vector<uint64_t> row_bytes_;   // [row]
  std::vector<uint64_t> part_bytes_;  // [row_part()]
  std::vector<uint32_t> row_layers_;  // [row]
  std::vector<std::string> part_names_, part_types_, part_tensors_;
  std::vector<std::array<uint64_t, 4>> part_shapes_;
};

}  // namespace cubby::catalog
