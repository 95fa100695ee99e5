// The files of a bank or a seal while they are being opened: closed again unless somebody takes
// them.
#pragma once

#include <vector>

#include "api/runtime.hpp"

namespace cubby::api {

class bank_files {
 public:
  explicit bank_files(runtime &rt) : rt_(rt) {}
  bank_files(const bank_files &) = delete;
  bank_files &operator=(const bank_files &) = delete;
  /// The pump must not be held.
  ~bank_files() {
    if (list.empty()) return;
    const auto lock = rt_.hold_pump();
    rt_.house().close_files(list);
  }

  /// Opens all in `list`. The pump must not be held: a file system may take as long as it likes,
  /// and nobody else is to wait for it. A backend that can do one thing at a time has the pump.
  result<void> open() {
    bool apart = false;
    {
      const auto lock = rt_.hold_pump();
      if (auto ready = rt_.need_file_tier(); !ready) return ready;
      apart = rt_.house().files_open_apart();
    }
    std::unique_lock<std::mutex> lock;
    if (!apart) lock = rt_.hold_pump();
    return rt_.house().open_files(list);
  }

  std::vector<table::bank_file> list;

 private:
  runtime &rt_;
};

}  // namespace cubby::api
