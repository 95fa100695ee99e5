// What the fingerprint of a space begins with in a store, so that blocks cut in another way are not
// found in it.
#pragma once

#include <cstdint>

namespace cubby::engine {

struct block_shape {
  uint64_t locker_bytes;
  uint64_t parts_digest;  // of the bytes of each part of a whole block, 8 bytes a part
};
static_assert(sizeof(block_shape) == 16);

}  // namespace cubby::engine
