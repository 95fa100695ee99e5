#include "engine/fill_table.hpp"

#include <numeric>
#include <utility>

namespace cubby::engine {

uint32_t fill_table::create(locker_bank &bank, uint32_t number, uint32_t tier, uint64_t frame,
                            const transfer::urgency &order) {
  if (free_.empty()) {
    const auto count = static_cast<uint32_t>(fills_.size());
    CUBBY_ASSERT(count < region_bit);
    // What release() and the lists will need is there before the fill is.
    alive_.grow(std::max(64u, 2 * count));
    free_.reserve(std::max(64u, 2 * count));
    fills_.add();
    fills_[count].index = count;
    free_.push_back(count);
    roomy_tiers_ = 0;
  }
  make_room();
  const uint32_t index = free_.back();
  free_.pop_back();
  alive_.push_back(index);
  fill &f = fills_[index];
  f.state = fill_state::reserved;
  f.bank = &bank;
  f.number = number;
  f.to = tier;
  f.frame = frame;
  f.order = order;
  f.begun_ns = state_.now_ns;
  return index;
}

void fill_table::grow_room() {
  const size_t jobs =
      std::accumulate(other_counts_.begin(), other_counts_.end(), fills_.size() + piece_count_);
  const uint32_t tiers = state_.tiers.count();
  for (uint32_t i = 0; i < tiers; ++i) state_.tiers[i].path->make_room(jobs);
  roomy_tiers_ = tiers;
}

void fill_table::make_room_for_others(other_jobs whose, size_t job_count) {
  size_t &count = other_counts_[static_cast<size_t>(whose)];
  const size_t before = count;
  if (job_count > count) {
    count = job_count;
    roomy_tiers_ = 0;
  }
  try {
    make_room();
  } catch (...) {
    count = before;
    throw;
  }
}

void fill_table::release(uint32_t index) {
  fill &f = fills_[index];
  if (f.leader != no_index) unfollow(index);
  f.renew();
  alive_.erase(index);
  free_.push_back(index);
}

transfer::channel &fill_table::reading_channel(const fill &f) {
  CUBBY_ASSERT(f.from != no_tier);
  if (!state_.tiers.is_memory(f.from)) return *state_.tiers[f.from].path;
  return state_.tiers.copy_path(f.from, f.to);
}

void fill_table::queue(uint32_t index) {
  fill &f = fills_[index];
  reading_channel(f).push(f.order, index);
  f.queued = true;
}

void fill_table::unqueue(uint32_t index) {
  fill &f = fills_[index];
  if (f.queued) reading_channel(f).remove(index);
  f.queued = false;
}

void fill_table::raise(uint32_t index, const transfer::urgency &order) {
  fill &f = fills_[index];
  if (order.deadline_ns == base::never_ns) f.may_expire = false;
  if (!(order < f.order)) return;
  const bool queued = f.queued;
  unqueue(index);
  f.order = order;
  if (queued) queue(index);
}

void fill_table::raise_demotions(uint32_t from, const transfer::urgency &order) {
  for (uint32_t i = alive_.first(); i != base::ordered_indices::none; i = alive_.after(i)) {
    const fill &f = fills_[i];
    if (f.state == fill_state::active && f.demotion && f.from == from) raise(i, order);
  }
}

void fill_table::follow(uint32_t leader, uint32_t follower) {
  fill &f = fills_[follower];
  f.state = fill_state::following;
  f.from = no_tier;
  // Behind those that follow already: they start again in the order they came.
  uint32_t *link = &fills_[leader].first_follower;
  while (*link != no_index) link = &fills_[*link].next_follower;
  *link = follower;
  f.leader = leader;
  raise(leader, f.order);
}

void fill_table::unfollow(uint32_t follower) {
  fill &f = fills_[follower];
  if (f.leader == no_index) return;
  uint32_t *link = &fills_[f.leader].first_follower;
  while (*link != follower) link = &fills_[*link].next_follower;
  *link = std::exchange(f.next_follower, no_index);
  f.leader = no_index;
}

bool fill_table::touches_tier(uint32_t tier) const {
  for (uint32_t i = alive_.first(); i != base::ordered_indices::none; i = alive_.after(i)) {
    const fill &f = fills_[i];
    if (f.to == tier || f.from == tier || f.intermediate == tier) return true;
  }
  return false;
}

std::vector<const locker_word *> fill_table::held_words(uint32_t tier) const {
  std::vector<const locker_word *> words;
  for (uint32_t i = alive_.first(); i != base::ordered_indices::none; i = alive_.after(i)) {
    const fill &f = fills_[i];
    if (f.from == tier || f.intermediate == tier) words.push_back(&f.bank->word(tier, f.number));
  }
  return words;
}

bool fill_table::touches_bank(const locker_bank &bank) const {
  for (uint32_t i = alive_.first(); i != base::ordered_indices::none; i = alive_.after(i)) {
    if (fills_[i].bank == &bank) return true;
  }
  return false;
}

void fill_table::forget_unrequested() {
  for (uint32_t i = alive_.first(); i != base::ordered_indices::none; i = alive_.after(i)) {
    fills_[i].unrequested = false;
  }
}

}  // namespace cubby::engine
