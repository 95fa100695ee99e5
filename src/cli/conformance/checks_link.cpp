// Emulated links: an instance that says it is emulated keeps to the speed and latency it was given.
#include <algorithm>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

constexpr uint32_t in_op = CUBBY_BACKEND_COPY_IN;

void needs_emulation(const instance &in) {
  if (in.info().emulated == 0) skip("it emulates no link (describe says emulated 0)");
}

// Time is handed in, so it is the check's: 1 byte a ns and 1 ms of latency.
void holds_completions_back(bench &table) {
  const uint64_t latency = 1'000'000, bytes = 4096;
  instance &in = table.open({8, latency, 1'000'000'000});
  needs_emulation(in);
  unsigned char *frame = table.frames(in, 2 * bytes), *host = table.memory(in, 2 * bytes);
  const cubby_backend_io ios[2] = {copy_io(1, in_op, frame, host, bytes),
                                   copy_io(2, in_op, frame + bytes, host + bytes, bytes)};
  const uint64_t start = clock_ns() + 1'000'000'000;
  const uint64_t first = start + bytes + latency, second = first + bytes, slack = 1000;
  expect(in.submit_at(start, ios, 2) == 2, "submit of 2 copies to an empty queue accepted fewer");
  expect(in.reap_at(first - 1, 2).empty(), "a copy of ", bytes,
         " bytes over a link of 1 byte a ns ", "and 1 ms of latency completed earlier than ",
         bytes + latency, " ns after it started");
  expect(in.next_ns() >= first && in.next_ns() <= first + slack, "reap: the first copy is due ",
         first - start, " ns after it started, *next_ns says ",
         static_cast<int64_t>(in.next_ns() - start));
  auto came = in.reap_at(second - 1, 2);
  expect(came.size() == 1 && came[0].cookie == 1, "two copies over one link: at 1 ns before the ",
         "second is due expected the first alone, came ", came.size());
  expect(in.next_ns() >= second && in.next_ns() <= second + slack, "reap: the second copy is due ",
         second - start, " ns after both started (bytes follow each other, latencies overlap), ",
         "*next_ns says ", static_cast<int64_t>(in.next_ns() - start));
  came = in.reap_at(second + slack, 2);
  expect(came.size() == 1 && came[0].cookie == 2,
         "the second copy did not complete when it was due");
  expect(in.next_ns() == never_ns, "reap with nothing in flight: *next_ns must be ~0");
}

// And with the real clock: neither earlier nor slept through.
void takes_its_time(bench &table) {
  const uint32_t latency = 20'000'000;
  instance &in = table.open({8, latency, 0});
  needs_emulation(in);
  if (in.virtual_clock()) skip("under a virtual clock wait is never called");
  unsigned char *frame = table.frames(in, 4096), *host = table.memory(in, 4096);
  const uint64_t start = clock_ns();
  expect(in.submit({copy_io(1, in_op, frame, host, 4096)}) == 1, "submit accepted no copy");
  while (in.reap(1).empty()) {
    in.wait(never_ns, -1);
    expect(clock_ns() - start < table.on().patience_ns, "a copy over a link of 20 ms of latency ",
           "had not completed after ", (clock_ns() - start) / 1'000'000, " ms");
  }
  const uint64_t took = clock_ns() - start;
  expect(took >= latency, "a copy over a link of 20 ms of latency took ", took, " ns");
}

// Files must not read into frames behind an emulated link, or it would be passed by.
void not_host_addressable(bench &table) {
  const instance &in = table.open({8, 1'000'000, 1'000'000'000});
  needs_emulation(in);
  expect((in.info().capabilities & CUBBY_CAP_HOST_ADDRESSABLE) == 0,
         "describe: behind an emulated ",
         "link frames are not host-addressable, or files would be read past the link");
}

}  // namespace

void add_link_checks(std::vector<check> &all) {
  all.push_back({"link: holds completions back", CUBBY_CAP_MEMORY, holds_completions_back});
  all.push_back({"link: takes its time", CUBBY_CAP_MEMORY, takes_its_time});
  all.push_back({"link: not host-addressable", CUBBY_CAP_MEMORY, not_host_addressable});
}

}  // namespace cubby_conformance
