// Which pages of one file are free: a bit a page, so that 256 KiB cost 8 bytes. tier's
// extent_allocator takes some 130 bytes for every run that is taken, more than a whole record here.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace cubby::store {

class extent_map {
 public:
  /// Pages [first, end) are free. May throw.
  extent_map(uint64_t first, uint64_t end);

  /// The first page of a free run of `count`, at most region_pages, now taken. Goes on behind the
  /// last run that was given back or taken, so that a full store finds the hole just made at once.
  std::optional<uint64_t> take(uint64_t count) noexcept;
  /// Takes this very run; false, and nothing is taken, when some of it is not free.
  bool take_at(uint64_t first, uint64_t count) noexcept;
  void give(uint64_t first, uint64_t count) noexcept;

  [[nodiscard]] uint64_t free_count() const noexcept { return free_count_; }
  [[nodiscard]] uint64_t memory_bytes() const noexcept;

  static constexpr uint64_t region_pages = 1u << 15;  // 128 MiB

 private:
  [[nodiscard]] bool is_taken(uint64_t page) const noexcept;
  [[nodiscard]] uint64_t run_from(uint64_t page, uint64_t wanted) const noexcept;
  [[nodiscard]] uint64_t next_free(uint64_t page, uint64_t end) const noexcept;
  std::optional<uint64_t> find_in(uint64_t from, uint64_t end, uint64_t count,
                                  uint64_t &longest) const noexcept;
  void set(uint64_t first, uint64_t count, bool taken) noexcept;

  uint64_t first_ = 0, end_ = 0;
  uint64_t free_count_ = 0;
  uint64_t cursor_ = 0;
  std::vector<uint64_t> taken_;    // a bit a page, from page 0 of the file
  std::vector<uint32_t> longest_;  // no run that begins in this region is longer
};

}  // namespace cubby::store
