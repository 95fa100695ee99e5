// A whole runtime with a tier of device memory, over a driver that needs no GPU: right bytes in the
// device, in the order of the program's streams and without making a host thread wait for the
// device; and what is left of it when memory, a copy or the whole device fails.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "api/in_process.hpp"
#include "cuda/cuda.hpp"
#include "support/fake_cuda.hpp"
#include "unit/api/runtime_fixture.hpp"

using namespace api_test;
using cubby_test::fake_cuda;

namespace {

constexpr int64_t long_ns = 30'000'000'000;
constexpr int64_t short_ns = 30'000'000;
constexpr uint64_t mib = 1 << 20;
constexpr uint32_t locker_count = weights::rows * weights::columns;

struct device_fixture {
  fake_cuda driver;
  weights w;
  runtime_fixture h;
  cubby_tier device = 0, host = 0;
  uint64_t stream = 0;

  explicit device_fixture(const cubby_test::fake_cuda_options &with = {},
                          uint32_t pump = CUBBY_PUMP_CALLER)
      : driver(with), h(pump) {
    auto *table = const_cast<cubby_cuda::driver_table *>(driver.table());
    REQUIRE(cubby::api::register_backend(h.rt, cubby_cuda_backend(), table) == CUBBY_OK);
    stream = driver.make_stream();
  }
  device_fixture(const device_fixture &) = delete;
  device_fixture &operator=(const device_fixture &) = delete;

  cubby_status add(uint64_t budget, const cubby_region *memory = nullptr, uint32_t count = 0,
                   int32_t ordinal = 0) {
    const std::string name = "device:" + std::to_string(ordinal);
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "cuda";
    desc.name = name.c_str();
    desc.device = ordinal;
    desc.budget_bytes = budget;
    desc.memory = memory;
    desc.memory_count = count;
    return cubby_tier_add(h.rt, &desc, &device);
  }
  /// A device before host memory, before a file.
  void set_up(uint64_t device_bytes, uint64_t host_bytes, uint32_t host_flags = 0) {
    const cubby_status added = add(device_bytes);
    INFO(explain());
    REQUIRE(added == CUBBY_OK);
    if (host_bytes != 0) host = h.tier("host:0", 1, host_bytes, 0, host_flags);
    h.map(w);
  }
  [[nodiscard]] cubby_sync in_stream() const {
    cubby_sync sync{};
    sync.struct_size = sizeof sync;
    sync.stream = stream;
    return sync;
  }
  [[nodiscard]] bool same(const void *at, uint32_t number, uint32_t part) {
    std::string seen(w.extent(number, part).bytes, '\0');
    driver.read(at, seen.data(), seen.size());
    return w.same(seen.data(), number, part);
  }
  void check_bytes(const std::vector<uint32_t> &numbers, const std::vector<const void *> &addr) {
    for (size_t i = 0; i < numbers.size(); ++i) {
      for (uint32_t part = 0; part < weights::parts; ++part) {
        INFO("locker " << numbers[i]);
        CHECK(same(addr[i * weights::parts + part], numbers[i], part));
      }
    }
  }

  struct held {
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    std::vector<uint32_t> numbers;
    std::vector<const void *> addr;
  };
  cubby_status pin_in_stream(const std::vector<uint32_t> &numbers, held &out) {
    return pin_in(in_stream(), numbers, out);
  }
  cubby_status pin_in(const cubby_sync &sync, const std::vector<uint32_t> &numbers, held &out) {
    cubby_how how{};
    how.struct_size = sizeof how;
    how.sync = &sync;
    const auto wanted = h.items(numbers);
    out.numbers = numbers;
    out.addr.assign(numbers.size() * weights::parts, nullptr);
    return cubby_pin(h.rt, wanted.data(), static_cast<uint32_t>(wanted.size()), device, &how,
                     &out.pins, out.addr.data(), &out.ticket);
  }
  cubby_status unpin_in_stream(const held &set) {
    const cubby_sync sync = in_stream();
    return cubby_unpin(h.rt, set.pins, 0, 0, &sync);
  }
  /// A kernel that reads a set when its turn comes.
  void launch_reader(const held &set, std::atomic<uint32_t> &right, std::atomic<uint32_t> &ran) {
    launch_reader(stream, set, right, ran);
  }
  void launch_reader(uint64_t in, const held &set, std::atomic<uint32_t> &right,
                     std::atomic<uint32_t> &ran) {
    driver.launch(in, [this, set, &right, &ran] {
      for (size_t i = 0; i < set.numbers.size(); ++i) {
        for (uint32_t part = 0; part < weights::parts; ++part) {
          if (same(set.addr[i * weights::parts + part], set.numbers[i], part)) ++right;
        }
      }
      ++ran;
    });
  }
  void run_all() {
    while (driver.step(64) != 0) {
    }
  }
};

/// Bytes of a device that something else changes.
struct block_of_bytes {
  const void *at;
  void flip(fake_cuda &driver) const {
    char byte = 0;
    driver.read(at, &byte, 1);
    byte = static_cast<char>(byte ^ 1);
    driver.write(const_cast<void *>(at), &byte, 1);
  }
};

cubby_error last() {
  cubby_error why{};
  why.struct_size = sizeof why;
  cubby_explain(&why, nullptr, 0);
  return why;
}

std::vector<uint32_t> all_numbers() {
  std::vector<uint32_t> numbers(locker_count);
  for (uint32_t i = 0; i < locker_count; ++i) numbers[i] = i;
  return numbers;
}

}  // namespace

