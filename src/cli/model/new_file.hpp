// A file that appears under its name when it is whole, and leaves nothing behind when it is not. It
// replaces only a file of its own kind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

#include "base/own_file.hpp"
#include "cli/outcome.hpp"

namespace cubby_cli::model {

using cubby::base::file_kind;

/// Trouble unless nothing stands there, or what is to be written would replace its own kind. Asked
/// by open() too; before it where much is to be done first.
done may_write(const std::string &path, const file_kind &own);

class new_file {
 public:
  /// `own` knows the kind of file it is to be.
  explicit new_file(file_kind own) : own_(std::move(own)) {}
  ~new_file();
  new_file(const new_file &) = delete;
  new_file &operator=(const new_file &) = delete;
  /// Takes all the space at once, so that a full disk is known before work is spent; 0 bytes = not
  /// known yet. The file has no name until it is whole, so that nothing stays of a process that is
  /// killed; where the file system has no such files, it is "<path>.partial-<pid>" until then, and
  /// one that a dead process left is reported on stderr.
  done open(const std::string &path, uint64_t bytes);
  done write(std::span<const std::byte> piece);
  /// Makes it durable and gives it its name.
  done publish();

 private:
  done open_file();
  done flush();
  const file_kind own_;
  int file_ = -1;
  uint64_t written_bytes_ = 0;
  /// What is not yet written. Whole buffers pass the page cache by, where the file system can.
  struct give_back {
    void operator()(std::byte *memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte[], give_back> buffer_;
  size_t filled_ = 0;
  std::string path_, temporary_;  // temporary_: empty while the file has no name
};

}  // namespace cubby_cli::model
