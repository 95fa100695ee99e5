#include "engine/controller.hpp"

#include <algorithm>
#include <new>

namespace cubby::engine {
namespace {

constexpr uint32_t accept_batch = 16;
constexpr uint32_t reap_batch = 8;  // few: what came is verified before more is looked at

}  // namespace

controller::controller(const operation_units &units, policy_feed &feed, fill_io &io,
                       transfer::io_table &ios, transfer::work_queue &work, slot_writer &slots)
    : units_(units),
      state_(units.state),
      feed_(feed),
      io_(io),
      ios_(ios),
      work_(work),
      slots_(slots),
      pins_(units),
      prefetches_(units),
      resizes_(units),
      seals_(units),
      puts_(units),
      gets_(units),
      gathers_(units),
      verifies_(units, ios),
      operations_{&pins_, &prefetches_, &resizes_, &seals_, &puts_, &gets_, &gathers_, &verifies_} {
}

bool controller::advance(uint64_t now_ns, uint64_t *next_ns, effort how_far, bool time_passes) try {
  state_.now_ns = now_ns;
  time_passes_ = time_passes;
  const uint64_t completed_before = units_.open.completed_count();
  bool any = false;
  uint64_t next = base::never_ns;
  units_.puts.expire(now_ns);
  for (;;) {
    bool progress = false;
    accept_requests(progress);
    state_.releases.step();
    look_at_withdrawals();
    look_at_frames();
    units_.copies.keep_reserve();
    next = how_far == effort::start ? now_ns : base::never_ns;
    progress = start_all_jobs(how_far) || progress;
    if (how_far != effort::start) progress = run_channels(&next) || progress;
    progress = slots_.step() || progress;
    if (how_far != effort::start) progress = verifies_.step() || progress;
    const bool changed = state_.changed;
    if (changed) {
      state_.changed = false;
      retry_waiting();
      progress = true;
    }
    if (!progress) break;
    any = true;
    look_at_clock();
    // Starting I/O makes nothing else possible.
    if (how_far == effort::start && !changed && !has_news()) break;
    if (how_far == effort::one_completion && units_.open.completed_count() != completed_before) {
      next = now_ns;
      break;
    }
  }
  // Who waits for frames may wait for the end of a lease.
  if (!units_.open.empty()) next = std::min(next, units_.puts.next_expiry_ns());
  // Or for streams, which no descriptor tells of.
  constexpr uint64_t look_at_streams_ns = 20'000;
  if (units_.open.any_waiting() && !state_.releases.empty()) {
    next = std::min(next, state_.now_ns + look_at_streams_ns);
  }
  *next_ns = std::min({next, next_store_ns(), slots_.next_ns(), units_.stored.spaces().next_ns()});
  return any;
} catch (...) {  // a lack of memory; what was being looked at is looked at again
  state_.pins.note_withdrawal();
  state_.pins.note_frames();
  state_.changed = true;
  throw;
}

void controller::accept_requests(bool &progress) {
  std::array<uint32_t, accept_batch> taken;
  size_t count = taken.size();
  while (count == taken.size()) {
    count = 0;
    while (count < taken.size()) {
      const uint32_t index = units_.requests.accept();
      if (index == no_index) break;
      units_.open.open(index);
      taken[count++] = index;
    }
    // What the same threads used and let go of before they asked for more comes first.
    feed_.drain();
    progress = progress || count != 0;
    for (size_t i = 0; i < count; ++i) begin(taken[i]);
  }
}

void controller::begin(uint32_t index) {
  operation &verb = operation_of(units_.requests[index]);
  verb.take_over(index);
  try {
    look_at_frames();
    verb.begin(index);
    if (units_.requests[index].kind() == request_kind::resize) {
      refuse_impossible(units_.requests[index].tier);
    }
    if (grant(index) || verb.refuse_impossible(index)) return;
    units_.open.wait_for_frames(index);
  } catch (const std::bad_alloc &) {
    verb.out_of_memory(index);
  }
}

/// What waits for frames of a tier that has become too small for it would wait for ever.
void controller::refuse_impossible(uint32_t tier) {
  for (const uint32_t index : units_.open.waiting_now()) {
    const request &r = units_.requests[index];
    if (r.waiting && r.tier == tier) operation_of(r).refuse_impossible(index);
  }
}

/// False: it waits for frames.
bool controller::grant(uint32_t index) {
  const request &r = units_.requests[index];
  operation &verb = operation_of(r);
  const bool loads = r.kind() == request_kind::pin || r.kind() == request_kind::prefetch;
  if (loads && state_.tiers[r.tier].lost.load(std::memory_order_relaxed)) {
    verb.tier_lost(index);
    return true;
  }
  try {
    return verb.grant(index);
  } catch (const std::bad_alloc &) {
    verb.out_of_memory(index);
    return true;
  }
}

void controller::look_at_withdrawals() {
  if (!state_.pins.take_withdrawal_note()) return;
  for (const uint32_t index : units_.open.open_now()) {
    if (!units_.open.is_open(index)) continue;
    request &r = units_.requests[index];
    const bool all = r.cancel_wanted.exchange(false, std::memory_order_seq_cst);
    operation_of(r).withdraw(index, all);
  }
  // What was submitted and withdrawn since the inbox was emptied is open only at the next look.
  if (units_.requests.has_accepted()) state_.pins.note_withdrawal();
}

/// Something was unpinned.
void controller::look_at_frames() {
  units_.fills.end_abandoned(false);  // whose holders may have let go without a note
  if (!state_.pins.take_frames_note()) return;
  state_.changed = true;
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    units_.copies.decide(i);
    if (state_.tiers[i].lost.load(std::memory_order_relaxed)) units_.copies.drop_lost(i);
  }
  units_.fills.end_abandoned(false);
}

