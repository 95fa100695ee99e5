// Slot tables over a driver that needs no GPU: work in a stream finds lockers by number, and what
// it finds has the right bytes until it lets go, while lockers come, go and fail.
#include <array>
#include <atomic>
#include <thread>

#include "api/in_process.hpp"
#include "cuda/cuda.hpp"
#include "support/fake_cuda.hpp"
#include "unit/api/runtime_fixture.hpp"

#include <cubby/cubby_device.cuh>

using namespace api_test;
namespace slot = cubby_device;
using cubby_test::fake_cuda;

namespace {

constexpr uint64_t mib = 1 << 20;
constexpr uint32_t locker_count = weights::rows * weights::columns;
constexpr uint32_t used = 3;  // lockers of a choice
/// Of waits in a kernel that are to end; far more than any takes.
// Half a minute and more: a busy machine is no failure.
constexpr uint32_t looks_max = 4'000'000'000;

struct slots_fixture {
  const uint32_t pump;
  fake_cuda driver;
  weights w;
  runtime_fixture h;
  cubby_tier device = 0, host = 0;
  uint64_t stream = 0;
  cubby_slots view{};  // as kernels get it

  explicit slots_fixture(const cubby_test::fake_cuda_options &with = {},
                         uint32_t by = CUBBY_PUMP_CALLER, uint32_t tickets_max = 0,
                         const char *policy = "lru")
      : pump(by), driver(with), h(by, tickets_max, policy) {
    auto *table = const_cast<cubby_cuda::driver_table *>(driver.table());
    REQUIRE(cubby::api::register_backend(h.rt, cubby_cuda_backend(), table) == CUBBY_OK);
    stream = driver.make_stream();
  }
  slots_fixture(const slots_fixture &) = delete;
  slots_fixture &operator=(const slots_fixture &) = delete;

