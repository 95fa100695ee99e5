// The file in a directory that is read and written to measure its device. It has no name, so that
// nothing is left of it, whatever ends the process.
#pragma once

#include <cstdint>
#include <string>

#include "cli/outcome.hpp"

namespace cubby_cli::characterize {

/// Of a file system, by the number that statfs gives it: empty where its device can be measured,
/// else what it is and why not.
std::string unsuited_file_system(uint64_t number);

class work_file {
 public:
  work_file() = default;
  ~work_file();
  work_file(const work_file &) = delete;
  work_file &operator=(const work_file &) = delete;

  /// Refuses what is no directory, memory or network, too full, or cannot be read past the page
  /// cache while `direct`. Takes the space.
  done open(const std::string &folder, uint64_t bytes, bool direct);
  /// Writes noise all over it, so that no block of it is a hole.
  done fill();

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  /// By which this process can open it once more.
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  [[nodiscard]] uint64_t device() const { return device_; }
  /// Free to this user when it was opened.
  [[nodiscard]] uint64_t free_bytes() const { return free_bytes_; }

 private:
  done look_at(const std::string &folder);
  done make(const std::string &folder, bool direct);

  int fd_ = -1;
  uint64_t bytes_ = 0, device_ = 0, free_bytes_ = 0;
};

}  // namespace cubby_cli::characterize
