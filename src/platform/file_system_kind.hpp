// What kind of file system it is that statfs(2) gives a number of.
#pragma once

#include <cstdint>

namespace cubby::platform {

enum class file_system_medium : uint8_t {
  disk,     // or one that is not known here
  memory,   // gone with the machine
  network,  // others may have it mounted as well
  program,  // FUSE: what is behind it, nobody can see from here
};

struct file_system_kind {
  const char *name = nullptr;  // NULL: not known here
  file_system_medium medium = file_system_medium::disk;

  /// Locks may hold in one mount alone.
  [[nodiscard]] bool is_shared() const {
    return medium == file_system_medium::network || medium == file_system_medium::program;
  }
};

/// By statfs.f_type.
file_system_kind file_system_kind_of(uint64_t number) noexcept;

}  // namespace cubby::platform
