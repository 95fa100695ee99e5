// The bytes of fills: cut, read, copied and verified piece by piece, and what comes of I/O that
// fails, falls short or brings wrong bytes.
#include "engine/fill_io.hpp"

#include "support/engine_fixture.hpp"
#include "support/failing_new.hpp"

namespace fill_io_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;
constexpr uint64_t locker_bytes = 2 * mib + 65536;

/// Runs what is enqueued when the test says so.
struct late_pool final : platform::worker_pool {
  std::vector<std::shared_ptr<platform::work_item>> &items;
  explicit late_pool(std::vector<std::shared_ptr<platform::work_item>> &all) : items(all) {}
  [[nodiscard]] uint32_t thread_count() const override { return 1; }
  bool enqueue(const std::shared_ptr<platform::work_item> &one) noexcept override {
    items.push_back(one);
    return true;
  }
};

/// A device, a host tier and files; the test starts jobs, moves bytes and hands completions over.
struct fixture : engine_fixture {
  const uint32_t device, host, disk;
  locker_bank &bank = add_bank(4, locker_bytes);
  sources from{state, table, copies, files};
  fills life{state, table, copies, stored, from, requests, open};
  std::vector<std::shared_ptr<platform::work_item>> items;
  transfer::io_table ios;
  fill_io io{state, table, life, files, stored, ios, work};

  explicit fixture(uint32_t host_flags = 0, bool verify = true)
      : engine_fixture(verify),
        device(add_device("device", 0, 16 * mib)),
        host(add_host("host", 1, 16 * mib, host_flags)),
        disk(add_disk()) {
    map(bank, disk);
  }
  void use_workers() {
    work.use(std::make_unique<late_pool>(items), {[](void *) {}, [](void *) {}, nullptr});
  }
  /// A started fill and the pin that waits for it.
  uint32_t begin(uint32_t tier, uint32_t number, uint32_t io_class = CUBBY_DEMAND) {
    const uint32_t index = reserve(bank, tier, number, {CUBBY_WRITE_BACK, base::never_ns, 50});
    const uint32_t pin = make_request(pin_verb{}, tier, bank, {number}, io_class);
    open.open(pin);
    requests[pin].items[0].state = item_state::loading;
    life.add_waiter(index, pin, 0);
    life.start(index);
    return pin;
  }
  /// Starts the most urgent job of a channel; false when there is none, or it has to wait.
  bool start(uint32_t tier) {
    transfer::channel &path = *state.tiers[tier].path;
    const auto *const job = path.top();
    const bool started = job && io.start_job(path, job->job);
    path.flush(state.now_ns);
    return started;
  }
  void start_all(uint32_t tier) {
    while (start(tier)) {
    }
  }
  /// Does what an I/O asks for; `flip`: but for one byte in its middle.
  void move(uint32_t tier, size_t at, bool flip = false) {
    const cubby_backend_io &one = world(tier).started[at];
    const bool reads = one.op == CUBBY_BACKEND_READ;
    const void *source = reads ? content.data() + one.offset_bytes : one.source;
    std::memcpy(one.memory, source, one.bytes);
    if (flip) static_cast<std::byte *>(one.memory)[one.bytes / 2] ^= std::byte{1};
    world(tier).end(at);
  }
  void deliver(uint32_t tier) {
    transfer::channel &path = *state.tiers[tier].path;
    std::array<cubby_backend_done, 16> done{};
    uint64_t next = 0;
    const uint32_t count = path.reap(state.now_ns, done.data(), 16, &next);
    for (uint32_t i = 0; i < count; ++i) {
      const auto ended = ios.finish(path, done[i].cookie, state.now_ns);
      REQUIRE(ended);
      ended->owner->io_done(ended->tag, done[i]);
    }
  }
  /// All I/O of a tier from number `first` on is right and comes back.
  void serve(uint32_t tier, size_t first = 0) {
    start_all(tier);
    for (size_t at = first; at < world(tier).started.size(); ++at) move(tier, at);
    deliver(tier);
  }
  [[nodiscard]] size_t started(uint32_t tier) { return world(tier).started.size(); }
  [[nodiscard]] bool has_bytes(uint32_t tier, uint32_t number) {
    return std::memcmp(bytes_in(bank, tier, number), content_of(bank, number), locker_bytes) == 0;
  }
  [[nodiscard]] locker_state state_in(uint32_t tier, uint32_t number) const {
    return bank.word(tier, number).look().state;
  }
  [[nodiscard]] uint64_t used(uint32_t tier) const {
    return state.tiers[tier].memory->used_bytes();
  }
  /// One more pin of a locker that a fill brings to the tier.
  uint32_t join(uint32_t tier, uint32_t number) {
    const uint32_t pin = make_request(pin_verb{}, tier, bank, {number});
    open.open(pin);
    requests[pin].items[0].state = item_state::loading;
    life.add_waiter(static_cast<uint32_t>(bank.word(tier, number).look().frame), pin, 0);
    return pin;
  }
  const cubby_tier_stats &stats(uint32_t tier) { return state.tiers[tier].stats; }
  /// The pin has failed, for this reason; nothing of it is left.
  const error &failure_of(uint32_t pin) {
    REQUIRE(requests[pin].status != CUBBY_PENDING);
    CHECK(table.empty());
    return requests[pin].failure;
  }
};

}  // namespace

