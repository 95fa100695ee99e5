// The digests of one bank, by locker, part and chunk: held against every load. Filled from a seal,
// or one by one at first sight; 0 = not known.
//
// The order is that of a seal: locker number, part, chunk. Lockers of one row have the same sizes
// but may begin at different places in a page, so that a part has one chunk more in one column than
// in another, never two. A locker therefore needs its first slot and a bit a part (5 bytes); the
// rest is known by row. Finding a slot is arithmetic.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "store/model_file.hpp"

namespace cubby::store {

class digest_table {
 public:
  digest_table() = default;

  /// All digests unknown. Errors: INVALID for a chunk size that is none or more parts than lockers
  /// may have; BUDGET when the bank has more chunks than a table can number; NO_MEMORY.
  static result<digest_table> make(const model_bank &bank, uint32_t chunk_bytes);

  /// Takes over the digests of a seal. FORMAT when their count is not the bank's.
  result<void> load(std::vector<uint64_t> digests);

  [[nodiscard]] uint64_t get(uint64_t number, uint32_t part, uint32_t chunk) const {
    return digests_[slot(number, part, chunk)];
  }
  /// Whoever writes is the only one who does, and nobody reads the same slot meanwhile.
  void set(uint64_t number, uint32_t part, uint32_t chunk, uint64_t digest) {
    digests_[slot(number, part, chunk)] = digest;
  }

  [[nodiscard]] uint32_t chunks(uint64_t number, uint32_t part) const;
  [[nodiscard]] uint64_t slot(uint64_t number, uint32_t part, uint32_t chunk) const;
  /// In the order of a seal.
  [[nodiscard]] const std::vector<uint64_t> &digests() const { return digests_; }
  [[nodiscard]] uint64_t known_count() const;
  [[nodiscard]] uint32_t chunk_bytes() const { return chunk_bytes_; }
  /// Memory taken, index and digests.
  [[nodiscard]] uint64_t bytes_used() const;

 private:
  void count_row(const model_bank &bank, uint32_t row, uint64_t &next);

  uint32_t chunk_bytes_ = 0;
  uint32_t columns_ = 0;
  uint32_t parts_ = 0;
  std::vector<uint32_t> row_before_;  // [rows * (parts + 1)] chunks of the parts before, at least
  std::vector<uint32_t> first_;       // [lockers] the slot of part 0, chunk 0
  std::vector<uint8_t> longer_;       // [lockers] bit p: part p has one chunk more than row_before_
  std::vector<uint64_t> digests_;
};

}  // namespace cubby::store
