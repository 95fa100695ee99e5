// wait, event_fd and next_ns: no waiter sleeps through a completion, and none spins.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

void needs_wait(const instance &in) {
  if (in.virtual_clock()) skip("under a virtual clock wait is never called");
}

void ends_in_time(bench &table) {
  instance &in = table.open();
  needs_wait(in);
  for (const uint64_t timeout_ns : {0u, 1'000'000u, 20'000'000u}) {
    const uint64_t start = clock_ns();
    in.wait(timeout_ns, -1);
    const uint64_t took = clock_ns() - start;
    expect(took + 1'000'000 >= timeout_ns, "wait for ", timeout_ns,
           " ns with nothing to reap returned after ", took, " ns");
    expect(took < timeout_ns + 2'000'000'000, "wait for ", timeout_ns, " ns returned after ", took,
           " ns");
  }
}

struct wake_event {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  wake_event() { expect(fd >= 0, "no event descriptor: ", errno_text(errno)); }
  wake_event(const wake_event &) = delete;
  wake_event &operator=(const wake_event &) = delete;
  ~wake_event() { ::close(fd); }
};

void woken_by_wake_fd(bench &table) {
  instance &in = table.open();
  needs_wait(in);
  const wake_event wake;
  std::thread waker([&wake] {
    usleep(20'000);
    eventfd_write(wake.fd, 1);
  });
  std::string said;
  try {
    in.wait(never_ns, wake.fd);
  } catch (const failed &one) {
    said = one.detail;
  }
  pollfd ready{wake.fd, POLLIN, 0};
  const bool woken = poll(&ready, 1, 0) == 1;
  waker.join();
  expect(said.empty(), said);
  eventfd_t value = 0;
  const bool still_set = eventfd_read(wake.fd, &value) == 0 && value == 1;
  expect(still_set,
         "wait drained wake_fd; that is for who calls wait, other waiters may need it too");
  expect(woken, "wait without an end returned before wake_fd was readable, with nothing to reap");
}

void woken_at_once(bench &table) {
  instance &in = table.open();
  needs_wait(in);
  const wake_event wake;
  eventfd_write(wake.fd, 3);
  const uint64_t start = clock_ns();
  for (int round = 0; round < 3; ++round) in.wait(10'000'000'000, wake.fd);
  expect(clock_ns() - start < 5'000'000'000, "wait slept although wake_fd was readable already");
  eventfd_t value = 0;
  expect(eventfd_read(wake.fd, &value) == 0 && value == 3, "wait drained wake_fd");
}

void woken_by_completion(bench &table) {
  instance &in = table.open({16, 0, 0});
  needs_wait(in);
  const auto ios = table.some_ios(in, 16, 1);
  const uint32_t accepted = in.submit(ios);
  completions done;
  const uint64_t long_ns = 20'000'000'000;
  for (uint32_t rounds = 0; done.size() < accepted; ++rounds) {
    expect(rounds < 10'000, "wait returned 10,000 times with nothing to reap");
    const uint64_t start = clock_ns();
    in.wait(long_ns, -1);
    const uint64_t took = clock_ns() - start;
    expect(took < table.on().patience_ns, "wait slept ", took / 1'000'000, " ms with ",
           in.in_flight(), " I/Os in flight or to be reaped; it ends when something can be reaped");
    for (const auto &one : in.reap(1)) done[one.cookie] = one;
  }
  table.expect_good(done, accepted);
}

// How the library itself sleeps: on the descriptor, or until the time that reap named.
void completion_is_signalled(bench &table) {
  instance &in = table.open({8, 0, 0});
  const int fd = in.event_fd();
  const auto ios = table.some_ios(in, 8, 1);
  const uint32_t accepted = in.submit(ios);
  completions done;
  const uint64_t start = clock_ns();
  while (done.size() < accepted) {
    for (bool more = true; more;) {
      const auto came = in.reap(3);
      for (const auto &one : came) done[one.cookie] = one;
      more = !came.empty();
    }
    if (done.size() == accepted) break;
    expect(clock_ns() - start < table.on().patience_ns, done.size(), " of ", accepted,
           " I/Os completed by sleeping on event_fd and next_ns alone");
    if (in.virtual_clock()) {
      in.pause();
      continue;
    }
    expect(fd >= 0 || in.next_ns() != never_ns,
           "reap gave nothing and said ~0, and there is no "
           "event_fd: nobody would look again; name a time, or give a descriptor");
    pollfd ready{fd, POLLIN, 0};
    const uint64_t at = clock_ns();
    const uint64_t left = in.next_ns() > at ? in.next_ns() - at : 0;
    const auto left_ms = static_cast<int>(std::min<uint64_t>(left, 500'000'000) / 1'000'000 + 1);
    poll(&ready, fd < 0 ? 0 : 1, in.next_ns() <= at ? 0 : left_ms);
  }
  table.expect_good(done, accepted);
}

void readable_while_reapable(bench &table) {
  instance &in = table.open({4, 0, 0});
  pollfd ready{in.event_fd(), POLLIN, 0};
  if (ready.fd < 0) skip("it has no event_fd");
  expect(poll(&ready, 1, 0) == 0, "event_fd is readable before anything was submitted");
  auto ios = table.some_ios(in, 2, 1);
  ios.push_back(file_io(3, 77, 0, 0, nullptr, 0));  // what fails at once has to complete too
  const uint32_t accepted = in.submit(ios);
  expect(accepted == 3, "submit of 3 I/Os to an empty queue of ", in.info().queue_depth,
         " accepted ", accepted);
  const auto patience_ms = static_cast<int>(table.on().patience_ns / 1'000'000);
  const uint64_t start = clock_ns();
  for (uint32_t came = 0; came < accepted;) {
    expect(poll(&ready, 1, patience_ms) == 1, "event_fd was not readable with ", accepted - came,
           " of ", accepted, " I/Os to be reaped");
    came += static_cast<uint32_t>(in.reap(1).size());
    expect(clock_ns() - start < table.on().patience_ns,
           "event_fd stayed readable and reap gave nothing");
  }
  in.reap(4);
  expect(poll(&ready, 1, 0) == 0, "event_fd is readable after everything was reaped");
  expect(in.event_fd() == ready.fd, "event_fd gave another descriptor the second time");
}

}  // namespace

void add_wait_checks(std::vector<check> &all) {
  all.push_back({"wait: ends when its time is over", 0, ends_in_time});
  all.push_back({"wait: woken by wake_fd, which it does not drain", 0, woken_by_wake_fd});
  all.push_back({"wait: wake_fd is readable already", 0, woken_at_once});
  all.push_back({"wait: ends when something can be reaped", 0, woken_by_completion});
  all.push_back({"event_fd: it or next_ns tells of every completion", 0, completion_is_signalled});
  all.push_back({"event_fd: readable while something can be reaped", 0, readable_while_reapable});
}

}  // namespace cubby_conformance
