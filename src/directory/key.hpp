// A key as the directory holds it: 1 to 64 bytes in words padded with zeros, and the space it is
// in. Two keys are equal when space, length and all bytes are; a hash only says where to look.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/result.hpp"

namespace cubby::directory {

inline constexpr uint32_t short_key_words = 4;  // of keys that fit into a node
inline constexpr uint32_t key_words_max = CUBBY_KEY_BYTES_MAX / sizeof(uint64_t);
inline constexpr uint32_t space_id_max = (1u << 24) - 1;

struct packed_key {
  std::array<uint64_t, key_words_max> words;  // those past word_count() are not set
  uint32_t tag;                               // space << 8 | length

  [[nodiscard]] uint32_t bytes() const noexcept { return tag & 0xFF; }
  [[nodiscard]] uint32_t space() const noexcept { return tag >> 8; }
  [[nodiscard]] bool is_long() const noexcept { return bytes() > short_key_words * 8; }
  [[nodiscard]] uint32_t word_count() const noexcept {
    return is_long() ? key_words_max : short_key_words;
  }
};

/// Is it a key at all: data, and 1 to 64 bytes of it?
[[nodiscard]] inline bool is_key(const cubby_key &key) noexcept {
  return key.data != nullptr && key.bytes - 1 < CUBBY_KEY_BYTES_MAX;
}

[[nodiscard]] inline std::string_view text_of(const cubby_key &key) noexcept {
  return {static_cast<const char *>(key.data), key.bytes};
}
[[nodiscard]] inline cubby_key key_from(std::string_view text) noexcept {
  return {text.data(), static_cast<uint32_t>(text.size())};
}

/// The error that says why it is none. `role`: "key", "parent" …; `index`: which of the call's.
error bad_key(const cubby_key &key, const char *role, uint32_t index);

/// The words of a key of any length.
void pack_words(const cubby_key &key, packed_key &out) noexcept;

/// Of a key that is_key().
inline void pack_key(const cubby_key &key, uint32_t space, packed_key &out) noexcept {
  constexpr uint32_t usual = short_key_words * 8;
  out.tag = space << 8 | key.bytes;
  if (key.bytes == usual) {
    std::memcpy(out.words.data(), key.data, usual);
  } else {
    pack_words(key, out);
  }
}

[[nodiscard]] bool equal(const packed_key &a, const packed_key &b) noexcept;

}  // namespace cubby::directory
