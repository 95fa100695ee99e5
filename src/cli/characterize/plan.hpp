// What was asked for, and the points that follow from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cubby_cli::characterize {

struct options {
  std::vector<std::string> dirs, remotes;
  bool quick = false, json = false, direct = true;
  std::optional<uint64_t> size_bytes;
  std::optional<double> runtime_seconds;  // of a point
  std::string html, save;

  [[nodiscard]] uint64_t file_bytes() const {
    return size_bytes.value_or(quick ? uint64_t{1} << 30 : uint64_t{4} << 30);
  }
  /// A network is slower than a disk: unless given, a quarter does there.
  [[nodiscard]] uint64_t bytes_in(bool remote) const {
    return remote && !size_bytes ? file_bytes() / 4 : file_bytes();
  }
  [[nodiscard]] bool measures_files() const { return !dirs.empty() || !remotes.empty(); }
  [[nodiscard]] uint64_t memory_bytes() const {
    constexpr uint64_t usual = uint64_t{512} << 20, most = uint64_t{1} << 30;
    return size_bytes ? (*size_bytes < most ? *size_bytes : most) : usual;
  }
};

/// Points of a file: each block with each depth.
struct grid {
  std::vector<uint64_t> blocks;
  std::vector<uint32_t> depths;
};

inline grid file_grid(bool quick, bool reads) {
  if (quick && reads) return {{4096, 65536, 1u << 20, 4u << 20}, {1, 4, 16, 64}};
  if (quick) return {{4096, 65536, 1u << 20, 4u << 20}, {1, 16, 64}};
  return {{4096, 16384, 65536, 262144, 1u << 20, 4u << 20}, {1, 2, 4, 8, 16, 32, 64}};
}

/// Of demand while something else writes back.
inline grid beside_grid(bool quick) {
  if (quick) return {{4096, 1u << 20}, {1, 16}};
  return {{4096, 65536, 1u << 20}, {1, 8, 64}};
}

}  // namespace cubby_cli::characterize
