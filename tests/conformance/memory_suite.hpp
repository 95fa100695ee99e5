// For backends with CUBBY_CAP_MEMORY.
#pragma once
#include "conformance/suite.hpp"

namespace conformance {

inline cubby_backend_io copy_io(uint64_t cookie, uint32_t op, void *to, const void *from,
                                uint64_t bytes) {
  cubby_backend_io io{};
  io.cookie = cookie;
  io.op = op;
  io.memory = to;
  io.source = from;
  io.bytes = bytes;
  return io;
}

TEST_CASE("copies go in and come out, also more than the depth") {
  opened instance(2);
  REQUIRE(instance);
  cubby_backend_memory frame{};
  frame.struct_size = sizeof frame;
  REQUIRE(instance.ops.memory_reserve(instance.self, 1u << 20, &frame) == 0);
  std::vector<unsigned char> sent(9 * 1000), got(9 * 1000);
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<unsigned char>(i * 7 + 1);
  auto base = static_cast<unsigned char *>(frame.base);
  std::vector<cubby_backend_io> in, out;
  for (std::size_t i = 0; i < 9; ++i) {
    const std::size_t at = i * 1000;
    in.push_back(copy_io(i, CUBBY_BACKEND_COPY_IN, base + at, &sent[at], 1000));
    out.push_back(copy_io(i, CUBBY_BACKEND_COPY_OUT, &got[at], base + at, 1000));
  }
  for (const auto &[cookie, done] : instance.run(in)) CHECK(done.bytes == 1000);
  for (const auto &[cookie, done] : instance.run(out)) CHECK(done.error == 0);
  CHECK(sent == got);
  instance.ops.memory_release(instance.self, &frame);
  CHECK(instance.house.memory_out == 0);
}

TEST_CASE("an operation that is not a copy completes with an error") {
  opened instance;
  REQUIRE(instance);
  CHECK(instance.run_one(copy_io(5, CUBBY_BACKEND_READ, nullptr, nullptr, 4096)).error == EINVAL);
}

TEST_CASE("an emulated link holds completions back, one after the other") {
  opened instance(8, 1'000'000, 1'000'000'000);  // 1 ms and 1 byte a ns
  REQUIRE(instance);
  CHECK(instance.info().emulated == 1);
  std::vector<unsigned char> from(4096, 3), to(8192, 0);
  const cubby_backend_io ios[2] = {
      copy_io(1, CUBBY_BACKEND_COPY_IN, to.data(), from.data(), 4096),
      copy_io(2, CUBBY_BACKEND_COPY_IN, to.data() + 4096, from.data(), 4096)};
  const uint64_t start = 5'000'000'000, first = start + 4096 + 1'000'000, second = first + 4096;
  REQUIRE(instance.ops.submit(instance.self, start, ios, 2) == 2);
  cubby_backend_done done[2];
  uint64_t next = 0;
  CHECK(instance.ops.reap(instance.self, first - 1, done, 2, &next) == 0);
  CHECK(next == first);
  CHECK(instance.ops.reap(instance.self, first, done, 2, &next) == 1);
  CHECK(done[0].cookie == 1);
  CHECK(next == second);
  CHECK(instance.ops.reap(instance.self, second, done, 2, &next) == 1);
  CHECK(done[0].cookie == 2);
  CHECK(next == ~uint64_t{0});
}

}  // namespace conformance
