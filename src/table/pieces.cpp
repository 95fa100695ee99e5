// The pieces of a move: cut, read or copied one I/O at a time, verified chunk by chunk as they
// land.
#include <algorithm>
#include <new>

#include "base/checked.hpp"
#include "base/digest.hpp"
#include "base/mutant.hpp"
#include "table/controller.hpp"

namespace cubby::table {
namespace {

using ull = unsigned long long;

constexpr uint64_t read_bytes_max = uint64_t{1} << 20;
/// Of a copy from memory: what the digest has just looked at is still in the core's cache.
constexpr uint64_t copy_bytes_max = uint64_t{256} << 10;

uint32_t chunks_per_piece(const move &m) {
  const uint64_t bytes = m.from == no_tier ? read_bytes_max : copy_bytes_max;
  return std::max<uint32_t>(1, static_cast<uint32_t>(bytes / m.where->chunk_bytes()));
}

}  // namespace

/// A move that finds no memory to begin ends, and those who wait for it are told.
void controller::launch(uint32_t index) try {
  plan_and_queue(index);
} catch (const std::bad_alloc &) {
  stop(index, no_memory());
}

void controller::plan_and_queue(uint32_t index) {
  moves_[index].state = move_state::active;
  moves_[index].next_part = moves_[index].next_chunk = 0;
  moves_[index].failure.status = CUBBY_OK;
  if (!plan(index)) return;
  move &m = moves_[index];
  if (m.state == move_state::following) return;
  for (uint32_t t = 0; t < tier_count() && m.attempts == 0; ++t) {
    tier_slot &below = *tiers_[t];
    if (below.memory == nullptr || below.rank <= tiers_[m.to]->rank) continue;
    ++(t == m.from ? below.stats.hit_count : below.stats.miss_count);
    if (t == m.from) break;
  }
  m.reads_left = 0;
  for (uint32_t part = 0; part < m.where->part_count(); ++part) {
    const part_extent here = m.where->extent(m.number, part);
    const uint32_t chunks =
        store::chunk_count(here.offset_bytes, here.bytes, m.where->chunk_bytes());
    const uint32_t per = chunks_per_piece(m);
    m.reads_left += (chunks + per - 1) / per;
  }
  if (CUBBY_MUTANT(publish_early)) publish(index, m.to, m.frame);
  queue_move(index);
}

transfer::channel &controller::reading_channel(const move &m) {
  if (m.from == no_tier) return *tiers_[file_slot_]->path;
  return copy_path(m.from, m.to);
}

void controller::queue_move(uint32_t index) {
  move &m = moves_[index];
  reading_channel(m).push(m.order, index);
  m.queued = true;
}

void controller::unqueue_move(uint32_t index) {
  move &m = moves_[index];
  if (m.queued) reading_channel(m).remove(m.order, index);
  m.queued = false;
}

/// False: there is no memory for one. With it, nothing that the piece does takes any.
bool controller::make_room_for_piece(const move &m) try {
  base::make_room(pieces_, pieces_.size() + 1);
  base::make_room(free_pieces_, pieces_.size() + 1);
  reading_channel(m).make_room(0);
  make_room_for_jobs();
  return true;
} catch (const std::bad_alloc &) {
  return false;
}

uint32_t controller::new_piece() {
  uint32_t index = 0;
  if (free_pieces_.empty()) {
    index = static_cast<uint32_t>(pieces_.size());
    pieces_.emplace_back();
  } else {
    index = free_pieces_.back();
    free_pieces_.pop_back();
  }
  return index;
}

/// The cookie of an I/O that is about to start: its piece, and which of the piece's I/Os it is.
uint64_t controller::new_flight(uint32_t piece_index) {
  if (++last_flight_ == 0) ++last_flight_;
  pieces_[piece_index].flight = last_flight_;
  return uint64_t{last_flight_} << 32 | piece_index;
}

/// A backend may tell of an I/O twice, or of one that never was. Such a word is counted and put
/// aside: taken for another's it would publish bytes that have not come.
bool controller::is_flying(uint32_t tier, uint64_t cookie) {
  const auto index = static_cast<uint32_t>(cookie);
  const auto flight = static_cast<uint32_t>(cookie >> 32);
  if (flight != 0 && index < pieces_.size() && pieces_[index].flight == flight) {
    pieces_[index].flight = 0;
    return true;
  }
  tier_slot &slot = *tiers_[tier];
  ++slot.stats.error_count;
  if (!slot.told_of_stray) {
    slot.told_of_stray = true;
    services_.log(services_.context, 0,
                  format_text("tier %s: backend %s told of an I/O that is not under way (cookie "
                              "%llx): told twice, or never asked for. Such completions are "
                              "ignored and counted as errors; the backend needs mending",
                              slot.name.c_str(), slot.backend.c_str(), static_cast<ull>(cookie))
                      .c_str());
  }
  return false;
}

bool controller::cut_piece(move &m, piece &p) {
  const bank &where = *m.where;
  if (m.next_part == where.part_count()) return false;
  const part_extent here = where.extent(m.number, m.next_part);
  const uint32_t chunks = store::chunk_count(here.offset_bytes, here.bytes, where.chunk_bytes());
  p.part = m.next_part;
  p.first_chunk = m.next_chunk;
  p.chunk_count = std::min(chunks_per_piece(m), chunks - m.next_chunk);
  const store::chunk_range first =
      store::chunk_at(here.offset_bytes, here.bytes, where.chunk_bytes(), p.first_chunk);
  const store::chunk_range last = store::chunk_at(
      here.offset_bytes, here.bytes, where.chunk_bytes(), p.first_chunk + p.chunk_count - 1);
  p.offset_bytes = first.offset_bytes;
  p.bytes = last.offset_bytes + last.bytes - first.offset_bytes;
  p.order = m.order;
  m.next_chunk += p.chunk_count;
  if (m.next_chunk == chunks) {
    m.next_chunk = 0;
    ++m.next_part;
  }
  return true;
}

/// Starts the next piece of a move; false when it has to wait (for staging).
bool controller::issue_piece(uint32_t index, transfer::channel &path) {
  move &m = moves_[index];
  if (m.may_expire && m.order.io_class == CUBBY_FORECAST && m.order.deadline_ns < now_ns_ &&
      m.next_part == 0 && m.next_chunk == 0 && m.attempts == 0) {
    stop(index, fail(CUBBY_ERR_CANCELED, "its deadline passed before it was begun"));
    return true;
  }
  if (!make_room_for_piece(m)) {
    stop(index, no_memory());
    return true;
  }
  const uint32_t piece_index = new_piece();
  piece &p = pieces_[piece_index];
  const uint32_t part = m.next_part;
  const uint32_t chunk = m.next_chunk;
  p.move = index;
  const bool cut = cut_piece(m, p);
  CUBBY_ASSERT(cut);
  const part_extent here = m.where->extent(m.number, p.part);
  const uint64_t behind = p.offset_bytes - here.offset_bytes;
  std::byte *destination = place(*m.where, m.to, m.frame, m.number, p.part) + behind;
  if (m.from != no_tier) {
    const auto source = m.where->word(m.from, m.number).look().frame;
    p.landing = place(*m.where, m.from, source, m.number, p.part) + behind;
    p.target = destination;
  } else if (m.where->layout(m.to) == frame_layout::skewed) {
    p.landing = destination;
    p.target = nullptr;
  } else {
    p.target = destination;
    if (m.beside != no_tier) {
      p.landing = place(*m.where, m.beside, m.beside_frame, m.number, p.part) + behind;
    } else if ((p.staging = staging_->take()) != nullptr) {
      p.landing = p.staging + (p.offset_bytes & (tier::frame_align_bytes - 1));
    } else {
      m.next_part = part;
      m.next_chunk = chunk;
      free_pieces_.push_back(piece_index);
      pieces_[piece_index] = piece{};
      return false;
    }
  }
  ++m.pieces_in_flight;
  if (m.next_part == m.where->part_count()) unqueue_move(index);
  if (m.from == no_tier) return start_read(piece_index, path);
  p.stage = piece_stage::copying;
  return start_copy(piece_index, path);
}

bool controller::start_read(uint32_t piece_index, transfer::channel &path) {
  piece &p = pieces_[piece_index];
  const move &m = moves_[p.move];
  const part_extent here = m.where->extent(m.number, p.part);
  p.stage = piece_stage::reading;
  p.read_offset_bytes = base::align_down(p.offset_bytes, tier::frame_align_bytes);
  p.read_bytes =
      base::align_up(p.offset_bytes + p.bytes, tier::frame_align_bytes) - p.read_offset_bytes;
  p.io_bytes = p.read_bytes;
  p.io_class = p.order.io_class;
  p.started_ns = now_ns_;
  cubby_backend_io io{};
  io.cookie = new_flight(piece_index);
  io.op = CUBBY_BACKEND_READ;
  io.file = m.where->files[here.file].number;
  io.offset_bytes = p.read_offset_bytes;
  io.memory = p.landing - (p.offset_bytes - p.read_offset_bytes);
  io.bytes = p.read_bytes;
  io.deadline_ns = p.order.deadline_ns == base::never_ns ? 0 : p.order.deadline_ns;
  io.io_class = p.io_class;
  path.start(io);
  tier_slot &files = *tiers_[file_slot_];
  ++files.stats.read_count;
  files.stats.padding_bytes += p.read_bytes - p.bytes;
  if (p.io_class == CUBBY_DEMAND) files.stats.demand_bytes += p.bytes;
  return true;
}

bool controller::start_copy(uint32_t piece_index, transfer::channel &path) {
  piece &p = pieces_[piece_index];
  const uint32_t index = p.move;
  move &m = moves_[index];
  if (m.state == move_state::stopping) {
    end_piece(piece_index);
    return true;
  }
  const bool out =
      m.from != no_tier && !tiers_[m.from]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE);
  // What has rested in memory is looked at once more before it is passed on.
  if (m.from != no_tier && !out && !verify(m, p, p.landing)) {
    stop(index, damaged_copy(p, *tiers_[m.from]));
    end_piece(piece_index);
    return true;
  }
  p.stage = out ? piece_stage::copying_out : piece_stage::copying;
  p.io_bytes = p.bytes;
  p.io_class = p.order.io_class;
  p.started_ns = now_ns_;
  cubby_backend_io io{};
  io.cookie = new_flight(piece_index);
  io.op = out ? CUBBY_BACKEND_COPY_OUT : CUBBY_BACKEND_COPY_IN;
  io.source = p.landing;
  io.memory = p.target;
  io.bytes = p.bytes;
  io.io_class = p.io_class;
  path.start(io);
  if (path.by_hand()) path.flush(now_ns_);
  tier_slot &by = *tiers_[out ? m.from : m.to];
  ++(out ? by.stats.read_count : by.stats.write_count);
  if (m.demotion) by.stats.write_back_bytes += p.bytes;
  return true;
}