TEST_CASE("a fill is cut into runs of whole chunks, read with the pages around them") {
  fixture h;
  h.begin(h.host, 1);
  h.start_all(h.disk);
  REQUIRE(h.started(h.disk) == 3);
  const uint64_t begin = 64 + locker_bytes, end = begin + locker_bytes;
  uint64_t at = begin / 4096 * 4096, wanted = 0;
  for (const cubby_backend_io &one : h.world(h.disk).started) {
    CHECK(one.op == CUBBY_BACKEND_READ);
    CHECK(one.file == 1);
    CHECK(one.offset_bytes == at);  // chunks end at whole pages of the file
    CHECK(one.bytes <= mib);
    CHECK(one.io_class == CUBBY_DEMAND);
    at += one.bytes;
    wanted += one.bytes;
  }
  CHECK(at == (end + 4095) / 4096 * 4096);
  CHECK(h.stats(h.disk).read_count == 3);
  CHECK(h.stats(h.disk).padding_bytes == wanted - locker_bytes);
  CHECK(h.stats(h.disk).demand_bytes == locker_bytes);
  CHECK(h.state.tiers[h.disk].path->queued_count() == 0);
}

TEST_CASE("what was read is published with the file's bytes; a first digest is taken, then held") {
  fixture h;
  const uint32_t pin = h.begin(h.host, 1);
  h.start_all(h.disk);
  for (const size_t at : {2u, 0u}) h.move(h.disk, at);
  h.deliver(h.disk);
  CHECK(h.state_in(h.host, 1) == locker_state::filling);
  h.move(h.disk, 1);
  h.deliver(h.disk);
  CHECK(h.state_in(h.host, 1) == locker_state::ready);
  CHECK(h.requests[pin].status == CUBBY_OK);
  CHECK(h.has_bytes(h.host, 1));
  CHECK(h.io.unverified_bytes() == locker_bytes);
  CHECK(h.stats(h.host).bytes_in == locker_bytes);
  CHECK(h.stats(h.disk).bytes_out == locker_bytes);
  for (uint32_t chunk = 0; chunk < chunks_of_part(h.bank, 1, 0); ++chunk) {
    REQUIRE(h.bank.digest(1, 0, chunk) != 0);
  }
  h.bank.word(h.host, 1).unpin();
  REQUIRE(h.copies.drop(h.bank, 1, h.host));
  h.begin(h.host, 1);
  h.serve(h.disk, 3);
  CHECK(h.state_in(h.host, 1) == locker_state::ready);
  CHECK(h.io.unverified_bytes() == locker_bytes);  // all of it was held against a digest
}

