#include "engine/fill_io.hpp"

#include <cerrno>
#include <new>

#include "base/mutant.hpp"

namespace cubby::engine {
namespace {

bool reads_file(const tier_set &tiers, const fill &f) { return !tiers.is_memory(f.from); }

/// Can its lockers be had in another way than by the read that failed? Blocks can be computed, and
/// of a bank with copies another device has the same.
bool has_other_way(const locker_bank &bank) {
  return bank.blocks != nullptr || !bank.copies.empty();
}

/// From one device to another, by way of host memory.
bool is_staged(const tier_set &tiers, const fill &f) {
  return !reads_file(tiers, f) && tiers.staged(f.from, f.to);
}

}  // namespace

bool fill_io::start_job(transfer::channel &path, uint32_t job) {
  if ((job & copy_bit) == 0) return issue(job);
  ios_.make_room();  // may throw, and then the copy still waits
  path.make_room(0);
  path.remove(job);
  start_copy(pieces_[job & ~copy_bit]);
  return true;
}

fill_io::piece &fill_io::new_piece() {
  const uint32_t index = free_.back();
  free_.pop_back();
  return pieces_[index];
}

void fill_io::free_piece(piece &p) {
  if (p.staging != nullptr) pool_of(*p.of)->give(p.staging);
  static_cast<piece_state &>(p) = {};
  free_.push_back(p.index);
}

transfer::staging_pool *fill_io::pool_of(const fill &f) {
  const bool from_device = f.from != no_tier && state_.tiers.is_memory(f.from);
  const uint32_t from_files = f.from != no_tier ? f.from : f.bank->file_tier;
  return state_.tiers[from_device ? f.to : from_files].staging.get();
}

/// Starts the next piece of a fill; false when it has to wait for staging memory.
bool fill_io::issue(uint32_t index) {
  fill &f = table_[index];
  const bool untouched = !f.begun && f.attempts == 0;
  if (untouched && f.may_expire && f.order.io_class == CUBBY_FORECAST &&
      f.order.deadline_ns < state_.now_ns) {
    fills_.stop(f, fail(CUBBY_ERR_CANCELED, "its deadline passed before it was begun"));
    return true;
  }
  const uint32_t per = chunks_per_piece(state_.tiers, f);
  if (!make_room_for_piece(per)) {
    fills_.stop(f, no_memory());
    return true;
  }
  piece &p = new_piece();
  p.of = &f;
  const bool has_choice = !f.bank->copies.empty() && reads_file(state_.tiers, f);
  p.from = has_choice ? files_.choose(*f.bank, f.number, f.bad_files) : f.from;
  if (p.from == no_tier) {
    free_piece(p);
    fills_.stop(f, f.bank->failed);
    return true;
  }
  p.order = f.order;
  p.run = cut_run(*f.bank, f.number, f.next_part, f.next_chunk, per);
  if (!place(f, p)) {
    free_piece(p);
    if (pool_of(f)->usable()) return false;
    fills_.stop(f, no_memory());  // no buffer will ever be given back
    return true;
  }
  f.next_chunk += p.run.chunk_count;
  if (p.run.last) {
    f.next_chunk = 0;
    ++f.next_part;
    f.skip_absent_parts();
  }
  f.begun = true;
  ++f.pieces_in_flight;
  if (f.next_part == f.bank->part_count()) table_.unqueue(index);
  if (reads_file(state_.tiers, f)) {
    start_read(p);
  } else {
    start_copy(p);
  }
  return true;
}

/// Where the bytes of the piece land and go; false while there is no staging memory.
bool fill_io::place(const fill &f, piece &p) {
  const uint64_t behind = p.run.behind_bytes;
  std::byte *const destination =
      state_.tiers.address(*f.bank, f.to, f.frame, f.number, p.run.part) + behind;
  if (!reads_file(state_.tiers, f)) {
    const uint64_t source = f.bank->word(f.from, f.number).look().frame;
    std::byte *const there =
        state_.tiers.address(*f.bank, f.from, source, f.number, p.run.part) + behind;
    p.target = destination;
    p.landing = there;
    if (!is_staged(state_.tiers, f)) return true;
    p.out_of = there;
    p.landing = p.staging = pool_of(f)->take();
    return p.staging != nullptr;
  }
  if (reads_in_place(state_.tiers, *f.bank, f.to)) {
    p.landing = destination;
    return true;
  }
  p.target = destination;
  if (f.intermediate != no_tier) {
    p.landing =
        state_.tiers.address(*f.bank, f.intermediate, f.intermediate_frame, f.number, p.run.part) +
        behind;
    return true;
  }
  p.staging = state_.tiers[f.from].staging->take();
  if (p.staging == nullptr) return false;
  p.landing = p.staging + (p.run.offset_bytes - p.run.read_offset_bytes);
  return true;
}

/// False when there is no memory for one more piece of so many chunks. With it, nothing that the
/// piece does takes any.
bool fill_io::make_room_for_piece(uint32_t chunk_count) try {
  if (free_.empty()) {
    free_.reserve(std::max<size_t>(64, 2 * pieces_.size()));
    base::make_room(submitted_, pieces_.size() + 1);
    pieces_.add();
    free_.push_back(static_cast<uint32_t>(pieces_.size() - 1));
    pieces_[free_.back()].index = free_.back();
  }
  pieces_[free_.back()].digests.reserve(chunk_count);
  table_.make_room_for_pieces(pieces_.size());
  ios_.make_room();
  return true;
} catch (const std::bad_alloc &) {
  return false;
}

/// Is there memory to start one more I/O?
bool fill_io::room_for_io(transfer::channel &path) noexcept try {
  ios_.make_room();
  path.make_room(0);
  return true;
} catch (const std::bad_alloc &) {
  return false;
}

void fill_io::start_read(piece &p) {
  const fill &f = *p.of;
  tier_slot &files = state_.tiers[p.from];
  p.at = stage::reading;
  cubby_backend_io io{};
  io.op = CUBBY_BACKEND_READ;
  if (f.bank->blocks == nullptr) {
    io.file = source_files::through(*f.bank, p.from)[p.run.file].number;
    io.offset_bytes = p.run.read_offset_bytes;
  } else {
    const stored_blocks::place at = stored_.place_of(*f.bank, f.number);
    io.file = at.backend_file;
    io.offset_bytes =
        at.offset_bytes + stored_part_offset(*f.bank, p.run.part) + p.run.read_offset_bytes;
  }
  io.memory = p.landing - (p.run.offset_bytes - p.run.read_offset_bytes);
  io.bytes = p.run.read_bytes;
  io.deadline_ns = p.order.deadline_ns == base::never_ns ? 0 : p.order.deadline_ns;
  io.io_class = p.order.io_class;
  ios_.start(*files.path, io, *this, p.index, state_.now_ns);
  ++files.stats.read_count;
  files.stats.padding_bytes += p.run.read_bytes - p.run.bytes;
  if (io.io_class == CUBBY_DEMAND) files.stats.demand_bytes += p.run.bytes;
}

void fill_io::start_copy(piece &p) {
  fill &f = *p.of;
  if (f.state == fill_state::stopping) return end_piece(p);
  const bool between_tiers = !reads_file(state_.tiers, f);
  const bool peer = between_tiers && state_.tiers.peers(f.from, f.to);
  const bool out = between_tiers && !peer && !p.verified &&
                   !state_.tiers[f.from].memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE);
  // What has rested in memory is verified once more before it is passed on; a device's own the host
  // does not see.
  if (between_tiers && !out && !peer && !p.verified) {
    if (verify_aside(p, p.landing, stage::verifying_source)) return;
    if (!verified(p, p.landing)) return source_damaged(p);
  }
  p.at = out ? stage::copying_out : stage::copying_in;
  tier_slot &by = state_.tiers[out ? f.from : f.to];
  cubby_backend_io io{};
  io.op = out ? CUBBY_BACKEND_COPY_OUT : peer ? CUBBY_BACKEND_COPY_PEER : CUBBY_BACKEND_COPY_IN;
  io.source = out && p.out_of != nullptr ? p.out_of : p.landing;
  io.memory = out && p.out_of != nullptr ? p.landing : p.target;
  io.bytes = p.run.bytes;
  io.io_class = p.order.io_class;
  ios_.start(*by.path, io, *this, p.index, state_.now_ns);
  if (by.path->synchronous()) by.path->flush(state_.now_ns);
  ++(out ? by.stats.read_count : by.stats.write_count);
  if (f.demotion) by.stats.write_back_bytes += p.run.bytes;
  if (out) return;
  p.counted = true;
  ++f.pieces_copying;
  copy_started(f);
}