TEST_CASE("lockers come to the device with the right bytes, and no host thread waits for it") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool threads = GENERATE(false, true);
  const uint64_t host_bytes = GENERATE(0u, 4u * mib, 16u * mib);
  device_fixture f({.seed = 3, .threads = threads}, pump);
  f.set_up(4 * mib, host_bytes);
  const auto before = f.driver.count();
  for (int round = 0; round < 2; ++round) {
    for (uint32_t first = 0; first < locker_count; first += 4) {
      const std::vector<uint32_t> numbers = {first, first + 1, first + 2, first + 3};
      std::vector<const void *> addr;
      cubby_pins pins = 0;
      const cubby_status status = f.h.pin(numbers, f.device, pins, addr);
      INFO(explain());
      REQUIRE(status == CUBBY_OK);
      f.check_bytes(numbers, addr);
      CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
    }
  }
  const auto after = f.driver.count();
  CHECK(after.host_syncs == before.host_syncs);
  CHECK(after.unregistered_copies == 0);
  CHECK(after.copies_in > before.copies_in);
  CHECK(f.h.stats(f.device).used_bytes <= 4 * mib);
  CHECK(f.h.stats(f.device).emulated == 0);
}

TEST_CASE("what leaves the device for an exclusive host tier comes back from there") {
  const bool threads = GENERATE(false, true);
  device_fixture f({.seed = 5, .threads = threads});
  f.set_up(4 * mib, 16 * mib, CUBBY_TIER_EXCLUSIVE);
  for (int round = 0; round < 3; ++round) {
    for (const uint32_t number : all_numbers()) {
      std::vector<const void *> addr;
      cubby_pins pins = 0;
      REQUIRE(f.h.pin({number}, f.device, pins, addr) == CUBBY_OK);
      f.check_bytes({number}, addr);
      CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
    }
  }
  CHECK(f.driver.count().copies_out != 0);
  CHECK(f.driver.count().unregistered_copies == 0);
  CHECK(f.h.stats(f.host).corrupt_count == 0);
}

TEST_CASE("a decode loop in a stream's order: right bytes, and 0 host synchronisations a token") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool threads = GENERATE(false, true);
  const uint64_t seed = GENERATE(1u, 2u);
  constexpr uint32_t tokens = 12, used = 3;
  device_fixture f({.seed = seed, .threads = threads}, pump);
  f.set_up(5 * mib, 16 * mib);  // about half of the lockers
  const auto before = f.driver.count();
  std::atomic<uint32_t> right = 0, ran = 0;
  uint32_t launched = 0, random = static_cast<uint32_t>(seed);
  for (uint32_t token = 0; token < tokens; ++token) {
    for (uint32_t row = 0; row < weights::rows; ++row) {
      random = random * 1664525 + 1013904223;
      const uint32_t first = random >> 16;
      std::vector<uint32_t> numbers;
      for (uint32_t i = 0; i < used; ++i) {
        numbers.push_back(row * weights::columns + (first + i * 3) % weights::columns);
      }
      device_fixture::held set;
      cubby_status status = f.pin_in_stream(numbers, set);
      if (status == CUBBY_PENDING) status = cubby_wait(f.h.rt, set.ticket, long_ns);
      INFO(explain());
      REQUIRE(status == CUBBY_OK);
      f.launch_reader(set, right, ran);
      ++launched;
      REQUIRE(f.unpin_in_stream(set) == CUBBY_OK);
    }
  }
  const auto after = f.driver.count();
  CHECK(after.host_syncs - before.host_syncs == 0);
  CHECK(after.unregistered_copies == 0);
  // The pump's thread may give the device more after it was run.
  while (ran.load() != launched) {
    if (!threads) f.run_all();
    std::this_thread::yield();
  }
  CHECK(right == launched * used * weights::parts);
}

