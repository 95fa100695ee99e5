// A move brings a locker into a tier: who waits for it, and how it ends. Published when all of it
// is there.
#include <algorithm>
#include <utility>

#include "base/mutant.hpp"
#include "table/controller.hpp"

namespace cubby::table {
namespace {

constexpr uint32_t attempts_max = 3;
constexpr uint64_t no_waiter = ~uint64_t{0};

uint64_t waiter(uint32_t request_index, uint32_t item) {
  return uint64_t{request_index} << 32 | item;
}

}  // namespace

/// Every move alive waits in one channel's queue, and every piece in one other.
void controller::make_room_for_jobs() {
  const size_t jobs = moves_alive_ + pieces_.size() - free_pieces_.size() + 1;
  for (uint32_t i = 0; i < tier_count(); ++i) tiers_[i]->path->make_room(jobs);
}

/// May throw. The move that is made next can be carried to its end, good or bad, without memory.
void controller::make_room_for_move(uint32_t tier) {
  tier_slot &slot = *tiers_[tier];
  base::make_room(moves_, moves_alive_ + 1);
  base::make_room(free_moves_, moves_.size() + 1);
  base::make_room(slot.passing, slot.passing.size() + moves_alive_ + 1);
  base::make_room(slot.guests, slot.guests.size() + moves_alive_ + 1);
  base::make_room(slot.prefetched, slot.prefetched.size() + moves_alive_ + 1);
  make_room_for_jobs();
}

uint32_t controller::new_move(bank &where, uint32_t number, uint32_t tier, uint64_t frame,
                              const transfer::urgency &order) {
  uint32_t index = 0;
  if (free_moves_.empty()) {
    index = static_cast<uint32_t>(moves_.size());
    CUBBY_ASSERT(index < copy_bit);
    moves_.emplace_back();
  } else {
    index = free_moves_.back();
    free_moves_.pop_back();
  }
  move &m = moves_[index];
  m.state = move_state::tentative;
  m.where = &where;
  m.number = number;
  m.to = tier;
  m.frame = frame;
  m.order = order;
  m.begun_ns = now_ns_;
  ++moves_alive_;
  return index;
}

void controller::free_move(uint32_t index) {
  moves_[index] = move{};
  free_moves_.push_back(index);
  --moves_alive_;
}

void controller::raise(uint32_t index, const transfer::urgency &order) {
  move &m = moves_[index];
  if (order.deadline_ns == base::never_ns) m.may_expire = false;
  if (!(order < m.order)) return;
  const bool queued = m.queued;
  unqueue_move(index);
  m.order = order;
  if (queued) queue_move(index);
}

void controller::add_waiter(uint32_t index, uint32_t request_index, uint32_t item) {
  request &r = requests_[request_index];
  move &m = moves_[index];
  r.items[item].next_waiter = m.first_waiter;
  m.first_waiter = waiter(request_index, item);
  if ((r.flags & CUBBY_BYPASS) == 0) m.keep = true;
  if (r.kind == request_kind::pin && !m.demotion) m.unasked = false;  // a demotion goes on anyway
  raise(index, r.order);
}

void controller::remove_waiter(uint32_t index, uint32_t request_index, uint32_t item) {
  move &m = moves_[index];
  const uint64_t gone = waiter(request_index, item);
  uint64_t *link = &m.first_waiter;
  while (*link != gone) {
    CUBBY_ASSERT(*link != no_waiter);
    link = &requests_[*link >> 32].items[*link & 0xFFFFFFFF].next_waiter;
  }
  *link = requests_[request_index].items[item].next_waiter;
  const bool running = m.state == move_state::active || m.state == move_state::following;
  if (m.first_waiter == no_waiter && !m.unasked && m.followers.empty() && running) {
    stop(index, fail(CUBBY_ERR_CANCELED, "nobody waits for it any more"));
  }
}

void controller::stop(uint32_t index, const error &why) {
  move &m = moves_[index];
  if (m.state == move_state::stopping) return;
  unqueue_move(index);
  m.failure = why;
  m.state = move_state::stopping;
  if (m.pieces_in_flight == 0) end_move(index);
}

/// Of a pin of our own. Who is there for one use only may have waited for that.
void controller::let_go(uint32_t tier, locker_word &word) {
  const tier_slot &slot = *tiers_[tier];
  if (word.unpin() && !(slot.guests.empty() && slot.passing.empty())) note_frames();
}

void controller::let_go_of_source(move &m, bool arrived) {
  if (m.beside != no_tier && m.beside_ready) {
    let_go(m.beside, m.where->word(m.beside, m.number));
    m.beside_ready = false;
    m.beside = no_tier;
  }
  if (m.from == no_tier) return;
  const uint32_t from = m.from;
  locker_word &word = m.where->word(from, m.number);
  if (m.demotion) {
    const uint64_t bytes = m.where->frame_bytes_in(from, m.number);
    const uint64_t frame = word.look().frame;
    tiers_[from]->leaving_bytes -= tiers_[from]->memory->cost_bytes(bytes);
    word.clear();
    tiers_[from]->memory->give(frame, bytes);
    m.from = no_tier;
    return;
  }
  let_go(from, word);
  const bool bad = m.failure.status == CUBBY_ERR_CORRUPT;
  const bool moved_up = arrived && (tiers_[from]->flags & CUBBY_TIER_EXCLUSIVE) != 0 &&
                        tiers_[m.to]->rank < tiers_[from]->rank &&
                        !is_guest(m.to, m.where->object_base + m.number);
  if ((bad || moved_up) && word.begin_evict()) {
    lose(from, *m.where, m.number);
    forget_copy(from, *m.where, m.number);
  }
  if (bad) m.bad_tier = from;
  m.from = no_tier;
}

/// A failed move may have another way: a damaged copy is replaced by the file's.
bool controller::try_again(uint32_t index) {
  move &m = moves_[index];
  if (m.from == no_tier || m.demotion || m.failure.status == CUBBY_ERR_CANCELED) return false;
  if (++m.attempts >= attempts_max || !m.where->mapped()) return false;
  if (m.first_waiter == no_waiter && !m.unasked && m.followers.empty()) return false;
  let_go_of_source(m, false);
  launch(index);
  return true;
}

void controller::publish(uint32_t index, uint32_t tier, uint64_t frame) {
  move &m = moves_[index];
  bank &where = *m.where;
  locker_word &word = where.word(tier, m.number);
  if (word.look().state != locker_state::filling) return;
  // The waiters of this tier leave the list, each with a pin that the word is born with.
  uint64_t mine = no_waiter, too_many = no_waiter;
  uint64_t *link = &m.first_waiter;
  uint64_t pins = 0;
  while (*link != no_waiter) {
    const uint64_t here = *link;
    request &r = requests_[here >> 32];
    uint64_t &next = r.items[here & 0xFFFFFFFF].next_waiter;
    if (r.tier == tier) {
      *link = next;
      const bool pin = r.kind == request_kind::pin;
      // One place is left for the move itself, which holds what it copies on.
      uint64_t &list = pin && pins == locker_word::pins_max - 1 ? too_many : mine;
      if (pin && &list == &mine) ++pins;
      next = list;
      list = here;
    } else {
      link = &next;
    }
  }
  word.publish(frame, pins);
  const placement::object who = where.object_base + m.number;
  tier_slot &slot = *tiers_[tier];
  const bool asked_for = !m.demotion && tier == m.to;
  if (tier == m.to && m.keep) {
    introduce(m);
  } else if (tier == m.to) {
    slot.passing.push_back(who);
  }
  if (asked_for && m.unasked) {
    remember_prefetched(tier, who, where.frame_bytes_in(tier, m.number));
  }
  while (mine != no_waiter) {
    const auto request_index = static_cast<uint32_t>(mine >> 32);
    const auto item = static_cast<uint32_t>(mine);
    request &r = requests_[request_index];
    mine = r.items[item].next_waiter;
    if (CUBBY_MUTANT(lose_waiter) && ++mutant_count_ % 16 == 0) continue;
    if (r.io_class == CUBBY_DEMAND && r.kind == request_kind::pin && r.open_count == 1) {
      // The last one of a set says what the whole set waited for.
      stall_handoff_ns_ += r.begun_ns - std::min(r.begun_ns, r.issued_ns);
      if (r.frame_waited) stall_frame_wait_ns_ += r.granted_ns - r.begun_ns;
      const uint64_t read_done =
          std::clamp(m.read_done_ns == 0 ? now_ns_ : m.read_done_ns, r.granted_ns, now_ns_);
      const bool from_tier = m.from != no_tier;
      const uint64_t first = (from_tier ? r.granted_ns : read_done) - r.granted_ns;
      (r.items[item].joined ? stall_join_ns_ : stall_read_ns_) += first;
      stall_copy_ns_ += now_ns_ - r.granted_ns - first;
    }
    item_landed(request_index, item, word, frame);
    if (r.open_count == 0) complete(request_index);
  }
  if (too_many != no_waiter) fail_waiters(too_many, pinned_too_often(where, m.number));
}

void controller::fail_waiters(uint64_t first, const error &why) {
  while (first != no_waiter) {
    const auto request_index = static_cast<uint32_t>(first >> 32);
    const auto item = static_cast<uint32_t>(first);
    first = requests_[request_index].items[item].next_waiter;
    item_failed(request_index, item, why);
    if (requests_[request_index].open_count == 0) complete(request_index);
  }
}

void controller::wake_followers(uint32_t index) {
  std::vector<uint32_t> followers;
  followers.swap(moves_[index].followers);
  for (const uint32_t follower : followers) {
    if (moves_[follower].state == move_state::following) launch(follower);
  }
}

void controller::end_move(uint32_t index) {
  const bool good = moves_[index].state != move_state::stopping;
  if (good) {
    publish(index, moves_[index].to, moves_[index].frame);
    let_go_of_source(moves_[index], true);
    wake_followers(index);
    free_move(index);
    changed_ = true;
    return;
  }
  if (try_again(index)) return;
  move &m = moves_[index];
  bank &where = *m.where;
  if (m.beside != no_tier && !m.beside_ready) {
    where.word(m.beside, m.number).clear();
    lose(m.beside, where, m.number);
    tiers_[m.beside]->memory->give(m.beside_frame, where.frame_bytes_in(m.beside, m.number));
    m.beside = no_tier;
  }
  let_go_of_source(m, false);
  locker_word &word = where.word(m.to, m.number);
  if (word.look().state == locker_state::filling) {
    word.clear();
    withdraw(m);
    tiers_[m.to]->memory->give(m.frame, where.frame_bytes_in(m.to, m.number));
  }
  const error why = m.failure;
  fail_waiters(std::exchange(m.first_waiter, no_waiter), why);
  wake_followers(index);
  free_move(index);
  changed_ = true;
}

}  // namespace cubby::table
