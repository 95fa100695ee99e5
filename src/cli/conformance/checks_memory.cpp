// Frames and copies. Frames are looked at through COPY_OUT, since the CPU may not reach them.
#include <algorithm>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

constexpr uint32_t in_op = CUBBY_BACKEND_COPY_IN, out_op = CUBBY_BACKEND_COPY_OUT;

void expect_copied(instance &in, const cubby_backend_io &io) {
  const auto done = in.run_one(io);
  expect(done.error == 0, op_name(io.op), " of ", io.bytes, " bytes: expected no error, came ",
         errno_text(done.error));
}

// Aligned as backend.h says (bench::frames looks), zeroed, also where other frames have been.
void reserves_zeroed(bench &table) {
  instance &in = table.open();
  for (const uint64_t bytes : {4096u, 100'000u, 3u << 20}) {
    for (int round = 0; round < 2; ++round) {
      bench own(table.on());
      instance &lender = own.open();
      unsigned char *frame = own.frames(lender, bytes);
      unsigned char *seen = own.memory(lender, bytes);
      expect_copied(lender, copy_io(1, out_op, seen, frame, bytes));
      const auto dirty = std::find_if(seen, seen + bytes, [](unsigned char b) { return b != 0; });
      expect(dirty == seen + bytes, "memory_reserve of ", bytes, " bytes: byte ", dirty - seen,
             " is not zero");
      std::memset(seen, 0x99, bytes);  // for the next one to find, if it is not zeroed
      expect_copied(lender, copy_io(2, in_op, frame, seen, bytes));
      own.finish();
    }
  }
  const unsigned char *one = table.frames(in, 1u << 20), *other = table.frames(in, 1u << 20);
  expect(one + (1u << 20) <= other || other + (1u << 20) <= one,
         "memory_reserve gave the same memory twice");
}

void refuses_too_much(bench &table) {
  instance &in = table.open();
  cubby_backend_memory out{};
  out.struct_size = sizeof out;
  const int32_t status = in.memory_reserve(uint64_t{1} << 60, &out);
  expect(status < 0, "memory_reserve of 2^60 bytes: expected a negative errno, came ", status);
  table.frames(in, 4096);  // and it goes on working
}

void odd_sizes(bench &table, instance &in) {
  unsigned char *frame = table.frames(in, 2u << 20);
  const uint64_t sizes[] = {0, 1, 3, 7, 63, 64, 65, 511, 4095, 4096, 4097, (1u << 20) + 3};
  for (const uint64_t bytes : sizes) {
    for (const uint64_t skew : {0u, 1u, 5u}) {
      unsigned char *from = table.memory(in, bytes, skew), *to = table.memory(in, bytes, skew + 2);
      for (uint64_t i = 0; i < bytes; ++i) from[i] = static_cast<unsigned char>(i * 7 + bytes);
      expect_copied(in, copy_io(1, in_op, frame + skew * 3, from, bytes));
      expect_copied(in, copy_io(2, out_op, to, frame + skew * 3, bytes));
      const auto differs = std::mismatch(from, from + bytes, to);
      expect(differs.first == from + bytes, "COPY_IN then COPY_OUT of ", bytes, " bytes at frame +",
             skew * 3, ": byte ", differs.first - from, " came back changed");
    }
  }
}

// A backend that emulates a link may copy in another way behind one.
void odd_sizes_at_once_and_behind_a_link(bench &table) {
  odd_sizes(table, table.open());
  odd_sizes(table, table.open({8, 1000, 8'000'000'000}));
}

void many_copies(bench &table) {
  instance &in = table.open({2, 0, 0});
  const uint64_t bytes = 1000, count = 9;
  unsigned char *frame = table.frames(in, 1u << 20);
  unsigned char *sent = table.memory(in, bytes * count), *got = table.memory(in, bytes * count);
  for (uint64_t i = 0; i < bytes * count; ++i) sent[i] = static_cast<unsigned char>(i * 7 + 1);
  std::vector<cubby_backend_io> in_ios, out_ios;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = i * bytes;
    in_ios.push_back(copy_io(i, in_op, frame + at, sent + at, bytes));
    out_ios.push_back(copy_io(i, out_op, got + at, frame + at, bytes));
  }
  for (const auto *ios : {&in_ios, &out_ios}) {
    for (const auto &[cookie, done] : in.run(*ios)) {
      expect(done.error == 0, op_name((*ios)[0].op), " beside others: expected no error, came ",
             errno_text(done.error));
    }
  }
  expect(std::memcmp(sent, got, bytes * count) == 0, count,
         " copies in and out, more than the queue holds: other bytes came back");
}

void nothing_beside(bench &table) {
  instance &in = table.open();
  const uint64_t bytes = 3 * 4096;
  unsigned char *frame = table.frames(in, bytes);
  unsigned char *host = table.memory(in, bytes), *seen = table.memory(in, bytes);
  std::memset(host, 0x11, bytes);
  expect_copied(in, copy_io(1, in_op, frame, host, bytes));
  std::memset(host, 0x22, bytes);
  expect_copied(in, copy_io(2, in_op, frame + 4099, host, 1001));
  const auto wrong = in.run_one(copy_io(3, 88, frame + 100, host, 200));
  expect(wrong.error != 0, "an unknown operation completed without error");
  expect_copied(in, copy_io(4, out_op, seen, frame, bytes));
  for (uint64_t i = 0; i < bytes; ++i) {
    const bool inside = i >= 4099 && i < 4099 + 1001;
    expect(seen[i] == (inside ? 0x22 : 0x11), "COPY_IN of 1001 bytes at 4099: byte ", i,
           " of the frames is ", unsigned{seen[i]}, ", expected ", inside ? 0x22 : 0x11);
  }
}

// Where the CPU is said to reach the frames it reads what was copied, and copies read what it
// wrote.
void the_cpu_reaches_them(bench &table) {
  instance &in = table.open();
  if ((in.info().capabilities & CUBBY_CAP_HOST_ADDRESSABLE) == 0) {
    skip("its frames are not host-addressable");
  }
  unsigned char *frame = table.frames(in, 8192);
  unsigned char *host = table.memory(in, 4096);
  std::memset(host, 0x44, 4096);
  expect_copied(in, copy_io(1, in_op, frame, host, 4096));
  expect(std::memcmp(frame, host, 4096) == 0, "the CPU does not see what COPY_IN copied");
  std::memset(frame + 4096, 0x55, 4096);
  expect_copied(in, copy_io(2, out_op, host, frame + 4096, 4096));
  expect(host[0] == 0x55 && host[4095] == 0x55, "COPY_OUT does not see what the CPU wrote");
}

}  // namespace

void add_memory_checks(std::vector<check> &all) {
  all.push_back({"memory_reserve: aligned, zeroed, apart", CUBBY_CAP_MEMORY, reserves_zeroed});
  all.push_back({"memory_reserve: refuses too much", CUBBY_CAP_MEMORY, refuses_too_much});
  all.push_back(
      {"copy: odd sizes and addresses", CUBBY_CAP_MEMORY, odd_sizes_at_once_and_behind_a_link});
  all.push_back({"copy: more than the queue holds", CUBBY_CAP_MEMORY, many_copies});
  all.push_back({"copy: nothing beside the memory", CUBBY_CAP_MEMORY, nothing_beside});
  all.push_back(
      {"memory: the CPU reaches host-addressable frames", CUBBY_CAP_MEMORY, the_cpu_reaches_them});
}

}  // namespace cubby_conformance
