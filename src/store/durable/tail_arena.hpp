// Memory for the variable part of a block's entry: its key and the lengths of its parts. Slots of a
// few sizes, so that a key of 16 bytes does not take the room of one of 64.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace cubby::store {

class tail_arena {
 public:
  static constexpr uint32_t slot_bytes_max = 128;

  /// A slot of so many bytes, at most slot_bytes_max. May throw, and then nothing has changed.
  uint32_t take(uint32_t bytes);
  /// Takes no memory.
  void give(uint32_t slot, uint32_t bytes) noexcept;
  [[nodiscard]] unsigned char *at(uint32_t slot) const noexcept;
  [[nodiscard]] uint64_t memory_bytes() const noexcept;

 private:
  static constexpr uint32_t unit_bytes = 4;
  static constexpr uint32_t chunk_units = 1u << 14;
  static constexpr uint32_t nothing = ~0u;

  static uint32_t units_of(uint32_t bytes) noexcept;

  std::vector<std::unique_ptr<unsigned char[]>> chunks_;
  std::array<uint32_t, slot_bytes_max / unit_bytes + 1> free_ = make_empty();
  uint32_t used_units_ = chunk_units;  // of the last chunk

  static constexpr std::array<uint32_t, slot_bytes_max / unit_bytes + 1> make_empty() {
    std::array<uint32_t, slot_bytes_max / unit_bytes + 1> lists = {};
    lists.fill(nothing);
    return lists;
  }
};

}  // namespace cubby::store
