// What the pump does: looks at what is new, starts I/O, takes back what has come.
#include <algorithm>

#include "table/controller.hpp"

namespace cubby::table {
namespace {

constexpr uint32_t reap_batch = 8;  // few: what came is verified before more is looked at

}  // namespace

bool controller::advance(uint64_t now_ns, uint64_t *next_ns, effort how_far) try {
  now_ns_ = now_ns;
  const uint64_t completed_before = completed_count_;
  bool any = false;
  uint64_t next = base::never_ns;
  for (;;) {
    bool progress = false;
    drain_all_visits();
    uint32_t index = no_index;
    while (inbox_.pop(index)) {
      inbox_count_.fetch_sub(1, std::memory_order_seq_cst);
      // What the same thread used and let go of before it asked for more comes first.
      drain_all_visits();
      look_at_frames();
      begin(index);
      progress = true;
    }
    if (pinning_.take_withdrawal_note()) look_at_open();
    look_at_frames();
    keep_reserve();
    next = how_far == effort::start ? now_ns : base::never_ns;
    progress = start_all_jobs(how_far) || progress;
    if (how_far != effort::start) progress = run_channels(&next) || progress;
    if (changed_) {
      changed_ = false;
      retry_waiting();
      progress = true;
    }
    if (!progress) break;
    any = true;
    if (how_far == effort::one_completion && completed_count_ != completed_before) {
      next = now_ns;
      break;
    }
  }
  *next_ns = next;
  return any;
} catch (...) {  // a lack of memory; what was being looked at is looked at again
  note_withdrawal();
  note_frames();
  changed_ = true;
  throw;
}

/// Somebody let go of something.
void controller::look_at_frames() {
  if (!pinning_.take_frames_note()) return;
  changed_ = true;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    sweep_passing(i);
    decide_on_guests(i);
  }
}

/// Hands out the most urgent of what waits for a path, while there is room on it.
bool controller::start_jobs(transfer::channel &path) {
  bool any = false;
  while (auto top = path.top()) {
    const uint32_t job = top->second;
    if ((job & copy_bit) != 0) {
      path.remove(top->first, job);
      start_copy(job & ~copy_bit, path);
    } else if (!issue_piece(job, path)) {
      break;
    }
    any = true;
  }
  return any;
}

bool controller::start_all_jobs(effort how_far) {
  bool any = false;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    transfer::channel &path = *tiers_[i]->path;
    if (!start_jobs(path)) continue;
    any = true;
    if (how_far == effort::start) path.flush_some(now_ns_);
  }
  return any;
}

bool controller::run_channels(uint64_t *next_ns) {
  bool progress = false;
  for (size_t i = 0; i < jobs_.size();) {
    if (jobs_[i]->step()) {
      const uint32_t index = jobs_[i]->request_index();
      request &r = requests_[index];
      r.ok_count = static_cast<uint32_t>(jobs_[i]->done_count());
      r.failure = jobs_[i]->failure();
      r.first_failure = r.failure.status;
      jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
      complete(index);
      progress = true;
    } else {
      ++i;
    }
  }
  for (uint32_t i = 0; i < tier_count(); ++i) {
    uint64_t next = base::never_ns;
    progress = take_back(i, &next) || progress;
    *next_ns = std::min(*next_ns, next);
  }
  return progress;
}

/// A batch of what has come back. The path is filled again first: the device works while bytes are
/// verified here.
bool controller::take_back(uint32_t tier, uint64_t *next_ns) {
  transfer::channel &path = *tiers_[tier]->path;
  cubby_backend_done done[reap_batch];
  const uint32_t count = path.reap(now_ns_, done, reap_batch, next_ns);
  CUBBY_ASSERT(count <= reap_batch);
  uint32_t ours = 0;
  for (uint32_t k = 0; k < count; ++k) {
    if (!is_flying(tier, done[k].cookie)) continue;
    const piece &p = pieces_[static_cast<uint32_t>(done[k].cookie)];
    path.finished(p.io_bytes, p.io_class, p.started_ns, now_ns_);
    done[ours++] = done[k];
  }
  if (ours != 0 && start_jobs(path)) path.flush(now_ns_);
  for (uint32_t k = 0; k < ours; ++k) piece_done(static_cast<uint32_t>(done[k].cookie), done[k]);
  return count != 0;
}

bool controller::start_recording(std::unique_ptr<recorder> &made) {
  if (recorder_ != nullptr && recorder_->running()) return false;
  drain_all_visits();  // those were before
  recorder_.swap(made);
  drops_recorded_ = visits_dropped();
  return true;
}

recorder *controller::recording() {
  if (recorder_ == nullptr || !recorder_->running()) return recorder_.get();
  drain_all_visits();
  const uint64_t dropped = visits_dropped();
  if (dropped != drops_recorded_) recorder_->lose(dropped - drops_recorded_);
  drops_recorded_ = dropped;
  return recorder_.get();
}

uint64_t controller::visits_dropped() const {
  uint64_t dropped = 0;
  for (const shard &one : shards_) dropped += one.visits_dropped.load(std::memory_order_relaxed);
  return dropped;
}

void controller::descriptors(std::vector<int> &fds) {
  fds.clear();
  for (uint32_t i = 0; i < tier_count(); ++i) {
    transfer::channel &path = *tiers_[i]->path;
    if (path.in_flight_count() == 0) continue;
    if (const int fd = path.backend().event_fd(); fd >= 0) fds.push_back(fd);
  }
}

void controller::cancel_everything() {
  for (const uint32_t index : open_) requests_[index].cancel_wanted.store(true);
  for (move &m : moves_) m.unasked = false;
  note_withdrawal();
}

void controller::give_up_jobs() {
  for (auto &job : jobs_) {
    const uint32_t index = job->request_index();
    requests_[index].failure =
        fail(CUBBY_ERR_DEVICE, "the seal's reads have not come back; look at the kernel's log");
    requests_[index].first_failure = CUBBY_ERR_DEVICE;
    static_cast<void>(job.release());  // reads into its memory may be under way
    complete(index);
  }
  jobs_.clear();
}

}  // namespace cubby::table