bool controller::verify(const move &m, piece &p, const std::byte *bytes) {
  if (!config_.verify || CUBBY_MUTANT(skip_digest)) return true;
  bank &where = *m.where;
  const part_extent here = where.extent(m.number, p.part);
  for (uint32_t i = 0; i < p.chunk_count; ++i) {
    const uint32_t chunk = p.first_chunk + i;
    const store::chunk_range range =
        store::chunk_at(here.offset_bytes, here.bytes, where.chunk_bytes(), chunk);
    const uint64_t seen =
        base::chunk_digest(bytes + (range.offset_bytes - p.offset_bytes), range.bytes,
                           {where.digest_space << 48 | m.number, 1, p.part, chunk});
    uint64_t &known = where.digest(m.number, p.part, chunk);
    if (known == 0) {
      known = seen;
      unverified_bytes_ += range.bytes;
    } else if (known != seen) {
      p.bad_offset_bytes = range.offset_bytes;
      return false;
    }
  }
  return true;
}

/// Of bytes that were right when they came there.
error controller::damaged_copy(const piece &p, tier_slot &slot) {
  const move &m = moves_[p.move];
  ++slot.stats.corrupt_count;
  error why = fail(CUBBY_ERR_CORRUPT, "locker %u of bank %s is damaged in tier %s", m.number,
                   m.where->desc().name, slot.name.c_str());
  why.tier = slot.handle;
  why.offset_bytes = p.bad_offset_bytes;
  return why;
}

