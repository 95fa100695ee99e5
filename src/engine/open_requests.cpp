#include "engine/open_requests.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "base/mutant.hpp"

namespace cubby::engine {
namespace {

/// By a thread that pins, or by kernels: what these lack is prefetched as demand, as no program
/// can.
bool is_waited_for(const request &r) {
  return (r.is_pin() || r.kind() == request_kind::prefetch) && r.io_class == CUBBY_DEMAND;
}

}  // namespace

open_requests::open_requests(engine_state &state, request_table &requests,
                             block_deliveries &deliveries, region_copies &regions,
                             completion_sink &sink)
    : state_(state), requests_(requests), deliveries_(deliveries), regions_(regions), sink_(sink) {
  // A request that is taken up is never lost for lack of memory.
  open_.grow(requests.size());
  waiting_.reserve(requests.size());
  seen_waiting_.reserve(requests.size());
  seen_open_.reserve(requests.size());
}

void open_requests::open(uint32_t index) {
  request &r = requests_[index];
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::open), std::memory_order_release);
  r.order = {r.io_class, r.deadline_ns == 0 ? base::never_ns : r.deadline_ns,
             state_.next_sequence()};
  r.begun_ns = r.granted_ns = state_.now_ns;
  r.frame_waited = false;
  r.waiting = false;
  r.next_item = 0;
  r.open_count = static_cast<uint32_t>(r.items.size());
  r.ok_count = 0;
  r.bytes = 0;
  r.first_failure = CUBBY_OK;
  count_known_items(r);
  if (const gather_plan *gather = r.gathers()) {
    r.ok_count = gather->copied_count;
    r.bytes = uint64_t{gather->copied_count} * gather->row_bytes;
  }
  open_.push_back(index);
  if (r.is_demand_pin()) ++demand_count_;
}

/// Those that the call has settled by itself; its first error is in `r.failure`.
void open_requests::count_known_items(request &r) {
  r.names_keys = false;
  for (request_item &item : r.items) {
    if (item.seen.entry) r.names_keys = true;
    if (item.known == CUBBY_PENDING) continue;
    --r.open_count;
    if (item.known == CUBBY_OK) {
      item.state = item_state::landed;
      ++r.ok_count;
      continue;
    }
    item.state = item_state::failed;
    if (r.first_failure == CUBBY_OK || (r.first_failure > 0 && item.known < 0)) {
      r.first_failure = item.known;
    }
  }
  if (r.first_failure == CUBBY_MISS) {
    r.failure = fail(CUBBY_MISS, "what some item names is not there; match says which are");
  }
}

void open_requests::mark_failed(uint32_t index, uint32_t i, error why) {
  const cubby_status status = why.status;
  request &r = requests_[index];
  r.items[i].state = item_state::failed;
  end_metering(r, r.items[i], false);
  --r.open_count;
  if (r.first_failure == CUBBY_OK) {
    r.first_failure = status;
    r.failure = std::move(why);
    r.failure.id = CUBBY_ID(r.items[i].bank->handle, r.items[i].number);
    if (r.failure.tier == 0) r.failure.tier = state_.tiers[r.tier].handle;
  }
  set_item_status(r, i, status);
}

void open_requests::item_failed(uint32_t index, uint32_t i, const error &why) {
  mark_failed(index, i, why);
  complete_if_over(index);
}

void open_requests::item_landed(uint32_t index, uint32_t i, locker_word &word, uint64_t frame,
                                const fill &by) {
  const request &r = requests_[index];
  if (is_waited_for(r) && r.open_count == 1) count_stall(r, r.items[i], by);
  mark_landed(index, i, word, frame);
  complete_if_over(index);
}

