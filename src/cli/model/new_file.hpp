// A file that appears under its name when it is whole, and leaves nothing behind when it is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

#include "cli/outcome.hpp"

namespace cubby_cli::model {

class new_file {
 public:
  new_file() = default;
  ~new_file();
  new_file(const new_file &) = delete;
  new_file &operator=(const new_file &) = delete;
  /// Takes a temporary name beside `path` and all the space at once, so that a full disk is known
  /// before work is spent; 0 bytes = not known yet.
  done open(const std::string &path, uint64_t bytes);
  done write(std::span<const std::byte> piece);
  /// Makes it durable and gives it its name.
  done publish();

 private:
  done flush();
  int file_ = -1;
  uint64_t written_bytes_ = 0;
  /// What is not yet written. Whole buffers pass the page cache by, where the file system can.
  struct give_back {
    void operator()(std::byte *memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte[], give_back> buffer_;
  size_t filled_ = 0;
  std::string path_, temporary_;
};

}  // namespace cubby_cli::model
