// A request from its begin to its completion, and what becomes of each of its items.
#include <algorithm>

#include "base/mutant.hpp"
#include "table/controller.hpp"

namespace cubby::table {

void controller::begin(uint32_t index) {
  request &r = requests_[index];
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::open), std::memory_order_release);
  r.order = {r.io_class, r.deadline_ns == 0 ? base::never_ns : r.deadline_ns, ++sequence_};
  r.begun_ns = now_ns_;
  r.granted_ns = now_ns_;
  r.frame_waited = false;
  r.waiting = false;
  r.open_count = static_cast<uint32_t>(r.items.size());
  r.ok_count = 0;
  r.next_item = 0;
  r.bytes = 0;
  r.first_failure = CUBBY_OK;
  open_.push_back(index);
  if (r.io_class == CUBBY_DEMAND && r.kind == request_kind::pin) ++demand_open_;
  if (r.kind == request_kind::seal) {
    jobs_.emplace_back(static_cast<seal_job *>(r.job));
    r.job = nullptr;
    return;
  }
  if (r.kind == request_kind::prefetch) make_room_ahead(r.tier);
  if (!grant(index)) wait_for_frames(index);
}

void controller::look_at_open() {
  const std::vector<uint32_t> seen = open_;
  for (const uint32_t index : seen) {
    request &r = requests_[index];
    const bool all = r.cancel_wanted.exchange(false, std::memory_order_seq_cst);
    if (r.kind == request_kind::pin) {
      withdraw_items(index, all);
    } else if (all) {
      if (r.kind == request_kind::seal) {
        for (const auto &job : jobs_) {
          if (job->request_index() == index) job->stop();
        }
      } else if (r.kind == request_kind::prefetch) {
        withdraw_items(index, true);
      } else {
        r.first_failure = CUBBY_ERR_CANCELED;
        r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before it was done");
        complete(index);
      }
    }
  }
}

void controller::withdraw_items(uint32_t index, bool all) {
  request &r = requests_[index];
  bool any = false;
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    request_item &item = r.items[i];
    if (item.state != item_state::waiting && item.state != item_state::loading) continue;
    if (!all && !pinning_.sets().withdrawn(r.set, i)) continue;
    if (item.state == item_state::loading) remove_waiter(item.move, index, i);
    item.state = item_state::withdrawn;
    --r.open_count;
    any = true;
    if (r.first_failure == CUBBY_OK) {
      r.first_failure = CUBBY_ERR_CANCELED;
      r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before its bytes came");
    }
    if (r.item_status != nullptr) {
      __atomic_store_n(&r.item_status[i], static_cast<int8_t>(CUBBY_ERR_CANCELED),
                       __ATOMIC_RELEASE);
    }
  }
  if (all && r.first_failure != CUBBY_ERR_CANCELED) {
    r.first_failure = CUBBY_ERR_CANCELED;
    r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before all of it came");
  }
  if (any && r.open_count == 0) complete(index);
}

void controller::item_failed(uint32_t index, uint32_t i, const error &why) {
  request &r = requests_[index];
  r.items[i].state = item_state::failed;
  --r.open_count;
  if (r.first_failure == CUBBY_OK) {
    r.first_failure = why.status;
    r.failure = why;
    r.failure.id = CUBBY_ID(r.items[i].where->handle, r.items[i].number);
    if (r.failure.tier == 0) r.failure.tier = tiers_[r.tier]->handle;
  }
  if (r.item_status != nullptr) {
    __atomic_store_n(&r.item_status[i], static_cast<int8_t>(why.status), __ATOMIC_RELEASE);
  }
}

void controller::item_landed(uint32_t index, uint32_t i, locker_word &word, uint64_t frame) {
  request &r = requests_[index];
  request_item &item = r.items[i];
  const bank &where = *item.where;
  item.state = item_state::landed;
  --r.open_count;
  ++r.ok_count;
  r.bytes += where.locker_bytes(item.number);
  if (r.kind == request_kind::pin) {
    pinning_.sets().at(r.set).items()[i].store(&word, std::memory_order_relaxed);
    const uint32_t parts = where.part_count();
    if (r.addr != nullptr) {
      for (uint32_t p = 0; p < parts; ++p) {
        r.addr[i * parts + p] = address(where, r.tier, frame, item.number, p);
      }
    }
  }
  // The address is there before the status says so.
  if (r.item_status != nullptr) {
    __atomic_store_n(&r.item_status[i], static_cast<int8_t>(CUBBY_OK), __ATOMIC_RELEASE);
  }
}

void controller::complete(uint32_t index) {
  request &r = requests_[index];
  if (r.waiting) {
    r.waiting = false;
    base::erase_one(waiting_, index);
  }
  base::erase_one(open_, index);
  ++completed_count_;
  if (r.io_class == CUBBY_DEMAND && r.kind == request_kind::pin) --demand_open_;
  const bool cancelled = r.first_failure == CUBBY_ERR_CANCELED && r.kind == request_kind::pin &&
                         std::all_of(r.items.begin(), r.items.end(), [](const request_item &item) {
                           return item.state == item_state::withdrawn;
                         });
  if (r.first_failure == CUBBY_OK) {
    r.status = CUBBY_OK;
  } else if (r.ok_count != 0 && !cancelled && r.kind != request_kind::seal) {
    r.status = CUBBY_PARTIAL;
  } else {
    r.status = r.first_failure;
  }
  if (r.kind == request_kind::pin) {
    changed_ = true;  // what was withdrawn is let go of here
    const tier_slot &slot = *tiers_[r.tier];
    if (!slot.guests.empty() || !slot.passing.empty()) note_frames();
    if (r.ok_count != 0) {
      pinning_.sets().loaded(r.set, index % pin_sets::shard_count);
    } else {
      pinning_.sets().abandon(r.set, index % pin_sets::shard_count);
    }
  }
  r.done_ns = now_ns_;
  if (r.io_class == CUBBY_DEMAND && r.deadline_ns != 0 && now_ns_ > r.deadline_ns) {
    ++tiers_[r.tier]->stats.late_count;
  }
  // Once it is done, one that is waited for by its ticket alone may be somebody else's at once.
  const bool stays_ours = r.forget || r.queue != nullptr;
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::done), std::memory_order_release);
  if (CUBBY_MUTANT(drop_completion) && ++mutant_count_ % 16 == 0) return;
  sink_.completed(index, stays_ours);
}

}  // namespace cubby::table