TEST_CASE("digests that disagree once are read again, and twice are the file's fault") {
  for (const bool workers : {false, true}) {
    fixture h;
    if (workers) h.use_workers();
    const auto settle = [&] {
      while (h.work.step()) {
      }
    };
    h.begin(h.host, 1);
    h.serve(h.disk);
    settle();
    REQUIRE(h.state_in(h.host, 1) == locker_state::ready);
    h.bank.word(h.host, 1).unpin();
    REQUIRE(h.copies.drop(h.bank, 1, h.host));
    const uint32_t healed = h.begin(h.host, 1);
    h.start_all(h.disk);
    h.move(h.disk, 3);
    h.move(h.disk, 4, true);
    h.move(h.disk, 5);
    h.deliver(h.disk);
    settle();
    CHECK(h.state_in(h.host, 1) == locker_state::filling);
    h.state.tiers[h.disk].path->flush(h.state.now_ns);
    REQUIRE(h.started(h.disk) == 7);
    CHECK(h.world(h.disk).started[6].offset_bytes == h.world(h.disk).started[4].offset_bytes);
    h.move(h.disk, 6);
    h.deliver(h.disk);
    settle();
    CHECK(h.requests[healed].status == CUBBY_OK);
    CHECK(h.has_bytes(h.host, 1));
    CHECK(h.stats(h.disk).corrupt_count == 0);
    h.bank.word(h.host, 1).unpin();
    REQUIRE(h.copies.drop(h.bank, 1, h.host));
    const uint64_t used = h.used(h.host);
    const uint32_t pin = h.begin(h.host, 1);
    h.start_all(h.disk);
    h.move(h.disk, 7, true);
    h.deliver(h.disk);
    settle();
    h.state.tiers[h.disk].path->flush(h.state.now_ns);
    REQUIRE(h.started(h.disk) == 11);
    h.move(h.disk, 10, true);
    h.deliver(h.disk);
    settle();
    CHECK(h.requests[pin].status == CUBBY_PENDING);  // two reads are still written to its frame
    h.move(h.disk, 8);
    h.move(h.disk, 9);
    h.deliver(h.disk);
    settle();
    const error &why = h.failure_of(pin);
    CHECK(why.status == CUBBY_ERR_CORRUPT);
    CHECK(why.data_loss);
    CHECK(why.text.find("/models/weights.bin") != std::string::npos);
    const cubby_backend_io &bad = h.world(h.disk).started[10];
    const uint64_t flipped = bad.offset_bytes + bad.bytes / 2;
    CHECK(why.offset_bytes <= flipped);
    CHECK(why.offset_bytes + 65536 > flipped);
    CHECK(h.stats(h.disk).corrupt_count == 1);
    CHECK(h.state_in(h.host, 1) == locker_state::absent);
    CHECK(h.used(h.host) == used);
  }
}

TEST_CASE("without verification no digest is made, and damage passes") {
  fixture h(0, false);
  h.begin(h.host, 1);
  h.start_all(h.disk);
  for (const size_t at : {0u, 1u, 2u}) h.move(h.disk, at, at == 1);
  h.deliver(h.disk);
  CHECK(h.state_in(h.host, 1) == locker_state::ready);
  CHECK_FALSE(h.has_bytes(h.host, 1));
  CHECK(h.io.unverified_bytes() == 0);
}

TEST_CASE("a read that fails once passes, one that fails twice fails its fill") {
  fixture h;
  const uint32_t pin = h.begin(h.host, 1);
  h.start_all(h.disk);
  h.world(h.disk).end(0, EIO);
  h.deliver(h.disk);
  h.state.tiers[h.disk].path->flush(h.state.now_ns);
  REQUIRE(h.started(h.disk) == 4);
  for (const size_t at : {1u, 2u}) h.move(h.disk, at);
  h.world(h.disk).end(3, EIO);
  h.deliver(h.disk);
  const error &why = h.failure_of(pin);
  CHECK(why.status == CUBBY_ERR_IO);
  CHECK(why.native == EIO);
  CHECK(why.tier == h.state.tiers[h.disk].handle);
  CHECK(why.text.find("locker 1 of bank weights could not be read from /models/weights.bin") !=
        std::string::npos);
  CHECK(h.stats(h.disk).error_count == 2);
  CHECK(h.used(h.host) == 0);
}

TEST_CASE("a short read is enough when all that is wanted came, and an error when it did not") {
  fixture h;
  h.begin(h.host, 1);
  h.start_all(h.disk);
  const uint64_t end = 64 + 2 * locker_bytes;  // of the locker: the last page is not whole
  const cubby_backend_io last = h.world(h.disk).started[2];
  REQUIRE(last.offset_bytes + last.bytes > end);
  for (const size_t at : {0u, 1u, 2u}) h.move(h.disk, at);
  h.world(h.disk).ended.back().bytes = end - last.offset_bytes;
  h.deliver(h.disk);
  CHECK(h.state_in(h.host, 1) == locker_state::ready);
  for (const bool changed : {false, true}) {
    const uint32_t number = changed ? 3 : 2;
    const size_t first = h.started(h.disk);
    const uint32_t pin = h.begin(h.host, number);
    h.start_all(h.disk);
    for (const size_t at : {1u, 2u}) h.move(h.disk, first + at);
    // As many bytes as are wanted, but the first 64 of them lie before those.
    const uint64_t came = h.world(h.disk).started[first].bytes - 64;
    h.world(h.disk).end_short(first, came);
    h.deliver(h.disk);
    h.state.tiers[h.disk].path->flush(h.state.now_ns);
    REQUIRE(h.started(h.disk) == first + 4);
    if (changed) h.world(h.disk).file.bytes -= 4096;
    h.world(h.disk).end_short(first + 3, came);
    h.deliver(h.disk);
    const error &why = h.failure_of(pin);
    CHECK(why.status == (changed ? CUBBY_ERR_CORRUPT : CUBBY_ERR_IO));
    CHECK((h.bank.failed.status != CUBBY_OK) == changed);
    if (!changed) {
      CHECK(why.offset_bytes == h.world(h.disk).started[first].offset_bytes + came);
    }
  }
}

