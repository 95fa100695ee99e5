// What directories of this machine deliver, as `cubby characterize --save` measured it
// (docs/profile.md): of that file only what a runtime can use before it has read anything itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace cubby::store {

struct read_speed {
  double bytes_per_s = 0, latency_ns = 0;
};

class machine_profile {
 public:
  /// FORMAT, naming what is wrong; may wait for a file system, as long as it likes.
  static result<machine_profile> load(const std::string &path);

  /// A sentence where it was measured on another machine: its speeds are not used then.
  [[nodiscard]] const std::string &other_machine() const { return other_machine_; }

  /// Of the devices that these files or directories lie on, each once, read together; nothing when
  /// none of them was measured. May wait for a file system.
  [[nodiscard]] std::optional<read_speed> of_devices_below(
      const std::vector<std::string> &paths) const;

 private:
  struct measured {
    uint64_t device;  // st_dev
    read_speed read;
  };
  std::vector<measured> files_;
  std::string other_machine_;
};

}  // namespace cubby::store