  void add_device(uint64_t budget) {
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "cuda";
    desc.name = "device:0";
    desc.budget_bytes = budget;
    REQUIRE(cubby_tier_add(h.rt, &desc, &device) == CUBBY_OK);
  }
  void set_up(uint64_t device_bytes, uint64_t host_bytes, uint32_t host_flags = 0) {
    add_device(device_bytes);
    if (host_bytes != 0) host = h.tier("host:0", 1, host_bytes, 0, host_flags);
    h.map(w);
  }
  void add_table() {
    view.struct_size = sizeof view;
    const cubby_status added = cubby_slots_add(h.rt, h.bank, device, &view);
    INFO(explain());
    REQUIRE(added == CUBBY_OK);
  }
  /// The table as code on the processor reaches it; addresses of parts stay the device's.
  cubby_slots reached() {
    cubby_slots here = view;
    const uint64_t bytes = view.state + sizeof(slot::device_state) - view.entries;
    const auto at = reinterpret_cast<uintptr_t>(driver.reach(view.entries, bytes));
    for (uint64_t *one : {&here.entries, &here.asked, &here.part_offsets, &here.state}) {
      *one = at + (*one - view.entries);
    }
    here.shared = reinterpret_cast<uintptr_t>(driver.reach(view.shared, 64));
    return here;
  }
  [[nodiscard]] bool same(uint64_t at, uint32_t number, uint32_t part) {
    std::string seen(w.extent(number, part).bytes, '\0');
    driver.read(reinterpret_cast<void *>(at), seen.data(), seen.size());
    return w.same(seen.data(), number, part);
  }
  /// Are the bytes right that were found as `word`?
  bool is_right(const cubby_slots &here, uint32_t number, uint64_t word) {
    for (uint32_t part = 0; part < weights::parts; ++part) {
      if (!same(slot::address(here, number / weights::columns, part, word), number, part)) {
        return false;
      }
    }
    return true;
  }
  void poll() { cubby_poll(h.rt, 0, nullptr); }
  void run_all() {
    while (driver.step(64) != 0) {
    }
  }
  [[nodiscard]] uint64_t table_bytes() const {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    REQUIRE(cubby_stats(h.rt, &block, nullptr, 0) == CUBBY_OK);
    return block.table_bytes;
  }
  /// Everything the runtime and the device have to do.
  void settle() {
    for (int i = 0; i < 200; ++i) {
      poll();
      driver.step(8);
    }
  }
  /// The same until something is so; false: it never came.
  template <class So>
  bool settle_until(const So &so) {
    for (int i = 0; i < 3000; ++i) {
      if (so()) return true;
      settle();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  void touch(const std::vector<uint32_t> &numbers) {
    std::vector<const void *> addr;
    cubby_pins pins = 0;
    REQUIRE(h.pin(numbers, device, pins, addr) == CUBBY_OK);
    REQUIRE(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }
  /// What a kernel sees of each locker, when its turn comes.
  std::vector<uint64_t> words() {
    std::vector<uint64_t> out;
    const cubby_slots here = reached();
    for (uint32_t n = 0; n < locker_count; ++n) out.push_back(slot::find(here, n));
    return out;
  }
};

using choice = std::array<int32_t, used>;

/// What a decode step's kernels do: look a choice up, wait for it, read it, let it go.
struct reader {
  slots_fixture &f;
  std::atomic<uint32_t> ran{0}, wrong{0}, refused{0}, late{0};

  void launch(uint32_t row, const choice &chosen) {
    f.driver.launch(f.stream, [this, row, chosen] { run(row, chosen); });
  }
  void run(uint32_t row, const choice &chosen) {
    const cubby_slots here = f.reached();
    std::array<uint64_t, used> words{};
    const int got = slot::acquire(here, row, chosen.data(), used, words.data(), looks_max);
    if (got == slot::refused) ++refused;
    if (got == slot::missing) ++late;
    if (got == slot::found) {
      for (uint32_t i = 0; i < used; ++i) {
        const uint32_t number = row * weights::columns + static_cast<uint32_t>(chosen[i]);
        if (!f.is_right(here, number, words[i])) ++wrong;
      }
      slot::leave(here);
    }
    ++ran;
  }
  void wait_for(uint32_t count) const {
    while (ran.load() != count) std::this_thread::yield();
  }
  /// The same, for work that may stand still for good; false: it does.
  [[nodiscard]] bool ends(uint32_t count) const {
    for (int i = 0; i < 6000 && ran.load() != count; ++i) {
      if (f.pump == CUBBY_PUMP_CALLER) f.poll();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return ran.load() == count;
  }
};

choice choice_of(uint32_t random) {
  choice out{};
  for (uint32_t i = 0; i < used; ++i) {
    out[i] = static_cast<int32_t>((random + i * 3) % weights::columns);
  }
  return out;
}

}  // namespace

TEST_CASE("a table lists what is resident when it is made, and what comes and goes later") {
  slots_fixture f;
  f.set_up(8 * mib, 0);
  f.touch({1, 2, 9});
  f.add_table();
  CHECK(f.view.layout == CUBBY_SLOTS_LAYOUT);
  CHECK(f.view.rows * f.view.columns == locker_count);
  f.settle();
  f.touch({20});
  f.settle();
  const cubby_slots here = f.reached();
  const auto words = f.words();
  for (uint32_t n = 0; n < locker_count; ++n) {
    INFO("locker " << n);
    const bool there = n == 1 || n == 2 || n == 9 || n == 20;
    REQUIRE(slot::is_there(words[n]) == there);
    if (there) CHECK(f.is_right(here, n, words[n]));
  }
  const auto item = f.h.items({2});
  REQUIRE(cubby_drop(f.h.rt, item.data(), 1, f.device) == CUBBY_OK);
  f.settle();
  CHECK_FALSE(slot::is_there(f.words()[2]));
  // Whoever put the word by sees that it is of another time, also where the frame is the same.
  f.touch({2});
  f.settle();
  CHECK(slot::is_there(f.words()[2]));
  CHECK_FALSE(slot::is_same(here, 2, words[2]));
  CHECK(slot::is_same(here, 1, words[1]));
}

TEST_CASE("what work in a stream does not find is brought while it waits in the device") {
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool through_host = GENERATE(false, true);
  const bool host_addresses = GENERATE(true, false);
  slots_fixture f({.seed = 7, .threads = true, .host_addresses = host_addresses}, pump);
  f.set_up(4 * mib, through_host ? 16 * mib : 0);  // about ten of 24 lockers
  f.add_table();
  const auto before = f.driver.count();
  reader by{f};
  constexpr uint32_t steps = 60;
  uint32_t random = 12345;
  for (uint32_t step = 0; step < steps; ++step) {
    random = random * 1664525 + 1013904223;
    by.launch(step % weights::rows, choice_of(random >> 16));
  }
  while (by.ran.load() != steps) {
    if (pump == CUBBY_PUMP_CALLER) f.poll();
    std::this_thread::yield();
  }
  CHECK(by.wrong == 0);
  CHECK(by.refused == 0);
  CHECK(by.late == 0);
  CHECK(f.driver.count().host_syncs == before.host_syncs);
  // Nothing was registered while kernels waited: that may wait for them.
  CHECK(f.driver.count().registrations == before.registrations);
  CHECK(f.h.stats(f.device).evict_count > 10);
  CHECK(f.h.stats(f.device).used_bytes <= 4 * mib);
}

TEST_CASE("look-ups of a captured graph, launched again and again, find what comes and goes") {
  slots_fixture f({.seed = 11, .threads = true}, CUBBY_PUMP_THREAD);
  f.set_up(4 * mib, 8 * mib);
  f.add_table();
  reader by{f};
  std::array<choice, weights::rows> chosen{};  // the router's, in memory that the graph reads
  f.driver.capture(f.stream, true);
  for (uint32_t row = 0; row < weights::rows; ++row) {
    f.driver.launch(f.stream, [&by, &chosen, row] { by.run(row, chosen[row]); });
  }
  // The runtime goes on meanwhile: it copies, looks at events, takes memory.
  f.touch({5, 13});
  cubby_ticket ticket = 0;
  REQUIRE(cubby_tier_resize(f.h.rt, f.device, 5 * mib, &ticket) >= CUBBY_OK);
  CHECK(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  f.driver.capture(f.stream, false);
  CHECK(by.ran == 0);
  const auto before = f.driver.count();
  CHECK(before.broken_captures == 0);
  uint32_t random = 99;
  constexpr uint32_t launches = 15;
  for (uint32_t launch = 0; launch < launches; ++launch) {
    for (choice &one : chosen) {
      random = random * 1664525 + 1013904223;
      one = choice_of(random >> 16);
    }
    f.driver.replay(f.stream);
    by.wait_for((launch + 1) * weights::rows);
  }
  CHECK(by.wrong == 0);
  CHECK(by.refused == 0);
  CHECK(by.late == 0);
  CHECK(f.driver.count().host_syncs == before.host_syncs);
  CHECK(f.h.stats(f.device).evict_count > 0);
}

TEST_CASE("what later work is going to look up is brought without a wait") {
  slots_fixture f;
  f.set_up(8 * mib, 0);
  f.add_table();
  f.touch({weights::columns + 1});
  f.settle();
  const cubby_slots here = f.reached();
  const std::array<int32_t, 4> chosen = {1, 3, -1, 4};
  const uint64_t begun = slot::load(here.shared);
  slot::foresee(here, 1, chosen.data(), 4);
  slot::foresee(here, 1, chosen.data(), 4);
  CHECK(slot::load(here.state + 8) == 2);   // those that were not there, once
  CHECK(slot::load(here.shared) == begun);  // it is no work, and holds nothing
  std::array<uint64_t, 4> words{};
  REQUIRE(f.settle_until([&] {
    return slot::is_there(slot::find(here, weights::columns + 3)) &&
           slot::is_there(slot::find(here, weights::columns + 4));
  }));
  CHECK(slot::look(here, 1, chosen.data(), 4, words.data()) == slot::found);
  slot::leave(here);
  // What kernels lack is waited for by them: it is counted as the waits of pins are.
  cubby_stats_block block{};
  block.struct_size = sizeof block;
  REQUIRE(cubby_stats(f.h.rt, &block, nullptr, 0) == CUBBY_OK);
  CHECK(block.stall_read_ns + block.stall_copy_ns > 0);
}

TEST_CASE("a frame that work has found is not used again before the work lets go") {
  slots_fixture f;
  f.set_up(2 * mib, 0);  // five lockers
  f.add_table();
  f.touch({0, 1, 2, 3, 4});
  f.settle();
  const cubby_slots here = f.reached();
  const std::array<int32_t, 5> chosen = {0, 1, 2, 3, 4};
  std::array<uint64_t, 5> words{};
  REQUIRE(slot::look(here, 0, chosen.data(), 5, words.data()) == slot::found);

  // Others want the frames. Entries go, the bytes stay.
  const auto wanted = f.h.items({8, 9, 10, 11, 12});
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  std::vector<const void *> addr(5 * weights::parts);
  REQUIRE(cubby_pin(f.h.rt, wanted.data(), 5, f.device, nullptr, &pins, addr.data(), &ticket) ==
          CUBBY_PENDING);
  const auto is_listed = [&](uint32_t n) { return slot::is_same(here, n, words[n]); };
  const auto all_listed = [&] {
    return is_listed(0) && is_listed(1) && is_listed(2) && is_listed(3) && is_listed(4);
  };
  REQUIRE(f.settle_until([&] { return !all_listed(); }));
  f.settle();
  CHECK(cubby_wait(f.h.rt, ticket, 0) == CUBBY_ERR_TIMEOUT);
  for (uint32_t i = 0; i < 5; ++i) CHECK(f.is_right(here, i, words[i]));
  // Work that begins now does not find all of them, and holds none.
  slot::leave(here);
  std::array<uint64_t, 5> later{};
  CHECK(slot::look(here, 0, chosen.data(), 5, later.data()) == slot::missing);
  REQUIRE(f.settle_until([&] { return cubby_wait(f.h.rt, ticket, 0) == CUBBY_OK; }));
  for (uint32_t i = 0; i < 5; ++i) {
    CHECK(f.same(reinterpret_cast<uintptr_t>(addr[i * weights::parts]), 8 + i, 0));
    CHECK_FALSE(is_listed(i));
  }
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE("pins, evictions and look-ups of several threads: an entry never names other bytes") {
  const uint64_t seed = GENERATE(1u, 2u, 3u);
  const uint32_t host_flags = GENERATE(0u, uint32_t{CUBBY_TIER_EXCLUSIVE});
  slots_fixture f({.seed = seed, .threads = true}, CUBBY_PUMP_THREAD);
  f.set_up(4 * mib, 8 * mib, host_flags);
  f.add_table();
  reader by{f};
  std::atomic<bool> over{false};
  std::atomic<uint32_t> wrong{0};
  std::thread pinner([&] {
    uint32_t random = static_cast<uint32_t>(seed) * 77;
    while (!over) {
      random = random * 1664525 + 1013904223;
      const uint32_t number = (random >> 16) % locker_count;
      std::vector<const void *> addr;
      cubby_pins pins = 0;
      if (f.h.pin({number}, f.device, pins, addr) != CUBBY_OK ||
          !f.same(reinterpret_cast<uintptr_t>(addr[0]), number, 0)) {
        ++wrong;
      }
      cubby_unpin(f.h.rt, pins, 0, 0, nullptr);
    }
  });
  std::thread dropper([&] {
    for (uint32_t n = 0; !over; n = (n + 5) % locker_count) {
      const auto item = f.h.items({n});
      cubby_drop(f.h.rt, item.data(), 1, f.device);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
#if defined(__SANITIZE_THREAD__)
  constexpr uint32_t steps = 16;  // which take as long as many more without
#else
  constexpr uint32_t steps = 80;
#endif
  uint32_t random = static_cast<uint32_t>(seed);
  for (uint32_t step = 0; step < steps; ++step) {
    random = random * 1664525 + 1013904223;
    by.launch(step % weights::rows, choice_of(random >> 16));
  }
  by.wait_for(steps);
  over = true;
  pinner.join();
  dropper.join();
  CHECK(by.wrong == 0);
  CHECK(by.refused == 0);
  CHECK(wrong == 0);
}

TEST_CASE("what cannot be brought is refused, and may be asked for again") {
  slots_fixture f({.threads = true}, CUBBY_PUMP_THREAD);
  f.set_up(4 * mib, 0);
  f.touch({3});  // its digest is known from here on
  const auto item = f.h.items({3});
  REQUIRE(cubby_drop(f.h.rt, item.data(), 1, f.device) == CUBBY_OK);
  f.w.flip(3, 0);
  f.add_table();
  reader by{f};
  by.launch(0, {3, 4, 5});
  by.wait_for(1);
  CHECK(by.refused == 1);
  by.launch(0, {4, 5, 6});
  by.wait_for(2);
  CHECK(by.refused == 1);
  CHECK(by.wrong == 0);
  // The device gives the right byte again; the file's time of change stays what it was.
  const auto time = std::filesystem::last_write_time(f.w.path);
  const auto at = f.w.extent(3, 0).offset_bytes + 1000;
  std::fstream(f.w.path, std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(at))
      .put(f.w.bytes[at]);
  std::filesystem::last_write_time(f.w.path, time);
  by.launch(0, {3, 4, 5});
  by.wait_for(3);
  CHECK(by.refused == 1);  // it has come
  CHECK(by.wrong == 0);
  CHECK(by.late == 0);
}

TEST_CASE("a write of the table that fails is made again") {
  slots_fixture f;
  f.set_up(8 * mib, 0);
  f.add_table();
  f.settle();
  f.driver.refuse_copy(3);  // that of the entry, behind those of the locker's two parts
  f.touch({7});
  REQUIRE(f.settle_until([&] { return slot::is_there(f.words()[7]); }));
  CHECK(f.h.stats(f.device).error_count == 1);
  CHECK(f.is_right(f.reached(), 7, f.words()[7]));
}

TEST_CASE("a choice may be none, and who does not wait lists what is missing once") {
  slots_fixture f;
  f.set_up(4 * mib, 0);
  f.add_table();
  f.settle();
  const cubby_slots here = f.reached();
  const std::array<int32_t, 4> chosen = {-1, 5, 5, 1000};
  std::array<uint64_t, 4> words{};
  REQUIRE(slot::look(here, 1, chosen.data(), 4, words.data()) == slot::missing);
  REQUIRE(slot::look(here, 1, chosen.data(), 4, words.data()) == slot::missing);
  CHECK(slot::load(here.state + 8) == 1);  // one locker, listed once
  CHECK_FALSE(slot::wait(here, 1, chosen.data(), 4, words.data(), 3));
  CHECK(f.settle_until([&] { return slot::wait(here, 1, chosen.data(), 4, words.data(), 1); }));
  REQUIRE(slot::look(here, 1, chosen.data(), 4, words.data()) == slot::found);
  CHECK(words[0] == 0);
  CHECK(words[3] == 0);
  CHECK(f.is_right(here, weights::columns + 5, words[1]));
  slot::leave(here);
}

TEST_CASE("what is listed while no request is to be had is brought once there is one") {
  slots_fixture f({}, CUBBY_PUMP_CALLER, 3);  // of which one may be nobody's
  f.set_up(4 * mib, 500'000);
  f.add_table();
  f.settle();
  // Nobody's waits for the room that a pin takes.
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({0}, f.host, pins, addr) == CUBBY_OK);
  const auto other = f.h.items({23});
  REQUIRE(cubby_prefetch(f.h.rt, other.data(), 1, f.host, nullptr, nullptr) >= CUBBY_OK);
  const cubby_slots here = f.reached();
  const auto looks = [&](int32_t n) {
    std::array<uint64_t, 1> word{};
    const int got = slot::look(here, 1, &n, 1, word.data());
    if (got == slot::found) slot::leave(here);
    return got;
  };
  // More than the list has places; each time it has come and gone.
  for (uint32_t i = 0; i < 2 * f.view.miss_count_max + 3; ++i) {
    REQUIRE(looks(static_cast<int32_t>(i % 2)) == slot::missing);
    f.touch({weights::columns + i % 2});
    f.settle();
    const auto item = f.h.items({weights::columns + i % 2});
    REQUIRE(cubby_drop(f.h.rt, item.data(), 1, f.device) == CUBBY_OK);
    f.settle();
  }
  REQUIRE(looks(5) == slot::missing);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(f.settle_until([&] { return looks(5) == slot::found; }));
}

TEST_CASE("where no frame comes free, who waits in the device is refused, and the stream goes on") {
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool behind_a_set = GENERATE(false, true);
  slots_fixture f({.threads = true}, pump);
  f.set_up(2 * mib, 0);  // five lockers
  f.add_table();
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  // All are pinned, or one is, and a set waits that needs them all.
  const std::vector<uint32_t> pinned =
      behind_a_set ? std::vector<uint32_t>{0} : std::vector<uint32_t>{0, 1, 2, 3, 4};
  REQUIRE(f.h.pin(pinned, f.device, pins, addr) == CUBBY_OK);
  const auto wanted = f.h.items({16, 17, 18, 19, 20});
  std::vector<const void *> set_addr(5 * weights::parts);
  cubby_pins set_pins = 0;
  cubby_ticket ticket = 0;
  if (behind_a_set) {
    REQUIRE(cubby_pin(f.h.rt, wanted.data(), 5, f.device, nullptr, &set_pins, set_addr.data(),
                      &ticket) == CUBBY_PENDING);
  }
  reader by{f};
  by.launch(1, {0, 1, 2});
  const bool ended = by.ends(1);
  CHECK(ended);
  CHECK(by.refused == 1);
  REQUIRE(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  if (behind_a_set) {
    REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
    REQUIRE(cubby_unpin(f.h.rt, set_pins, 0, 0, nullptr) == CUBBY_OK);
  }
  // There is room again.
  by.launch(1, {0, 1, 2});
  REQUIRE(by.ends(2));
  CHECK(by.refused == 1);
  CHECK(by.wrong == 0);
  CHECK(by.late == 0);
}

TEST_CASE("work that holds one table's frames may wait for another's, and is refused at last") {
  slots_fixture f({.threads = true}, CUBBY_PUMP_THREAD);
  f.set_up(2 * mib, 0);  // five lockers
  f.add_table();
  f.touch({0, 1, 2, 3, 4});
  weights others(2);
  const cubby_bank first = f.h.bank;
  const cubby_slots first_view = f.view;
  f.h.map(others);
  f.add_table();
  const cubby_slots second_view = f.view;
  std::atomic<int> got_first{-1}, got{-1}, later{-1};
  std::atomic<bool> over{false};
  f.driver.launch(f.stream, [&] {
    const choice all = {0, 1, 2};
    std::array<uint64_t, used> words{};
    f.view = first_view;
    const cubby_slots one = f.reached();
    f.view = second_view;
    const cubby_slots two = f.reached();
    got_first = slot::acquire(one, 0, all.data(), used, words.data(), looks_max);
    got = slot::acquire(two, 0, all.data(), used, words.data(), looks_max);
    slot::leave(one);
    if (got == slot::found) slot::leave(two);
    later = slot::acquire(two, 0, all.data(), used, words.data(), looks_max);
    if (later == slot::found) slot::leave(two);
    over = true;
  });
  for (int i = 0; i < 6000 && !over; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK(over);
  const bool hangs = !over;
  if (hangs) {  // so that the test ends
    cubby_ticket ticket = 0;
    cubby_tier_resize(f.h.rt, f.device, 16 * mib, &ticket);
    while (!over) std::this_thread::yield();
  }
  CHECK(got_first == slot::found);
  CHECK(got == slot::refused);
  CHECK(later == slot::found);
  REQUIRE(cubby_slots_remove(f.h.rt, f.h.bank, f.device) == CUBBY_OK);
  REQUIRE(cubby_slots_remove(f.h.rt, first, f.device) == CUBBY_OK);
}

TEST_CASE("a choice that the tier has no room for is given up, and the stream goes on") {
  slots_fixture f({.threads = true}, CUBBY_PUMP_THREAD);
  f.set_up(1 * mib, 0);  // two lockers
  f.add_table();
  reader by{f};
  by.launch(0, {0, 1, 2});
  const bool ended = by.ends(1);
  CHECK(ended);
  CHECK(by.late == 1);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_tier_resize(f.h.rt, f.device, 2 * mib, &ticket) >= CUBBY_OK);
  CHECK(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  by.launch(0, {0, 1, 2});
  REQUIRE(by.ends(2));
  CHECK(by.late == 1);
  CHECK(by.refused == 0);
  CHECK(by.wrong == 0);
}

TEST_CASE("a choice that fits its tier exactly comes, whatever the policy thinks of its lockers") {
  const char *const policy = GENERATE("lru", "moe", "auto");
  slots_fixture f({.threads = true}, CUBBY_PUMP_THREAD, 0, policy);
  f.h.routed_count = used;
  f.set_up(mib + mib / 4, 0);  // three lockers
  f.add_table();
  reader by{f};
  constexpr uint32_t steps = 24;
  uint32_t random = 7;
  for (uint32_t step = 0; step < steps; ++step) {
    random = random * 1664525 + 1013904223;
    by.launch(step % weights::rows, choice_of(random >> 16));
  }
  REQUIRE(by.ends(steps));
  CHECK(by.wrong == 0);
  CHECK(by.refused == 0);
  CHECK(by.late == 0);
}

TEST_CASE("misses for which there is no request are refused at last") {
  slots_fixture f({.threads = true}, CUBBY_PUMP_THREAD, 3);  // of which one may be nobody's
  f.set_up(4 * mib, 500'000);
  f.add_table();
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({0}, f.host, pins, addr) == CUBBY_OK);
  const auto other = f.h.items({23});  // nobody's waits for the room that the pin takes
  REQUIRE(cubby_prefetch(f.h.rt, other.data(), 1, f.host, nullptr, nullptr) >= CUBBY_OK);
  reader by{f};
  by.launch(1, {0, 1, 2});
  const bool ended = by.ends(1);
  CHECK(ended);
  CHECK(by.refused == 1);
  REQUIRE(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  by.launch(1, {0, 1, 2});
  REQUIRE(by.ends(2));
  CHECK(by.refused == 1);
  CHECK(by.wrong == 0);
}

TEST_CASE("tables in an emulated device are served alike") {
  runtime_fixture h(CUBBY_PUMP_CALLER);
  weights w;
  const cubby_tier device = h.tier("device:0", 0, 4 * mib, uint64_t{100} << 30);
  h.map(w);
  cubby_slots view{};
  view.struct_size = sizeof view;
  REQUIRE(cubby_slots_add(h.rt, h.bank, device, &view) == CUBBY_OK);
  const choice chosen = {1, 4, 7};
  for (uint32_t row = 0; row < weights::rows; ++row) {
    std::array<uint64_t, used> words{};
    while (slot::look(view, row, chosen.data(), used, words.data()) != slot::found) {
      cubby_poll(h.rt, 0, nullptr);
    }
    for (uint32_t i = 0; i < used; ++i) {
      const auto *at = reinterpret_cast<const void *>(slot::address(view, row, 1, words[i]));
      CHECK(w.same(at, row * weights::columns + static_cast<uint32_t>(chosen[i]), 1));
    }
    slot::leave(view);
  }
  CHECK(cubby_slots_remove(h.rt, h.bank, device) == CUBBY_OK);
}

TEST_CASE("tables are made where they can be, removed, and end with their device") {
  slots_fixture f({.threads = true}, CUBBY_PUMP_THREAD);
  f.add_device(4 * mib);
  const cubby_tier host = f.h.tier("host:0", 1, 8 * mib);
  f.h.map(f.w);
  cubby_slots view{};
  CHECK(cubby_slots_add(f.h.rt, f.h.bank, f.device, nullptr) == CUBBY_ERR_INVALID);
  CHECK(cubby_slots_add(f.h.rt, f.h.bank, f.device, &view) == CUBBY_ERR_INVALID);
  view.struct_size = sizeof view;
  CHECK(cubby_slots_add(f.h.rt, f.h.bank, host, &view) == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(cubby_slots_add(f.h.rt, f.h.bank, 77, &view) == CUBBY_ERR_STALE);
  CHECK(cubby_slots_add(f.h.rt, 77, f.device, &view) == CUBBY_ERR_STALE);
  CHECK(cubby_slots_remove(f.h.rt, f.h.bank, f.device) == CUBBY_MISS);
  f.driver.refuse_host_addresses(true);
  CHECK(cubby_slots_add(f.h.rt, f.h.bank, f.device, &view) == CUBBY_ERR_NOT_SUPPORTED);
  f.driver.refuse_host_addresses(false);
  const uint64_t memory_before = f.driver.count().memory_bytes;
  const uint64_t tables_before = f.table_bytes();
  f.add_table();
  CHECK(f.table_bytes() >= tables_before + uint64_t{60} * locker_count);
  CHECK(cubby_slots_add(f.h.rt, f.h.bank, f.device, &view) == CUBBY_ERR_BUSY);
  CHECK(cubby_bank_remove(f.h.rt, f.h.bank) == CUBBY_ERR_BUSY);
  reader by{f};
  by.launch(0, {0, 1, 2});
  by.wait_for(1);
  CHECK(cubby_slots_remove(f.h.rt, f.h.bank, f.device) == CUBBY_OK);
  CHECK(f.driver.count().memory_bytes == memory_before);
  CHECK(cubby_bank_remove(f.h.rt, f.h.bank) == CUBBY_OK);
  f.h.map(f.w);
  f.add_table();
  f.driver.lose_device();
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  CHECK(f.h.pin({1}, f.device, pins, addr) == CUBBY_ERR_DEVICE);
  CHECK(f.h.pin({1}, host, pins, addr) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_slots_remove(f.h.rt, f.h.bank, f.device) == CUBBY_OK);
}
