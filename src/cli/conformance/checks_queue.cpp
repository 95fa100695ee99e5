// submit and reap: what is accepted comes back, once, and as what it was.
#include <algorithm>
#include <cerrno>
#include <future>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

void empty_batch(bench &table) {
  instance &in = table.open();
  const uint32_t accepted = in.on().ops.submit(in.self(), in.now(), nullptr, 0);
  expect(accepted == 0, "submit of an empty list: expected 0, came ", accepted);
  expect(in.reap(4).empty(), "reap gave a completion before anything was submitted");
  expect(in.reap(0).empty(), "reap with max_count 0 gave a completion");
}

// Nothing is reaped meanwhile, so what is accepted has to be what describe said.
void more_than_the_queue(bench &table) {
  for (const uint32_t depth : {1u, 2u, 32u}) {
    instance &in = table.open({depth, 0, 0});
    const uint32_t room = in.info().queue_depth;
    const auto ios = table.some_ios(in, room + 5, 1000);
    const uint32_t accepted = in.submit(ios);
    expect(accepted == room, "submit of ", ios.size(), " I/Os to an empty queue of ", room,
           " (as describe says): expected ", room, " accepted, came ", accepted);
    expect(in.submit(ios, accepted) == 0, "submit to a full queue accepted more; describe says ",
           "queue_depth ", room);
    completions done;
    const uint64_t start = clock_ns();
    while (done.size() < accepted) {
      expect(clock_ns() - start < table.on().patience_ns, "of ", accepted, " accepted I/Os ",
             done.size(), " completed; every accepted I/O completes exactly once");
      const auto came = in.reap(4);
      for (const auto &one : came) done[one.cookie] = one;
      if (came.empty()) in.pause();
    }
    table.expect_good(done, accepted);
    const uint32_t left = std::min(5u, room);
    expect(in.submit(ios, accepted) == left, "submit after everything was reaped: expected ", left,
           " of the 5 I/Os that are left to be accepted");
  }
}

void every_cookie_once(bench &table) {
  for (const uint32_t depth : {1u, 2u, 32u}) {
    instance &in = table.open({depth, 0, 0});
    const uint32_t count = 200;
    table.expect_good(in.run(table.some_ios(in, count, uint64_t{depth} << 40)), count);
    expect(in.reap(4).empty(), "reap gave a completion after every I/O had completed");
    if (!in.virtual_clock()) in.wait(20'000'000, -1);
    expect(in.reap(4).empty(), "reap gave a completion after every I/O had completed");
  }
}

// A cookie is the caller's: nothing follows from its value.
void any_cookie(bench &table) {
  instance &in = table.open({8, 0, 0});
  auto ios = table.some_ios(in, 4, 1);
  const uint64_t cookies[4] = {0, ~uint64_t{0}, uint64_t{1} << 63, 0xdeadbeefcafe};
  for (size_t i = 0; i < 4; ++i) ios[i].cookie = cookies[i];
  const completions done = in.run(ios);
  expect(done.size() == 4, "4 I/Os with unusual cookies: ", done.size(), " different came back");
  for (const auto &[cookie, one] : done) {
    expect(one.error == 0, "an I/O with cookie ", cookie, ": expected no error, came ",
           errno_text(one.error));
  }
}

void reaped_one_by_one(bench &table) {
  instance &in = table.open({16, 0, 0});
  const auto ios = table.some_ios(in, 16, 1);
  const uint32_t accepted = in.submit(ios);
  completions done;
  const uint64_t start = clock_ns();
  while (done.size() < accepted) {
    expect(clock_ns() - start < table.on().patience_ns, "reaping one by one, ", done.size(), " of ",
           accepted, " came");
    const auto came = in.reap(1);
    for (const auto &one : came) done[one.cookie] = one;
    if (came.empty()) in.pause();
  }
  table.expect_good(done, accepted);
}

void unknown_operation(bench &table) {
  instance &in = table.open({8, 0, 0});
  const uint32_t others = table.files() ? CUBBY_BACKEND_COPY_IN : CUBBY_BACKEND_READ;
  for (const uint32_t op : {77u, others}) {
    const auto done = in.run_one(copy_io(5, op, nullptr, nullptr, 4096));
    expect(done.error > 0, op_name(op), " (", op,
           "), which this backend does not do: expected it "
           "to complete with an error, came success");
    expect(done.error == EINVAL, op_name(op), " (", op,
           "), which this backend does not do: "
           "expected EINVAL, came ",
           errno_text(done.error));
  }
}

void one_bad_in_a_batch(bench &table) {
  instance &in = table.open({16, 0, 0});
  auto ios = table.some_ios(in, 6, 10);
  ios[1].op = ios[4].op = 99;
  completions done = in.run(ios);
  expect(done.size() == 6, "a batch of 6, of which 2 are wrong: ", done.size(), " completed");
  for (const uint64_t cookie : {11u, 14u}) {
    expect(done.at(cookie).error != 0, "the wrong I/O with cookie ", cookie,
           " in a batch completed without error");
  }
  for (const uint64_t cookie : {10u, 12u, 13u, 15u}) {
    expect(done.at(cookie).error == 0, "the good I/O with cookie ", cookie,
           " in a batch with a wrong one completed with ", errno_text(done.at(cookie).error));
    expect(done.at(cookie).bytes == ios[cookie - 10].bytes, "the good I/O with cookie ", cookie,
           " in a batch with a wrong one moved ", done.at(cookie).bytes, " bytes");
  }
}

// Who submits may be gone when the I/O completes: one thread at a time, but not always the same.
void threads_take_turns(bench &table) {
  instance &in = table.open({8, 0, 0});
  const auto ios = table.some_ios(in, 8, 1);
  const uint32_t accepted = std::async(std::launch::async, [&] { return in.submit(ios); }).get();
  completions done;
  const uint64_t start = clock_ns();
  while (done.size() < accepted) {
    expect(clock_ns() - start < table.on().patience_ns,
           "submitted by a thread that has ended: ", done.size(), " of ", accepted, " completed");
    const auto came = std::async(std::launch::async, [&] { return in.reap(2); }).get();
    for (const auto &one : came) done[one.cookie] = one;
    if (came.empty()) in.pause();
  }
  table.expect_good(done, accepted);
}

}  // namespace

void add_queue_checks(std::vector<check> &all) {
  all.push_back({"submit: an empty list", 0, empty_batch});
  all.push_back({"submit: more than the queue holds", 0, more_than_the_queue});
  all.push_back({"submit: a wrong I/O among good ones", 0, one_bad_in_a_batch});
  all.push_back({"submit: an unknown operation completes with EINVAL", 0, unknown_operation});
  all.push_back({"submit: the thread may change", 0, threads_take_turns});
  all.push_back({"reap: every cookie exactly once", 0, every_cookie_once});
  all.push_back({"reap: any cookie", 0, any_cookie});
  all.push_back({"reap: one at a time", 0, reaped_one_by_one});
}

}  // namespace cubby_conformance
