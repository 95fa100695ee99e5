// Copies between frames and callers' memory of a device: whose regions they hold, and until when.
#include "engine/region_copies.hpp"

#include "support/engine_fixture.hpp"

namespace region_copies_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;

struct recording_region_sink final : region_sink {
  std::vector<cubby_status> ends;
  void copied(uint32_t, uint32_t, const error *why) override {
    ends.push_back(why == nullptr ? CUBBY_OK : why->status);
  }
};

struct region_world : engine_fixture {
  const uint32_t device = add_device("device", 0, mib);
  const uint32_t host = add_host("host", 1, mib);
  const uint32_t disk = add_disk();
  locker_bank &bank = add_bank(4, 4096);
  std::vector<std::byte> memory = std::vector<std::byte>(4096);  // the caller's
  const transfer::memory_piece piece{memory.data(), memory.size()};

  region_world() {
    map(bank, disk);
    land(bank, host, 1);
  }
  [[nodiscard]] region_copies::wanted wanted() const {
    region_copies::wanted what;
    what.device = device;
    what.bank = &bank;
    what.number = 1;
    what.tier = host;
    what.frame = bank.word(host, 1).look().frame;
    what.memory = {&piece, 1};
    return what;
  }
  /// The copy whose turn it is is made, and has ended.
  void serve() {
    transfer::channel &path = *state.tiers[device].path;
    const auto *const job = path.top();
    REQUIRE(job);
    REQUIRE(regions.start_job(path, job->job));
    path.flush(state.now_ns);
    fake_io();
    cubby_backend_done done{};
    uint64_t next = 0;
    REQUIRE(path.reap(state.now_ns, &done, 1, &next) == 1);
    const auto ended = store_ios.finish(path, done.cookie, state.now_ns);
    REQUIRE(ended);
    ended->owner->io_done(ended->tag, done);
  }
  void fake_io() {
    const size_t last = world(device).started.size() - 1;
    const cubby_backend_io &one = world(device).started[last];
    std::memcpy(one.memory, one.source, one.bytes);
    world(device).end(last);
  }
};

}  // namespace

TEST_CASE("a copy holds its regions by itself, and its request's uses stay for one more") {
  region_world h;
  recording_region_sink sink;
  std::atomic<uint32_t> uses{0};
  region_uses of_request;
  of_request.add(uses);
  for (size_t times = 1; times <= 2; ++times) {
    REQUIRE(h.regions.begin(h.wanted(), of_request, sink).ok());
    CHECK(uses == 2);
    h.serve();
    CHECK(sink.ends == std::vector<cubby_status>(times, CUBBY_OK));
    CHECK(uses == 1);
    CHECK(std::memcmp(h.memory.data(), h.content_of(h.bank, 1), 4096) == 0);
  }
  // What is under way holds them when the request is over.
  REQUIRE(h.regions.begin(h.wanted(), of_request, sink).ok());
  of_request.release();
  CHECK(uses == 1);
  h.serve();
  CHECK(uses == 0);
  CHECK(h.bank.word(h.host, 1).look().pin_count == 0);
}

}  // namespace region_copies_test
