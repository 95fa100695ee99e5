// Who decides, the index or LRU. LRU does at first; the index has to show by names alone that it
// would find more. What it then costs against LRU is counted since the beginning, and bounded.
#pragma once

#include <cstdint>

namespace cubby::placement::kv {

/// Leading runs of one request, in blocks.
struct runs {
  double real = 0;   // found
  double index = 0;  // as the index would have found them; the real ones where it decides
  double lru = 0;    // as LRU would have
};

class hedge {
 public:
  enum class change : uint8_t { none, to_lru, to_index };

  /// A request of that many blocks has ended.
  change ended(const runs &found, double request_blocks);
  /// The index knows what LRU does not, hints for instance: it leads until it has failed.
  void trust_index() {
    lru_leads_ = lru_leads_ && takeovers_ != 0;
    tried_ = true;
  }
  [[nodiscard]] bool lru_leads() const { return lru_leads_; }
  /// So many blocks may still be lost against LRU before it leads.
  [[nodiscard]] double may_lose() const;
  [[nodiscard]] uint64_t takeovers() const { return takeovers_; }

 private:
  [[nodiscard]] double mean_request() const;
  [[nodiscard]] double allowed() const;
  [[nodiscard]] bool lru_must() const;
  [[nodiscard]] bool index_may() const;

  bool lru_leads_ = true, tried_ = false;
  uint64_t takeovers_ = 0;
  double requests_ = 0, all_blocks_ = 0;
  double behind_ = 0;                 // blocks that LRU would have found more, since the beginning
  double lead_ = 0, lru_blocks_ = 0;  // of the index over LRU, and LRU's, of late, a request
  double gained_ = 0;                 // by the index, by names alone, from its lowest since then
  double entry_behind_ = 0, stake_ = 0;  // of the index when it took the lead
};

}  // namespace cubby::placement::kv