TEST_CASE("threads with a stream each share the lockers of a device") {
  constexpr uint32_t thread_count = 3, steps = 40;
  device_fixture f({.seed = 9, .threads = true}, CUBBY_PUMP_THREAD);
  f.set_up(5 * mib, 16 * mib);
  const auto before = f.driver.count();
  std::atomic<uint32_t> right = 0, ran = 0, failed = 0;
  const auto decode = [&](uint32_t which) {
    cubby_sync sync = f.in_stream();
    sync.stream = f.driver.make_stream();
    for (uint32_t step = 0; step < steps; ++step) {
      const uint32_t first = (step * 5 + which * 3) % locker_count;
      device_fixture::held set;
      cubby_status status = f.pin_in(sync, {first, (first + 7) % locker_count}, set);
      if (status == CUBBY_PENDING) status = cubby_wait(f.h.rt, set.ticket, long_ns);
      if (status != CUBBY_OK) {
        ++failed;
        continue;
      }
      f.launch_reader(sync.stream, set, right, ran);
      // One after the other, as layers that are done give theirs up.
      if (cubby_unpin(f.h.rt, set.pins, 0, 1, &sync) != CUBBY_OK) ++failed;
      if (cubby_unpin(f.h.rt, set.pins, 1, 1, &sync) != CUBBY_OK) ++failed;
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < thread_count; ++i) threads.emplace_back(decode, i);
  for (std::thread &one : threads) one.join();
  CHECK(failed == 0);
  while (ran.load() != thread_count * steps) std::this_thread::yield();
  CHECK(right == thread_count * steps * 2 * weights::parts);
  CHECK(f.driver.count().host_syncs == before.host_syncs);
}

TEST_CASE("a pin in a stream's order is there before its copies are made") {
  device_fixture f;
  f.set_up(8 * mib, 16 * mib);
  std::vector<const void *> addr;
  cubby_pins in_host = 0;
  REQUIRE(f.h.pin({1, 2, 3}, f.host, in_host, addr) == CUBBY_OK);
  f.driver.hold(true);  // nothing of the device goes on
  const auto before = f.driver.count();
  device_fixture::held set;
  REQUIRE(f.pin_in_stream({1, 2, 3}, set) == CUBBY_PENDING);
  REQUIRE(cubby_wait(f.h.rt, set.ticket, long_ns) == CUBBY_OK);
  CHECK(f.driver.count().stream_waits == before.stream_waits + 1);  // once for the whole set
  CHECK(f.h.stats(f.device).used_bytes != 0);

  // Who does not work in a stream waits for the bytes; another set in a stream need not.
  cubby_ticket plain = 0;
  cubby_pins plain_pins = 0;
  const auto wanted = f.h.items({2});
  std::vector<const void *> plain_addr(weights::parts);
  REQUIRE(cubby_pin(f.h.rt, wanted.data(), 1, f.device, nullptr, &plain_pins, plain_addr.data(),
                    &plain) == CUBBY_PENDING);
  CHECK(cubby_wait(f.h.rt, plain, short_ns) == CUBBY_ERR_TIMEOUT);
  device_fixture::held joined;
  REQUIRE(f.pin_in_stream({2, 3}, joined) == CUBBY_PENDING);
  REQUIRE(cubby_wait(f.h.rt, joined.ticket, long_ns) == CUBBY_OK);
  CHECK(joined.addr[0] == set.addr[1 * weights::parts]);

  std::atomic<uint32_t> right = 0, ran = 0;
  f.launch_reader(set, right, ran);
  CHECK(f.unpin_in_stream(set) == CUBBY_OK);
  f.launch_reader(joined, right, ran);
  CHECK(f.unpin_in_stream(joined) == CUBBY_OK);
  CHECK(ran == 0);
  f.driver.hold(false);
  CHECK(cubby_wait(f.h.rt, plain, long_ns) == CUBBY_OK);
  f.run_all();
  CHECK(ran == 2);
  CHECK(right == 5 * weights::parts);
  f.check_bytes({2}, plain_addr);
  CHECK(cubby_unpin(f.h.rt, plain_pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, in_host, 0, 0, nullptr) == CUBBY_OK);
  cubby_poll(f.h.rt, 0, nullptr);
  CHECK(f.h.stats(f.device).pinned_bytes == 0);
  CHECK(f.driver.count().host_syncs == before.host_syncs);
}

TEST_CASE("frames are used again once the stream is past what was unpinned in its order") {
  device_fixture f;
  f.set_up(2 * mib, 16 * mib);  // five lockers
  device_fixture::held first;
  cubby_status status = f.pin_in_stream({0, 1, 2, 3, 4}, first);
  if (status == CUBBY_PENDING) status = cubby_wait(f.h.rt, first.ticket, long_ns);
  REQUIRE(status == CUBBY_OK);
  f.run_all();
  cubby_poll(f.h.rt, 0, nullptr);
  f.driver.hold(true);
  std::atomic<uint32_t> right = 0, ran = 0;
  f.launch_reader(first, right, ran);
  REQUIRE(f.unpin_in_stream(first) == CUBBY_OK);
  CHECK(f.unpin_in_stream(first) == CUBBY_ERR_STALE);
  CHECK(f.h.stats(f.device).pinned_bytes != 0);

  device_fixture::held second;
  REQUIRE(f.pin_in_stream({10, 11, 12, 13}, second) == CUBBY_PENDING);
  CHECK(cubby_wait(f.h.rt, second.ticket, short_ns) == CUBBY_ERR_TIMEOUT);
  // What is there may be pinned again meanwhile, and host memory does not wait for the device.
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({20}, f.host, pins, addr) == CUBBY_OK);
  CHECK(f.w.same(addr[0], 20, 0));
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);

  f.driver.hold(false);
  REQUIRE(cubby_wait(f.h.rt, second.ticket, long_ns) == CUBBY_OK);
  CHECK(ran == 1);
  CHECK(right == 5 * weights::parts);
  f.run_all();
  f.check_bytes(second.numbers, second.addr);
  CHECK(cubby_unpin(f.h.rt, second.pins, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE("a lent tensor of the device is the slot array") {
  device_fixture f;
  const bool strided = GENERATE(false, true);
  std::array<cubby_region, weights::parts> regions{};
  const uint64_t sizes[] = {320'000, 71'680};
  for (uint32_t i = 0; i < (strided ? weights::parts : 1); ++i) {
    cubby_region_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_MEMORY_DEVICE;
    desc.base = f.driver.allocate(4 * mib);
    if (strided) {
      desc.piece_bytes = desc.stride_bytes = sizes[i];
      desc.piece_count = 6;
    } else {
      desc.bytes = 4 * mib;
    }
    REQUIRE(cubby_region_add(f.h.rt, &desc, &regions[i]) == CUBBY_OK);
  }
  const cubby_status added = f.add(0, regions.data(), strided ? weights::parts : 1);
  INFO(explain());
  REQUIRE(added == CUBBY_OK);
  f.h.map(f.w);
  for (const uint32_t number : all_numbers()) {
    std::vector<const void *> addr;
    cubby_pins pins = 0;
    REQUIRE(f.h.pin({number}, f.device, pins, addr) == CUBBY_OK);
    f.check_bytes({number}, addr);
    CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }
  CHECK(f.driver.count().unregistered_copies == 0);
}

TEST_CASE("memory of the wrong kind is refused before anything is copied") {
  device_fixture f;
  std::vector<std::byte> plain(4 * mib);
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.base = plain.data();
  desc.bytes = plain.size();
  cubby_region of_host = 0, claimed = 0, of_device = 0;
  REQUIRE(cubby_region_add(f.h.rt, &desc, &of_host) == CUBBY_OK);
  desc.kind = CUBBY_MEMORY_DEVICE;
  REQUIRE(cubby_region_add(f.h.rt, &desc, &claimed) == CUBBY_OK);
  desc.base = f.driver.allocate(4 * mib);
  REQUIRE(cubby_region_add(f.h.rt, &desc, &of_device) == CUBBY_OK);
  CHECK(f.add(0, &of_host, 1) == CUBBY_ERR_INVALID);
  CHECK(f.add(0, &claimed, 1) == CUBBY_ERR_INVALID);
  cubby_tier_desc tier{};
  tier.struct_size = sizeof tier;
  tier.backend = "host";
  tier.name = "host:0";
  tier.memory = &of_device;
  tier.memory_count = 1;
  cubby_tier made = 0;
  CHECK(cubby_tier_add(f.h.rt, &tier, &made) == CUBBY_ERR_INVALID);
  CHECK(f.add(0, &of_device, 1) == CUBBY_OK);
}

TEST_CASE("streams that do not go with the tier are refused") {
  device_fixture f({.devices = 2});
  f.set_up(4 * mib, 4 * mib);
  std::vector<const void *> addr;
  cubby_pins pins = 0, other = 0;
  REQUIRE(f.h.pin({1}, f.device, pins, addr) == CUBBY_OK);
  cubby_sync sync = f.in_stream();
  sync.device = 1;
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, &sync) == CUBBY_ERR_INVALID);
  sync.device = 0;
  sync.stream = 77777;  // no stream
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, &sync) == CUBBY_ERR_INVALID);
  f.driver.capture(f.stream, true);
  sync.stream = f.stream;
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, &sync) == CUBBY_ERR_NOT_SUPPORTED);
  f.driver.capture(f.stream, false);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, &sync) == CUBBY_OK);
  REQUIRE(f.h.pin({1}, f.host, other, addr) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, other, 0, 0, &sync) == CUBBY_ERR_NOT_SUPPORTED);
  sync.stream = 0;
  CHECK(cubby_unpin(f.h.rt, other, 0, 0, &sync) == CUBBY_OK);
}

