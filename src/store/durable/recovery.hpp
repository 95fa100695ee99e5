// Opens a store from the bytes of its files. Says what to read and is given it; reads nothing
// itself. Takes memory only in proportion to what the files hold.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/durable/block_table.hpp"
#include "store/durable/extent_map.hpp"
#include "store/durable/format.hpp"
#include "store/durable/journal.hpp"
#include "store/durable/pages.hpp"
#include "store/durable/space_table.hpp"

namespace cubby::store {

/// What was found beside good records. The store opens all the same.
struct recovery_report {
  uint64_t blocks = 0;  // live
  uint64_t records_replayed = 0;
  uint64_t superblocks_bad = 0;  // copies; written anew by the store
  uint64_t heads_bad = 0;        // copies of the manifest in use
  uint64_t spaces_bad = 0;       // copies of entries in the table of spaces
  uint64_t entries_bad = 0;      // blocks of the manifest that are lost
  uint64_t records_bad = 0;      // of the journal, though they had been flushed: blocks lost, or
                                 // an erased block that is there again
  uint64_t records_torn = 0;     // of the journal's unflushed end: an ordinary crash
  uint64_t blocks_without_space = 0;
  uint64_t blocks_overwritten = 0;  // their pages belong to a later block
  uint64_t first_bad_bytes = 0;     // offset in the first file; 0 = nothing was bad
  /// The journal ends here, in the first file, and so many pages before it did: the records put
  /// last, at most records_per_page a page, are lost. They are among records_bad, a page as one.
  uint64_t journal_ends_bytes = 0;
  uint64_t journal_lost_pages = 0;
};

/// All that an open store needs.
struct recovered_store {
  layout places;
  block_table blocks;
  space_table spaces;
  std::vector<extent_map> extents;  // one a file
  journal_position journal;
  uint64_t generation = 0;
  uint64_t boot = 0;  // of notes of how far the journal goes; 0: none are written
  struct bad_superblock {
    uint32_t file = 0;
    uint32_t copy = 0;
  };
  std::vector<bad_superblock> bad_superblocks;
  /// Pages of the first file that were believed, and of which nothing says that they are on the
  /// device: they may be in the page cache alone, clean since a flush of an earlier process failed.
  struct unproven_run {
    uint64_t first_page = 0;
    uint64_t page_count = 0;
    page_buffer bytes;   // as they were read
    bool spare = false;  // another copy is there: the store can do without
  };
  std::vector<unproven_run> unproven;
  recovery_report report;
};

class recovery {
 public:
  /// `file_bytes`: the size of each file of the store, in the order of its directories.
  /// `fingerprint`: what the store has to have been made with; 0 = anything. `names`: of the files,
  /// for sentences. `boot`: this_boot(), or 0. May throw.
  recovery(std::vector<uint64_t> file_bytes, uint64_t fingerprint,
           std::vector<std::string> names = {}, uint64_t boot = 0);
  ~recovery();
  recovery(const recovery &) = delete;
  recovery &operator=(const recovery &) = delete;

  struct read {
    uint32_t file = 0;
    uint64_t offset_bytes = 0;
    uint64_t bytes = 0;
  };
  static constexpr uint64_t read_bytes_max = 1u << 20;
  /// What to read next; nothing when there is no more, and finish() has the outcome.
  std::optional<read> next();
  /// The bytes of next(), or fewer where they cannot be read: what is missing counts as damaged.
  /// May throw.
  void give(const void *data, uint64_t bytes);

  /// FORMAT: not a store, or damaged beyond repair, with the offset. CORRUPT: a store of which
  /// nothing says any more what is in it, with the offset. NOT_SUPPORTED: of another version.
  /// INVALID: of another fingerprint.
  result<recovered_store> finish();

 private:
  struct work;
  std::unique_ptr<work> work_;
};

}  // namespace cubby::store
