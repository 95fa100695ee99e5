// A folder for what is measured, gone in the end, and when the process is asked to end before.
#pragma once

#include <atomic>
#include <csignal>
#include <string>
#include <thread>

namespace cubby_cli {

/// Made before other threads are: they inherit that SIGINT, SIGTERM and SIGHUP go to this one's
/// thread, which removes the folder and lets the signal end the process as it would have.
class work_folder {
 public:
  /// `pattern` ends with XXXXXX. The path is empty where the folder could not be made (errno).
  explicit work_folder(std::string pattern);
  ~work_folder();
  work_folder(const work_folder &) = delete;
  work_folder &operator=(const work_folder &) = delete;
  [[nodiscard]] const std::string &path() const { return path_; }

 private:
  void wait_for_signals() const;
  void remove() const;

  std::string path_;
  sigset_t ends_ = {}, before_ = {};
  std::atomic<bool> over_ = false;
  std::thread watcher_;
};

}  // namespace cubby_cli
