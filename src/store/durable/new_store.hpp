// What a new store is to be like, and the pages that make empty files into one.
#pragma once

#include <cstdint>
#include <functional>

#include "store/durable/format.hpp"

namespace cubby::store {

struct new_store_options {
  uint64_t budget_bytes = 0;          // of all files together; they never take more
  uint32_t file_count = 1;            // one a directory
  uint64_t block_bytes = 256u << 10;  // of a usual block: says for how many there are numbers
  uint64_t fingerprint = 0;
  uint64_t store_id = 0;  // random, not 0
};

/// INVALID when the budget is too small, with needed_bytes.
result<layout> shape_new_store(const new_store_options &options);

using page_writer = std::function<void(uint32_t file, uint64_t offset_bytes, const void *page)>;
/// The pages of an empty store; all others of its files may be anything, zeros at best. They make a
/// store when all of them are on the device.
void write_new_store(const layout &places, const page_writer &write);

}  // namespace cubby::store