void controller::retry_waiting() {
  std::array<bool, tiers_max> stuck{};
  for (const uint32_t index : units_.open.waiting_now()) {
    const request &r = units_.requests[index];
    if (!r.waiting || operation_of(r).expire(index)) continue;
    const uint32_t tier = r.tier;
    if (stuck[tier]) continue;  // first come, first served in each tier
    if (grant(index)) {
      units_.open.stop_waiting(index);
    } else {
      stuck[tier] = true;
    }
  }
  units_.open.publish_waiting();
}

bool controller::start_job(transfer::channel &path, uint32_t job) {
  if ((job & direct_bit) != 0) return units_.direct.start_job(path, job);
  if ((job & region_bit) != 0) return units_.regions.start_job(path, job);
  return io_.start_job(path, job);
}

/// Hands out the most urgent of what waits for a path, while there is room on it.
bool controller::start_jobs(transfer::channel &path) {
  bool any = false;
  while (const auto *top = path.top()) {
    if (!start_job(path, top->job)) break;
    any = true;
  }
  io_.land_submitted();
  return any;
}

bool controller::start_all_jobs(effort how_far) {
  bool any = units_.stored.step();
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    transfer::channel &path = *state_.tiers[i].path;
    if (!start_jobs(path)) continue;
    any = true;
    if (how_far == effort::start) path.flush_some(state_.now_ns);
  }
  return any;
}

bool controller::run_channels(uint64_t *next_ns) {
  bool progress = seals_.step();
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    uint64_t next = base::never_ns;
    // Copies to a device are not verified when they end: all that are over are taken up, for until
    // then their frames cannot be given to others.
    uint32_t rounds = 1;
    if (state_.tiers.is_device(i)) rounds += state_.tiers[i].path->in_flight_count() / reap_batch;
    while (rounds-- != 0 && take_back(i, &next)) progress = true;
    *next_ns = std::min(*next_ns, next);
  }
  *next_ns = std::min(*next_ns, seals_.next_ns());
  return work_.step() || progress;
}

