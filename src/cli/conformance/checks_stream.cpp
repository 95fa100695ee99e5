// Order with streams of a device, and copies between instances: what is optional is looked at where
// it is there, and whole. Streams are the device's default one, which every device has.
#include <algorithm>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

constexpr uint32_t in_op = CUBBY_BACKEND_COPY_IN, out_op = CUBBY_BACKEND_COPY_OUT;
constexpr uint64_t default_stream = 0;

/// How much of it there is.
void needs_streams(const cubby_backend_ops &ops) {
  const int there =
      (ops.stream_wait != nullptr) + (ops.mark_record != nullptr) + (ops.mark_passed != nullptr);
  expect(there == 0 || there == 3,
         "stream_wait, mark_record and mark_passed come together or not at all, came ", there);
  expect(there == 3 || ops.stream_wait_marked == nullptr,
         "stream_wait_marked is there, and stream_wait, mark_record, mark_passed are not");
  if (there == 0) skip("it has no order with streams (stream_wait is NULL)");
}

uint64_t record(instance &in) {
  const under_way call(in.on(), "mark_record");
  uint64_t mark = 0;
  const int32_t status = in.on().ops.mark_record(in.self(), default_stream, &mark);
  expect(status == 0, "mark_record on the default stream: expected 0, came ", errno_text(status));
  expect(mark != 0, "mark_record gave the mark 0, which means no mark");
  return mark;
}

int32_t passed(instance &in, uint64_t mark) {
  const under_way call(in.on(), "mark_passed");
  return in.on().ops.mark_passed(in.self(), mark);
}

/// Nothing is in the stream, so it comes; and then there is no such mark any more.
void expect_passes(bench &table, instance &in, uint64_t mark) {
  const uint64_t start = clock_ns();
  for (int32_t status = 0; status != 1; status = passed(in, mark)) {
    expect(status == 0, "mark_passed: expected 0 or 1, came ", status);
    expect(clock_ns() - start < table.on().patience_ns, "a mark behind no work was not passed in ",
           (clock_ns() - start) / 1'000'000, " ms");
  }
  const int32_t again = passed(in, mark);
  expect(again == -EINVAL, "mark_passed of a mark that was given back: expected -EINVAL, came ",
         again);
}

void expect_waits(instance &in, int32_t (*wait)(cubby_backend *, uint64_t), const char *name) {
  const under_way call(in.on(), name);
  const int32_t status = wait(in.self(), default_stream);
  expect(status == 0, name, " of the default stream: expected 0, came ", errno_text(status));
}

void marks(bench &table) {
  instance &in = table.open();
  needs_streams(in.on().ops);
  expect(passed(in, 0x7fff'0000'0000'0001) == -EINVAL,
         "mark_passed of what is no mark: expected -EINVAL");
  std::vector<uint64_t> all;
  for (int i = 0; i < 20; ++i) all.push_back(record(in));
  std::vector<uint64_t> apart = all;
  std::sort(apart.begin(), apart.end());
  expect(std::unique(apart.begin(), apart.end()) == apart.end(),
         "mark_record gave one mark twice before it was passed");
  for (const uint64_t mark : all) expect_passes(table, in, mark);
  expect_passes(table, in, record(in));
  expect_waits(in, in.on().ops.stream_wait, "stream_wait");
}

/// With and without a mark, mixed: all complete, with their own bytes.
void copies_behind_marks(bench &table) {
  instance &in = table.open();
  needs_streams(in.on().ops);
  if (in.on().ops.stream_wait_marked == nullptr) {
    skip("its copies begin behind no marks (stream_wait_marked is NULL)");
  }
  const uint64_t bytes = 70'000, count = 24;
  unsigned char *frame = table.frames(in, bytes * count);
  unsigned char *sent = table.memory(in, bytes * count), *got = table.memory(in, bytes * count);
  for (uint64_t i = 0; i < bytes * count; ++i)
    sent[i] = static_cast<unsigned char>(i * 11 + i / 999);
  const uint64_t first = record(in), second = record(in);
  for (const bool out : {false, true}) {
    std::vector<cubby_backend_io> ios;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t at = i * bytes;
      ios.push_back(out ? copy_io(i, out_op, got + at, frame + at, bytes)
                        : copy_io(i, in_op, frame + at, sent + at, bytes));
      ios.back().offset_bytes = i % 3 == 0 ? 0 : i % 3 == 1 ? first : second;
    }
    for (const auto &[cookie, done] : in.run(ios)) {
      expect(done.error == 0, op_name(out ? out_op : in_op), " with cookie ", cookie,
             ", of which two in three begin behind a mark: expected no error, came ",
             errno_text(done.error));
    }
    expect_waits(in, in.on().ops.stream_wait_marked, "stream_wait_marked");
    expect_waits(in, in.on().ops.stream_wait, "stream_wait");
  }
  const auto differs = std::mismatch(sent, sent + bytes * count, got);
  expect(differs.first == sent + bytes * count, "copies behind marks: byte ", differs.first - sent,
         " came back changed");
  expect_passes(table, in, first);
  expect_passes(table, in, second);
}

