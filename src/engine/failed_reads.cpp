#include "engine/failed_reads.hpp"

#include <algorithm>
#include <new>

namespace cubby::engine {
namespace {

/// Far more than fail before the disk is bypassed, unless some succeed between them.
constexpr size_t blocks_max = 4096;

}  // namespace

bool failed_reads::failed(uint64_t block, uint64_t now_ns) noexcept {
  if (until_ns_.size() >= blocks_max) {
    std::erase_if(until_ns_, [&](const auto &one) { return one.second <= now_ns; });
  }
  const auto known = until_ns_.find(block);
  if (known != until_ns_.end() && known->second > now_ns) return false;  // another piece of it
  try {
    if (until_ns_.size() < blocks_max) until_ns_[block] = now_ns + pause_ns;
  } catch (const std::bad_alloc &) {  // it may be tried again at once
  }
  const bool was = bypassed();
  if (!was) ++failure_count_;
  if (!bypassed()) return false;
  if (was) disk_pause_ns_ = std::min(2 * disk_pause_ns_, pause_max_ns);
  probe_ns_ = now_ns + disk_pause_ns_;
  return !was;
}

bool failed_reads::succeeded(uint64_t block) noexcept {
  if (failure_count_ == 0 && until_ns_.empty()) return false;
  until_ns_.erase(block);
  const bool was = bypassed();
  failure_count_ = 0;
  disk_pause_ns_ = pause_ns;
  return was;
}

bool failed_reads::would_allow(uint64_t block, uint64_t now_ns) const noexcept {
  if (bypassed()) return now_ns >= probe_ns_;
  const auto known = until_ns_.find(block);
  return known == until_ns_.end() || known->second <= now_ns;
}

bool failed_reads::allows(uint64_t block, uint64_t now_ns) noexcept {
  if (!would_allow(block, now_ns)) return false;
  if (bypassed()) probe_ns_ = now_ns + disk_pause_ns_;
  return true;
}

}  // namespace cubby::engine
