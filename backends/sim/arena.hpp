// Memory of the simulated world, one range of addresses cut first-fit: where a piece lies relative
// to the others is the same in every run. A released piece holds noise, so that whoever still reads
// it is found out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>

namespace cubby_sim {

class arena {
 public:
  explicit arena(uint64_t bytes);
  arena(const arena &) = delete;
  arena &operator=(const arena &) = delete;
  ~arena();

  /// Zeroed; aligned to 2 MiB from that size on, else to 4096. Null when there is no room.
  void *take(uint64_t bytes);
  /// False when this was not taken.
  bool give(void *base);
  bool holds(const void *address) const;
  uint64_t taken_bytes() const { return taken_bytes_; }

 private:
  uint64_t bytes_;
  void *mapping_ = nullptr;
  uint64_t mapping_bytes_ = 0;
  unsigned char *base_ = nullptr;
  std::map<uint64_t, uint64_t> taken_;  // offset → bytes
  uint64_t taken_bytes_ = 0;
};

}  // namespace cubby_sim
