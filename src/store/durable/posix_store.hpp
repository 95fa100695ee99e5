// A durable store with a driver of its own: pread, pwrite and fdatasync, one after the other. For
// tools and tests; the runtime drives a block_store over its backends.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/durable/block_store.hpp"
#include "store/durable/open_store.hpp"

namespace cubby::store {

class posix_store {
 public:
  /// Opens what is there, else makes a new store of the budget. An existing store keeps its size.
  static result<std::unique_ptr<posix_store>> open(const store_options &options);

  /// Of a store that has been opened or made.
  static std::unique_ptr<posix_store> over(opened_store &&opened);

  [[nodiscard]] block_store &store() { return *store_; }
  [[nodiscard]] const std::vector<store_file> &files() const { return files_; }
  [[nodiscard]] std::vector<store_file> &files() { return files_; }
  [[nodiscard]] const recovery_report &report() const { return report_; }
  [[nodiscard]] std::vector<std::string> notes() const;

  /// Does what the store asks for until there is nothing more.
  void run();
  /// The block's bytes, verified. CORRUPT: they are not those that were put. MISS: no such block.
  result<std::vector<unsigned char>> read(uint32_t number) const;

 private:
  posix_store() = default;
  std::vector<store_file> files_;
  std::unique_ptr<block_store> store_;
  recovery_report report_;
};

}  // namespace cubby::store
