// The files of a store on a POSIX system: found or made, owned by one process, as large as their
// budget from the start. Nothing that is not ours is ever written to.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace cubby::store {

inline constexpr char store_file_name[] = "cubby.store";

/// So long opening waits for the last writes of a process that was killed.
inline constexpr std::chrono::seconds store_writes_wait{10};

/// One open file, locked as long as this lives.
class store_file {
 public:
  /// The store's file of a directory. INVALID: none there, or a link, or no regular file. FORMAT:
  /// something that is no store. IN_USE: locked, with the owner's pid, or replaced just now, or
  /// still being written after store_writes_wait.
  /// DENIED: no permission, or a read-only file system. `direct`: past the page cache where the
  /// file system can.
  static result<store_file> open(const std::string &directory, bool direct);
  /// The same to be read only, from a read-only file system, too: changes nothing of the file, and
  /// keeps out those who would write, not others who look.
  static result<store_file> open_to_look(const std::string &directory);
  /// A new one under another name until publish(), all of its bytes allocated. NO_SPACE: with
  /// needed_bytes. What a process that died left under that name is removed.
  static result<store_file> create(const std::string &directory, uint64_t bytes, bool direct);
  /// The same in the directory of `old`, whose place it is to take with replace().
  static result<store_file> create_beside(const store_file &old, uint64_t bytes, bool direct);

  store_file(store_file &&other) noexcept;
  store_file &operator=(store_file &&other) noexcept;
  ~store_file();

  /// The new file and its entry in the directory are on the device, under the name that it has
  /// until publish().
  result<void> flush_unnamed();
  /// The new file's name, once all that it begins with has been written: flushes it first. INVALID
  /// when something is there already; it stays.
  result<void> publish();
  /// Takes the name of publish() away again, if it is still this file's.
  void withdraw() noexcept;
  /// As publish(), in the place of `old`: whenever the process or the machine stops, one of the two
  /// has the name. INVALID when the name is no longer that of `old`; all stays as it is.
  result<void> replace(const store_file &old);

  /// Is it still there, whole, and may this process write all of it? Waits for no file system.
  [[nodiscard]] result<void> check() const;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] const std::string &path() const { return path_; }
  [[nodiscard]] bool direct() const { return direct_; }
  /// What is good to know about this place, a sentence each.
  [[nodiscard]] const std::vector<std::string> &notes() const { return notes_; }

 private:
  store_file(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  static result<store_file> open_locked(const std::string &directory, int flags);
  static result<store_file> create_unnamed(const std::string &path, uint64_t bytes, bool direct);
  result<void> own();
  [[nodiscard]] bool has_name(const std::string &path) const noexcept;
  void look_around(bool direct);
  result<void> flush_new();
  void close_file() noexcept;

  int fd_ = -1;
  std::string path_;
  std::string unpublished_;  // the name until publish(); removed unless it is reached
  uint64_t bytes_ = 0;
  int owner_ = 0;  // the process that has locked it
  bool direct_ = false;
  std::vector<std::string> notes_;
};

/// Does the directory hold a store's file, or anything of that name?
bool store_file_exists(const std::string &directory);

}  // namespace cubby::store
