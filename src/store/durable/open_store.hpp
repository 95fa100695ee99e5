// Finds or makes the files of a store, and reads what they hold.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/durable/recovery.hpp"
#include "store/durable/store_file.hpp"

namespace cubby::store {

struct store_options {
  std::vector<std::string> directories;
  uint64_t budget_bytes = 0;  // for a new store; 0 = only open what is there
  uint64_t block_bytes = 256u << 10;
  uint64_t fingerprint = 0;
  uint64_t boot = 0;       // this_boot(): with it the end of a journal that is lost is found out
  bool read_only = false;  // only to look at what is there; nothing is made or written
};

struct opened_store {
  std::vector<store_file> files;
  recovered_store content;
};

/// Opens what is there, else makes a new store of the budget. An existing store keeps its size.
result<opened_store> open_store(const store_options &options);

/// A new store of one file beside that of `old`, which must be alone, of the same id and for blocks
/// of the same usual size. files[0].replace() gives it the place of `old`.
result<opened_store> create_beside(const opened_store &old, uint64_t budget_bytes);

/// The block's bytes, verified. CORRUPT: they are not those that were put. IO: not to be read.
result<std::vector<unsigned char>> read_block(const std::vector<store_file> &files,
                                              const block_body &body);

/// All bytes; 0 or the errno.
int write_all(int fd, const void *data, uint64_t bytes, uint64_t offset);
/// As many bytes as can be read.
uint64_t read_all(int fd, void *data, uint64_t bytes, uint64_t offset);

}  // namespace cubby::store