/// Copies a block to where it was asked for; false: another thread does, delivered() follows.
bool open_requests::deliver(uint32_t index, uint32_t i, locker_word &word, uint64_t frame) {
  const request &r = requests_[index];
  const get_target &target = std::get<get_verb>(r.verb).targets[i];
  if (target.device != no_tier) {
    deliver_to_device(index, i, frame);
    return false;
  }
  const request_item &item = r.items[i];
  const locker_bank &bank = *item.bank;
  const auto parts = state_.tiers.pieces(bank, r.tier, frame, item.number);
  auto from = transfer::locker_pieces({parts.data(), bank.part_count()}, target.at_bytes,
                                      transfer::bytes_of(target.into));
  return deliveries_.deliver({index, i, &word, std::move(from), target.into}, *this);
}

void open_requests::deliver_to_device(uint32_t index, uint32_t i, uint64_t frame) {
  request &r = requests_[index];
  get_target &target = std::get<get_verb>(r.verb).targets[i];
  region_copies::wanted what;
  what.request = index;
  what.item = i;
  what.device = target.device;
  what.bank = r.items[i].bank;
  what.number = r.items[i].number;
  what.tier = r.tier;
  what.frame = frame;
  what.at_bytes = target.at_bytes;
  what.memory = target.into;
  what.order = r.order;
  what.mark = r.mark;
  what.in_stream = r.in_stream;
  what.stream = r.stream;
  try {
    if (auto begun = regions_.begin(what, target.in_use, *this); !begun) {
      mark_failed(index, i, begun.failure());
    }
  } catch (const std::bad_alloc &) {
    mark_failed(index, i, no_memory());
  }
}

/// A copy in memory that was damaged is brought once more from where it is stored.
void open_requests::copied(uint32_t index, uint32_t i, const error *why) {
  if (why == nullptr) return delivered(index, i);
  const request_item &item = requests_[index].items[i];
  const bool again = why->status == CUBBY_ERR_CORRUPT && !item.through_tier &&
                     item.bank->blocks->is_stored(item.number);
  again ? not_delivered(index, i) : item_failed(index, i, *why);
}

void open_requests::delivered(uint32_t index, uint32_t i) {
  request &r = requests_[index];
  mark_over(r, i, transfer::bytes_of(std::get<get_verb>(r.verb).targets[i].into));
  complete_if_over(index);
}

error open_requests::not_there(const request_item &item) {
  return fail(CUBBY_MISS, "a block of bank %s is not there any more", item.bank->desc().name);
}

void open_requests::mark_moved(uint32_t index) {
  const request &r = requests_[index];
  for (uint32_t i = r.first_movable(); i < r.items.size(); ++i) {
    const request_item &item = r.items[i];
    if (item.state == item_state::waiting && item.is_another()) {
      mark_failed(index, i, not_there(item));
    }
  }
}

void open_requests::mark_begun(uint32_t index, uint32_t i) {
  request &r = requests_[index];
  request_item &item = r.items[i];
  // What is copied from another tier of memory says nothing of the disk.
  const bool elsewhere = state_.tiers.memory_count() > 1 &&
                         state_.tiers.have_in_memory(*item.bank, item.number, r.tier);
  if (elsewhere || !r.is_demand_load()) return;
  item.metered = true;
  state_.tiers[r.tier].arrivals.started(item.bank->locker_bytes(item.number), state_.now_ns);
}

void open_requests::end_metering(const request &r, request_item &item, bool arrived) {
  if (!std::exchange(item.metered, false)) return;
  state_.tiers[r.tier].arrivals.finished(item.bank->locker_bytes(item.number), state_.now_ns,
                                         arrived);
}

