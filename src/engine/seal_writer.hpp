// Writes a seal beside the pump: a file system may take as long as it likes.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "base/result.hpp"
#include "store/seal.hpp"

namespace cubby::engine {

/// One at a time.
class seal_writer {
 public:
  seal_writer() = default;
  seal_writer(const seal_writer &) = delete;
  seal_writer &operator=(const seal_writer &) = delete;
  /// Waits for a write that has begun.
  ~seal_writer();

  /// Begins to write, on a thread of its own; with `at_once` it is written here and now. The result
  /// of the write before was taken. NO_MEMORY when no thread can be had.
  result<void> begin(const std::string &path, store::seal content, bool at_once);
  /// A write whose result was not taken.
  [[nodiscard]] bool busy() const { return busy_; }
  /// The result, once, when the write has ended.
  std::optional<result<void>> take();

 private:
  std::thread thread_;
  std::atomic<bool> ended_{false};
  bool busy_ = false;
  result<void> written_;  // the thread's until ended_
};

}  // namespace cubby::engine