void fill_io::copy_started(fill &f) {
  f.submitted = f.next_part == f.bank->part_count() && f.pieces_copying == f.pieces_in_flight;
  if (f.submitted) submitted_.push_back(f.index);
}

void fill_io::land_submitted() {
  if (submitted_.empty()) return;
  fills_.land_in_streams(submitted_);
  submitted_.clear();
}

bool fill_io::verifies() const { return state_.config.verify && !CUBBY_MUTANT(skip_digest); }

transfer::digest_job fill_io::job_of(piece &p, const std::byte *bytes) {
  const fill &f = *p.of;
  p.digests.resize(p.run.chunk_count);  // within what was reserved
  transfer::digest_job job;
  job.bytes = bytes;
  job.size_bytes = p.run.bytes;
  job.first_bytes = p.run.first_bytes;
  job.chunk_bytes = f.bank->grid().chunk_bytes();
  job.first = {f.bank->digest_owner(f.number), 1, p.run.part, p.run.first_chunk};
  job.digests = p.digests.data();
  job.owner = this;
  job.tag = p.index;
  return job;
}

/// False where the pump verifies it here and now.
bool fill_io::verify_aside(piece &p, const std::byte *bytes, stage during) {
  if (!work_.has_help() || !verifies()) return false;
  if (!work_.submit(job_of(p, bytes))) return false;
  p.at = during;
  return true;
}