error controller::failed_io(const piece &p, const tier_slot &slot, const cubby_backend_done &done) {
  const move &m = moves_[p.move];
  const bool reading = p.stage == piece_stage::reading;
  const char *bank_name = m.where->desc().name;
  error why;
  if (!reading) {
    why = done.error != 0 ? fail_errno(done.error,
                                       "tier %s: locker %u of bank %s could not be copied; the "
                                       "device failed, look at its driver's log",
                                       slot.name.c_str(), m.number, bank_name)
                          : fail(CUBBY_ERR_IO,
                                 "tier %s: locker %u of bank %s was copied only in part; the "
                                 "device failed, look at its driver's log",
                                 slot.name.c_str(), m.number, bank_name);
  } else {
    const char *path = m.where->files[m.where->extent(m.number, p.part).file].path.c_str();
    why = done.error != 0 ? fail_errno(done.error,
                                       "tier %s: locker %u of bank %s could not be read from %s, "
                                       "twice; look at the kernel's log and at the disk",
                                       slot.name.c_str(), m.number, bank_name, path)
                          : fail(CUBBY_ERR_IO,
                                 "tier %s: locker %u of bank %s: %s gave fewer bytes than it "
                                 "has; look at the kernel's log and at the disk",
                                 slot.name.c_str(), m.number, bank_name, path);
    why.offset_bytes = p.read_offset_bytes + done.bytes;
  }
  why.status = CUBBY_ERR_IO;
  why.tier = slot.handle;
  return why;
}

