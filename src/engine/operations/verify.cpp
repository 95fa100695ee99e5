#include "engine/operations/verify.hpp"

#include <cerrno>
#include <new>
#include <utility>

namespace cubby::engine {
namespace {

constexpr uint64_t piece_bytes_max = uint64_t{1} << 20;
constexpr uint32_t pieces_a_step = 4;  // what came meanwhile is looked at in between

}  // namespace

/// Its items are looked at in their turn, as they are then; until then they may leave.
bool verify_operation::grant(uint32_t index) {
  if (at(index).open_count != 0) {
    waiting_.push_back(index);
  } else {
    units_.open.complete_if_over(index);
  }
  return true;
}

void verify_operation::withdraw(uint32_t index, bool all) {
  if (!all) return;
  withdraw_items(index, [](uint32_t) { return true; });  // those that were not begun
  std::erase(waiting_, index);
  for (check &one : checks_) {
    if (one.request == index) stop(one, fail(CUBBY_ERR_CANCELED, "the request was withdrawn"));
  }
}

bool verify_operation::step() {
  const bool begun = begin_checks();
  uint32_t done = 0;
  for (uint32_t i = 0; i < checks_.size(); ++i) {
    while (done < pieces_a_step && checks_[i].request != no_index && look_at(i)) ++done;
  }
  return begun || done != 0;
}

bool verify_operation::begin_checks() {
  bool any = false;
  for (check &one : checks_) {
    while (one.request == no_index && !waiting_.empty()) {
      any = true;
      if (begin_next(one)) continue;
      const uint32_t index = waiting_.front();
      waiting_.erase(waiting_.begin());
      units_.open.complete_if_over(index);  // not while one of its checks goes on
    }
  }
  return any;
}

/// False: no item of the first request is left that was not looked at.
bool verify_operation::begin_next(check &into) {
  const uint32_t index = waiting_.front();
  request &r = at(index);
  for (; r.next_item < r.items.size(); ++r.next_item) {
    if (r.items[r.next_item].state != item_state::waiting) continue;
    if (begin_item(index, r.next_item, into)) return true;
  }
  return false;
}

/// Of what is there; nothing is waited for.
bool verify_operation::begin_item(uint32_t index, uint32_t i, check &into) {
  const request &r = at(index);
  request_item &item = at(index).items[i];
  const tier_slot &slot = units_.state.tiers[r.tier];
  uint64_t frame = 0;
  if (slot.lost.load(std::memory_order_relaxed)) {
    units_.open.mark_failed(index, i, lost_tier(slot));
    return false;
  }
  if (item.bank->word(r.tier, item.number).pin(frame) != pin_outcome::pinned) {
    units_.open.mark_failed(index, i,
                            fail(CUBBY_MISS, "locker %u of bank %s is not in tier %s", item.number,
                                 item.bank->desc().name, slot.name.c_str()));
    return false;
  }
  into = {};
  into.request = index;
  into.item = i;
  into.frame = frame;
  item.state = item_state::copying;
  return true;
}

/// False: it waits for what is in flight, or for a buffer.
bool verify_operation::look_at(uint32_t check_index) {
  check &one = checks_[check_index];
  const request_item &item = at(one.request).items[one.item];
  while (one.next_part < item.bank->part_count() &&
         item.bank->extent(item.number, one.next_part).bytes == 0) {
    ++one.next_part;
  }
  if (!one.stopped && one.next_part != item.bank->part_count()) {
    return look_at_next_run(check_index);
  }
  if (one.in_flight != 0) return false;
  end(check_index);
  return true;
}

bool verify_operation::look_at_next_run(uint32_t check_index) {
  check &one = checks_[check_index];
  const request &r = at(one.request);
  const request_item &item = r.items[one.item];
  const uint64_t per = std::max<uint64_t>(1, piece_bytes_max / item.bank->grid().chunk_bytes());
  const chunk_run run =
      cut_run(*item.bank, item.number, one.next_part, one.next_chunk, static_cast<uint32_t>(per));
  try {
    if (units_.state.tiers[r.tier].memory->readable()) {
      compare(one, run,
              units_.state.tiers.address(*item.bank, r.tier, one.frame, item.number, run.part) +
                  run.behind_bytes);
    } else if (!start_copy(check_index, run)) {
      return false;
    }
  } catch (const std::bad_alloc &) {
    stop(one, no_memory());
    return true;
  }
  one.next_chunk += run.chunk_count;
  if (run.last) {
    one.next_chunk = 0;
    ++one.next_part;
  }
  return true;
}

transfer::staging_pool &verify_operation::buffers_of(uint32_t tier) {
  auto &pool = buffers_[tier];
  if (pool == nullptr) {
    pool = std::make_unique<transfer::staging_pool>(units_.state.services, nullptr, piece_bytes_max,
                                                    buffers_max);
    pool->add_device(units_.state.tiers[tier].memory->backend());
  }
  return *pool;
}

/// False while there is no buffer.
bool verify_operation::start_copy(uint32_t check_index, const chunk_run &run) {
  check &one = checks_[check_index];
  const request &r = at(one.request);
  const request_item &item = r.items[one.item];
  tier_slot &slot = units_.state.tiers[r.tier];
  transfer::staging_pool &pool = buffers_of(r.tier);
  if (free_pieces_.empty()) {
    free_pieces_.reserve(pieces_.size() + 1);
    pieces_.emplace_back();
    free_pieces_.push_back(static_cast<uint32_t>(pieces_.size() - 1));
  }
  // What may throw comes before there is anything to give back, here and when it has come.
  digests_.resize(std::max<size_t>(digests_.size(), run.chunk_count));
  ios_.make_room();
  slot.path->make_room(0);
  std::byte *const buffer = pool.take();
  if (buffer == nullptr) {
    // With none of its own in flight, none would ever be given back.
    if (free_pieces_.size() == pieces_.size()) throw std::bad_alloc();
    return false;
  }
  const uint32_t index = free_pieces_.back();
  free_pieces_.pop_back();
  pieces_[index] = {check_index, run, buffer};
  ++one.in_flight;
  cubby_backend_io io{};
  io.op = CUBBY_BACKEND_COPY_OUT;
  io.source = units_.state.tiers.address(*item.bank, r.tier, one.frame, item.number, run.part) +
              run.behind_bytes;
  io.memory = buffer;
  io.bytes = run.bytes;
  io.io_class = CUBBY_WRITE_BACK;
  ios_.start(*slot.path, io, *this, index, units_.state.now_ns);
  ++slot.stats.read_count;
  return true;
}

void verify_operation::io_done(uint32_t tag, const cubby_backend_done &done) {
  const piece of = pieces_[tag];
  check &one = checks_[of.check];
  const uint32_t tier = at(one.request).tier;
  tier_slot &slot = units_.state.tiers[tier];
  --one.in_flight;
  if (done.error != 0 || done.bytes < of.run.bytes) {
    ++slot.stats.error_count;
    const bool lost = done.error == ENODEV;
    if (lost) note_lost(units_.state, tier);
    stop(one, lost ? lost_tier(slot)
                   : fail_errno(done.error != 0 ? done.error : EIO,
                                "tier %s: a locker could not be copied out to be verified; the "
                                "device failed, look at its driver's log",
                                slot.name.c_str()));
  } else if (!one.stopped) {
    slot.stats.bytes_out += of.run.bytes;
    compare(one, of.run, of.buffer);
  }
  buffers_[tier]->give(of.buffer);
  free_pieces_.push_back(tag);
}

/// Holds bytes against the digests of what came there.
void verify_operation::compare(check &of, const chunk_run &run, const std::byte *bytes) {
  const request &r = at(of.request);
  const request_item &item = r.items[of.item];
  digests_.resize(std::max<size_t>(digests_.size(), run.chunk_count));
  transfer::digest_job job;
  job.bytes = bytes;
  job.size_bytes = run.bytes;
  job.first_bytes = run.first_bytes;
  job.chunk_bytes = item.bank->grid().chunk_bytes();
  job.first = {item.bank->digest_owner(item.number), 1, run.part, run.first_chunk};
  job.digests = digests_.data();
  transfer::make_digests(job);
  const uint64_t *seen = digests_.data();
  tier_slot &slot = units_.state.tiers[r.tier];
  each_chunk(*item.bank, item.number, run, [&](uint32_t chunk, uint64_t behind, uint64_t) {
    const uint64_t known = item.bank->digest(item.number, run.part, chunk);
    if (known == *seen++ || known == 0) return true;
    ++slot.stats.corrupt_count;
    error why = fail(CUBBY_ERR_CORRUPT,
                     "locker %u of bank %s is damaged in tier %s; the copy is dropped where nobody "
                     "else holds it, and comes again from where it came from",
                     item.number, item.bank->desc().name, slot.name.c_str());
    why.tier = slot.handle;
    why.offset_bytes = run.offset_bytes + behind;
    stop(of, why);
    return false;
  });
}

void verify_operation::stop(check &of, const error &why) {
  if (of.stopped) return;
  of.stopped = true;
  of.failure = why;
}

void verify_operation::end(uint32_t check_index) {
  check done = std::move(checks_[check_index]);
  checks_[check_index].request = no_index;
  request &r = at(done.request);
  const request_item &item = r.items[done.item];
  locker_word &word = item.bank->word(r.tier, item.number);
  units_.copies.unpin(r.tier, word);
  units_.state.changed = true;
  if (done.failure.status == CUBBY_OK) {
    units_.open.mark_landed(done.request, done.item, word, done.frame);
  } else {
    if (done.failure.status == CUBBY_ERR_CORRUPT) {
      units_.copies.drop(*item.bank, item.number, r.tier);
    }
    units_.open.mark_failed(done.request, done.item, std::move(done.failure));
  }
  // Of a request that is over nothing is left to begin.
  if (r.open_count == 0) std::erase(waiting_, done.request);
  units_.open.complete_if_over(done.request);
}

}  // namespace cubby::engine
