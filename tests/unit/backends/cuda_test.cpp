// What the cuda backend does beyond the suite that all backends pass: its answers where there is no
// driver or no memory, where a copy or the device fails, and its order with a program's streams.
#include "cuda/cuda.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/fake_cuda.hpp"
#include "support/services.hpp"

using cubby_test::fake_cuda;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;
const cubby_backend_ops &ops = *cubby_cuda_backend();

/// An instance over a driver that needs no GPU. Nothing of the driver's runs but in step().
struct device_fixture {
  fake_cuda driver;
  cubby_test::test_services host;
  cubby_backend_services services = host.services();
  cubby_backend *self = nullptr;
  std::vector<unsigned char> bytes = std::vector<unsigned char>(4 * mib, 0x5A);

  explicit device_fixture(const cubby_test::fake_cuda_options &with = {}) : driver(with) {
    REQUIRE(open() == 0);
    driver.set_progress(0);
  }
  ~device_fixture() {
    if (self == nullptr) return;
    ops.memory_unregister(self, bytes.data(), bytes.size());
    ops.close(self);
    CHECK(driver.count().registered == 0);
    CHECK(driver.count().contexts == 0);
  }
  device_fixture(const device_fixture &) = delete;
  device_fixture &operator=(const device_fixture &) = delete;

  int32_t open(int32_t device = 0) {
    cubby_backend_config config{};
    config.struct_size = sizeof config;
    config.device = device;
    config.user = const_cast<cubby_cuda::driver_table *>(driver.table());
    return ops.open(&services, &config, &self);
  }
  unsigned char *frames(uint64_t size) {
    cubby_backend_memory out{};
    out.struct_size = sizeof out;
    REQUIRE(ops.memory_reserve(self, size, &out) == 0);
    return static_cast<unsigned char *>(out.base);
  }
  void register_bytes() { REQUIRE(ops.memory_register(self, bytes.data(), bytes.size()) == 0); }
  uint32_t copy_in(unsigned char *to, uint64_t size, uint64_t cookie = 1) {
    cubby_backend_io io{};
    io.cookie = cookie;
    io.op = CUBBY_BACKEND_COPY_IN;
    io.memory = to;
    io.source = bytes.data();
    io.bytes = size;
    return ops.submit(self, 1000, &io, 1);
  }
  std::vector<cubby_backend_done> reap() {
    std::array<cubby_backend_done, 8> out{};
    uint64_t next = 0;
    const uint32_t count = ops.reap(self, 1000, out.data(), 8, &next);
    return {out.begin(), out.begin() + count};
  }
  [[nodiscard]] std::string last_line() const {
    return host.lines.empty() ? "" : host.lines.back();
  }
};

bool says(const std::string &line, const char *word) {
  INFO(line);
  return line.find(word) != std::string::npos;
}

}  // namespace

TEST_CASE("a machine without a driver: cause and remedy") {
  const auto absent = cubby_cuda::load_driver("libcuda_that_is_not_there.so.1");
  CHECK(says(absent.why_not, "not installed"));
  CHECK(says(absent.why_not, "install the NVIDIA driver"));
  // A library that is no driver has not its functions.
  const auto other = cubby_cuda::load_driver("libc.so.6");
  CHECK(says(other.why_not, "has no cuInit"));
}

TEST_CASE("a device that is not there") {
  device_fixture f;
  cubby_backend *const first = f.self;
  CHECK(f.open(3) == -ENOTSUP);
  CHECK(says(f.last_line(), "no device 3"));
  f.self = first;
}

TEST_CASE("memory: whole granules, given back, and no more than the card has") {
  device_fixture f({.memory_bytes = 16 * mib});
  cubby_backend_memory out{};
  out.struct_size = sizeof out;
  REQUIRE(ops.memory_reserve(f.self, 5 * mib, &out) == 0);
  CHECK(out.bytes == 5 * mib);
  CHECK(f.driver.count().memory_bytes == 6 * mib);
  CHECK(reinterpret_cast<uintptr_t>(out.base) % (2 * mib) == 0);
  unsigned char last = 1;
  f.driver.read(static_cast<unsigned char *>(out.base) + 5 * mib - 1, &last, 1);
  CHECK(last == 0);

  f.driver.take_elsewhere(8 * mib);  // 2 MiB are left
  cubby_backend_memory more{};
  more.struct_size = sizeof more;
  CHECK(ops.memory_reserve(f.self, 4 * mib, &more) == -ENOMEM);
  CHECK(says(f.last_line(), "2097152 of 16777216 bytes free"));
  CHECK(ops.memory_reserve(f.self, 2 * mib, &more) == 0);
  ops.memory_release(f.self, &more);
  ops.memory_release(f.self, &out);
  CHECK(f.driver.count().memory_bytes == 0);
}

