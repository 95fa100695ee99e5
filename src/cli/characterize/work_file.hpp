// The file in a directory that is read and written to measure its device. It has no name, so that
// nothing is left of it, whatever ends the process.
#pragma once

#include <cstdint>
#include <string>

#include "cli/characterize/file_systems.hpp"
#include "cli/outcome.hpp"

namespace cubby_cli::characterize {

/// A directory on a disk of this machine, or on what is mounted over a network.
struct work_place {
  std::string folder;
  bool remote = false;

  /// As it was named on the command line.
  [[nodiscard]] std::string named() const { return (remote ? "--remote " : "--dir ") + folder; }
};

class work_file {
 public:
  work_file() = default;
  ~work_file();
  work_file(const work_file &) = delete;
  work_file &operator=(const work_file &) = delete;

  /// Refuses what is no directory, memory, too full, on a network and not named as such, or a disk
  /// that cannot be read past the page cache while `direct`. Takes the space.
  done open(const work_place &in, uint64_t bytes, bool direct);
  /// Gives the space back and takes it again: allocated, and never written.
  [[nodiscard]] done take_anew() const;
  /// Writes noise all over it, so that no block of it is a hole.
  done fill();

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  /// By which this process can open it once more.
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  [[nodiscard]] uint64_t device() const { return device_; }
  [[nodiscard]] const file_system &on() const { return on_; }
  /// Past the page cache of this machine.
  [[nodiscard]] bool is_direct() const { return direct_; }
  /// Free to this user when it was opened.
  [[nodiscard]] uint64_t free_bytes() const { return free_bytes_; }

 private:
  done look_at(const work_place &in);
  done check_system(const work_place &in);
  done check_room(const work_place &in);
  done make(const work_place &in, bool direct);
  int make_nameless(const std::string &folder, int direct_flag);
  int take_space();

  int fd_ = -1;
  uint64_t bytes_ = 0, device_ = 0, free_bytes_ = 0;
  bool direct_ = false;
  file_system on_;
};

}  // namespace cubby_cli::characterize