void controller::piece_done(uint32_t piece_index, const cubby_backend_done &done) {
  piece &p = pieces_[piece_index];
  CUBBY_ASSERT(piece_index < pieces_.size() && p.stage != piece_stage::unused);
  if (p.move == no_index) {  // of a seal
    for (const auto &job : jobs_) {
      if (job->request_index() == p.seal_request) job->landed(piece_index, done.error, done.bytes);
    }
    return;
  }
  const uint32_t index = p.move;
  move &m = moves_[index];
  const bool reading = p.stage == piece_stage::reading;
  const bool out = p.stage == piece_stage::copying_out;
  const uint32_t by = reading ? file_slot_ : out ? m.from : m.to;
  tier_slot &slot = *tiers_[by];
  const uint64_t wanted = reading ? p.offset_bytes + p.bytes - p.read_offset_bytes : p.bytes;
  if (done.error != 0 || done.bytes < wanted) {
    ++slot.stats.error_count;
    error why = failed_io(p, slot, done);
    if (reading && !p.reread && m.state == move_state::active) {
      p.reread = true;  // once: what was transient has passed
      start_read(piece_index, *slot.path);
      return;
    }
    // A file that was cut short is no failing device: its bank says so.
    if (reading && done.error == 0) changed_underneath(*m.where, why);
    stop(index, why);
    end_piece(piece_index);
    return;
  }
  slot.stats.bytes_out += reading || out ? p.bytes : 0;
  if (!reading) {
    tiers_[m.to]->stats.bytes_in += p.bytes;
    if (!out && m.from != no_tier) tiers_[m.from]->stats.bytes_out += p.bytes;
  } else if (p.target == nullptr) {
    tiers_[m.to]->stats.bytes_in += p.bytes;
  } else if (m.beside != no_tier) {
    tiers_[m.beside]->stats.bytes_in += p.bytes;
  }
  if (reading) return piece_read(piece_index);
  if (out && m.state == move_state::active && !verify(m, p, p.target)) {
    stop(index, damaged_copy(p, slot));
  }
  end_piece(piece_index);
}

void controller::piece_read(uint32_t piece_index) {
  piece &p = pieces_[piece_index];
  const uint32_t index = p.move;
  move &m = moves_[index];
  tier_slot &files = *tiers_[file_slot_];
  if (m.state == move_state::stopping) return end_piece(piece_index);
  if (!verify(m, p, p.landing)) {
    if (!p.reread) {
      p.reread = true;  // a misdirected read or a flip on the way heals; a bad file does not
      start_read(piece_index, *files.path);
      return;
    }
    ++files.stats.corrupt_count;
    error why = fail(CUBBY_ERR_CORRUPT,
                     "locker %u of bank %s: the bytes in %s are not those that were sealed or "
                     "first seen; restore the file, or seal it again if the change is meant",
                     m.number, m.where->desc().name,
                     m.where->files[m.where->extent(m.number, p.part).file].path.c_str());
    why.tier = files.handle;
    why.offset_bytes = p.bad_offset_bytes;
    why.data_loss = true;
    changed_underneath(*m.where, why);
    stop(index, why);
    return end_piece(piece_index);
  }
  --m.reads_left;
  if (m.reads_left == 0) {
    m.read_done_ns = now_ns_;
    if (m.beside != no_tier) {
      m.beside_ready = true;
      publish(index, m.beside, m.beside_frame);
      uint64_t frame = 0;  // held until the copies from it are done
      const pin_outcome held = m.where->word(m.beside, m.number).pin(frame);
      CUBBY_ASSERT(held == pin_outcome::pinned);
    }
  }
  if (p.target == nullptr) return end_piece(piece_index);
  queue_copy(piece_index);
}

void controller::queue_copy(uint32_t piece_index) {
  piece &p = pieces_[piece_index];
  p.stage = piece_stage::copying;
  tiers_[moves_[p.move].to]->path->push(p.order, piece_index | copy_bit);
}

void controller::end_piece(uint32_t piece_index) {
  piece &p = pieces_[piece_index];
  const uint32_t index = p.move;
  if (p.staging != nullptr) staging_->give(p.staging);
  p = piece{};
  free_pieces_.push_back(piece_index);
  move &m = moves_[index];
  CUBBY_ASSERT(m.pieces_in_flight != 0);
  --m.pieces_in_flight;
  const bool all = m.state == move_state::stopping || m.next_part == m.where->part_count();
  if (m.pieces_in_flight == 0 && all) end_move(index);
}

}  // namespace cubby::table