TEST_CASE("copies of registered memory make nobody wait, and end when the device is done") {
  device_fixture f;
  f.register_bytes();
  unsigned char *to = f.frames(4 * mib);
  const auto before = f.driver.count();
  REQUIRE(f.copy_in(to, 3 * mib) == 1);
  CHECK(f.reap().empty());
  while (f.driver.step(1) != 0) {
  }
  const auto done = f.reap();
  REQUIRE(done.size() == 1);
  CHECK(done[0].error == 0);
  CHECK(done[0].bytes == 3 * mib);
  CHECK(f.driver.count().host_syncs == before.host_syncs);
  CHECK(f.driver.count().unregistered_copies == before.unregistered_copies);
  unsigned char seen = 0;
  f.driver.read(to + 3 * mib - 1, &seen, 1);
  CHECK(seen == 0x5A);
}

TEST_CASE("memory that cannot be registered is said once, and copied all the same") {
  device_fixture f;
  f.driver.refuse_registration();
  CHECK(ops.memory_register(f.self, f.bytes.data(), mib) < 0);
  CHECK(says(f.last_line(), "ulimit -l"));
  const size_t lines = f.host.lines.size();
  CHECK(ops.memory_register(f.self, f.bytes.data() + mib, mib) < 0);
  CHECK(f.host.lines.size() == lines);
  cubby_backend_info info{};
  info.struct_size = sizeof info;
  REQUIRE(ops.describe(f.self, &info) == 0);
  CHECK(info.registered == 0);
  REQUIRE(f.copy_in(f.frames(mib), mib) == 1);
  while (f.driver.step(1) != 0) {
  }
  CHECK(f.reap().at(0).error == 0);
  CHECK(f.driver.count().unregistered_copies == 1);
}

TEST_CASE("a copy that is refused is one copy's error") {
  device_fixture f;
  f.register_bytes();
  unsigned char *to = f.frames(4 * mib);
  f.driver.refuse_copy(2);
  for (uint64_t cookie = 1; cookie <= 3; ++cookie) REQUIRE(f.copy_in(to, 1000, cookie) == 1);
  // Nobody may be let go behind copies of which one was never begun.
  CHECK(ops.stream_wait(f.self, f.driver.make_stream()) == -EAGAIN);
  while (f.driver.step(1) != 0) {
  }
  const auto done = f.reap();
  REQUIRE(done.size() == 3);
  for (const cubby_backend_done &one : done) CHECK(one.error == (one.cookie == 2 ? EIO : 0));
  CHECK(ops.stream_wait(f.self, f.driver.make_stream()) == 0);
}

TEST_CASE("a lost device ends what is in flight, and says it once") {
  device_fixture f;
  f.register_bytes();
  unsigned char *to = f.frames(4 * mib);
  uint64_t mark = 0;
  const uint64_t stream = f.driver.make_stream();
  REQUIRE(ops.mark_record(f.self, stream, &mark) == 0);
  REQUIRE(f.copy_in(to, 3 * mib) == 1);
  f.driver.lose_device();
  const auto done = f.reap();
  REQUIRE(done.size() == 1);
  CHECK(done[0].error == ENODEV);
  CHECK(done[0].bytes == 0);
  CHECK(says(f.last_line(), "is lost"));
  const size_t lines = f.host.lines.size();
  REQUIRE(f.copy_in(to, 3 * mib) == 1);
  CHECK(f.reap().at(0).error == ENODEV);
  CHECK(ops.mark_passed(f.self, mark) == -ENODEV);
  CHECK(ops.mark_record(f.self, stream, &mark) == -ENODEV);
  CHECK(ops.stream_wait(f.self, stream) == -ENODEV);
  cubby_backend_memory out{};
  out.struct_size = sizeof out;
  CHECK(ops.memory_reserve(f.self, mib, &out) == -ENODEV);
  CHECK(f.host.lines.size() == lines);
}

TEST_CASE("a stream's work waits for the copies before it") {
  const uint64_t seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
  device_fixture f({.seed = seed});
  f.register_bytes();
  unsigned char *to = f.frames(4 * mib);
  const uint64_t stream = f.driver.make_stream();
  REQUIRE(f.copy_in(to, 3 * mib) == 1);
  REQUIRE(ops.stream_wait(f.self, stream) == 0);
  unsigned char seen = 0;
  f.driver.launch(stream, [&] { f.driver.read(to + 3 * mib - 1, &seen, 1); });
  while (f.driver.step(1) != 0) {
  }
  CHECK(seen == 0x5A);
}

