// The durable store on disk: docs/format.md describes every field. All numbers are little-endian,
// all structs free of padding, and all checksums are XXH3-64 seeded with the store's id and the
// position, so that a stale or misplaced record does not pass for the right one.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/digest.hpp"
#include "base/result.hpp"

namespace cubby::store {

static_assert(std::endian::native == std::endian::little, "the store writes structs as they are");

inline constexpr char store_magic[9] = "CUBBYSTO";
inline constexpr uint32_t store_version = 1;
inline constexpr uint32_t page_bytes = 4096;
inline constexpr uint32_t store_files_max = 16;
inline constexpr uint32_t store_key_bytes_max = 64;
inline constexpr uint32_t store_parts_max = 16;
inline constexpr uint32_t store_spaces_max = 256;
inline constexpr uint32_t space_bytes_max = 64;
inline constexpr uint64_t store_block_bytes_max = 64ull << 20;
inline constexpr uint32_t store_blocks_max = 1u << 30;
inline constexpr uint32_t store_chunk_bytes = 256u << 10;
inline constexpr uint64_t file_pages_max = 1ull << 32;
inline constexpr uint64_t generation_max = 1ull << 62;  // of blocks, manifests and pages

/// What a store was made with; the same in every copy of every superblock.
struct store_shape {
  uint64_t store_id = 0;
  uint64_t fingerprint = 0;     // the caller's; 0 = none
  uint64_t pages_per_file = 0;  // of page_bytes
  uint32_t file_count = 0;
  uint32_t blocks_max = 0;
  uint32_t journal_pages = 0;
};

/// One copy of a superblock; a page whose rest is zero.
struct superblock {
  char magic[8];
  uint32_t version;
  uint32_t page;  // page_bytes
  uint64_t store_id;
  uint64_t fingerprint;
  uint64_t pages_per_file;
  uint32_t file_index;
  uint32_t file_count;
  uint32_t blocks_max;
  uint32_t journal_pages;
  uint64_t checksum;  // of all before
};
static_assert(std::has_unique_object_representations_v<superblock> && sizeof(superblock) == 64);

/// How far the journal goes, in the page of the first file's second superblock, at note_at_bytes.
/// Written now and then, flushed by nobody: what it says is known, what it does not say is not.
struct end_note {
  uint64_t checksum;      // of all behind
  uint64_t boot;          // digest of the kernel's boot id when it was written
  uint64_t written_page;  // pages of the journal below this one had been written
  uint64_t flushed_page;  // and below this one flushed
};
static_assert(std::has_unique_object_representations_v<end_note> && sizeof(end_note) == 32);
inline constexpr uint32_t note_at_bytes = 2048;  // in another sector than the superblock
inline constexpr uint32_t note_copy = 1;         // of the superblocks

/// What is recorded of a block, in the journal and in a manifest.
struct block_body {
  uint64_t generation;
  uint64_t digest;
  uint64_t parent;  // digest of the parent's key; 0 = a root
  uint32_t number;
  uint32_t space;
  uint32_t first_page;
  uint8_t file;
  uint8_t keep;
  uint8_t key_bytes;
  uint8_t part_count;
  uint32_t part_bytes[store_parts_max];
  unsigned char key[store_key_bytes_max];
};
static_assert(std::has_unique_object_representations_v<block_body> && sizeof(block_body) == 168);

/// What is recorded of a space.
struct space_body {
  uint32_t id;  // generation << 8 | slot
  uint16_t fingerprint_bytes;
  uint16_t domain_bytes;
  unsigned char fingerprint[space_bytes_max];
  unsigned char domain[space_bytes_max];
};
static_assert(std::has_unique_object_representations_v<space_body> && sizeof(space_body) == 136);

/// `made`: the first record of a new store, so that no journal is ever empty.
enum class record_kind : uint8_t {
  none = 0,
  put = 1,
  erase = 2,
  add_space = 3,
  remove_space = 4,
  made = 5
};

/// One record of the journal. Its checksum is seeded with the page's number, which grows for ever,
/// and its slot: what an earlier lap left in the same place does not match.
struct journal_record {
  uint64_t checksum;      // of all behind
  uint64_t flushed_page;  // pages before this one had been flushed when this was written
  uint64_t manifest;      // sequence of the newest complete manifest then
  uint8_t kind;
  uint8_t slot;
  uint8_t count;  // records of this page
  uint8_t zero[5];
  unsigned char body[sizeof(block_body)];
};
static_assert(std::has_unique_object_representations_v<journal_record>);
static_assert(sizeof(journal_record) == 200);
inline constexpr uint32_t records_per_page = page_bytes / sizeof(journal_record);

/// The head of a manifest, twice in its slot, written when all the rest has been flushed.
struct manifest_head {
  uint64_t checksum;  // of all behind
  uint64_t sequence;
  uint64_t journal_from;  // replay begins with this page's number
  uint64_t generation;    // the last one given out
  uint32_t block_count;
  uint32_t space_count;
  uint32_t space_generation;
  uint32_t zero;
};
static_assert(std::has_unique_object_representations_v<manifest_head>);

struct manifest_entry {
  uint64_t checksum;  // of the body, seeded with the manifest's sequence and the place in it
  block_body body;
};
static_assert(std::has_unique_object_representations_v<manifest_entry>);
inline constexpr uint32_t entries_per_page = page_bytes / sizeof(manifest_entry);

struct manifest_space {
  uint64_t checksum;
  space_body body;
};
static_assert(std::has_unique_object_representations_v<manifest_space>);
inline constexpr uint32_t spaces_per_page = page_bytes / sizeof(manifest_space);
inline constexpr uint32_t space_pages = (store_spaces_max + spaces_per_page - 1) / spaces_per_page;

/// Which structure a checksum belongs to.
enum class structure : uint64_t { superblock = 1, record, head, entry, space, key, block, note };

/// Seed of a checksum: the same bytes elsewhere, or in another store, give another checksum.
uint64_t seed_of(uint64_t store_id, structure what, uint64_t position, uint64_t index = 0) noexcept;

/// Where things lie, in pages of a file. Journal and manifests are in file 0; every file begins
/// with two copies of its superblock and ends with a third.
class layout {
 public:
  /// INVALID when the numbers of the shape do not fit together.
  static result<layout> of(const store_shape &shape);