bool fill_io::verified(piece &p, const std::byte *bytes) {
  if (!verifies()) return true;
  transfer::make_digests(job_of(p, bytes));
  return digests_agree(p);
}

/// Holds the digests of the piece's chunks against those that are known, or takes them where none
/// are.
bool fill_io::digests_agree(piece &p) {
  fill &f = *p.of;
  const uint64_t *seen = p.digests.data();
  return each_chunk(*f.bank, f.number, p.run, [&](uint32_t chunk, uint64_t behind, uint64_t size) {
    uint64_t &known = f.bank->digest(f.number, p.run.part, chunk);
    if (known == 0) {
      f.first_sight = true;
      known = *seen;  // of a stored block: held against the whole block's when all are there
      if (f.bank->blocks == nullptr) unverified_bytes_ += size;
    }
    if (known == *seen++) return true;
    p.bad_offset_bytes = p.run.offset_bytes + behind;
    return false;
  });
}

void fill_io::job_done(uint32_t tag) {
  piece &p = pieces_[tag];
  const bool good = digests_agree(p);
  if (p.at == stage::verifying_read) return read_verified(p, good);
  if (p.at == stage::verifying_copy) return copy_verified(p, good);
  if (!good) return source_damaged(p);
  p.verified = true;
  state_.tiers[p.of->to].path->push(p.order, tag | copy_bit);
}

/// The tier whose channel carries the piece's I/O.
uint32_t fill_io::tier_of(const piece &p) const {
  return p.at == stage::copying_in ? p.of->to : p.from;
}

/// Of bytes that were right when they came there.
error fill_io::damaged_copy(const piece &p, tier_slot &slot) const {
  const fill &f = *p.of;
  ++slot.stats.corrupt_count;
  error why = fail(CUBBY_ERR_CORRUPT, "locker %u of bank %s is damaged in tier %s", f.number,
                   f.bank->desc().name, slot.name.c_str());
  why.tier = slot.handle;
  why.offset_bytes = p.bad_offset_bytes;
  return why;
}

