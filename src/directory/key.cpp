#include "directory/key.hpp"

#include <algorithm>
#include <cstring>

namespace cubby::directory {

error bad_key(const cubby_key &key, const char *role, uint32_t index) {
  if (key.data == nullptr) {
    return fail(CUBBY_ERR_INVALID, "%s %u: its data is NULL; give the address of its bytes", role,
                index);
  }
  return fail(CUBBY_ERR_INVALID, "%s %u: it has %u bytes, 1 to %u are allowed; hash longer names",
              role, index, key.bytes, static_cast<uint32_t>(CUBBY_KEY_BYTES_MAX));
}

void pack_words(const cubby_key &key, packed_key &out) noexcept {
  std::fill_n(out.words.begin(), out.word_count(), 0);
  std::memcpy(out.words.data(), key.data, key.bytes);
}

bool equal(const packed_key &a, const packed_key &b) noexcept {
  return a.tag == b.tag &&
         std::equal(a.words.begin(), a.words.begin() + a.word_count(), b.words.begin());
}

}  // namespace cubby::directory
