#include "store/durable/new_store.hpp"

#include <algorithm>

#include "store/durable/journal.hpp"
#include "store/durable/manifest.hpp"
#include "store/durable/pages.hpp"

namespace cubby::store {

result<layout> shape_new_store(const new_store_options &options) {
  if (options.file_count == 0 || options.file_count > store_files_max)
    return fail(CUBBY_ERR_INVALID, "a store lies in 1 to %u directories, not %u", store_files_max,
                options.file_count);
  if (options.block_bytes == 0 || options.block_bytes > store_block_bytes_max)
    return fail(CUBBY_ERR_INVALID, "a store's usual block has 1 to %llu bytes, not %llu",
                static_cast<unsigned long long>(store_block_bytes_max),
                static_cast<unsigned long long>(options.block_bytes));
  store_shape shape;
  shape.store_id = options.store_id;
  shape.fingerprint = options.fingerprint;
  shape.file_count = options.file_count;
  shape.pages_per_file = options.budget_bytes / page_bytes / options.file_count;
  // A quarter more numbers than usual blocks, for blocks that are not full.
  const uint64_t usual = shape.pages_per_file * options.file_count / pages_of(options.block_bytes);
  shape.blocks_max =
      static_cast<uint32_t>(std::clamp<uint64_t>(usual + usual / 4, 64, store_blocks_max));
  // A checkpoint writes the whole table, so the journal grows with it.
  shape.journal_pages = std::clamp(shape.blocks_max / 64, 32u, 4096u);
  return layout::of(shape);
}

void write_new_store(const layout &places, const page_writer &write) {
  const store_shape &shape = places.shape();
  page_buffer pages(1);
  manifest_head head = {};
  head.sequence = 1;
  encode_head(shape.store_id, head, pages.at(0));
  for (const uint64_t page : {uint64_t{0}, places.slot_pages() - 1})
    write(0, (places.slot_page(head.sequence) + page) * page_bytes, pages.at(0));
  pages.clear(0);
  encode_made(shape.store_id, pages.at(0));
  write(0, places.journal_page(0) * page_bytes, pages.at(0));
  for (uint32_t file = 0; file < shape.file_count; file++) {
    pages.clear(0);
    encode_superblock(shape, file, pages.at(0));
    for (uint32_t copy = superblock_copies; copy-- > 0;)
      write(file, places.superblock_page(copy) * page_bytes, pages.at(0));
  }
}

}  // namespace cubby::store