TEST_CASE("while a graph is captured calls in a stream's order are legal, and break nothing") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  device_fixture f({.seed = 4, .threads = pump == CUBBY_PUMP_THREAD}, pump);
  f.set_up(4 * mib, 4 * mib);
  const uint64_t other = f.driver.make_stream();
  cubby_sync in_other = f.in_stream();
  in_other.stream = other;
  device_fixture::held first, set, late, elsewhere;
  REQUIRE(f.pin_in_stream({1, 2}, first) >= CUBBY_OK);
  if (first.ticket != 0) REQUIRE(cubby_wait(f.h.rt, first.ticket, long_ns) == CUBBY_OK);
  f.run_all();
  REQUIRE(f.unpin_in_stream(first) == CUBBY_OK);
  REQUIRE(cubby_drain(f.h.rt, long_ns) == CUBBY_OK);  // the bytes have been seen to be there
  const auto before = f.driver.count();
  std::atomic<uint32_t> right{0}, ran{0};

  f.driver.capture(f.stream, true);
  // What is there makes no call of the driver; what is not is waited for, on the host.
  REQUIRE(f.pin_in_stream({1, 2}, set) == CUBBY_OK);
  f.launch_reader(set, right, ran);
  REQUIRE(f.pin_in_stream({9}, late) == CUBBY_PENDING);
  REQUIRE(cubby_wait(f.h.rt, late.ticket, long_ns) == CUBBY_OK);
  f.check_bytes({9}, late.addr);
  f.launch_reader(late, right, ran);
  CHECK(f.unpin_in_stream(set) == CUBBY_ERR_NOT_SUPPORTED);
  // Other streams have nothing to do with it, and neither has what the runtime does for them.
  REQUIRE(f.pin_in(in_other, {4, 10, 11}, elsewhere) >= CUBBY_OK);
  if (elsewhere.ticket != 0) REQUIRE(cubby_wait(f.h.rt, elsewhere.ticket, long_ns) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, elsewhere.pins, 0, 0, &in_other) == CUBBY_OK);
  cubby_slots view{};
  view.struct_size = sizeof view;
  CHECK(cubby_slots_add(f.h.rt, f.h.bank, f.device, &view) == CUBBY_OK);
  CHECK(cubby_slots_remove(f.h.rt, f.h.bank, f.device) == CUBBY_OK);
  cubby_sync in_default = f.in_stream();
  in_default.stream = 0;  // the default stream waits for the captured one
  CHECK(f.pin_in(in_default, {1}, elsewhere) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, elsewhere.pins, 0, 0, &in_default) == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(f.driver.count().broken_captures == 0);
  f.driver.capture(f.stream, false);

  CHECK(ran == 0);
  for (uint32_t launch = 1; launch <= 2; ++launch) {
    f.driver.replay(f.stream);
    while (ran != 2 * launch) {
      f.driver.step(1);
      std::this_thread::yield();
    }
  }
  CHECK(right == 2 * 3 * weights::parts);
  CHECK(f.unpin_in_stream(set) == CUBBY_OK);
  CHECK(f.unpin_in_stream(late) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, elsewhere.pins, 0, 0, nullptr) == CUBBY_OK);
  // But for the table's memory, which is filled before it is used.
  CHECK(f.driver.count().host_syncs == before.host_syncs + 1);
}