/// A batch of what has come back. The path is filled again first: the device works while bytes are
/// verified here.
bool controller::take_back(uint32_t tier, uint64_t *next_ns) {
  tier_slot &slot = state_.tiers[tier];
  cubby_backend_done done[reap_batch];
  transfer::io_table::finished_io ends[reap_batch];
  const uint32_t count = slot.path->reap(state_.now_ns, done, reap_batch, next_ns);
  if (count != 0) look_at_clock();
  look_for_overstatement(slot);
  uint32_t ours = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const auto end = ios_.finish(*slot.path, done[i].cookie, state_.now_ns);
    if (!end) {
      report_unexpected(slot, done[i].cookie);
      continue;
    }
    ends[ours] = *end;
    done[ours++] = done[i];
  }
  try {
    if (ours != 0 && start_jobs(*slot.path)) slot.path->flush(state_.now_ns);
  } catch (const std::bad_alloc &) {  // what has come back is taken up all the same
    state_.changed = true;
  }
  for (uint32_t i = 0; i < ours; ++i) ends[i].owner->io_done(ends[i].tag, done[i]);
  return count != 0;
}

void controller::look_at_clock() {
  if (time_passes_) state_.now_ns = std::max(state_.now_ns, base::now_ns());
}

/// A backend that says that it took, or gave, more than there was: what is beyond is ignored.
void controller::look_for_overstatement(tier_slot &slot) {
  const uint64_t seen = slot.path->overstated_count();
  if (seen == slot.overstated_count) return;
  const bool first = slot.overstated_count == 0;
  slot.stats.error_count += seen - slot.overstated_count;
  slot.overstated_count = seen;
  if (!first) return;
  state_.log(0, format_text("tier %s: backend %s returned a larger count than it was given, from "
                            "submit() or reap(). What is beyond is ignored and counted as an "
                            "error; the backend needs mending",
                            slot.name.c_str(), slot.backend.c_str()));
}

/// Such a completion is counted and put aside: taken for another's it would publish bytes that have
/// not come.
void controller::report_unexpected(tier_slot &slot, uint64_t cookie) {
  ++slot.stats.error_count;
  if (slot.unexpected_reported) return;
  slot.unexpected_reported = true;
  state_.log(0,
             format_text("tier %s: backend %s completed an I/O that is not under way (cookie "
                         "%llx): completed twice, or never submitted. Such completions are ignored "
                         "and counted as errors; the backend needs mending",
                         slot.name.c_str(), slot.backend.c_str(),
                         static_cast<unsigned long long>(cookie)));
}

/// When a store has something to do that no completion tells of.
uint64_t controller::next_store_ns() const {
  uint64_t next = base::never_ns;
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    const disk_store *const store = units_.stored.store_of(i);
    if (store != nullptr) next = std::min(next, store->next_ns());
  }
  return next;
}

bool controller::well_supplied() const {
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    const tier_slot &slot = state_.tiers[i];
    if (slot.memory == nullptr && slot.path->in_flight_count() >= transfer::busy_count) return true;
  }
  return false;
}

bool controller::has_news() const {
  return units_.requests.has_accepted() || state_.pins.has_news() || work_.has_finished() ||
         units_.stored.has_news();
}

void controller::descriptors(std::vector<int> &fds) {
  fds.clear();
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    transfer::channel &path = *state_.tiers[i].path;
    if (path.in_flight_count() == 0) continue;
    if (const int fd = path.backend().event_fd(); fd >= 0) fds.push_back(fd);
  }
}

void controller::cancel_everything() {
  for (const uint32_t index : units_.open.open_now()) {
    units_.requests[index].cancel_wanted.store(true);
  }
  units_.table.forget_unrequested();
  units_.fills.end_abandoned(true);
  units_.stored.forget_unrequested();
  slots_.stop_loading();
  state_.pins.note_withdrawal();
}

}  // namespace cubby::engine
