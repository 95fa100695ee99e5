#include "engine/direct_reads.hpp"

#include <new>

#include "base/mutant.hpp"
#include "engine/on_pages.hpp"

namespace cubby::engine {
namespace {

constexpr uint64_t in_place_bytes_max = uint64_t{1} << 20;

uint32_t chunks_of(const locker_bank &bank, uint32_t number) {
  uint32_t count = 0;
  for (uint32_t p = 0; p < bank.part_count(); ++p) count += chunks_of_part(bank, number, p);
  return count;
}

}  // namespace

bool direct_reads::is_eligible(const wanted &what) const {
  const residency::key_blocks &blocks = *what.bank->blocks;
  if (!blocks.is_stored(what.number)) return false;
  if (state_.tiers.have_in_memory(*what.bank, what.number)) return false;
  if (what.target->at_bytes != 0) return false;  // digests are of whole chunks
  if (transfer::bytes_of(what.target->into) != blocks.length(what.number)) return false;
  const tier_slot &files = state_.tiers[what.bank->file_tier];
  return !files.failed_reads.degraded() && files.read_buffers->usable();
}

uint32_t direct_reads::begin(const wanted &what, delivery_sink &sink) try {
  if (!is_eligible(what)) return no_index;
  make_room();
  const uint32_t index = free_reads_.back();
  read &one = reads_[index];
  one.digests.resize(chunks_of(*what.bank, what.number));
  one.from = stored_.place_of(*what.bank, what.number);
  if (one.from.tier == no_tier) return no_index;
  if (!what.bank->blocks->begin_read(what.number)) return no_index;
  free_reads_.pop_back();
  one.what = what;
  one.sink = &sink;
  one.in_place = lies_on_pages(*what.bank, what.target->into, what.bank->grid().chunk_bytes(),
                               store::page_bytes);
  one.failed = false;
  one.next_part = one.next_chunk = one.pieces_in_flight = one.digest_count = 0;
  state_.tiers[one.from.tier].path->push(what.order, index | direct_bit);
  one.queued = true;
  return index;
} catch (const std::bad_alloc &) {
  return no_index;
}

/// For one read more, and what waits of it.
void direct_reads::make_room() {
  if (free_reads_.empty()) {
    free_reads_.reserve(reads_.size() + 1);
    reads_.add();
    free_reads_.push_back(static_cast<uint32_t>(reads_.size() - 1));
  }
  table_.make_room_for_others(other_jobs::direct_reads, reads_.size());
}

void direct_reads::unqueue(uint32_t index) {
  read &one = reads_[index];
  if (!one.queued) return;
  one.queued = false;
  state_.tiers[one.from.tier].path->remove(index | direct_bit);
}

bool direct_reads::withdraw(uint32_t index) {
  const read &one = reads_[index];
  if (one.digest_count != 0) return false;
  unqueue(index);
  release(index);
  return true;
}

void direct_reads::release(uint32_t index) {
  const wanted &what = reads_[index].what;
  what.bank->blocks->end_read(what.number);
  free_reads_.push_back(index);
  state_.changed = true;  // somebody may wait for the block to go
}

bool direct_reads::start_job(transfer::channel &path, uint32_t job) {
  const uint32_t index = job & ~direct_bit;
  if (free_pieces_.empty()) {
    free_pieces_.reserve(pieces_.size() + 1);
    pieces_.add();
    free_pieces_.push_back(static_cast<uint32_t>(pieces_.size() - 1));
  }
  ios_.make_room();  // may throw, and then it still waits
  path.make_room(0);
  const uint32_t piece_index = free_pieces_.back();
  piece &p = pieces_[piece_index];
  if (!cut(index, p)) return false;
  free_pieces_.pop_back();
  read &one = reads_[index];
  p.first_digest = one.digest_count;
  one.digest_count += p.run.chunk_count;
  one.next_chunk += p.run.chunk_count;
  if (p.run.last) {
    one.next_chunk = 0;
    ++one.next_part;
  }
  ++one.pieces_in_flight;
  if (one.digest_count == one.digests.size()) unqueue(index);
  start_io(piece_index);
  return true;
}

/// What the next I/O of a block reads, and where it lands. False while there is no buffer.
bool direct_reads::cut(uint32_t index, piece &p) {
  const read &one = reads_[index];
  const wanted &what = one.what;
  tier_slot &files = state_.tiers[one.from.tier];
  const uint32_t chunk_bytes = what.bank->grid().chunk_bytes();
  const uint64_t behind =
      stored_part_offset(*what.bank, one.next_part) + uint64_t{one.next_chunk} * chunk_bytes;
  const transfer::memory_piece target = place_in(what.target->into, behind);
  const uint64_t bytes_max = one.in_place ? std::min(target.bytes, in_place_bytes_max)
                                          : files.read_buffers->buffer_bytes();
  const auto chunks_max = static_cast<uint32_t>(std::max<uint64_t>(1, bytes_max / chunk_bytes));
  p.run = cut_run(*what.bank, what.number, one.next_part, one.next_chunk, chunks_max);
  p.into.clear();
  p.buffer = nullptr;
  if (one.in_place) {
    p.landing = target.at;
  } else {
    p.into = transfer::locker_pieces(what.target->into, behind, p.run.bytes);
    p.buffer = p.landing = files.read_buffers->take();
    if (p.buffer == nullptr) return false;
  }
  p.read = index;
  return true;
}

void direct_reads::start_io(uint32_t piece_index) {
  const piece &p = pieces_[piece_index];
  const read &one = reads_[p.read];
  tier_slot &files = state_.tiers[one.from.tier];
  cubby_backend_io io{};
  io.op = CUBBY_BACKEND_READ;
  io.file = one.from.backend_file;
  io.offset_bytes = one.from.offset_bytes + stored_part_offset(*one.what.bank, p.run.part) +
                    p.run.read_offset_bytes;
  io.memory = p.landing;
  io.bytes = p.run.read_bytes;
  io.deadline_ns = one.what.order.deadline_ns == base::never_ns ? 0 : one.what.order.deadline_ns;
  io.io_class = one.what.order.io_class;
  ios_.start(*files.path, io, *this, piece_index, state_.now_ns);
  ++files.stats.read_count;
  files.stats.padding_bytes += p.run.read_bytes - p.run.bytes;
  if (io.io_class == CUBBY_DEMAND) files.stats.demand_bytes += p.run.bytes;
}

void direct_reads::io_done(uint32_t tag, const cubby_backend_done &done) {
  const piece &p = pieces_[tag];
  read &one = reads_[p.read];
  if (done.error != 0 || done.bytes < p.run.needed_bytes()) {
    one.failed = true;
    unqueue(p.read);
    return end_piece(tag);
  }
  state_.tiers[one.from.tier].stats.bytes_out += p.run.bytes;
  if (one.failed || verify(tag)) end_piece(tag);
}

/// Makes the digests, and copies what is in a buffer. False: another thread does.
bool direct_reads::verify(uint32_t piece_index) {
  const piece &p = pieces_[piece_index];
  read &one = reads_[p.read];
  const locker_bank &bank = *one.what.bank;
  transfer::digest_job job;
  job.bytes = p.landing;
  job.size_bytes = p.run.bytes;
  job.first_bytes = p.run.first_bytes;
  job.chunk_bytes = bank.grid().chunk_bytes();
  job.first = {bank.digest_owner(one.what.number), 1, p.run.part, p.run.first_chunk};
  job.digests = state_.config.verify ? one.digests.data() + p.first_digest : nullptr;
  job.into = p.into;
  if (job.digests == nullptr && p.into.empty()) return true;
  job.owner = this;
  job.tag = piece_index;
  if (work_.submit(job)) return false;
  transfer::make_digests(job);
  return true;
}

void direct_reads::job_done(uint32_t tag) { end_piece(tag); }

void direct_reads::end_piece(uint32_t piece_index) {
  piece &p = pieces_[piece_index];
  const uint32_t index = p.read;
  read &one = reads_[index];
  if (p.buffer != nullptr) state_.tiers[one.from.tier].read_buffers->give(p.buffer);
  free_pieces_.push_back(piece_index);
  --one.pieces_in_flight;
  if (one.pieces_in_flight == 0 && !one.queued) end(index);
}

void direct_reads::end(uint32_t index) {
  read &one = reads_[index];
  const wanted what = one.what;
  delivery_sink &sink = *one.sink;
  const bool good = !one.failed && digests_agree(one);
  release(index);
  good ? sink.delivered(what.request, what.item) : sink.not_delivered(what.request, what.item);
}

/// Holds them against those that are known. Where some are not, that of the whole block says
/// whether they are right.
bool direct_reads::digests_agree(read &of) {
  if (!state_.config.verify || CUBBY_MUTANT(skip_digest)) return true;
  locker_bank &bank = *of.what.bank;
  const uint32_t number = of.what.number;
  const auto each = [&](const auto &look) {
    const uint64_t *seen = of.digests.data();
    for (uint32_t p = 0; p < bank.part_count(); ++p) {
      for (uint32_t c = 0, count = chunks_of_part(bank, number, p); c < count; ++c) {
        look(bank.digest(number, p, c), *seen++);
      }
    }
  };
  bool all_known = true, agree = true;
  each([&](const uint64_t &known, uint64_t seen) {
    all_known = all_known && known != 0;
    agree = agree && (known == 0 || known == seen);
  });
  if (!agree || all_known) return agree;
  if (!stored_.agrees(bank, number, of.digests)) return false;
  each([](uint64_t &known, uint64_t seen) { known = seen; });
  return true;
}

}  // namespace cubby::engine
