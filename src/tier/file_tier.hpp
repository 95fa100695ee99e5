// A tier of files: the backend that opens and reads them, and the directories that it serves. It
// knows nothing of lockers; there may be several.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "tier/backend_instance.hpp"

namespace cubby::tier {

class file_tier {
 public:
  /// NOT_SUPPORTED when the backend wants I/O aligned to more than 4096 bytes.
  static result<std::unique_ptr<file_tier>> make(std::unique_ptr<backend_instance> backend,
                                                 const std::string &name,
                                                 std::vector<std::string> directories);
  file_tier(const file_tier &) = delete;
  file_tier &operator=(const file_tier &) = delete;

  [[nodiscard]] backend_instance &backend() { return *backend_; }
  /// How well the tier fits a file: characters of the longest of its directories that the path lies
  /// in; 0 = in none of them.
  [[nodiscard]] size_t directory_match(const std::string &path) const;
  /// Is the file in one of its directories, or has it none, and so reads whatever no other does?
  [[nodiscard]] bool serves(const std::string &path) const;

 private:
  file_tier(std::unique_ptr<backend_instance> backend, std::vector<std::string> directories)
      : backend_(std::move(backend)), directories_(std::move(directories)) {}

  std::unique_ptr<backend_instance> backend_;
  std::vector<std::string> directories_;
};

}  // namespace cubby::tier