/// Of the file that the piece is read from.
const char *fill_io::path_of(const fill &f, const piece &p) const {
  if (f.bank->blocks == nullptr)
    return source_files::through(*f.bank, p.from)[p.run.file].path.c_str();
  const stored_blocks::place at = stored_.place_of(*f.bank, f.number);
  return at.path == nullptr ? "its store" : at.path->c_str();
}

error fill_io::damaged_file(const piece &p) const {
  const fill &f = *p.of;
  error why = fail(CUBBY_ERR_CORRUPT,
                   "locker %u of bank %s: the bytes in %s are not those that were sealed or first "
                   "seen; restore the file, or, if the change is meant, remove its seal and seal "
                   "it again",
                   f.number, f.bank->desc().name, path_of(f, p));
  why.tier = state_.tiers[p.from].handle;
  why.offset_bytes = p.bad_offset_bytes;
  why.data_loss = true;
  return why;
}

error fill_io::failed_io(const piece &p, const cubby_backend_done &done) const {
  const fill &f = *p.of;
  const tier_slot &slot = state_.tiers[tier_of(p)];
  const char *bank_name = f.bank->desc().name;
  error why;
  if (p.at != stage::reading) {
    why = done.error != 0
              ? fail_errno(done.error,
                           "tier %s: locker %u of bank %s could not be copied; the device failed, "
                           "look at its driver's log",
                           slot.name.c_str(), f.number, bank_name)
              : fail(CUBBY_ERR_IO,
                     "tier %s: locker %u of bank %s was copied only in part; the device failed, "
                     "look at its driver's log",
                     slot.name.c_str(), f.number, bank_name);
  } else {
    const char *path = path_of(f, p);
    why = done.error != 0
              ? fail_errno(done.error,
                           "tier %s: locker %u of bank %s could not be read from %s, twice; look "
                           "at the kernel's log and at the disk",
                           slot.name.c_str(), f.number, bank_name, path)
              : fail(CUBBY_ERR_IO,
                     "tier %s: locker %u of bank %s: %s gave fewer bytes than it has; look at the "
                     "kernel's log and at the disk",
                     slot.name.c_str(), f.number, bank_name, path);
    why.offset_bytes = p.run.read_offset_bytes + done.bytes;
  }
  why.status = CUBBY_ERR_IO;
  why.tier = slot.handle;
  return why;
}

void fill_io::io_done(uint32_t tag, const cubby_backend_done &done) {
  piece &p = pieces_[tag];
  CUBBY_ASSERT(tag < pieces_.size() && p.at != stage::unused);
  const uint64_t wanted = p.at == stage::reading ? p.run.needed_bytes() : p.run.bytes;
  if (done.error != 0 || done.bytes < wanted) return io_failed(p, done);
  count_bytes(p);
  if (p.at == stage::reading) return piece_read(p);
  if (p.at == stage::copying_in || p.of->state != fill_state::active) return end_piece(p);
  const std::byte *const came = p.out_of != nullptr ? p.landing : p.target;
  if (verify_aside(p, came, stage::verifying_copy)) return;
  copy_verified(p, verified(p, came));
}

void fill_io::copy_verified(piece &p, bool good) {
  fill &f = *p.of;
  if (!good && f.state == fill_state::active) {
    fills_.stop(f, damaged_copy(p, state_.tiers[f.from]));
  }
  if (p.out_of != nullptr && good && f.state == fill_state::active) {
    p.verified = true;  // and goes on to the other device
    // Ahead of all else there: it holds a buffer, and what is ahead of it may wait for one.
    p.order = {CUBBY_DEMAND, 0, 0};
    state_.tiers[f.to].path->push(p.order, p.index | copy_bit);
    return;
  }
  end_piece(p);
}

void fill_io::source_damaged(piece &p) {
  fills_.stop(*p.of, damaged_copy(p, state_.tiers[p.of->from]));
  end_piece(p);
}

