#include "placement/kv/hedge.hpp"

#include <algorithm>
#include <cmath>

namespace cubby::placement::kv {
namespace {

constexpr double memory_requests = 1000;  // of the lead
constexpr double lost_margin = 0.012;     // of late, of the blocks that LRU would have found
constexpr double behind_allowed = 1e-3;   // of all blocks so far,
constexpr double requests_allowed = 1;    // and this many requests
constexpr double requests_to_gain = 1;    // before the index leads
constexpr double room_to_return = 0.5;    // of what is allowed, or
constexpr double gain_by_loss = 2;        // so much of a gain for each block it is behind,
constexpr double doubt = 2;               // and so many times that for each further failure
constexpr double stake_of_gain = 0.07;    // what may be lost of it beyond what is allowed

}  // namespace

double hedge::mean_request() const { return all_blocks_ / requests_; }

/// How far behind LRU it may be since the beginning.
double hedge::allowed() const {
  return behind_allowed * all_blocks_ + requests_allowed * mean_request();
}

/// The index may lose a lead it has since the beginning, but not for long.
bool hedge::lru_must() const {
  return lead_ < -lost_margin * lru_blocks_ ||
         behind_ > std::max(allowed(), entry_behind_ + stake_);
}

/// Changing sides costs blocks: what is resident is the other side's. After a failure the index
/// has to gain more than it lost, and beyond its allowance a multiple of what it is behind.
bool hedge::index_may() const {
  const double failures = takeovers_ == 0 ? 0 : static_cast<double>(takeovers_ - 1);
  const double times = std::pow(doubt, failures);
  const double lost = tried_ ? std::max(0.0, behind_ - entry_behind_) : 0;
  if (gained_ <= requests_to_gain * mean_request() + times * lost) return false;
  if (lead_ <= 0 && tried_) return false;
  return behind_ < room_to_return * allowed() || gained_ > gain_by_loss * times * behind_;
}

hedge::change hedge::ended(const runs &found, double request_blocks) {
  ++requests_;
  all_blocks_ += request_blocks;
  behind_ += found.lru - found.real;
  const double gain = found.index - found.lru;
  gained_ = std::max(0.0, gained_ + gain);
  lead_ += (gain - lead_) / memory_requests;
  lru_blocks_ += (found.lru - lru_blocks_) / std::min(memory_requests, requests_);
  if (!lru_leads_ && lru_must()) {
    lru_leads_ = true;
    ++takeovers_;
    gained_ = 0;
    lead_ = std::min(lead_, 0.0);
    return change::to_lru;
  }
  if (!lru_leads_ || !index_may()) return change::none;
  lru_leads_ = false;
  tried_ = true;
  entry_behind_ = behind_;
  stake_ = stake_of_gain * gained_;
  lead_ = std::max(lead_, 0.0);
  return change::to_index;
}

}  // namespace cubby::placement::kv