TEST_CASE("to a device bytes pass through staging, which each piece gives back") {
  fixture h(CUBBY_TIER_EXCLUSIVE);
  const uint32_t pin = h.begin(h.device, 1);
  h.serve(h.disk);
  CHECK(h.state_in(h.device, 1) == locker_state::filling);
  CHECK(h.state.tiers[h.device].path->queued_count() == 3);
  h.serve(h.device);
  CHECK(h.requests[pin].status == CUBBY_OK);
  CHECK(h.has_bytes(h.device, 1));
  CHECK(h.stats(h.device).write_count == 3);
  CHECK(h.stats(h.device).bytes_in == locker_bytes);
  CHECK(h.stats(h.host).bytes_in == 0);
  uint32_t buffers = 0;
  while (h.state.tiers[h.disk].staging->take() != nullptr) ++buffers;
  CHECK(buffers == 16);
}

TEST_CASE("a piece that finds no staging waits, and its fill keeps its place in the queue") {
  fixture h(CUBBY_TIER_EXCLUSIVE);
  const uint32_t pin = h.begin(h.device, 1);
  std::vector<std::byte *> taken;
  while (std::byte *one = h.state.tiers[h.disk].staging->take()) taken.push_back(one);
  CHECK_FALSE(h.start(h.disk));
  CHECK(h.started(h.disk) == 0);
  CHECK(h.state.tiers[h.disk].path->queued_count() == 1);
  for (std::byte *one : taken) h.state.tiers[h.disk].staging->give(one);
  h.serve(h.disk);
  h.serve(h.device);
  CHECK(h.requests[pin].status == CUBBY_OK);
}

TEST_CASE("through a host tier a locker is read once and is in both") {
  fixture h;
  const uint32_t pin = h.begin(h.device, 1);
  h.serve(h.disk);
  CHECK(h.state_in(h.host, 1) == locker_state::ready);
  h.serve(h.device);
  CHECK(h.requests[pin].status == CUBBY_OK);
  CHECK(h.has_bytes(h.host, 1));
  CHECK(h.has_bytes(h.device, 1));
  CHECK(h.stats(h.host).bytes_in == locker_bytes);
  CHECK(h.bank.word(h.host, 1).look().pin_count == 0);
}

TEST_CASE("a copy that fails fails the fill, and names the device") {
  fixture h(CUBBY_TIER_EXCLUSIVE);
  const uint32_t pin = h.begin(h.device, 1);
  h.serve(h.disk);
  h.start_all(h.device);
  REQUIRE(h.started(h.device) == 3);
  h.world(h.device).end(1, EIO);
  for (const size_t at : {0u, 2u}) h.move(h.device, at);
  h.deliver(h.device);
  const error &why = h.failure_of(pin);
  CHECK(why.status == CUBBY_ERR_IO);
  CHECK(why.tier == h.state.tiers[h.device].handle);
  CHECK(why.text.find("could not be copied") != std::string::npos);
  CHECK(h.stats(h.device).error_count == 1);
  CHECK(h.used(h.device) == 0);
  uint32_t buffers = 0;
  while (h.state.tiers[h.disk].staging->take() != nullptr) ++buffers;
  CHECK(buffers == 16);
}