  [[nodiscard]] uint64_t superblock_page(uint32_t copy) const;
  [[nodiscard]] uint64_t journal_page(uint64_t number) const;  // of the ring
  [[nodiscard]] uint64_t slot_page(uint64_t sequence) const;   // a manifest's first
  [[nodiscard]] uint64_t slot_pages() const { return slot_pages_; }
  [[nodiscard]] uint64_t first_data_page(uint32_t file) const;
  [[nodiscard]] uint64_t end_data_page() const { return shape_.pages_per_file - 1; }
  [[nodiscard]] const store_shape &shape() const { return shape_; }

 private:
  store_shape shape_;
  uint64_t slot_pages_ = 0;
};
inline constexpr uint32_t superblock_copies = 3;

// Pages of a slot: head, spaces, entries, spaces again, head again.
inline constexpr uint64_t slot_spaces_at = 1;
inline constexpr uint64_t slot_entries_at = 1 + space_pages;
constexpr uint64_t entry_pages(uint64_t blocks) noexcept {
  return (blocks + entries_per_page - 1) / entries_per_page;
}

/// Writes a superblock into a zeroed page.
void encode_superblock(const store_shape &shape, uint32_t file, void *page) noexcept;

struct read_superblock {
  store_shape shape;
  uint32_t file = 0;
};
/// Nothing when the bytes are no intact superblock of this version.
std::optional<read_superblock> decode_superblock(const void *page, size_t bytes) noexcept;
/// The version that the bytes claim, if they begin as one of our files does.
std::optional<uint32_t> claimed_version(const void *page, size_t bytes) noexcept;

/// Into the page of a superblock.
void encode_note(uint64_t store_id, end_note note, void *page) noexcept;
/// Nothing where none was written, or it is damaged.
std::optional<end_note> decode_note(uint64_t store_id, const void *page) noexcept;

uint64_t digest_of_key(uint64_t store_id, std::string_view key) noexcept;

/// A chunk of a block is digested by itself, whatever number and generation the block will have, so
/// that whoever writes a block can make the digests beforehand. Each part is cut into chunks of
/// store_chunk_bytes from its first byte on.
constexpr base::chunk_identity chunk_identity_of(uint32_t part, uint32_t chunk) noexcept {
  return {0, 1, part, chunk};
}
/// Most chunks that a block can have.
inline constexpr uint32_t store_chunks_max =
    static_cast<uint32_t>(store_block_bytes_max / store_chunk_bytes) + store_parts_max;
/// Digest of a block from those of its chunks, part after part, bound to its number and generation:
/// a block in another's place, or an older one in the same place, has another. Never 0.
uint64_t combine_digests(const uint64_t *digests, uint64_t count, uint32_t number,
                         uint64_t generation) noexcept;
/// The same of the block's bytes: its parts one behind the other.
uint64_t digest_of_block(const void *data, const block_body &body) noexcept;

constexpr uint64_t pages_of(uint64_t bytes) noexcept {
  return (bytes + page_bytes - 1) / page_bytes;
}
uint64_t bytes_of(const block_body &body) noexcept;

}  // namespace cubby::store
