// Reads of stored blocks that have failed. A disk takes long to say that it cannot read, and a
// caller can compute its block again: so a block that could not be read is not tried again at once,
// and a disk on which one block after another fails is bypassed, and probed now and then.
#pragma once

#include <cstdint>
#include <unordered_map>

namespace cubby::engine {

class failed_reads {
 public:
  /// Blocks in a row that cannot be read until the disk is bypassed.
  static constexpr uint32_t failures_max = 4;
  /// Of a block; and of a disk at first, doubled with each probe that fails.
  static constexpr uint64_t pause_ns = 1'000'000'000, pause_max_ns = 60'000'000'000;

  /// `block` tells blocks apart; what fails of one within its pause counts once. True when the disk
  /// is bypassed from here on.
  bool failed(uint64_t block, uint64_t now_ns) noexcept;
  /// True when the disk was bypassed until now.
  bool succeeded(uint64_t block) noexcept;
  /// May the block be read now? Of a disk that is bypassed one block is, after each pause.
  [[nodiscard]] bool allows(uint64_t block, uint64_t now_ns) noexcept;
  /// The same without taking the probe's place.
  [[nodiscard]] bool would_allow(uint64_t block, uint64_t now_ns) const noexcept;
  /// Was the last try to read it in vain?
  [[nodiscard]] bool knows(uint64_t block) const noexcept { return until_ns_.contains(block); }
  /// Another block is stored under the name.
  void forget(uint64_t block) noexcept { until_ns_.erase(block); }

  [[nodiscard]] bool bypassed() const noexcept { return failure_count_ >= failures_max; }
  [[nodiscard]] bool degraded() const noexcept { return failure_count_ != 0; }

 private:
  std::unordered_map<uint64_t, uint64_t> until_ns_;  // of blocks that are not tried before then
  uint32_t failure_count_ = 0;                       // since a read succeeded
  uint64_t disk_pause_ns_ = pause_ns, probe_ns_ = 0;
};

}  // namespace cubby::engine
