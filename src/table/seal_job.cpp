#include "table/seal_job.hpp"

#include <algorithm>
#include <new>

#include "base/checked.hpp"
#include "base/digest.hpp"
#include "table/controller.hpp"

namespace cubby::table {
namespace {

constexpr uint64_t read_bytes_max = uint64_t{1} << 20;
constexpr uint32_t reads_max = 8;
/// What an interruption may cost: the seal is written each time so many chunks were added.
constexpr uint64_t save_every_count = 16384;

}  // namespace

seal_job::seal_job(controller &house, uint32_t request_index, store::model_file model,
                   std::vector<std::unique_ptr<bank>> banks, std::string path)
    : house_(house),
      request_(request_index),
      model_(std::move(model)),
      banks_(std::move(banks)),
      path_(std::move(path)) {
  content_.chunk_bytes = banks_.front()->chunk_bytes();
  content_.files = model_.files;
  for (const auto &one : banks_) {
    content_.banks.emplace_back(one->chunk_total(), 0);
    total_ += content_.banks.back().size();
  }
}

seal_job::~seal_job() {
  for (const auto &one : banks_) house_.close_files(one->files);
}

void seal_job::resume(const store::seal &earlier) {
  if (earlier.chunk_bytes != content_.chunk_bytes ||
      earlier.banks.size() != content_.banks.size()) {
    return;
  }
  for (size_t i = 0; i < earlier.banks.size(); ++i) {
    if (earlier.banks[i].size() != content_.banks[i].size()) return;
  }
  content_.banks = earlier.banks;
  for (const auto &digests : content_.banks) {
    done_ += static_cast<uint64_t>(
        std::count_if(digests.begin(), digests.end(), [](uint64_t d) { return d != 0; }));
  }
  saved_at_ = done_;
}

uint32_t seal_job::chunks_here() const {
  const bank &where = *banks_[next_.bank];
  const part_extent here = where.extent(next_.number, next_.part);
  return store::chunk_count(here.offset_bytes, here.bytes, where.chunk_bytes());
}

void seal_job::advance(uint32_t chunks) {
  next_.index += chunks;
  next_.chunk += chunks;
  if (next_.chunk < chunks_here()) return;
  next_.chunk = 0;
  if (++next_.part < banks_[next_.bank]->part_count()) return;
  next_.part = 0;
  if (++next_.number < banks_[next_.bank]->count()) return;
  next_ = {next_.bank + 1, 0, 0, 0, 0};
}

/// Goes to the next chunk without a digest; false at the end.
bool seal_job::skip_known() {
  while (next_.bank < banks_.size()) {
    if (content_.banks[next_.bank][next_.index] == 0) return true;
    advance(1);
  }
  return false;
}

bool seal_job::read_next() {
  transfer::channel &path = *house_.tiers_[house_.file_slot_]->path;
  if (in_flight_ == reads_max || path.in_flight_count() >= path.backend().info().queue_depth) {
    return false;
  }
  base::make_room(house_.pieces_, house_.pieces_.size() + 1);
  base::make_room(house_.free_pieces_, house_.pieces_.size() + 1);
  if (flying_.size() < house_.pieces_.size() + 1) flying_.resize(house_.pieces_.size() + 1);
  path.make_room(0);
  std::byte *staging = house_.staging_->take();
  if (staging == nullptr) {
    if (in_flight_ == 0 && !house_.staging_->usable()) {
      fail_with(fail(CUBBY_ERR_NO_MEMORY, "no staging memory could be had for the seal"));
    }
    return false;
  }
  const bank &where = *banks_[next_.bank];
  const part_extent here = where.extent(next_.number, next_.part);
  const uint32_t index = house_.new_piece();
  piece &p = house_.pieces_[index];
  p.stage = piece_stage::reading;
  p.seal_request = request_;
  p.staging = staging;
  p.first_chunk = next_.chunk;
  p.chunk_count =
      std::min(chunks_here() - next_.chunk,
               std::max(1u, static_cast<uint32_t>(read_bytes_max / where.chunk_bytes())));
  const auto first =
      store::chunk_at(here.offset_bytes, here.bytes, where.chunk_bytes(), p.first_chunk);
  const auto last = store::chunk_at(here.offset_bytes, here.bytes, where.chunk_bytes(),
                                    p.first_chunk + p.chunk_count - 1);
  p.offset_bytes = first.offset_bytes;
  p.bytes = last.offset_bytes + last.bytes - first.offset_bytes;
  p.read_offset_bytes = base::align_down(p.offset_bytes, tier::frame_align_bytes);
  p.read_bytes =
      base::align_up(p.offset_bytes + p.bytes, tier::frame_align_bytes) - p.read_offset_bytes;
  p.io_bytes = p.read_bytes;
  p.io_class = CUBBY_WRITE_BACK;
  p.started_ns = house_.now_ns_;
  flying_[index] = next_;
  cubby_backend_io io{};
  io.cookie = house_.new_flight(index);
  io.op = CUBBY_BACKEND_READ;
  io.file = where.files[here.file].number;
  io.offset_bytes = p.read_offset_bytes;
  io.memory = staging;
  io.bytes = p.read_bytes;
  io.io_class = p.io_class;
  path.start(io);
  ++in_flight_;
  advance(p.chunk_count);
  return true;
}

void seal_job::landed(uint32_t piece_index, int32_t native, uint64_t bytes) {
  piece &p = house_.pieces_[piece_index];
  const place at = flying_[piece_index];
  --in_flight_;
  const bank &where = *banks_[at.bank];
  const part_extent here = where.extent(at.number, at.part);
  const std::string &path = where.files[here.file].path;
  if (native != 0) {
    fail_with(fail_errno(native, "%s could not be read", path.c_str()));
  } else if (bytes < p.offset_bytes + p.bytes - p.read_offset_bytes) {
    fail_with(fail(CUBBY_ERR_IO, "%s ends before its last expert; it was cut short", path.c_str()));
  } else {
    for (uint32_t i = 0; i < p.chunk_count; ++i) {
      const auto range =
          store::chunk_at(here.offset_bytes, here.bytes, where.chunk_bytes(), at.chunk + i);
      content_.banks[at.bank][at.index + i] =
          base::chunk_digest(p.staging + (range.offset_bytes - p.read_offset_bytes), range.bytes,
                             {where.digest_space << 48 | at.number, 1, at.part, at.chunk + i});
      ++done_;
    }
    house_.requests_[request_].bytes += p.bytes;
  }
  house_.staging_->give(p.staging);
  p = piece{};
  house_.free_pieces_.push_back(piece_index);
}

void seal_job::fail_with(error why) {
  if (failure_.status == CUBBY_OK) failure_ = std::move(why);
  stopping_ = true;
}

void seal_job::save(bool complete) {
  // The files must still be what they were when the first digest was taken.
  for (const auto &one : banks_) {
    if (!house_.file_unchanged(*one)) return fail_with(one->failed);
  }
  content_.complete = complete;
  saved_at_ = done_;
  if (auto written = store::write_seal(path_, content_); !written) fail_with(written.failure());
}

bool seal_job::try_step() noexcept try { return step(); } catch (const std::bad_alloc &) {
  fail_with(no_memory());
  return in_flight_ == 0;
}

bool seal_job::step() {
  request &r = house_.requests_[request_];
  __atomic_store_n(&r.ok_count, static_cast<uint32_t>(done_), __ATOMIC_RELAXED);
  if (!stopping_) {
    while (skip_known() && read_next()) {
    }
  }
  if (in_flight_ != 0) {
    if (!stopping_ && done_ - saved_at_ >= save_every_count) save(false);
    return false;
  }
  if (stopping_) {
    if (failure_.status == CUBBY_OK) {
      save(false);  // so that the next one goes on here
      if (failure_.status == CUBBY_OK) {
        failure_ =
            fail(CUBBY_ERR_CANCELED,
                 "the seal was interrupted after %llu of %llu chunks; "
                 "seal again to go on there",
                 static_cast<unsigned long long>(done_), static_cast<unsigned long long>(total_));
      }
    }
    return true;
  }
  if (skip_known()) return stopping_;  // waits for staging or the queue
  save(true);
  return true;
}

}  // namespace cubby::table
