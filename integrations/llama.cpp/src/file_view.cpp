#include "file_view.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

namespace cubby_ggml {
namespace {

constexpr uint64_t page_bytes = 4096;
constexpr std::string_view deleted = " (deleted)";

class open_file {
 public:
  explicit open_file(const std::string &path)
      : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~open_file() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  open_file(const open_file &) = delete;
  open_file &operator=(const open_file &) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

/// The lines of /proc/self/maps.
class maps_reader {
 public:
  struct range {
    unsigned long first = 0, end = 0, offset_bytes = 0;
    std::string path;
  };
  std::optional<range> next() {
    for (std::string line; std::getline(maps_, line);) {
      range found;
      int path_at = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx %*s %*s %n", &found.first, &found.end,
                      &found.offset_bytes, &path_at) < 3)
        continue;
      if (path_at > 0) found.path = line.substr(static_cast<size_t>(path_at));
      return found;
    }
    return std::nullopt;
  }

 private:
  std::ifstream maps_{"/proc/self/maps"};
};

}  // namespace

std::optional<file_place> file_at(const void *address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  for (maps_reader maps; const auto line = maps.next();) {
    if (wanted < line->first || wanted >= line->end) continue;
    file_place found;
    found.path = line->path;
    if (!found.path.starts_with('/') || found.path.ends_with(deleted)) return std::nullopt;
    struct stat facts = {};
    if (stat(found.path.c_str(), &facts) != 0) return std::nullopt;
    found.device = facts.st_dev;
    found.inode = facts.st_ino;
    found.offset_bytes = line->offset_bytes + (wanted - line->first);
    return found;
  }
  return std::nullopt;
}

std::vector<mapped_range> mapped_ranges(const std::string &path) {
  std::vector<mapped_range> found;
  for (maps_reader maps; const auto line = maps.next();)
    if (line->path == path)
      found.push_back({reinterpret_cast<const char *>(line->first), line->end - line->first,
                       line->offset_bytes});
  return found;
}

bool same_bytes(const file_place &place, const void *address, uint64_t bytes) {
  const open_file file(place.path);
  std::vector<char> read(std::min(bytes, page_bytes));
  const ssize_t got =
      pread(file.descriptor(), read.data(), read.size(), static_cast<off_t>(place.offset_bytes));
  return got == static_cast<ssize_t>(read.size()) &&
         std::memcmp(read.data(), address, read.size()) == 0;
}

void drop_pages(const void *address, uint64_t bytes) {
  const auto place = file_at(address);
  if (!place) return;
  // Whole pages inside the range: those at its ends belong to other tensors, too.
  const auto from = reinterpret_cast<uintptr_t>(address);
  const uintptr_t first = (from + page_bytes - 1) / page_bytes * page_bytes;
  const uintptr_t end = (from + bytes) / page_bytes * page_bytes;
  if (end <= first) return;
  // Pages that are mapped stay in the page cache, so they are unmapped first.
  madvise(reinterpret_cast<void *>(first), end - first, MADV_DONTNEED);
  const open_file file(place->path);
  if (file.descriptor() < 0) return;
  posix_fadvise(file.descriptor(), static_cast<off_t>(place->offset_bytes + (first - from)),
                static_cast<off_t>(end - first), POSIX_FADV_DONTNEED);
}

}  // namespace cubby_ggml