TEST_CASE("lockers move from device to device, by themselves or through the host") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool can = GENERATE(false, true), mapped = GENERATE(false, true);
  const bool peers = can && mapped;
  device_fixture f({.seed = 6,
                    .threads = pump == CUBBY_PUMP_THREAD,
                    .devices = 2,
                    .peers = can,
                    .peer_mappings = mapped},
                   pump);
  f.set_up(4 * mib, 0);
  const cubby_tier first = f.device;
  REQUIRE(f.add(4 * mib, nullptr, 0, 1) == CUBBY_OK);
  const cubby_tier second = f.device;
  const std::vector<uint32_t> numbers = {1, 2, 3, 9};
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin(numbers, first, pins, addr) == CUBBY_OK);
  f.check_bytes(numbers, addr);
  const std::vector<const void *> there = addr;
  REQUIRE(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);

  const auto before = f.driver.count();
  const uint64_t left_before = f.h.stats(first).bytes_out;
  device_fixture::held set;
  cubby_sync sync = f.in_stream();
  sync.device = 1;
  sync.stream = f.driver.make_stream(1);
  cubby_status status = f.pin_in(sync, numbers, set);
  if (status == CUBBY_PENDING) status = cubby_wait(f.h.rt, set.ticket, long_ns);
  INFO(explain());
  REQUIRE(status == CUBBY_OK);
  std::atomic<uint32_t> right = 0, ran = 0;
  f.launch_reader(sync.stream, set, right, ran);
  REQUIRE(cubby_unpin(f.h.rt, set.pins, 0, 0, &sync) == CUBBY_OK);
  if (pump == CUBBY_PUMP_CALLER) f.run_all();
  while (ran == 0) std::this_thread::yield();
  CHECK(right == numbers.size() * weights::parts);
  const auto after = f.driver.count();
  CHECK((after.copies_peer != before.copies_peer) == peers);
  CHECK((after.copies_out != before.copies_out) == !peers);
  CHECK(after.unregistered_copies == 0);
  CHECK(after.host_syncs == before.host_syncs);
  REQUIRE(cubby_drain(f.h.rt, long_ns) == CUBBY_OK);
  uint64_t bytes = 0;
  for (const uint32_t number : numbers) {
    for (uint32_t part = 0; part < weights::parts; ++part) bytes += f.w.extent(number, part).bytes;
  }
  CHECK(f.h.stats(first).bytes_out - left_before == bytes);
  CHECK(f.h.stats(second).bytes_in == bytes);

  // On its way through the host a flipped bit is found, and the file's bytes are taken.
  if (peers) return;
  const block_of_bytes damaged{there[0]};
  damaged.flip(f.driver);
  const auto wanted = f.h.items({1});
  cubby_status dropped = CUBBY_ERR_BUSY;  // until the runtime has seen that the stream is past it
  for (uint32_t i = 0; i < 10'000 && dropped == CUBBY_ERR_BUSY; ++i) {
    cubby_poll(f.h.rt, 0, nullptr);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    dropped = cubby_drop(f.h.rt, wanted.data(), 1, second);
  }
  REQUIRE(dropped == CUBBY_OK);
  REQUIRE(f.h.pin({1}, second, pins, addr) == CUBBY_OK);
  f.check_bytes({1}, addr);
  CHECK(f.h.stats(first).corrupt_count == 1);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE("a device's copy that cannot be had is read from the file") {
  const bool peers = GENERATE(false, true);
  device_fixture f({.seed = 7, .devices = 2, .peers = peers});
  f.set_up(4 * mib, 0);
  const cubby_tier first = f.device;
  REQUIRE(f.add(4 * mib, nullptr, 0, 1) == CUBBY_OK);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({5}, first, pins, addr) == CUBBY_OK);
  REQUIRE(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  f.driver.refuse_copy(1);
  const cubby_status status = f.h.pin({5}, f.device, pins, addr);
  INFO(explain());
  REQUIRE(status == CUBBY_OK);
  f.check_bytes({5}, addr);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE("a device without room is one tier's error") {
  device_fixture f({.memory_bytes = 8 * mib});
  CHECK(f.add(32 * mib) == CUBBY_ERR_NO_MEMORY);
  CHECK(last().needed_bytes == 32 * mib);
  f.set_up(6 * mib, 4 * mib);
  cubby_ticket ticket = 0;
  CHECK(cubby_tier_resize(f.h.rt, f.device, 64 * mib, &ticket) == CUBBY_ERR_NO_MEMORY);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({3, 4}, f.device, pins, addr) == CUBBY_OK);
  f.check_bytes({3, 4}, addr);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE("a copy that fails is one locker's error") {
  device_fixture f;
  f.set_up(8 * mib, 0);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  f.driver.refuse_copy(1);
  CHECK(f.h.pin({5}, f.device, pins, addr) == CUBBY_ERR_IO);
  CHECK(last().tier == f.device);
  REQUIRE(f.h.pin({5, 6}, f.device, pins, addr) == CUBBY_OK);
  f.check_bytes({5, 6}, addr);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);

  // One that was never begun lets no stream go on as if it had been.
  f.driver.hold(true);
  f.driver.refuse_copy(2);
  device_fixture::held set;
  REQUIRE(f.pin_in_stream({7, 8}, set) == CUBBY_PENDING);
  f.driver.hold(false);
  CHECK(cubby_wait(f.h.rt, set.ticket, long_ns) == CUBBY_PARTIAL);
  CHECK(cubby_unpin(f.h.rt, set.pins, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE("a lost device is bypassed, host memory and files go on") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  device_fixture f({.seed = 2, .threads = pump == CUBBY_PUMP_THREAD}, pump);
  f.set_up(8 * mib, 16 * mib);
  std::vector<const void *> addr;
  cubby_pins before = 0;
  REQUIRE(f.h.pin({1, 2}, f.device, before, addr) == CUBBY_OK);
  f.driver.hold(true);
  device_fixture::held early;  // has its addresses, and its copies will never be made
  REQUIRE(f.pin_in_stream({3, 4}, early) == CUBBY_PENDING);
  REQUIRE(cubby_wait(f.h.rt, early.ticket, long_ns) == CUBBY_OK);
  f.driver.lose_device();

  device_fixture::held later;
  cubby_status status = f.pin_in_stream({9}, later);
  if (status == CUBBY_PENDING) status = cubby_wait(f.h.rt, later.ticket, long_ns);
  CHECK(status == CUBBY_ERR_DEVICE);
  CHECK(f.pin_in_stream({10}, later) == CUBBY_ERR_DEVICE);
  CHECK(f.h.stats(f.device).health == 3);
  CHECK(f.unpin_in_stream(early) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, before, 0, 0, nullptr) == CUBBY_OK);
  for (const uint32_t number : {1u, 3u, 9u, 20u}) {
    cubby_pins pins = 0;
    REQUIRE(f.h.pin({number}, f.host, pins, addr) == CUBBY_OK);
    for (uint32_t part = 0; part < weights::parts; ++part) {
      CHECK(f.w.same(addr[part], number, part));
    }
    CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }
  // Nothing that was there is handed out any more.
  cubby_poll(f.h.rt, 0, nullptr);
  CHECK(f.pin_in_stream({1}, later) == CUBBY_ERR_DEVICE);
  CHECK(cubby_drain(f.h.rt, long_ns) == CUBBY_OK);
  CHECK(f.h.stats(f.device).used_bytes == 0);
}

TEST_CASE("without a driver the device is not supported, and other tiers go on") {
  if (cubby_cuda::machine_driver().why_not.empty()) {
    WARN("skipped: this machine has a CUDA driver");
    return;
  }
  runtime_fixture h(CUBBY_PUMP_CALLER);
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = "cuda";
  desc.name = "device:0";
  desc.budget_bytes = 4 * mib;
  cubby_tier made = 0;
  CHECK(cubby_tier_add(h.rt, &desc, &made) == CUBBY_ERR_NOT_SUPPORTED);
  cubby_log_line line{};
  REQUIRE(cubby_log_take(h.rt, &line, 1) == 1);
  INFO(line.text);
  CHECK(std::string(line.text).find("install the NVIDIA driver") != std::string::npos);
  CHECK(h.tier("host:0", 1, 4 * mib) != 0);
}