TEST_CASE(
    "what rested in memory is verified before it is copied on, and damage comes from the file") {
  for (const bool workers : {false, true}) {
    fixture h;
    if (workers) h.use_workers();
    const auto settle = [&] {
      while (h.work.step()) {
      }
    };
    h.begin(h.host, 1);
    h.serve(h.disk);
    settle();
    h.bank.word(h.host, 1).unpin();
    h.bytes_in(h.bank, h.host, 1)[mib] ^= std::byte{1};
    const uint32_t pin = h.begin(h.device, 1);
    h.start_all(h.device);
    settle();
    h.serve(h.device);
    CHECK(h.requests[pin].status == CUBBY_PENDING);
    CHECK(h.stats(h.host).corrupt_count == 1);
    CHECK(h.state_in(h.host, 1) == locker_state::filling);  // it was dropped and comes anew
    const size_t copied = h.started(h.device);
    h.serve(h.disk, 3);
    settle();
    h.serve(h.device, copied);
    CHECK(h.requests[pin].status == CUBBY_OK);
    CHECK(h.has_bytes(h.device, 1));
    CHECK(h.has_bytes(h.host, 1));
  }
}

TEST_CASE("a copy out of a device is verified where it lands") {
  for (const bool flip : {false, true}) {
    fixture h(CUBBY_TIER_EXCLUSIVE);
    h.begin(h.device, 1);
    h.serve(h.disk);
    h.serve(h.device);
    REQUIRE(h.state_in(h.device, 1) == locker_state::ready);
    h.bank.word(h.device, 1).unpin();
    const size_t before = h.started(h.device);
    REQUIRE(h.copies.evict_one(h.device, {}, {CUBBY_DEMAND, base::never_ns, 1}, true));
    h.start_all(h.device);
    REQUIRE(h.started(h.device) > before);
    CHECK(h.world(h.device).started[before].op == CUBBY_BACKEND_COPY_OUT);
    for (size_t at = before; at < h.started(h.device); ++at) {
      h.move(h.device, at, flip && at == before);
    }
    h.deliver(h.device);
    CHECK(h.state_in(h.device, 1) == locker_state::absent);
    CHECK(h.table.empty());
    CHECK(h.stats(h.device).corrupt_count == (flip ? 1 : 0));
    CHECK(h.state_in(h.host, 1) == (flip ? locker_state::absent : locker_state::ready));
    if (!flip) CHECK(h.has_bytes(h.host, 1));
  }
}

TEST_CASE("workers verify aside: nothing is published before their digests are handed over") {
  fixture h;
  h.use_workers();
  const uint32_t pin = h.begin(h.host, 1);
  h.serve(h.disk);
  REQUIRE_FALSE(h.items.empty());
  CHECK(h.state_in(h.host, 1) == locker_state::filling);
  CHECK(h.requests[pin].status == CUBBY_PENDING);
  h.items[0]->run();
  CHECK(h.work.has_finished());
  CHECK(h.state_in(h.host, 1) == locker_state::filling);
  while (h.work.step()) {
  }
  CHECK(h.state_in(h.host, 1) == locker_state::ready);
  CHECK(h.requests[pin].status == CUBBY_OK);
}

TEST_CASE("a fill that stops while it is verified keeps its frame until the digests are made") {
  fixture h;
  h.use_workers();
  const uint32_t pin = h.begin(h.host, 1);
  const uint32_t index = static_cast<uint32_t>(h.bank.word(h.host, 1).look().frame);
  h.serve(h.disk);
  h.life.remove_waiter(index, pin, 0);
  CHECK(h.table[index].state == fill_state::stopping);
  CHECK(h.state_in(h.host, 1) == locker_state::filling);
  CHECK(h.used(h.host) != 0);
  h.items[0]->run();
  while (h.work.step()) {
  }
  CHECK(h.state_in(h.host, 1) == locker_state::absent);
  CHECK(h.used(h.host) == 0);
  CHECK(h.table.empty());
  CHECK(h.started(h.disk) == 3);  // nothing was read again
}

TEST_CASE("copies that wait when their fill stops are not made") {
  fixture h(CUBBY_TIER_EXCLUSIVE);
  const uint32_t pin = h.begin(h.device, 1);
  const auto index = static_cast<uint32_t>(h.bank.word(h.device, 1).look().frame);
  h.serve(h.disk);
  h.life.remove_waiter(index, pin, 0);
  h.start_all(h.device);
  CHECK(h.started(h.device) == 0);
  CHECK(h.table.empty());
  CHECK(h.used(h.device) == 0);
}