void open_requests::mark_landed(uint32_t index, uint32_t i, locker_word &word, uint64_t frame) {
  request &r = requests_[index];
  request_item &item = r.items[i];
  if (item.is_another()) {
    if (r.is_pin()) word.unpin();
    return mark_failed(index, i, not_there(item));
  }
  if (r.kind() == request_kind::get) {
    item.state = item_state::copying;
    if (deliver(index, i, word, frame)) {
      mark_over(r, i, transfer::bytes_of(std::get<get_verb>(r.verb).targets[i].into));
    }
    return;
  }
  const locker_bank &bank = *item.bank;
  if (const gather_plan *gather = r.gathers()) {
    gather->copy(i, state_.tiers.address(bank, r.tier, frame, item.number, 0));
    if ((r.flags & CUBBY_BYPASS) != 0) state_.pins.note_frames();  // the copy may go
    return mark_over(r, i, gather->bytes_of(i));
  }
  if (r.is_pin()) {
    const pin_verb &pin = r.pin();
    state_.pins.sets().at(pin.set).items()[i].store(&word, std::memory_order_relaxed);
    const uint32_t parts = bank.part_count();
    for (uint32_t p = 0; p < parts && pin.addr != nullptr; ++p) {
      pin.addr[i * parts + p] = state_.tiers.address(bank, r.tier, frame, item.number, p);
    }
  }
  mark_over(r, i, bank.locker_bytes(item.number));
}

void open_requests::mark_stored(uint32_t index, uint32_t i) {
  request &r = requests_[index];
  mark_over(r, i, r.items[i].bank->locker_bytes(r.items[i].number));
}

/// It is granted once more, and then by way of a tier.
void open_requests::not_delivered(uint32_t index, uint32_t i) {
  request &r = requests_[index];
  r.items[i].state = item_state::waiting;
  r.items[i].through_tier = true;
  end_metering(r, r.items[i], false);
  r.next_item = std::min(r.next_item, i);
  wait_for_frames(index);
}

/// An item that has got its bytes.
void open_requests::mark_over(request &r, uint32_t i, uint64_t bytes) {
  r.items[i].state = item_state::landed;
  end_metering(r, r.items[i], true);
  --r.open_count;
  const gather_plan *gather = r.gathers();
  r.ok_count += gather == nullptr ? 1 : static_cast<uint32_t>(gather->rows_of(i).size());
  r.bytes += bytes;
  set_item_status(r, i, CUBBY_OK);
}

void open_requests::mark_withdrawn(uint32_t index, uint32_t i) {
  request &r = requests_[index];
  r.items[i].state = item_state::withdrawn;
  end_metering(r, r.items[i], false);
  --r.open_count;
  if (r.first_failure == CUBBY_OK) {
    r.first_failure = CUBBY_ERR_CANCELED;
    r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before its bytes came");
  }
  set_item_status(r, i, CUBBY_ERR_CANCELED);
}

void open_requests::complete_if_over(uint32_t index) {
  if (requests_[index].open_count == 0 && is_open(index)) complete(index);
}

void open_requests::count_stall(const request &r, const request_item &item, const fill &by) {
  const uint64_t now_ns = state_.now_ns;
  stalls_.handoff_ns += r.begun_ns - std::min(r.begun_ns, r.issued_ns);
  if (r.frame_waited) stalls_.frame_wait_ns += r.granted_ns - r.begun_ns;
  const uint64_t read_done =
      std::clamp(by.read_done_ns == 0 ? now_ns : by.read_done_ns, r.granted_ns, now_ns);
  const bool from_tier = by.from != no_tier && state_.tiers.is_memory(by.from);
  const uint64_t first = (from_tier ? r.granted_ns : read_done) - r.granted_ns;
  (item.joined ? stalls_.join_ns : stalls_.read_ns) += first;
  stalls_.copy_ns += now_ns - r.granted_ns - first;
}

cubby_status open_requests::status_of(const request &r) {
  const bool cancelled = r.first_failure == CUBBY_ERR_CANCELED && r.is_pin() &&
                         std::all_of(r.items.begin(), r.items.end(), [](const request_item &item) {
                           return item.state == item_state::withdrawn;
                         });
  // Rows without a status of their own look alike: all of them came, or it is an error.
  const bool whole = r.kind() == request_kind::seal ||
                     (r.kind() == request_kind::gather && r.item_status == nullptr);
  const bool partial = r.first_failure != CUBBY_OK && r.ok_count != 0 && !cancelled && !whole;
  return partial ? CUBBY_PARTIAL : r.first_failure;
}

