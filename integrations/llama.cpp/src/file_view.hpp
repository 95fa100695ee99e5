// Which file lies at an address of this process, and the page cache behind it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cubby_ggml {

struct file_place {
  std::string path;
  uint64_t offset_bytes = 0;
  uint64_t device = 0, inode = 0;  // of the file that has this path now
};

/// What is mapped there: nothing when it is no file, or one that was deleted.
std::optional<file_place> file_at(const void *address);

/// A part of a file in the memory of this process.
struct mapped_range {
  const char *first = nullptr;
  uint64_t bytes = 0, offset_bytes = 0;
};

/// Where the file that has this path now is mapped.
std::vector<mapped_range> mapped_ranges(const std::string &path);

/// Whether the file has at its place what the mapping shows, in the first page of `bytes`: the path
/// may be another file's by now.
bool same_bytes(const file_place &place, const void *address, uint64_t bytes);

/// Gives up the pages of a mapped range, in this process and in the page cache: the tier keeps what
/// is worth keeping, and a second copy would cost as much memory again.
void drop_pages(const void *address, uint64_t bytes);

}  // namespace cubby_ggml
