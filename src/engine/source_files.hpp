// The files that banks read: opened through a file tier, and held against the identity they had
// when they were adopted.
#pragma once

#include <vector>

#include "engine/engine_state.hpp"

namespace cubby::engine {

class source_files {
 public:
  explicit source_files(engine_state &state) : state_(state) {}

  /// Opens them through the tier and fills in what they are; a file whose identity is known already
  /// must still have it. A file system may keep it waiting, so it needs no pump where the backend
  /// can open files apart. What was opened before it failed is the caller's to close.
  result<void> open(std::vector<catalog::bank_file> &files, uint32_t tier);
  void close(std::vector<catalog::bank_file> &files, uint32_t tier);
  /// Are the files of the bank what they were? Looked at again after 10 ms. False: bank.failed says
  /// so, and nothing more is loaded from it.
  bool unchanged(locker_bank &bank);
  /// Bytes were not as they should be: looks at once, and where a file has changed that is the
  /// reason.
  void explain(locker_bank &bank, error &why);

 private:
  engine_state &state_;
};

}  // namespace cubby::engine
