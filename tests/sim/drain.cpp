// The world is made well, all that was asked completes, and every locker is served.
#include <algorithm>

#include "sim/simulation.hpp"

namespace sim {

simulation::~simulation() = default;

void simulation::poll(uint64_t now_ns) {
  now_ns_ = now_ns;
  ++polls_;
  const cubby_status status = cubby_poll(rt_, now_ns_, &next_ns_);
  log_.add(step_, "poll now=%" PRIu64 " next=%" PRIu64, now_ns_, next_ns_, 0, status);
  if (status != CUBBY_OK) violate("P3", "cubby_poll says %s", cubby_status_name(status));
}

void simulation::release_all() {
  if (blocks_ != nullptr) blocks_->release_all();
  while (!held_.empty() && violations_.empty()) {
    shadow_request &set = held_.front();
    for (uint32_t i = 0; i < set.items.size(); ++i) {
      if (set.items[i].held && !check_bytes(set, i, true)) return;
    }
    const cubby_status status = cubby_unpin(rt_, set.pins, 0, 0, nullptr);
    log_.add(step_, "unpin request=%" PRIu64, set.number, 0, 0, status);
    if (status != CUBBY_OK) {
      return violate("P6", "request %" PRIu64 ": unpin of a held set says %s", set.number,
                     cubby_status_name(status));
    }
    for (uint32_t i = 0; i < set.items.size(); ++i) {
      if (!set.items[i].released) let_go(set, i);
    }
    held_.pop_front();
  }
}

/// True while there is something to wait for.
bool simulation::drain_once(uint32_t &idle_rounds) {
  const size_t before = alive_.size();
  release_all();
  for (int queue = 0; queue < 2 && violations_.empty(); ++queue) take_completions(queue, 16);
  for (auto r = alive_.begin(); r != alive_.end() && violations_.empty();) {
    const auto at = r++;
    if (at->queue < 0 && at->ticket != 0) try_wait(at);
  }
  if (!violations_.empty()) return false;
  for (shadow_request &r : alive_) {
    check_landed(r);
    if (!violations_.empty()) return false;
  }
  if (alive_.empty() && held_.empty()) return false;
  idle_rounds = alive_.size() == before && held_.empty() ? idle_rounds + 1 : 0;
  const uint64_t step_ns = next_ns_ == ~uint64_t{0} ? 1'000'000 : 0;
  poll(std::max(now_ns_ + 1 + step_ns, step_ns != 0 ? 0 : next_ns_));
  return violations_.empty();
}

void simulation::drain() {
  world_.heal();
  log_.add(step_, "heal", 0, 0, 0, 0);
  uint32_t idle_rounds = 0;
  while (drain_once(idle_rounds)) {
    if (idle_rounds < 3000) continue;
    const shadow_request &r = alive_.front();
    return violate("P3",
                   "request %" PRIu64
                   " (%zu items) never completed; the world is healed and %u "
                   "rounds brought nothing",
                   r.number, r.items.size(), idle_rounds);
  }
  if (!violations_.empty()) return;
  for (auto &bank : banks_) {
    for (shadow_locker &locker : bank->lockers) locker.struck = false;
  }
  copies_struck_ = any_struck_ = false;
  // What nobody asked to hear of, and what was withdrawn, ends too. What was stuck before the world
  // was healed has a time only once somebody looks.
  poll(now_ns_ + 1);
  for (uint32_t i = 0; i < 200 && next_ns_ != ~uint64_t{0} && violations_.empty(); ++i) {
    poll(std::max(now_ns_ + 1, next_ns_));
  }
  if (!violations_.empty()) return;
  check_tiers();
  for (const shadow_tier &tier : tiers_) {
    if (!violations_.empty()) return;
    if (tier.last.pinned_bytes != 0) {
      violate("P6", "nothing is held and tier %s says %" PRIu64 " bytes are pinned", tier.name,
              tier.last.pinned_bytes);
    }
    log_.add(step_, "tier hits=%" PRIu64 " misses=%" PRIu64 " evictions=%" PRIu64,
             tier.last.hit_count, tier.last.miss_count, tier.last.evict_count,
             static_cast<int64_t>(tier.last.used_bytes));
  }
  saw(seen::healed);
}

/// P5: in a world that is well again every locker is served, whatever befell it or its neighbours.
void simulation::probe(uint32_t lockers_max) {
  if (tiers_.empty()) return;
  for (const auto &bank : banks_) {
    if (bank->file_changed) continue;
    const auto count = static_cast<uint32_t>(bank->lockers.size());
    const uint32_t stride = std::max(1u, count / std::max(1u, lockers_max));
    for (auto number = static_cast<uint32_t>(random_.below(stride)); number < count;
         number += stride) {
      const uint32_t tier = pick_tier_to_pin();
      // A tier shrunk before this bank came may be too small for a single locker of it.
      if (frame_bytes_max(*bank, number) > tiers_[tier].budget_bytes) continue;
      shadow_request &r = prepare(asked::pin, 1);
      r.items[0] = {bank, number};
      r.part_count = bank->part_count;
      r.tier = tier;
      r.has_status = true;
      ask_pin(r);
      for (uint32_t i = 0; i < 2000 && !alive_.empty() && violations_.empty(); ++i) {
        poll(std::max(now_ns_ + 1000, next_ns_ == ~uint64_t{0} ? 0 : next_ns_));
        try_wait(alive_.begin());
      }
      if (!violations_.empty()) return;
      if (!alive_.empty()) {
        return violate("P3", "a pin of one locker in a well world never completed");
      }
      if (held_.size() != 1) {
        return violate("P5", "bank %" PRIu64 " locker %u is not served in a well world",
                       bank->ordinal, number);
      }
      release_all();
      if (!violations_.empty()) return;
    }
  }
}

/// Close, in some runs with requests alive: each item is final afterwards and all memory is back.
void simulation::end() {
  if (chance(50)) {
    for (uint32_t i = 0; i < 6 && violations_.empty(); ++i) chance(70) ? do_pin() : do_prefetch();
    if (!violations_.empty()) return;
    release_all();
    if (!alive_.empty()) saw(seen::closed_under_load);
  }
  const cubby_status status = cubby_close(rt_);
  rt_ = nullptr;
  log_.add(step_, "close", 0, 0, 0, status);
  if (status != CUBBY_OK) return violate("P3", "cubby_close says %s", cubby_status_name(status));
  for (const shadow_request &r : alive_) {
    for (size_t i = 0; i < r.status.size() && r.has_status; ++i) {
      if (r.status[i] == CUBBY_PENDING) {
        return violate("P3", "closed, and item %zu of request %" PRIu64 " is still PENDING", i,
                       r.number);
      }
    }
  }
  if (world_.memory().taken_bytes() != 0) {
    violate("P6", "closed, and %" PRIu64 " bytes of the tiers' memory were not given back",
            world_.memory().taken_bytes());
  }
}

outcome simulation::run() {
  if (set_up()) {
    for (step_ = 1; step_ <= options_.steps && violations_.empty(); ++step_) {
      take_step();
      if (violations_.empty()) check_everything();
      if (step_ != next_drain_ || !violations_.empty()) continue;
      next_drain_ += 100 + random_.below(700);
      drain();
      // Nothing is in flight now: a flip between a look and a copy could be noticed by nobody.
      for (uint32_t i = 0; host_may_rot_ && i < 3; ++i) world_.flip_resting_frame();
      if (violations_.empty()) probe(4);
      world_.set_rates(weather_);
    }
    if (violations_.empty()) drain();
    if (violations_.empty()) probe(~0u);
    if (violations_.empty()) read_log(~0u);
    if (violations_.empty()) end();
  }
  // After a violation the runtime is left as it is: closing it may wait for ever.
  return {options_.seed, options_.steps, log_.hash(), violations_, world_.counts(), moves_};
}

}  // namespace sim
