#include "store/durable/block_store.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.hpp"
#include "base/mutant.hpp"

namespace cubby::store {
namespace {

// A cookie says which operation has come back.
enum class owner : uint64_t { payload = 1, journal, flush, checkpoint, start, note };

uint64_t cookie_of(owner whose, uint64_t index) noexcept {
  return static_cast<uint64_t>(whose) << 32 | index;
}

}  // namespace

// Steps.

block_store::step block_store::step_after(const pending &one) const noexcept {
  const bool put = one.what == verb::put;
  const bool flush = one.durable && !CUBBY_MUTANT(skip_flush);
  if (CUBBY_MUTANT(publish_before_payload) && put && one.recorded) {
    if (one.at == step::accepted) return step::record;
    if (one.at == step::writing) return flush ? step::record_flush : step::payload;
    if (one.at == step::record_flush) return step::payload;
    return one.at == step::payload && flush ? step::payload_flush : step::done;
  }
  switch (one.at) {
    case step::accepted:
      if (put) return step::payload;
      return one.recorded ? step::record : step::done;
    case step::payload:
      if (!one.recorded) return step::done;
      return flush ? step::payload_flush : step::record;
    case step::payload_flush:
      return step::record;
    case step::record:
      return step::writing;
    case step::writing:
      return flush ? step::record_flush : step::done;
    default:
      return step::done;
  }
}

void block_store::advance(uint32_t index) noexcept {
  pending &one = requests_[index];
  one.at = step_after(one);
  switch (one.at) {
    case step::payload:
      return write_payload(index);
    case step::payload_flush:
      return lines_[blocks_.find(one.subject)->file].waiting.push_back(index);
    case step::record:
      if (one.what == verb::put) blocks_.find(one.subject)->state = block_state::recording;
      return to_record_.push_back(index);
    case step::record_flush:
      return lines_[0].waiting.push_back(index);
    case step::done:
      return finish(index);
    default:
      CUBBY_ASSERT(one.at == step::writing);
  }
}

void block_store::write_payload(uint32_t index) noexcept {
  const pending &one = requests_[index];
  // There is room for all that waits; what has been taken makes it.
  if (out_.size() + one.writes_max > out_.capacity()) {
    out_.erase(out_.begin(), out_.begin() + static_cast<ptrdiff_t>(out_taken_));
    out_taken_ = 0;
  }
  uint64_t offset_bytes = uint64_t{blocks_.find(one.subject)->first_page} * page_bytes;
  if (one.piece_count == 0) {
    return write_piece(index, {one.data, blocks_.bytes_of_block(one.subject)}, offset_bytes);
  }
  for (uint32_t i = 0; i < one.piece_count; i++) {
    write_piece(index, one.pieces[i], offset_bytes);
    offset_bytes += one.pieces[i].bytes;
  }
}

/// The caller's whole pages as they are, and a last page of ours that ends in zeros.
void block_store::write_piece(uint32_t index, const block_piece &piece,
                              uint64_t offset_bytes) noexcept {
  pending &one = requests_[index];
  const uint32_t file = blocks_.find(one.subject)->file;
  const uint64_t whole = piece.bytes / page_bytes * page_bytes;
  const uint64_t cookie = cookie_of(owner::payload, index);
  using kind = store_operation::kind;
  if (whole > 0) {
    out_.push_back({kind::write, file, offset_bytes, piece.at, whole, cookie});
    ++one.writes;
  }
  if (piece.bytes == whole) return;
  unsigned char *const last = last_pages_.at(index);
  last_pages_.clear(index);
  memcpy(last, static_cast<const unsigned char *>(piece.at) + whole, piece.bytes - whole);
  out_.push_back({kind::write, file, offset_bytes + whole, last, page_bytes, cookie});
  ++one.writes;
}

/// Its pages, its number and its place in the space's count are free again.
void block_store::free_block(uint32_t number) noexcept {
  const block_entry *entry = blocks_.find(number);
  CUBBY_ASSERT(entry != nullptr);
  const bool freed = CUBBY_MUTANT(reuse_before_record) &&
                     (entry->state == block_state::erasing || entry->state == block_state::erased);
  if (!freed)
    extents_[entry->file].give(entry->first_page, pages_of(blocks_.bytes_of_block(number)));
  --spaces_.at(entry->space)->block_count;
  blocks_.remove(number);
}

void block_store::finish(uint32_t index) noexcept {
  pending &one = requests_[index];
  if (one.what == verb::put) blocks_.find(one.subject)->state = block_state::live;
  if (one.what == verb::erase) free_block(one.subject);
  if (one.what == verb::remove_space) spaces_.remove(one.subject);
  done_.push_back(index);
}

/// A failed put is nowhere to be found. A failed erase leaves the block as it was, unless its
/// record may be on the device.
void block_store::fail_request(uint32_t index, int native) noexcept {
  pending &one = requests_[index];
  const bool may_be_recorded = one.at == step::writing || one.at == step::record_flush;
  if (one.what == verb::put) free_block(one.subject);
  if (one.what == verb::erase && !may_be_recorded)
    blocks_.find(one.subject)->state = block_state::live;
  if (one.what == verb::remove_space) spaces_.at(one.subject)->removing = false;
  ++requests_failed_;
  one.at = step::done;
  one.native = native;
  one.status = fail_errno(native, "%s", "").status;
  done_.push_back(index);
}

/// From here on nothing is written; requests fail, those with an operation outstanding when it has
/// come back.
void block_store::turn_read_only(const char *what, int native) noexcept {
  if (restoring_) give_up_restore();
  if (failure_) return;
  failure_ = fail_errno(native, "the store is read-only since %s failed; look at the device", what);
  fail_all(native);
}

void block_store::stop(const error &why) noexcept {
  if (restoring_) give_up_restore();
  if (failure_) return;
  failure_ = why;
  fail_all(why.native);
}

void block_store::fail_all(int native) noexcept {
  for (const uint32_t index : to_record_) fail_request(index, native);
  to_record_.clear();
  for (flush_line &line : lines_) {
    for (const uint32_t index : line.waiting) fail_request(index, native);
    line.waiting.clear();
    line.checkpoint_waits = false;
  }
  for (size_t i = out_taken_; i < out_.size(); i++)
    payload_written(static_cast<uint32_t>(out_[i].cookie), native);
  out_.clear();
  out_taken_ = 0;
}

// Operations out.

bool block_store::next_operation(store_operation &out) noexcept {
  if (failure_ && !restoring_) return false;
  if (!is_started() || restoring_) {
    if (!(is_started() ? next_checkpoint(out) : next_start(out))) return false;
    ++outstanding_;
    return true;
  }
  ++burst_;
  // Whoever waits for a record or a flush must not wait for the bytes of others' blocks that came
  // later. Of these there is one outstanding each, so what comes meanwhile shares the next.
  const bool small =
      next_journal_write(out) || next_flush(out) || next_checkpoint(out) || next_note(out);
  if (!small && !next_payload(out)) return false;
  ++outstanding_;
  return true;
}

/// Is there for each of these a block whose bytes are still to be written, and that was put before
/// it, together with it, or in its group? They can share the write of its record, and its flush.
/// Both queue behind all that the device has been given, and there is one of each at a time: a
/// group whose records come in several has them one after the other.
bool block_store::all_await_bytes(const std::vector<uint32_t> &waiting) const noexcept {
  std::array<uint64_t, 16> groups{};
  size_t group_count = 0;
  uint64_t first_burst = ~uint64_t{0};
  const auto known = [&](uint64_t group) {
    return std::find(groups.begin(), groups.begin() + group_count, group) !=
           groups.begin() + group_count;
  };
  for (const pending &one : requests_) {
    if (one.at != step::payload) continue;
    first_burst = std::min(first_burst, one.burst);
    const bool fresh = one.group != 0 && group_count < groups.size() && !known(one.group);
    if (fresh) groups[group_count++] = one.group;
  }
  return std::none_of(waiting.begin(), waiting.end(), [&](uint32_t index) {
    const pending &one = requests_[index];
    return one.burst < first_burst && !known(one.group);
  });
}

bool block_store::next_payload(store_operation &out) noexcept {
  if (out_taken_ == out_.size()) return false;
  out = out_[out_taken_++];
  if (out_taken_ == out_.size()) {
    out_.clear();
    out_taken_ = 0;
  }
  return true;
}

/// What was read may not have been on the device yet, and pages that it calls free must not be
/// written before it is. Where a flush had failed, the page cache takes what it has for clean: it
/// is written again, so that the flush covers it.
bool block_store::next_start(store_operation &out) noexcept {
  using kind = store_operation::kind;
  if (start_outstanding_) return false;
  start_outstanding_ = true;
  const uint64_t cookie = cookie_of(owner::start, start_step_);
  size_t place = start_step_;
  if (place < to_repair_.size()) {
    const auto &bad = to_repair_[place];
    repair_page_.clear(0);
    encode_superblock(places_.shape(), bad.file, repair_page_.at(0));
    const uint64_t at = places_.superblock_page(bad.copy) * page_bytes;
    out = {kind::write, bad.file, at, repair_page_.at(0), page_bytes, cookie};
    return true;
  }
  place -= to_repair_.size();
  if (place < unproven_.size()) {
    const auto &run = unproven_[place];
    out = {
        kind::write, 0, run.first_page * page_bytes, run.bytes.at(0), run.page_count * page_bytes,
        cookie};
    return true;
  }
  place -= unproven_.size();
  out = {kind::flush, static_cast<uint32_t>(place), 0, nullptr, 0, cookie};
  return true;
}

void block_store::add_record(uint32_t index) noexcept {
  pending &one = requests_[index];
  CUBBY_ASSERT(one.at == step::record);
  one.at = step::writing;
  in_journal_.push_back(index);
  if (one.what == verb::put || one.what == verb::erase) {
    const block_body body = blocks_.body_of(one.subject);
    if (one.what == verb::erase) blocks_.find(one.subject)->state = block_state::erased;
    const auto kind = one.what == verb::put ? record_kind::put : record_kind::erase;
    return journal_.add(kind, &body, sizeof body);
  }
  const auto kind =
      one.what == verb::add_space ? record_kind::add_space : record_kind::remove_space;
  journal_.add(kind, &spaces_.at(one.subject)->body, sizeof(space_body));
}

bool block_store::next_journal_write(store_operation &out) noexcept {
  const size_t count = std::min<size_t>(to_record_.size(), journal_.room());
  if (count == 0) return false;
  if (count < journal_.room() && all_await_bytes(to_record_)) return false;
  for (size_t i = 0; i < count; i++) add_record(to_record_[i]);
  to_record_.erase(to_record_.begin(), to_record_.begin() + static_cast<ptrdiff_t>(count));
  const auto batch = journal_.seal();
  out = {store_operation::kind::write, 0, batch.offset_bytes, batch.data, batch.bytes,
         cookie_of(owner::journal, 0)};
  return true;
}

bool block_store::next_flush(store_operation &out) noexcept {
  for (uint32_t i = 0; i < lines_.size(); i++) {
    flush_line &line = lines_[i];
    if (line.outstanding || (line.waiting.empty() && !line.checkpoint_waits)) continue;
    if (!line.checkpoint_waits && all_await_bytes(line.waiting)) continue;
    line.outstanding = true;
    line.covered.swap(line.waiting);
    line.checkpoint_covered = line.checkpoint_waits;
    line.checkpoint_waits = false;
    line.journal_before = journal_.written_before();
    ++flushes_;
    out = {store_operation::kind::flush, i, 0, nullptr, 0, cookie_of(owner::flush, i)};
    return true;
  }
  return false;
}

bool block_store::next_checkpoint(store_operation &out) noexcept {
  if (!checkpoint_.active()) {
    const bool due = journal_.used_pages() > places_.shape().journal_pages / 2;
    if (!due && !checkpoint_wanted_) return false;
    checkpoint_wanted_ = false;
    checkpoint_.begin(journal_.position().manifest + 1, journal_.position().next);
  }
  const auto piece = checkpoint_.next(blocks_, spaces_, generation_);
  if (piece.what == checkpoint::piece::kind::flush) {
    lines_[0].checkpoint_waits = true;
    return next_flush(out);
  }
  if (piece.what == checkpoint::piece::kind::none) return false;
  out = {store_operation::kind::write,   0, piece.offset_bytes, piece.data, piece.bytes,
         cookie_of(owner::checkpoint, 0)};
  return true;
}

bool block_store::note_due() const noexcept {
  if (boot_ == 0 || failure_ || !is_started()) return false;
  return journal_.written_before() != noted_written_ ||
         journal_.position().flushed != noted_flushed_;
}

/// The superblock is as it was: if this is torn, there are two more.
void block_store::write_note(store_operation &out) noexcept {
  noted_written_ = journal_.written_before();
  noted_flushed_ = std::min(journal_.position().flushed, noted_written_);
  note_page_.clear(0);
  encode_superblock(places_.shape(), 0, note_page_.at(0));
  encode_note(places_.shape().store_id, {0, boot_, noted_written_, noted_flushed_},
              note_page_.at(0));
  out = {store_operation::kind::write,
         0,
         places_.superblock_page(note_copy) * page_bytes,
         note_page_.at(0),
         page_bytes,
         cookie_of(owner::note, 0)};
}

bool block_store::next_note(store_operation &out) noexcept {
  if (!note_wanted_ || note_outstanding_ || !note_due()) return false;
  note_wanted_ = false;
  note_outstanding_ = true;
  write_note(out);
  return true;
}

std::optional<store_operation> block_store::last_note() noexcept {
  if (note_outstanding_ || !note_due()) return std::nullopt;
  store_operation out;
  write_note(out);
  return out;
}

// Completions in.

void block_store::completed(uint64_t cookie, int native) noexcept {
  const auto index = static_cast<uint32_t>(cookie);
  CUBBY_ASSERT(outstanding_ > 0);
  --outstanding_;
  switch (static_cast<owner>(cookie >> 32)) {
    case owner::payload:
      return payload_written(index, native);
    case owner::journal:
      return journal_written(native);
    case owner::flush:
      return flushed(index, native);
    case owner::checkpoint:
      return checkpoint_step_done(native);
    case owner::start:
      return start_done(index, native);
    case owner::note:
      note_outstanding_ = false;  // nobody has been promised anything by it
      return;
  }
  CUBBY_ASSERT(false && "a cookie of the store");
}

/// A block that could not be written is that block's failure alone.
void block_store::payload_written(uint32_t index, int native) noexcept {
  pending &one = requests_[index];
  CUBBY_ASSERT(one.at == step::payload && one.writes > 0);
  if (native != 0 && one.native == 0) one.native = native;
  if (--one.writes > 0) return;
  if (one.native == 0 && failure_) one.native = failure_->native;
  if (one.native != 0) return fail_request(index, one.native);
  advance(index);
}

void block_store::journal_written(int native) noexcept {
  if (native != 0) turn_read_only("a write to its journal", native);
  journal_.written();
  for (const uint32_t index : in_journal_) {
    if (failure_)
      fail_request(index, failure_->native);
    else
      advance(index);
  }
  in_journal_.clear();
}

/// What a failed flush covered may be lost, even if a later one succeeds.
void block_store::flushed(uint32_t file, int native) noexcept {
  flush_line &line = lines_[file];
  CUBBY_ASSERT(line.outstanding);
  line.outstanding = false;
  if (CUBBY_MUTANT(believe_failed_flush)) native = 0;
  if (native != 0) turn_read_only("a flush", native);
  if ((!failure_ || restoring_) && file == 0) journal_.flushed(line.journal_before);
  for (const uint32_t index : line.covered) {
    if (failure_)
      fail_request(index, failure_->native);
    else
      advance(index);
  }
  line.covered.clear();
  if (line.checkpoint_covered && (!failure_ || restoring_)) checkpoint_step_done(0);
  line.checkpoint_covered = false;
}

void block_store::checkpoint_step_done(int native) noexcept {
  if (native != 0) turn_read_only("a write of its manifest", native);
  if ((failure_ && !restoring_) || !checkpoint_.advance()) return;
  journal_.checkpointed(checkpoint_.journal_from(), checkpoint_.sequence());
  ++checkpoints_;
  if (restoring_) end_restore();
}

void block_store::start_done(uint32_t index, int native) noexcept {
  CUBBY_ASSERT(index == start_step_ && start_outstanding_);
  start_outstanding_ = false;
  // What has other copies need not be repaired; the rest has no other way.
  const size_t run = start_step_ - to_repair_.size();
  const bool spare =
      start_step_ < to_repair_.size() || (run < unproven_.size() && unproven_[run].spare);
  if (native != 0 && !spare) {
    const bool flush = run >= unproven_.size();
    return turn_read_only(flush ? "its first flush" : "writing its end once more", native);
  }
  if (++start_step_ != to_repair_.size() + unproven_.size() + lines_.size()) return;
  started_ = true;
  unproven_.clear();
  unproven_.shrink_to_fit();
  journal_.flushed(journal_.position().next);
  if (restoring_) begin_restoring_manifest();
}

bool block_store::next_completion(store_completion &out) noexcept {
  if (done_.empty()) return false;
  const uint32_t index = done_.front();
  done_.erase(done_.begin());
  const pending &one = requests_[index];
  out = {one.user, one.subject, one.generation, one.status, one.native};
  out_room_ -= one.writes_max;
  free_.push_back(index);
  return true;
}

bool block_store::is_idle() const noexcept {
  if (failure_) return outstanding_ == 0;
  return outstanding_ == 0 && free_.size() + done_.size() == requests_.size() && is_started() &&
         !checkpoint_.active() && !checkpoint_wanted_;
}

// Restoring. What the failed operations wrote, or did not, is left behind by a manifest of what is
// known to be there: replay begins behind the journal's pages of before, and blocks that were
// acknowledged are in it.

bool block_store::begin_restore() noexcept {
  if (!failure_ || restoring_ || outstanding_ != 0) return false;
  restoring_ = true;
  // The other manifest may be the only one on the device until the start is over.
  if (is_started())
    begin_restoring_manifest();
  else
    start_step_ = 0;
  return true;
}

void block_store::begin_restoring_manifest() noexcept {
  checkpoint_.cancel();
  checkpoint_wanted_ = false;
  checkpoint_.begin(journal_.position().manifest + 1, journal_.position().next, true);
}

/// Erases whose records may have been written are over: the manifest has no such block.
void block_store::end_restore() noexcept {
  restoring_ = false;
  failure_.reset();
  for (uint32_t number = 0; number < blocks_.end(); number++) {
    const block_entry *entry = blocks_.find(number);
    if (entry != nullptr && entry->state == block_state::erased) free_block(number);
  }
}

void block_store::give_up_restore() noexcept {
  restoring_ = false;
  checkpoint_.cancel();
  for (flush_line &line : lines_) line.checkpoint_waits = line.checkpoint_covered = false;
}

}  // namespace cubby::store
