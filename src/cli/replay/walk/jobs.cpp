#include "cli/replay/walk/jobs.hpp"

#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>

namespace cubby_cli::replay {
namespace {

/// `after` each piece hears which part of the trace lies behind.
done run_job(const workload &of, job &one, const std::function<void(double)> &after) {
  simulation how = one.how;
  std::unique_ptr<reporter> clock, details, kinds;
  if (one.clock) how.watchers.push_back((clock = one.clock()).get());
  if (one.details) how.watchers.push_back((details = one.details()).get());
  if (one.kinds) how.watchers.push_back((kinds = one.kinds()).get());
  const auto by = make_walk(of.to_play(), how);
  if (!by) {
    one.broken = by.failure().text;
    return nothing{};
  }
  while ((*by)->advance()) after((*by)->part());
  auto found = (*by)->finish();
  if (!found) {
    one.broken = found.failure().text;
    return nothing{};
  }
  one.found = std::move(*found);
  if (clock) one.clock_report = clock->report();
  if (details) one.details_report = details->report();
  if (kinds) one.kinds_report = kinds->report();
  return nothing{};
}

/// The jobs of one replay, taken in order by the next free thread.
class worker_pool {
 public:
  worker_pool(const workload &of, const std::vector<job *> &jobs)
      : of_(of), jobs_(jobs), ended_(jobs.size(), nothing{}) {}

  void work(const std::function<void(const job &, size_t, double)> &after) {
    // A job that was taken is seen through, so that those before one that failed are known.
    while (!failed_) {
      const size_t mine = next_.fetch_add(1);
      if (mine >= jobs_.size()) return;
      job &one = *jobs_[mine];
      try {
        ended_[mine] = run_job(of_, one, [&](double part) { after(one, mine + 1, part); });
      } catch (const std::bad_alloc &) {  // must not end a thread
        ended_[mine] = trouble{"no memory left for policy " + one.how.name +
                               "; use fewer --threads, or a beginning of the trace (--limit)"};
      }
      if (!ended_[mine]) failed_ = true;
    }
  }
  [[nodiscard]] done result() const {
    const auto bad = std::find_if(ended_.begin(), ended_.end(), [](const done &of) { return !of; });
    return bad == ended_.end() ? done(nothing{}) : *bad;
  }

 private:
  const workload &of_;
  const std::vector<job *> &jobs_;
  std::vector<done> ended_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
};

}  // namespace

done run_jobs(const workload &of, const std::vector<job *> &jobs, uint32_t threads, bool quiet) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  worker_pool all(of, jobs);
  std::vector<std::thread> helpers;
  try {
    while (helpers.size() + 1 < std::min<size_t>(threads, jobs.size()))
      helpers.emplace_back([&all] { all.work([](const job &, size_t, double) {}); });
  } catch (const std::system_error &) {
    // No more threads are to be had: those there are do it.
  }
  progress_line progress(quiet);
  all.work([&](const job &one, size_t number, double part) {
    if (!progress.due()) return;
    progress.show(one.how.name + ", " + std::to_string(one.how.capacity) +
                  (of.is_mixed() ? " bytes (" : " lockers (") + std::to_string(number) + " of " +
                  std::to_string(jobs.size()) +
                  "): " + std::to_string(static_cast<int>(100 * part)) + " %");
  });
  for (std::thread &one : helpers) one.join();
  return all.result();
}

}  // namespace cubby_cli::replay
