#include "tier/file_tier.hpp"

#include <algorithm>

#include "tier/memory_tier.hpp"

namespace cubby::tier {

result<std::unique_ptr<file_tier>> file_tier::make(std::unique_ptr<backend_instance> backend,
                                                   const std::string &name,
                                                   std::vector<std::string> directories) {
  if (backend->info().align_bytes > frame_align_bytes) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "tier %s: the backend aligns I/O to %u bytes, 4096 are the most that is possible",
                name.c_str(), backend->info().align_bytes);
  }
  for (std::string &directory : directories) {
    if (!directory.ends_with('/')) directory += '/';
  }
  return std::unique_ptr<file_tier>(new file_tier(std::move(backend), std::move(directories)));
}

size_t file_tier::directory_match(const std::string &path) const {
  size_t longest = 0;
  for (const std::string &directory : directories_) {
    if (path.starts_with(directory)) longest = std::max(longest, directory.size());
  }
  return longest;
}

bool file_tier::serves(const std::string &path) const {
  return directories_.empty() || directory_match(path) != 0;
}

}  // namespace cubby::tier
