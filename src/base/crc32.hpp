// CRC-32 of IEEE 802.3, as zlib, xz and Ethernet have it: for what others must be able to check.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cubby::base {

inline constexpr std::array<uint32_t, 256> crc32_table = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xEDB88320u : 0u);
    table[i] = value;
  }
  return table;
}();

/// `before`: the value of the bytes before these, 0 at the beginning.
inline uint32_t crc32(uint32_t before, const void *bytes, size_t count) {
  const auto *at = static_cast<const uint8_t *>(bytes);
  uint32_t value = ~before;
  for (size_t i = 0; i < count; ++i)
    value = (value >> 8) ^ crc32_table[static_cast<uint8_t>(value) ^ at[i]];
  return ~value;
}

}  // namespace cubby::base