TEST_CASE("a forecast whose deadline passed before it was begun is canceled") {
  fixture h;
  const uint32_t index = h.reserve(h.bank, h.host, 1, {CUBBY_FORECAST, 500, 1});
  const uint32_t hint = h.make_request(prefetch_verb{}, h.host, h.bank, {1}, CUBBY_FORECAST);
  h.requests[hint].deadline_ns = 500;
  h.open.open(hint);
  h.life.add_waiter(index, hint, 0);
  h.life.start(index);
  h.state.now_ns = 501;
  CHECK(h.start(h.disk));
  CHECK(h.started(h.disk) == 0);
  CHECK(h.failure_of(hint).status == CUBBY_ERR_CANCELED);
}

TEST_CASE("a piece that finds no memory ends its fill; once it is issued, nothing takes any") {
  uint32_t failures = 0;
  for (int64_t allowed = 0;; ++allowed) {
    fixture h;
    const uint32_t pin = h.begin(h.host, 1);
    bool happened = false;
    {
      transfer::channel &path = *h.state.tiers[h.disk].path;
      const auto *const job = path.top();
      const cubby_test::allocation_failure failing(allowed);
      static_cast<void>(h.io.start_job(path, job->job));
      happened = failing.happened();
    }
    if (!happened) {
      h.serve(h.disk);
      CHECK(h.requests[pin].status == CUBBY_OK);
      break;
    }
    ++failures;
    REQUIRE(h.failure_of(pin).status == CUBBY_ERR_NO_MEMORY);
    REQUIRE(h.used(h.host) == 0);
    REQUIRE(h.started(h.disk) == 0);
  }
  CHECK(failures > 3);
}

TEST_CASE("devices that copy to each other through host memory do not wait for each other") {
  fixture h;
  const uint32_t twin = h.add_device("twin", 0, 16 * mib);
  for (const uint32_t number : {0u, 1u}) h.land(h.bank, twin, number);
  for (const uint32_t number : {2u, 3u}) h.land(h.bank, h.device, number);
  // Prefetches each way take all host memory between the devices, and have pieces left to copy.
  std::vector<uint32_t> pins;
  for (const uint32_t number : {0u, 1u}) {
    pins.push_back(h.begin(h.device, number, CUBBY_FORECAST));
    pins.push_back(h.begin(twin, number + 2, CUBBY_FORECAST));
  }
  for (const uint32_t tier : {h.device, twin}) {
    h.start_all(tier);
    REQUIRE(h.started(tier) == 16);
    REQUIRE(h.state.tiers[tier].path->queued_count() != 0);
  }
  for (const uint32_t tier : {h.device, twin}) {
    REQUIRE(h.state.tiers[tier].staging->take() == nullptr);
  }
  pins.push_back(h.join(h.device, 1));
  pins.push_back(h.join(twin, 3));
  std::array<size_t, 2> moved{};
  for (uint32_t round = 0; round < 16; ++round) {
    for (const uint32_t tier : {h.device, twin}) {
      h.start_all(tier);
      size_t &at = moved[tier == twin ? 1 : 0];
      while (at < h.started(tier)) h.move(tier, at++);
      while (!h.world(tier).ended.empty()) h.deliver(tier);
    }
  }
  for (const uint32_t pin : pins) CHECK(h.requests[pin].status == CUBBY_OK);
  CHECK(h.table.empty());
  for (const uint32_t number : {0u, 1u}) {
    REQUIRE(h.state_in(h.device, number) == locker_state::ready);
    REQUIRE(h.state_in(twin, number + 2) == locker_state::ready);
    CHECK(h.has_bytes(h.device, number));
    CHECK(h.has_bytes(twin, number + 2));
  }
}

TEST_CASE("a copy through host memory of which none can be had any more comes from the file") {
  fixture h;
  const uint32_t twin = h.add_device("twin", 0, 16 * mib);
  h.land(h.bank, twin, 1);
  const uint32_t pin = h.begin(h.device, 1);  // waits for its turn
  REQUIRE(h.state.tiers[twin].path->queued_count() == 1);
  h.no_host_memory = true;
  transfer::staging_pool &staging = *h.state.tiers[h.device].staging;
  while (staging.usable()) REQUIRE(staging.take() == nullptr);
  CHECK(h.start(twin));
  REQUIRE(h.started(twin) == 0);
  h.serve(h.disk);
  h.serve(h.device);
  CHECK(h.requests[pin].status == CUBBY_OK);
  CHECK(h.has_bytes(h.device, 1));
  CHECK(h.bank.word(twin, 1).look().pin_count == 0);
}

}  // namespace fill_io_test