TEST_CASE("a mark is passed when the work before it is over") {
  device_fixture f;
  const uint64_t stream = f.driver.make_stream();
  bool ran = false;
  f.driver.launch(stream, [&] { ran = true; });
  uint64_t mark = 0;
  REQUIRE(ops.mark_record(f.self, stream, &mark) == 0);
  CHECK(mark != 0);
  CHECK(ops.mark_passed(f.self, mark) == 0);
  while (f.driver.step(1) != 0) {
  }
  CHECK(ran);
  CHECK(ops.mark_passed(f.self, mark) == 1);
  CHECK(ops.mark_passed(f.self, mark) == -EINVAL);  // it was given back
  const uint64_t events = f.driver.count().events;
  for (int i = 0; i < 100; ++i) {
    REQUIRE(ops.mark_record(f.self, stream, &mark) == 0);
    f.driver.step(1);
    CHECK(ops.mark_passed(f.self, mark) == 1);
  }
  CHECK(f.driver.count().events == events);
  CHECK(ops.mark_record(f.self, 424242, &mark) == -EINVAL);  // no stream
  f.driver.capture(stream, true);
  CHECK(ops.mark_record(f.self, stream, &mark) == -ENOTSUP);
  CHECK(ops.stream_wait(f.self, stream) == -ENOTSUP);
}

TEST_CASE("the driver without a GPU refuses in a capture what CUDA refuses") {
  using namespace cubby_cuda;
  fake_cuda driver;
  const driver_table &call = *driver.table();
  const auto stream_at = [](uint64_t handle) {
    return reinterpret_cast<cubby_cuda::stream>(handle);
  };
  const uint64_t captured = driver.make_stream(), other = driver.make_stream();
  context here = nullptr;
  REQUIRE(call.context_retain(&here, 0) == success);
  REQUIRE(call.context_push(here) == success);
  event before = nullptr, within = nullptr;
  REQUIRE(call.event_create(&before, 0) == success);
  REQUIRE(call.event_create(&within, 0) == success);
  REQUIRE(call.event_record(before, stream_at(other)) == success);
  allocation_properties of;
  memory_handle memory = 0;
  std::vector<char> bytes(4096);
  const auto all = [&] {
    return std::array{call.event_query(before), call.stream_synchronize(stream_at(other)),
                      call.memory_create(&memory, 2 << 20, &of, 0),
                      call.host_register(bytes.data(), bytes.size(), 0)};
  };
  driver.capture(captured, true);
  for (const status came : all()) CHECK(came == capture_unsupported);
  CHECK(driver.count().broken_captures == 4);
  int mode = capture_mode_relaxed;
  call.exchange_capture_mode(&mode);
  const auto relaxed = all();
  CHECK((relaxed[0] == success || relaxed[0] == not_ready));
  for (size_t i = 1; i < relaxed.size(); ++i) CHECK(relaxed[i] == success);
  CHECK(driver.count().broken_captures == 4);

  // Whatever the mode: what has no end, and what would tie the graph to work outside.
  int is_capturing = 0;
  CHECK(call.stream_synchronize(stream_at(captured)) == capture_unsupported);
  REQUIRE(call.event_record(within, stream_at(captured)) == success);
  CHECK(call.event_query(within) == captured_event);
  CHECK(call.stream_wait_event(stream_at(captured), before, 0) == capture_isolation);
  CHECK(call.stream_synchronize(legacy_stream()) == capture_implicit);
  CHECK(call.event_record(before, legacy_stream()) == capture_implicit);
  CHECK(call.stream_is_capturing(legacy_stream(), &is_capturing) == capture_implicit);
  CHECK(driver.count().broken_captures == 9);
  call.exchange_capture_mode(&mode);

  // What it is given meanwhile runs when the graph is launched, each time.
  int ran = 0;
  driver.launch(captured, [&ran] { ++ran; });
  driver.step(100);
  driver.capture(captured, false);
  driver.step(100);
  CHECK(ran == 0);
  for (int launch = 1; launch <= 2; ++launch) {
    driver.replay(captured);
    driver.step(100);
    CHECK(ran == launch);
  }
  call.event_destroy(before);
  call.event_destroy(within);
  call.context_pop(&here);
  call.context_release(0);
}

TEST_CASE("lent memory has to be the device's") {
  device_fixture f({.devices = 2});
  const auto *mine = static_cast<unsigned char *>(f.driver.allocate(4 * mib));
  CHECK(ops.memory_check(f.self, mine, 4 * mib) == 0);
  CHECK(ops.memory_check(f.self, mine + 100, 4 * mib) == -EINVAL);
  CHECK(ops.memory_check(f.self, f.driver.allocate(2 * mib, 1), 2 * mib) == -EINVAL);
  CHECK(ops.memory_check(f.self, f.bytes.data(), mib) == -EINVAL);
  CHECK(says(f.last_line(), "not of device 0"));
}

