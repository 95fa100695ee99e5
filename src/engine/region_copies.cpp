#include "engine/region_copies.hpp"

#include <cerrno>
#include <utility>

#include "base/mutant.hpp"
#include "engine/fills.hpp"

namespace cubby::engine {
namespace {

/// One copy is no larger than that: what is more urgent goes between, and a share of the bytes is
/// verified while others move.
constexpr uint64_t run_bytes_max = uint64_t{1} << 20;

}  // namespace

uint32_t region_copies::make_room() {
  if (free_.empty()) {
    free_.reserve(list_.size() + 1);
    list_.add();
    free_.push_back(static_cast<uint32_t>(list_.size() - 1));
  }
  table_.make_room_for_others(other_jobs::region_copies, list_.size());
  return free_.back();
}

/// Pairs the pieces of the frame with those of the caller, and names the chunks that are passed on.
void region_copies::plan(copy &c) const {
  const wanted &what = c.what;
  const auto frame = state_.tiers.pieces(*what.bank, what.tier, what.frame, what.number);
  const std::span<const memory_piece> parts(frame.data(), what.bank->part_count());
  const uint64_t bytes = transfer::bytes_of(what.memory);
  const auto host = transfer::locker_pieces(parts, what.at_bytes, bytes);
  c.runs.clear();
  c.parts.clear();
  uint64_t within_host = 0, within_device = 0;
  for (size_t h = 0, d = 0; h < host.size() && d < what.memory.size();) {
    const uint64_t left =
        std::min(host[h].bytes - within_host, what.memory[d].bytes - within_device);
    const uint64_t here = std::min(left, run_bytes_max);
    if (here != 0) {
      c.runs.push_back({host[h].at + within_host, what.memory[d].at + within_device, here});
    }
    within_host += here;
    within_device += here;
    if (within_host == host[h].bytes) ++h, within_host = 0;
    if (within_device == what.memory[d].bytes) ++d, within_device = 0;
  }
  size_t chunks = 0;
  if (!what.out && state_.config.verify && !CUBBY_MUTANT(skip_digest)) {
    uint64_t behind = 0;
    for (uint32_t p = 0; p < what.bank->part_count(); behind += parts[p++].bytes) {
      const bool touched =
          what.at_bytes < behind + parts[p].bytes && behind < what.at_bytes + bytes;
      const uint32_t count = touched ? chunks_of_part(*what.bank, what.number, p) : 0;
      if (count == 0) continue;
      c.parts.push_back(cut_run(*what.bank, what.number, p, 0, count));
      chunks += count;
    }
  }
  c.digests.resize(chunks);
}

result<void> region_copies::begin(const wanted &what, const region_uses &in_use,
                                  region_sink &sink) {
  const uint32_t index = make_room();
  copy &c = list_[index];
  c.what = what;
  plan(c);
  c.what.memory = {};
  c.in_use.share(in_use);
  if (!what.out) {
    uint64_t frame = 0;
    locker_word &word = what.bank->word(what.tier, what.number);
    if (word.pin(frame) != pin_outcome::pinned) {
      c.in_use.release();
      return pinned_too_often(*what.bank, what.number);
    }
  }
  free_.pop_back();
  c.sink = &sink;
  c.next = c.in_flight = c.jobs_left = 0;
  c.queued = c.failed = c.notified = false;
  c.failure = {.status = CUBBY_OK, .text = {}};
  verify(index);
  return {};
}

transfer::digest_job region_copies::job_of(uint32_t index, size_t part, uint64_t *digests) const {
  const copy &c = list_[index];
  const chunk_run &run = c.parts[part];
  const wanted &what = c.what;
  transfer::digest_job job;
  job.bytes = state_.tiers.address(*what.bank, what.tier, what.frame, what.number, run.part);
  job.size_bytes = run.bytes;
  job.first_bytes = run.first_bytes;
  job.chunk_bytes = what.bank->grid().chunk_bytes();
  job.first = {what.bank->digest_owner(what.number), 1, run.part, run.first_chunk};
  job.digests = digests;
  job.tag = index;
  return job;
}

/// Each part is a job for whoever has time; those that nobody takes are done here.
void region_copies::verify(uint32_t index) {
  copy &c = list_[index];
  uint64_t *digests = c.digests.data();
  for (size_t i = 0; i < c.parts.size(); digests += c.parts[i++].chunk_count) {
    transfer::digest_job job = job_of(index, i, digests);
    job.owner = this;
    if (work_.has_help() && work_.submit(job)) {
      ++c.jobs_left;
    } else {
      transfer::make_digests(job);
    }
  }
  if (c.jobs_left == 0) verified(index);
}

void region_copies::job_done(uint32_t tag) {
  if (--list_[tag].jobs_left == 0) verified(tag);
}

bool region_copies::digests_agree(const copy &c) const {
  const uint64_t *seen = c.digests.data();
  const wanted &what = c.what;
  return std::all_of(c.parts.begin(), c.parts.end(), [&](const chunk_run &run) {
    return each_chunk(*what.bank, what.number, run, [&](uint32_t chunk, uint64_t, uint64_t) {
      const uint64_t known = what.bank->digest(what.number, run.part, chunk);
      const uint64_t is = *seen++;
      return known == 0 || known == is;
    });
  });
}

void region_copies::verified(uint32_t index) {
  copy &c = list_[index];
  if (!digests_agree(c)) c.failed = true;
  // The sink hears of what is wrong when the copy's turn comes, and not from within begin().
  state_.tiers[c.what.device].path->push(c.what.order, index | region_bit);
  c.queued = true;
}

/// It came there as it was put: the copy is given up, for there may be a good one elsewhere.
void region_copies::source_damaged(uint32_t index) {
  copy &c = list_[index];
  tier_slot &slot = state_.tiers[c.what.tier];
  ++slot.stats.corrupt_count;
  c.failure = fail(CUBBY_ERR_CORRUPT, "locker %u of bank %s is damaged in tier %s", c.what.number,
                   c.what.bank->desc().name, slot.name.c_str());
  c.failure.tier = slot.handle;
  unqueue(index);
  end(index);
}

void region_copies::unqueue(uint32_t index) {
  copy &c = list_[index];
  if (std::exchange(c.queued, false)) {
    state_.tiers[c.what.device].path->remove(index | region_bit);
  }
}

bool region_copies::start_job(transfer::channel &path, uint32_t job) {
  const uint32_t index = job & ~region_bit;
  copy &c = list_[index];
  if (c.failed) {
    source_damaged(index);
    return true;
  }
  ios_.make_room();  // may throw, and then it still waits
  path.make_room(0);
  start(index);
  if (c.next != c.runs.size()) return true;
  unqueue(index);
  all_started(index);
  return true;
}

void region_copies::start(uint32_t index) {
  copy &c = list_[index];
  tier_slot &slot = state_.tiers[c.what.device];
  const stretch &next = c.runs[c.next++];
  cubby_backend_io io{};
  io.op = c.what.out ? CUBBY_BACKEND_COPY_OUT : CUBBY_BACKEND_COPY_IN;
  io.offset_bytes = c.what.mark;
  io.source = c.what.out ? next.device : next.host;
  io.memory = c.what.out ? next.host : next.device;
  io.bytes = next.bytes;
  io.io_class = c.what.order.io_class;
  ++c.in_flight;
  ios_.start(*slot.path, io, *this, index, state_.now_ns);
  ++(c.what.out ? slot.stats.read_count : slot.stats.write_count);
}

/// Once the device has all of it, work that the stream is given afterwards finds the bytes.
void region_copies::all_started(uint32_t index) {
  copy &c = list_[index];
  if (c.what.out || !c.what.in_stream || c.failed) return;
  tier_slot &slot = state_.tiers[c.what.device];
  if (!slot.path->flush(state_.now_ns)) return;  // that waits until the bytes are there
  if (slot.memory->backend().streams().wait_marked(c.what.stream) != 0) return;
  c.notified = true;
  c.sink->copied(c.what.request, c.what.item, nullptr);
}

error region_copies::failed_copy(const copy &c, const cubby_backend_done &done) const {
  const tier_slot &slot = state_.tiers[c.what.device];
  error why = fail_errno(done.error == 0 ? EIO : done.error,
                         "locker %u of bank %s could not be copied %s memory of tier %s's device; "
                         "look at the region, which has to stand until its requests are over, and "
                         "at the device's driver",
                         c.what.number, c.what.bank->desc().name, c.what.out ? "from" : "to",
                         slot.name.c_str());
  why.status = done.error == ENODEV ? CUBBY_ERR_DEVICE : CUBBY_ERR_IO;
  why.tier = slot.handle;
  return why;
}

void region_copies::io_done(uint32_t tag, const cubby_backend_done &done) {
  copy &c = list_[tag];
  --c.in_flight;
  if (done.error != 0 && !c.failed) {
    tier_slot &slot = state_.tiers[c.what.device];
    ++slot.stats.error_count;
    c.failed = true;
    c.failure = failed_copy(c, done);
    if (done.error == ENODEV) note_lost(state_, c.what.device);
    unqueue(tag);
  }
  if (c.in_flight == 0 && !c.queued) end(tag);
}

void region_copies::end(uint32_t index) {
  copy &c = list_[index];
  const wanted what = c.what;
  region_sink &sink = *c.sink;
  const bool notified = c.notified;
  const error failure = std::exchange(c.failure, {.status = CUBBY_OK, .text = {}});
  c.in_use.release();
  free_.push_back(index);
  if (!what.out) {
    copies_.unpin(what.tier, what.bank->word(what.tier, what.number));
    state_.changed = true;  // somebody may wait for the frame
    if (failure.status == CUBBY_ERR_CORRUPT) copies_.drop(*what.bank, what.number, what.tier);
  }
  if (!notified) {
    sink.copied(what.request, what.item, failure.status == CUBBY_OK ? nullptr : &failure);
  } else if (failure.status != CUBBY_OK) {
    // Whoever asked for it works in the stream's order, and was notified that it will come.
    state_.log(0, failure.text);
  }
}

}  // namespace cubby::engine
