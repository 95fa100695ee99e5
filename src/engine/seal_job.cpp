#include "engine/seal_job.hpp"

#include <algorithm>
#include <new>

#include "base/digest.hpp"

namespace cubby::engine {
namespace {

constexpr uint64_t read_bytes_max = uint64_t{1} << 20;
/// What an interruption may cost: the seal is written each time so many chunks were added.
constexpr uint64_t save_every_count = 16384;

}  // namespace

seal_job::seal_job(engine_state &state, source_files &files, transfer::io_table &ios,
                   store::model_file model, std::vector<std::unique_ptr<locker_bank>> banks,
                   std::string path, bool at_once)
    : state_(state),
      files_(files),
      ios_(ios),
      model_(std::move(model)),
      banks_(std::move(banks)),
      path_(std::move(path)),
      write_at_once_(at_once) {
  content_.chunk_bytes = banks_.front()->grid().chunk_bytes();
  content_.files = model_.files;
  content_.table_digest = store::table_digest_of(model_);
  for (const auto &bank : banks_) {
    content_.banks.emplace_back(bank->chunk_total(), 0);
    total_ += content_.banks.back().size();
  }
}

seal_job::~seal_job() {
  for (const auto &bank : banks_) {
    if (bank->file_tier != no_tier) files_.close(bank->files, bank->file_tier);
  }
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

void seal_job::advance(uint32_t chunks) {
  const locker_bank &bank = *banks_[next_.bank];
  next_.index += chunks;
  next_.chunk += chunks;
  if (next_.chunk < chunks_of_part(bank, next_.number, next_.part)) return;
  next_.chunk = 0;
  if (++next_.part < bank.part_count()) return;
  next_.part = 0;
  if (++next_.number < bank.count()) return;
  next_ = {next_.bank + 1, 0, 0, 0, 0};
}

/// Goes to the next chunk without a digest; false at the end.
bool seal_job::skip_known() {
  while (next_.bank < banks_.size()) {
    if (chunks_of_part(*banks_[next_.bank], next_.number, next_.part) == 0) {
      advance(0);  // a part that the row lacks
      continue;
    }
    if (content_.banks[next_.bank][next_.index] == 0) return true;
    advance(1);
  }
  return false;
}

bool seal_job::read_next() {
  const locker_bank &bank = *banks_[next_.bank];
  tier_slot &slot = state_.tiers[bank.file_tier];
  transfer::channel &path = *slot.path;
  if (in_flight_ == reads_max || path.in_flight_count() >= path.backend().info().queue_depth) {
    return false;
  }
  ios_.make_room();  // what may throw comes before there is anything to give back
  path.make_room(0);
  std::byte *staging = slot.staging->take();
  if (staging == nullptr) {
    if (in_flight_ == 0 && !slot.staging->usable()) {
      fail_with(fail(CUBBY_ERR_NO_MEMORY, "no staging memory could be had for the seal"));
    }
    return false;
  }
  const auto free = std::find_if(reads_.begin(), reads_.end(),
                                 [](const read &one) { return one.staging == nullptr; });
  const auto per = std::max(1u, static_cast<uint32_t>(read_bytes_max / bank.grid().chunk_bytes()));
  const read next{next_, cut_run(bank, next_.number, next_.part, next_.chunk, per), staging};
  cubby_backend_io io{};
  io.op = CUBBY_BACKEND_READ;
  io.file = bank.files[bank.extent(next_.number, next_.part).file].number;
  io.offset_bytes = next.run.read_offset_bytes;
  io.memory = staging;
  io.bytes = next.run.read_bytes;
  io.io_class = CUBBY_WRITE_BACK;
  ios_.start(path, io, *this, static_cast<uint32_t>(free - reads_.begin()), state_.now_ns);
  *free = next;
  ++in_flight_;
  advance(next.run.chunk_count);
  return true;
}

void seal_job::io_done(uint32_t tag, const cubby_backend_done &done) {
  read &back = reads_[tag];
  --in_flight_;
  const locker_bank &bank = *banks_[back.at.bank];
  const std::string &path = bank.files[bank.extent(back.at.number, back.at.part).file].path;
  if (done.error != 0) {
    fail_with(fail_errno(done.error, "%s could not be read", path.c_str()));
  } else if (done.bytes < back.run.needed_bytes()) {
    fail_with(fail(CUBBY_ERR_IO, "%s ends before its last expert; it was cut short", path.c_str()));
  } else {
    take_digests(back);
  }
  state_.tiers[bank.file_tier].staging->give(back.staging);
  back = {};
}

void seal_job::take_digests(const read &done) {
  const locker_bank &bank = *banks_[done.at.bank];
  const std::byte *bytes = done.staging + (done.run.offset_bytes - done.run.read_offset_bytes);
  uint64_t index = done.at.index;
  each_chunk(bank, done.at.number, done.run, [&](uint32_t chunk, uint64_t behind, uint64_t size) {
    content_.banks[done.at.bank][index++] = base::chunk_digest(
        bytes + behind, size, {bank.digest_space << 48 | done.at.number, 1, done.at.part, chunk});
    return true;
  });
  done_ += done.run.chunk_count;
  bytes_ += done.run.bytes;
}

void seal_job::fail_with(error why) {
  if (failure_.status == CUBBY_OK) failure_ = std::move(why);
  stopping_ = true;
}

/// Begins to write what there is.
void seal_job::save(bool complete) {
  // The files must still be what they were when the first digest was taken.
  for (const auto &bank : banks_) {
    if (!files_.unchanged(*bank)) return fail_with(bank->failed);
  }
  content_.complete = complete;
  saved_at_ = done_;
  auto begun = writer_.begin(path_, content_, write_at_once_);
  if (!begun) fail_with(begun.failure());
}

/// False while a write is under way.
bool seal_job::take_write() {
  if (!writer_.busy()) return true;
  const auto written = writer_.take();
  if (!written) return false;
  if (!*written) fail_with(written->failure());
  return true;
}

bool seal_job::step() noexcept try { return go_on(); } catch (const std::bad_alloc &) {
  fail_with(no_memory());
  return in_flight_ == 0 && !writer_.busy();
}

bool seal_job::go_on() {
  const bool written = take_write();
  if (last_write_) return written && end();
  if (!stopping_) {
    while (skip_known() && read_next()) {
    }
  }
  if (in_flight_ != 0) {
    if (written && !stopping_ && done_ - saved_at_ >= save_every_count) save(false);
    return false;
  }
  if (!written) return false;
  if (!stopping_ && skip_known()) return stopping_;  // waits for staging or the queue
  if (failure_.status != CUBBY_OK) return true;
  last_write_ = true;
  save(!stopping_);  // of one that was interrupted too, so that the next one goes on there
  return take_write() && end();
}

/// After the last write.
bool seal_job::end() {
  if (failure_.status == CUBBY_OK && !content_.complete) {
    failure_ =
        fail(CUBBY_ERR_CANCELED,
             "the seal was interrupted after %llu of %llu chunks; seal again to go on there",
             static_cast<unsigned long long>(done_), static_cast<unsigned long long>(total_));
  }
  return true;
}

}  // namespace cubby::engine