void no_such_mark(bench &table) {
  instance &in = table.open();
  needs_streams(in.on().ops);
  if (in.on().ops.stream_wait_marked == nullptr) skip("its copies begin behind no marks");
  const uint64_t mark = record(in);
  expect_passes(table, in, mark);
  unsigned char *frame = table.frames(in, 4096), *host = table.memory(in, 4096);
  for (const uint64_t wrong : {mark, uint64_t{0x7fff'0000'0000'0001}}) {
    auto io = copy_io(1, in_op, frame, host, 4096);
    io.offset_bytes = wrong;
    const auto done = in.run_one(io);
    expect(done.error == EINVAL,
           "COPY_IN behind what is no mark (any more): expected EINVAL, came ",
           errno_text(done.error));
  }
  table.expect_good(in.run(table.some_ios(in, 4, 10)), 4);
}

/// The device is the one that config.device -1 opened: the first.
void copies_between_instances(bench &table) {
  instance &in = table.open(), &other = table.open();
  const auto reads_from = in.on().ops.copies_from;
  if (reads_from == nullptr) skip("bytes go from device to device through the host");
  {
    const under_way call(in.on(), "copies_from");
    expect(reads_from(in.self(), 0) == 1, "copies_from of its own device: expected 1");
    expect(reads_from(in.self(), 7777) == 0,
           "copies_from of a device that is not there: expected 0");
  }
  const uint64_t bytes = 300'000, count = 7;
  unsigned char *theirs = table.frames(other, bytes * count),
                *ours = table.frames(in, bytes * count);
  unsigned char *sent = table.memory(in, bytes * count), *got = table.memory(in, bytes * count);
  for (uint64_t i = 0; i < bytes * count; ++i)
    sent[i] = static_cast<unsigned char>(i * 13 + i / 777);
  const auto run = [&](instance &by, uint32_t op, unsigned char *to, const unsigned char *from) {
    std::vector<cubby_backend_io> ios;
    for (uint64_t i = 0; i < count; ++i) {
      ios.push_back(copy_io(i, op, to + i * bytes, from + i * bytes, bytes));
    }
    for (const auto &[cookie, done] : by.run(ios)) {
      expect(done.error == 0, op_name(op), " between two instances: expected no error, came ",
             errno_text(done.error));
    }
  };
  run(other, in_op, theirs, sent);
  run(in, CUBBY_BACKEND_COPY_PEER, ours, theirs);
  if (in.on().ops.stream_wait != nullptr) expect_waits(in, in.on().ops.stream_wait, "stream_wait");
  run(in, out_op, got, ours);
  const auto differs = std::mismatch(sent, sent + bytes * count, got);
  expect(differs.first == sent + bytes * count, "COPY_PEER: byte ", differs.first - sent,
         " came changed");
}

}  // namespace

void add_stream_checks(std::vector<check> &all) {
  all.push_back({"stream: marks are passed once", CUBBY_CAP_MEMORY, marks});
  all.push_back({"copy: behind marks", CUBBY_CAP_MEMORY, copies_behind_marks});
  all.push_back({"copy: behind what is no mark", CUBBY_CAP_MEMORY, no_such_mark});
  all.push_back({"copy: from another instance", CUBBY_CAP_MEMORY, copies_between_instances});
}

}  // namespace cubby_conformance
