#include "store/durable/format.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/assert.hpp"
#include "base/digest.hpp"
#include "base/prng.hpp"

namespace cubby::store {

uint64_t seed_of(uint64_t store_id, structure what, uint64_t position, uint64_t index) noexcept {
  const uint64_t kind = static_cast<uint64_t>(what) << 56 | index;
  return base::mix64(store_id + base::mix64(position + base::mix64(kind)));
}

result<layout> layout::of(const store_shape &shape) {
  if (shape.store_id == 0 || shape.file_count == 0 || shape.file_count > store_files_max)
    return fail(CUBBY_ERR_INVALID, "a store has 1 to %u files and an id other than 0",
                store_files_max);
  if (shape.blocks_max == 0 || shape.blocks_max > store_blocks_max)
    return fail(CUBBY_ERR_INVALID, "a store holds 1 to %u blocks, not %u", store_blocks_max,
                shape.blocks_max);
  if (shape.journal_pages < 8 || shape.journal_pages > 1u << 20)
    return fail(CUBBY_ERR_INVALID, "a journal has 8 to %u pages, not %u", 1u << 20,
                shape.journal_pages);
  layout made;
  made.shape_ = shape;
  made.slot_pages_ = 2 + 2 * space_pages + entry_pages(shape.blocks_max);
  const uint64_t least = made.first_data_page(0) + 2;
  if (shape.pages_per_file < least || shape.pages_per_file > file_pages_max) {
    auto failure = fail(CUBBY_ERR_INVALID,
                        "a store of %u blocks needs files of %llu to %llu bytes, not %llu; change "
                        "the budget or the number of blocks",
                        shape.blocks_max, static_cast<unsigned long long>(least * page_bytes),
                        static_cast<unsigned long long>(file_pages_max * page_bytes),
                        static_cast<unsigned long long>(shape.pages_per_file * page_bytes));
    failure.needed_bytes = least * page_bytes;
    return failure;
  }
  return made;
}

uint64_t layout::superblock_page(uint32_t copy) const {
  CUBBY_ASSERT(copy < superblock_copies);
  return copy + 1 < superblock_copies ? copy : shape_.pages_per_file - 1;
}

uint64_t layout::journal_page(uint64_t number) const { return 2 + number % shape_.journal_pages; }

uint64_t layout::slot_page(uint64_t sequence) const {
  return 2 + shape_.journal_pages + sequence % 2 * slot_pages_;
}

uint64_t layout::first_data_page(uint32_t file) const {
  return file == 0 ? 2 + shape_.journal_pages + 2 * slot_pages_ : 2;
}

namespace {

uint64_t checksum_of(const superblock &block) noexcept {
  return base::digest64(&block, offsetof(superblock, checksum),
                        seed_of(block.store_id, structure::superblock, block.file_index));
}

uint64_t checksum_of(const end_note &note, uint64_t store_id) noexcept {
  return base::digest64(&note.boot, sizeof note - sizeof note.checksum,
                        seed_of(store_id, structure::note, 0));
}

}  // namespace

void encode_superblock(const store_shape &shape, uint32_t file, void *page) noexcept {
  superblock block = {};
  memcpy(block.magic, store_magic, sizeof block.magic);
  block.version = store_version;
  block.page = page_bytes;
  block.store_id = shape.store_id;
  block.fingerprint = shape.fingerprint;
  block.pages_per_file = shape.pages_per_file;
  block.file_index = file;
  block.file_count = shape.file_count;
  block.blocks_max = shape.blocks_max;
  block.journal_pages = shape.journal_pages;
  block.checksum = checksum_of(block);
  memcpy(page, &block, sizeof block);
}

std::optional<read_superblock> decode_superblock(const void *page, size_t bytes) noexcept {
  superblock block = {};
  if (bytes < sizeof block) return std::nullopt;
  memcpy(&block, page, sizeof block);
  if (memcmp(block.magic, store_magic, sizeof block.magic) != 0) return std::nullopt;
  if (block.version != store_version || block.page != page_bytes) return std::nullopt;
  if (block.checksum != checksum_of(block)) return std::nullopt;
  if (block.file_index >= block.file_count) return std::nullopt;
  return read_superblock{{block.store_id, block.fingerprint, block.pages_per_file, block.file_count,
                          block.blocks_max, block.journal_pages},
                         block.file_index};
}

void encode_note(uint64_t store_id, end_note note, void *page) noexcept {
  note.checksum = checksum_of(note, store_id);
  memcpy(static_cast<unsigned char *>(page) + note_at_bytes, &note, sizeof note);
}

std::optional<end_note> decode_note(uint64_t store_id, const void *page) noexcept {
  end_note note = {};
  memcpy(&note, static_cast<const unsigned char *>(page) + note_at_bytes, sizeof note);
  if (note.checksum != checksum_of(note, store_id)) return std::nullopt;
  if (note.written_page >= generation_max || note.flushed_page > note.written_page)
    return std::nullopt;
  return note;
}

std::optional<uint32_t> claimed_version(const void *page, size_t bytes) noexcept {
  if (bytes < 12 || memcmp(page, store_magic, 8) != 0) return std::nullopt;
  uint32_t version = 0;
  memcpy(&version, static_cast<const unsigned char *>(page) + 8, sizeof version);
  return version;
}

uint64_t digest_of_key(uint64_t store_id, std::string_view key) noexcept {
  const uint64_t digest =
      base::digest64(key.data(), key.size(), seed_of(store_id, structure::key, 0));
  return digest != 0 ? digest : 1;
}

uint64_t digest_of_block(const void *data, const block_body &body) noexcept {
  uint64_t digests[store_chunks_max];
  CUBBY_ASSERT(bytes_of(body) <= store_block_bytes_max);
  const auto *at = static_cast<const unsigned char *>(data);
  uint64_t count = 0;
  for (uint32_t part = 0; part < body.part_count && part < store_parts_max; ++part) {
    uint64_t left = body.part_bytes[part];
    for (uint32_t chunk = 0; left > 0; ++chunk) {
      const uint64_t here = std::min<uint64_t>(store_chunk_bytes, left);
      digests[count++] = base::chunk_digest(at, here, chunk_identity_of(part, chunk));
      at += here;
      left -= here;
    }
  }
  return combine_digests(digests, count, body.number, body.generation);
}

uint64_t combine_digests(const uint64_t *digests, uint64_t count, uint32_t number,
                         uint64_t generation) noexcept {
  const uint64_t digest = base::digest64(digests, count * sizeof *digests,
                                         seed_of(generation, structure::block, number, count));
  return digest != 0 ? digest : 1;
}

uint64_t bytes_of(const block_body &body) noexcept {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < body.part_count && i < store_parts_max; i++) sum += body.part_bytes[i];
  return sum;
}

}  // namespace cubby::store
