#include "engine/operations/verify.hpp"

#include <cerrno>
#include <new>

namespace cubby::engine {
namespace {

constexpr uint64_t piece_bytes_max = uint64_t{1} << 20;
constexpr uint32_t buffers_max = 4;    // it never takes much of a link
constexpr uint32_t pieces_a_step = 4;  // what came meanwhile is looked at in between

}  // namespace

/// Of what is there; nothing is waited for.
bool verify_operation::grant(uint32_t index) {
  request &r = at(index);
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    request_item &item = r.items[i];
    if (item.state != item_state::waiting) continue;
    if (free_checks_.empty()) {
      free_checks_.reserve(checks_.size() + 1);  // so that giving one back takes no memory
      checks_.emplace_back();
      free_checks_.push_back(static_cast<uint32_t>(checks_.size() - 1));
    }
    uint64_t frame = 0;
    if (item.bank->word(r.tier, item.number).pin(frame) != pin_outcome::pinned) {
      units_.open.mark_failed(
          index, i,
          fail(CUBBY_MISS, "locker %u of bank %s is not in tier %s", item.number,
               item.bank->desc().name, units_.state.tiers[r.tier].name.c_str()));
      continue;
    }
    check &made = checks_[free_checks_.back()];
    free_checks_.pop_back();
    made = {};
    made.request = index;
    made.item = i;
    made.frame = frame;
    item.state = item_state::copying;
  }
  units_.open.complete_if_over(index);
  return true;
}

void verify_operation::withdraw(uint32_t index, bool all) {
  if (!all) return;
  for (check &one : checks_) {
    if (one.request == index) stop(one, fail(CUBBY_ERR_CANCELED, "the request was withdrawn"));
  }
}

bool verify_operation::step() {
  uint32_t done = 0;
  for (uint32_t i = 0; i < checks_.size(); ++i) {
    while (done < pieces_a_step && checks_[i].request != no_index && look_at(i)) ++done;
  }
  return done != 0;
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
  ios_.make_room();
  slot.path->make_room(0);
  if (!pool.usable()) throw std::bad_alloc();
  std::byte *const buffer = pool.take();
  if (buffer == nullptr) return false;
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
    if (lost && !slot.lost.exchange(true, std::memory_order_acq_rel)) {
      units_.state.pins.note_frames();
    }
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
  const check done = checks_[check_index];
  checks_[check_index].request = no_index;
  free_checks_.push_back(check_index);
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
    units_.open.mark_failed(done.request, done.item, done.failure);
  }
  units_.open.complete_if_over(done.request);
}

}  // namespace cubby::engine