TEST_CASE("small copies are given to the driver by one call where it takes that") {
  const bool batches = GENERATE(false, true);
  const bool in = GENERATE(false, true);
  device_fixture f({.batches = batches});
  f.register_bytes();
  unsigned char *const frame = f.frames(4 * mib);
  constexpr uint32_t count = 8;
  constexpr uint64_t size = 64 << 10, apart = 100 << 10;
  for (uint32_t i = 0; i < count; ++i) {
    std::vector<unsigned char> content(size, static_cast<unsigned char>(i + 1));
    if (in) {
      std::memcpy(f.bytes.data() + i * apart, content.data(), size);
    } else {
      f.driver.write(frame + i * apart, content.data(), size);
    }
  }
  std::array<cubby_backend_io, count> ios{};
  for (uint32_t i = 0; i < count; ++i) {
    ios[i].cookie = i + 1;
    ios[i].op = in ? CUBBY_BACKEND_COPY_IN : CUBBY_BACKEND_COPY_OUT;
    unsigned char *const host = f.bytes.data() + i * apart, *const there = frame + i * apart;
    ios[i].memory = in ? there : host;
    ios[i].source = in ? host : there;
    ios[i].bytes = size;
  }
  const auto all = [&](uint32_t refused) {
    if (refused != 0) f.driver.refuse_copy(refused);
    const auto before = f.driver.count().copy_calls;
    REQUIRE(ops.submit(f.self, 1000, ios.data(), count) == count);
    const auto calls = f.driver.count().copy_calls - before;
    while (f.driver.step(64) != 0) {
    }
    uint32_t came = 0;
    for (const cubby_backend_done &done : f.reap()) {
      ++came;
      INFO(done.cookie);
      CHECK(done.error == (done.cookie == refused ? EIO : 0));
      CHECK(done.bytes == (done.cookie == refused ? 0 : size));
    }
    CHECK(came == count);
    return calls;
  };
  // 512 KiB, by one call or by one each.
  CHECK(all(0) == (batches ? 1 : count));
  for (uint32_t i = 0; i < count; ++i) {
    std::vector<unsigned char> seen(apart, 0);
    if (in) {
      f.driver.read(frame + i * apart, seen.data(), apart);
    } else {
      std::memcpy(seen.data(), f.bytes.data() + i * apart, apart);
    }
    const unsigned char beside = in ? 0 : 0x5A;
    CHECK(std::count(seen.begin(), seen.begin() + size, i + 1) == static_cast<long>(size));
    CHECK(std::count(seen.begin() + size, seen.end(), beside) == static_cast<long>(apart - size));
  }
  // One that is refused is not the others' error.
  all(3);
  CHECK(all(0) == (batches ? 1 : count));
  CHECK(f.driver.count().host_syncs == 1);  // of the reservation, which zeroes
}

TEST_CASE("large copies are calls of their own") {
  device_fixture f;
  f.register_bytes();
  unsigned char *const frame = f.frames(4 * mib);
  const auto before = f.driver.count();
  for (uint32_t i = 0; i < 3; ++i) CHECK(f.copy_in(frame + i * mib, mib, i + 1) == 1);
  CHECK(f.driver.count().copy_calls - before.copy_calls == 3);
  CHECK(f.driver.count().batches == before.batches);
  while (f.driver.step(64) != 0) {
  }
  CHECK(f.reap().size() == 3);
}

TEST_CASE("copies behind a mark begin when the stream is past it, and hold up no others") {
  device_fixture f;
  f.register_bytes();
  unsigned char *const frame = f.frames(2 * mib);
  const uint64_t stream = f.driver.make_stream();
  bool ran = false;
  f.driver.hold(true);
  f.driver.launch(stream, [&] { ran = true; });
  uint64_t mark = 0;
  REQUIRE(ops.mark_record(f.self, stream, &mark) == 0);
  f.driver.launch(stream, [&] { CHECK(f.driver.count().copies_in == 2); });
  cubby_backend_io io{};
  io.cookie = 9;
  io.op = CUBBY_BACKEND_COPY_IN;
  io.memory = frame;
  io.source = f.bytes.data();
  io.bytes = 4096;
  io.offset_bytes = mark;
  REQUIRE(ops.submit(f.self, 1000, &io, 1) == 1);
  CHECK(f.copy_in(frame + mib, 4096, 2) == 1);
  REQUIRE(ops.stream_wait_marked(f.self, stream) == 0);
  CHECK(f.reap().empty());
  f.driver.hold(false);
  while (f.driver.step(64) != 0) {
  }
  CHECK(ran);
  CHECK(f.reap().size() == 2);
  CHECK(ops.mark_passed(f.self, mark) == 1);
  // A mark that is over is none.
  io.offset_bytes = mark;
  REQUIRE(ops.submit(f.self, 1000, &io, 1) == 1);
  const auto over = f.reap();
  REQUIRE(over.size() == 1);
  CHECK(over[0].error == EINVAL);
}
