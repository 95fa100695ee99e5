// The files of a bank or a seal while they are being opened: closed again unless a bank takes them.
#pragma once

#include <string>
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
    if (list.empty() || tier == engine::no_tier) return;
    const auto lock = rt_.hold_pump();
    rt_.engine().files.close(list, tier);
  }

  /// Opens all in `list`, through the tier for `path`. The pump must not be held: a file system may
  /// take as long as it likes, and nobody else is to wait for it. A backend that can do one thing
  /// at a time has the pump.
  result<void> open(const std::string &path) {
    const auto known = rt_.profile.of_devices_below({path});
    return open_through([&] { return rt_.file_tier_for(path, known); });
  }
  /// The same through a tier of files by which the bank is not read yet.
  result<void> open_beside(cubby_bank bank) {
    const auto known = rt_.profile.of_devices_below({list.front().path});
    return open_through([&] { return rt_.file_tier_beside(bank, list, known); });
  }

  std::vector<catalog::bank_file> list;
  uint32_t tier = engine::no_tier;

 private:
  template <class Choose>
  result<void> open_through(const Choose &choose) {
    bool apart = false;
    {
      const auto lock = rt_.hold_pump();
      auto found = choose();
      if (!found) return found.failure();
      tier = *found;
      apart = rt_.engine().state.tiers[tier].files->backend().can(CUBBY_CAP_FILES_APART);
    }
    std::unique_lock<std::mutex> lock;
    if (!apart) lock = rt_.hold_pump();
    return rt_.engine().files.open(list, tier);
  }

  runtime &rt_;
};

}  // namespace cubby::api