void fill_io::io_failed(piece &p, const cubby_backend_done &done) {
  fill &f = *p.of;
  ++state_.tiers[tier_of(p)].stats.error_count;
  const bool reading = p.at == stage::reading;
  if (reading && !p.reread && f.state == fill_state::active) {
    p.reread = true;  // once: what was transient has passed
    return start_read(p);
  }
  error why = failed_io(p, done);
  if (!reading && done.error == ENODEV) {
    note_lost(state_, tier_of(p));
    why.status = CUBBY_ERR_DEVICE;
  }
  // A file that was cut short is no failing device: its bank says so.
  const bool cut = reading && done.error == 0;
  if (cut) files_.explain(*f.bank, why);
  if (reading) note_failed_read(p, cut && !files_.unchanged(*f.bank, p.from));
  fills_.stop(f, why);
  end_piece(p);
}

void fill_io::note_failed_read(const piece &p, bool file_changed) {
  fill &f = *p.of;
  f.bad_files |= 1U << p.from;
  if (!has_other_way(*f.bank) || file_changed) return;
  tier_slot &files = state_.tiers[p.from];
  if (f.bank->blocks != nullptr) withhold_unread(state_, f);
  if (!files.failed_reads.failed(locker_name(*f.bank, f.number), state_.now_ns)) return;
  state_.log(0,
             format_text("tier %s is bypassed: one locker after another could not be read; it is "
                         "probed now and then",
                         files.name.c_str()));
}

/// Of a block once all of it is here: that one piece could be read says nothing about the others.
void fill_io::note_read(const piece &p) {
  const fill &f = *p.of;
  if (f.bank->blocks != nullptr && f.reads_left != 0) return;
  tier_slot &files = state_.tiers[p.from];
  if (f.bank->blocks != nullptr) f.bank->blocks->keys.offer(f.number);
  if (!files.failed_reads.succeeded(locker_name(*f.bank, f.number))) return;
  state_.log(1, format_text("tier %s is read again", files.name.c_str()));
}

void fill_io::count_bytes(const piece &p) {
  const fill &f = *p.of;
  const uint64_t bytes = p.run.bytes;
  if (!reads_file(state_.tiers, f)) {
    const bool first = p.at == stage::copying_out, second = p.out_of != nullptr && !first;
    if (!second) state_.tiers[f.from].stats.bytes_out += bytes;
    if (p.out_of == nullptr || second) state_.tiers[f.to].stats.bytes_in += bytes;
    return;
  }
  if (p.at != stage::reading) {
    state_.tiers[f.to].stats.bytes_in += bytes;
    return;
  }
  state_.tiers[p.from].stats.bytes_out += bytes;
  if (p.target == nullptr) {
    state_.tiers[f.to].stats.bytes_in += bytes;
  } else if (f.intermediate != no_tier) {
    state_.tiers[f.intermediate].stats.bytes_in += bytes;
  }
}

void fill_io::piece_read(piece &p) {
  if (p.of->state == fill_state::stopping) return end_piece(p);
  if (!verifies()) return read_verified(p, true);
  if (verify_aside(p, p.landing, stage::verifying_read)) return;
  read_verified(p, verified(p, p.landing));
}

void fill_io::read_verified(piece &p, bool good) {
  fill &f = *p.of;
  if (f.state == fill_state::stopping) return end_piece(p);
  if (!good) {
    if (!p.reread && room_for_io(*state_.tiers[p.from].path)) {
      p.reread = true;  // a misdirected read or a flip on the way heals; a bad file does not
      return start_read(p);
    }
    ++state_.tiers[p.from].stats.corrupt_count;
    f.bad_files |= 1U << p.from;
    error why = damaged_file(p);
    files_.explain(*f.bank, why);
    fills_.stop(f, why);
    return end_piece(p);
  }
  fills_.piece_verified(f);
  if (has_other_way(*f.bank)) note_read(p);
  if (p.target == nullptr) return end_piece(p);
  p.at = stage::copying_in;
  state_.tiers[f.to].path->push(p.order, p.index | copy_bit);
}

void fill_io::end_piece(piece &p) {
  fill &f = *p.of;
  if (p.counted) --f.pieces_copying;
  free_piece(p);
  fills_.piece_ended(f);
}

}  // namespace cubby::engine