/// What copies still move holds its regions itself.
void open_requests::release_memory(request &r) {
  if (r.is_pin()) return;  // frames are all that it names
  if (auto *get = std::get_if<get_verb>(&r.verb)) {
    get->in_use.release();
    for (get_target &target : get->targets) target.in_use.release();
  }
  if (auto *put = std::get_if<put_verb>(&r.verb)) {
    put->in_use.release();
    for (device_memory &from : put->from) from.in_use.release();
  }
  if (auto *gather = std::get_if<gather_verb>(&r.verb)) gather->in_use.release();
}

void open_requests::complete(uint32_t index) {
  request &r = requests_[index];
  stop_waiting(index);
  open_.erase(index);
  ++completed_count_;
  if (r.is_demand_pin()) --demand_count_;
  r.status = status_of(r);
  if (r.is_pin()) {
    state_.changed = true;  // what was withdrawn is let go of here
    if (state_.admission.books(r.tier).has_undecided()) state_.pins.note_frames();
    if (r.ok_count != 0) {
      state_.pins.sets().loaded(r.pin().set, index % pin_sets::shard_count);
    } else {
      state_.pins.sets().abandon(r.pin().set, index % pin_sets::shard_count);
    }
  }
  r.done_ns = state_.now_ns;
  if (r.is_demand_load() && r.ok_count != 0) {
    state_.tiers[r.tier].loads.add(r.done_ns - std::min(r.issued_ns, r.done_ns));
  }
  if (r.io_class == CUBBY_DEMAND && r.deadline_ns != 0 && state_.now_ns > r.deadline_ns) {
    ++state_.tiers[r.tier].stats.late_count;
  }
  release_memory(r);
  if (r.mark != 0) state_.releases.hold(r.mark_tier, std::exchange(r.mark, 0), {});
  // Once it is done, one that is waited for by its ticket alone may be another's at once.
  const bool stays = r.forget || r.queue != nullptr;
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::done), std::memory_order_release);
  if (CUBBY_MUTANT(drop_completion) && ++mutant_count_ % 16 == 0) return;
  sink_.completed(index, stays);
}

void open_requests::wait_for_frames(uint32_t index) {
  request &r = requests_[index];
  if (r.waiting) return;
  r.waiting = true;
  r.frame_waited = true;
  const auto at = std::upper_bound(
      waiting_.begin(), waiting_.end(), index,
      [&](uint32_t a, uint32_t b) { return requests_[a].order < requests_[b].order; });
  waiting_.insert(at, index);
  // Whoever unpins after this store notes it; what was unpinned before it is seen by one more try.
  if (!state_.pins.watch(r.tier).frames_wanted.exchange(true, std::memory_order_seq_cst)) {
    state_.changed = true;
  }
}

void open_requests::stop_waiting(uint32_t index) {
  request &r = requests_[index];
  if (!r.waiting) return;
  r.waiting = false;
  // Orders are unlike each other: each has its sequence.
  const auto at = std::lower_bound(
      waiting_.begin(), waiting_.end(), index,
      [&](uint32_t a, uint32_t b) { return requests_[a].order < requests_[b].order; });
  CUBBY_ASSERT(at != waiting_.end() && *at == index);
  waiting_.erase(at);
}

const std::vector<uint32_t> &open_requests::waiting_now() {
  seen_waiting_.assign(waiting_.begin(), waiting_.end());
  return seen_waiting_;
}

void open_requests::publish_waiting() {
  std::array<bool, tiers_max> wanted{};
  for (const uint32_t index : waiting_) wanted[requests_[index].tier] = true;
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    state_.pins.watch(i).frames_wanted.store(wanted[i], std::memory_order_seq_cst);
  }
}

const std::vector<uint32_t> &open_requests::open_now() {
  seen_open_.clear();
  for (uint32_t i = open_.first(); i != base::ordered_indices::none; i = open_.after(i)) {
    seen_open_.push_back(i);
  }
  return seen_open_;
}

}  // namespace cubby::engine
