#include "engine/operations/seal.hpp"

namespace cubby::engine {

seal_job &seal_operation::job_of(uint32_t index) {
  return *std::get<seal_verb>(at(index).verb).job;
}

void seal_operation::withdraw(uint32_t index, bool all) {
  if (all) job_of(index).stop();
}

bool seal_operation::step() {
  bool any = false;
  for (size_t i = 0; i < running_.size();) {
    const uint32_t index = running_[i];
    seal_job &job = job_of(index);
    const bool ended = job.step();
    at(index).ok_count = static_cast<uint32_t>(job.done_count());
    at(index).bytes = job.read_bytes();
    if (!ended) {
      ++i;
      continue;
    }
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    finish(index, error(job.failure()));
    any = true;
  }
  return any;
}

uint64_t seal_operation::next_ns() {
  constexpr uint64_t look_ns = 1'000'000;
  for (const uint32_t index : running_) {
    if (job_of(index).writing()) return units_.state.now_ns + look_ns;
  }
  return base::never_ns;
}

void seal_operation::finish(uint32_t index, const error &why) {
  request &r = at(index);
  r.failure = why;
  r.first_failure = why.status;
  units_.open.complete(index);
}

void seal_operation::give_up() {
  for (const uint32_t index : std::exchange(running_, {})) {
    // Reads into its memory may be under way.
    static_cast<void>(std::get<seal_verb>(at(index).verb).job.release());
    finish(index,
           fail(CUBBY_ERR_DEVICE, "the seal's reads have not come back; look at the kernel's log"));
  }
}

}  // namespace cubby::engine
