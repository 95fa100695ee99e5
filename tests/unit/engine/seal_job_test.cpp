// A seal from its first read to its end: complete, interrupted and resumed, or failed.
#include "engine/seal_job.hpp"

#include <thread>

#include "base/digest.hpp"
#include "support/engine_fixture.hpp"
#include "unit/store/scratch.hpp"

namespace seal_job_test {

using namespace cubby;
using namespace cubby::engine;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;
constexpr uint64_t locker_bytes = mib + 65536;
constexpr uint32_t columns = 12;

struct fixture : cubby_test::engine_fixture {
  const scratch::folder in;
  const std::string path = in.path("weights.cubby-seal");
  const uint32_t disk = add_disk();
  transfer::io_table ios;
  std::unique_ptr<seal_job> job;
  size_t served = 0;  // of the reads that were started

  explicit fixture(bool at_once = true) { start_job(path, at_once); }
  ~fixture() { job.reset(); }
  void start_job(const std::string &to, bool at_once = true) {
    std::vector<std::unique_ptr<locker_bank>> banks;
    banks.push_back(describe());
    catalog::bank_file file;
    file.path = "/models/weights.bin";
    file.number = 1;
    file.bytes = world(disk).file.bytes = content.size();
    std::vector<cubby_extent> extents;
    for (uint32_t number = 0; number < columns; ++number) {
      extents.push_back({CUBBY_ID(0, number), 0, 0, 64 + number * locker_bytes, locker_bytes});
    }
    REQUIRE(banks[0]->map({file}, extents.data(), extents.size()).ok());
    store::model_file model;
    model.files.push_back({file.path, file.bytes, 0, 0, 0, 77});
    job = std::make_unique<seal_job>(state, files, ios, std::move(model), std::move(banks), to,
                                     at_once);
    job->take_files(0, {file}, disk);
  }
  /// The reads that were started, but for the last `leave`, come back.
  void serve(size_t leave = 0, int32_t error = 0) {
    transfer::channel &path_to = *state.tiers[disk].path;
    path_to.flush(state.now_ns);
    auto &started = world(disk).started;
    for (; served + leave < started.size(); ++served) {
      std::memcpy(started[served].memory, content.data() + started[served].offset_bytes,
                  started[served].bytes);
      world(disk).end(served, error);
    }
    deliver();
  }
  void deliver() {
    transfer::channel &path_to = *state.tiers[disk].path;
    std::array<cubby_backend_done, 16> done{};
    uint64_t next = 0;
    const uint32_t count = path_to.reap(state.now_ns, done.data(), 16, &next);
    for (uint32_t i = 0; i < count; ++i) {
      const auto ended = ios.finish(path_to, done[i].cookie, state.now_ns);
      REQUIRE(ended);
      ended->owner->io_done(ended->tag, done[i]);
    }
  }
  void run() {
    while (!job->step()) serve();
  }
  [[nodiscard]] uint32_t buffers() {
    uint32_t count = 0;
    while (state.tiers[disk].staging->take() != nullptr) ++count;
    return count;
  }
  [[nodiscard]] store::seal written() const {
    auto there = store::read_seal(path);
    REQUIRE(there.ok());
    return std::move(*there);
  }
  [[nodiscard]] bool is_written() const { return store::read_seal(path).ok(); }

 private:
  std::unique_ptr<locker_bank> describe() {
    content.resize(base::align_up(64 + columns * locker_bytes, 4096));
    uint32_t seed = 1;
    for (std::byte &one : content)
      one = static_cast<std::byte>((seed = seed * 1664525 + 1013904223) >> 24);
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "weights";
    desc.rows = 1;
    desc.columns = columns;
    desc.locker_bytes = locker_bytes;
    desc.chunk_bytes = 65536;
    auto made = locker_bank::describe(desc);
    REQUIRE(made.ok());
    return std::move(*made);
  }
};

uint64_t known_count(const store::seal &of) {
  return static_cast<uint64_t>(std::count_if(of.banks[0].begin(), of.banks[0].end(),
                                             [](uint64_t digest) { return digest != 0; }));
}

}  // namespace

TEST_CASE(
    "a seal has the digest of every chunk, in the order of lockers, and says it is complete") {
  fixture h;
  CHECK_FALSE(h.job->step());
  h.state.tiers[h.disk].path->flush(h.state.now_ns);
  CHECK(h.world(h.disk).started.size() == 8);  // at once, at most
  h.run();
  CHECK(h.job->failure().status == CUBBY_OK);
  CHECK(h.job->done_count() == h.job->total_count());
  CHECK(h.job->read_bytes() == columns * locker_bytes);
  const store::seal seal = h.written();
  CHECK(seal.complete);
  CHECK(seal.chunk_bytes == 65536);
  CHECK(seal.files[0].header_digest == 77);
  REQUIRE(seal.banks[0].size() == h.job->total_count());
  size_t index = 0;
  for (uint32_t number = 0; number < columns; ++number) {
    uint64_t at = 64 + number * locker_bytes;
    const uint64_t end = at + locker_bytes;
    for (uint32_t chunk = 0; at < end; ++chunk) {
      const uint64_t next = std::min(end, at / 65536 * 65536 + 65536);
      REQUIRE(seal.banks[0][index++] ==
              base::chunk_digest(h.content.data() + at, next - at, {number, 1, 0, chunk}));
      at = next;
    }
  }
  h.job.reset();
  CHECK(h.buffers() == 16);
}

TEST_CASE("an interrupted seal waits for its reads, says how far it came, and goes on there") {
  fixture h;
  CHECK_FALSE(h.job->step());
  h.serve(3);
  h.job->stop();
  CHECK_FALSE(h.job->step());
  h.state.tiers[h.disk].path->flush(h.state.now_ns);
  CHECK(h.world(h.disk).started.size() == 8);  // nothing new
  h.serve();
  CHECK(h.job->step());
  CHECK(h.job->failure().status == CUBBY_ERR_CANCELED);
  const uint64_t done = h.job->done_count(), total = h.job->total_count();
  CHECK(done < total);
  CHECK(h.job->failure().text.find("after " + std::to_string(done) + " of " +
                                   std::to_string(total)) != std::string::npos);
  const store::seal half = h.written();
  CHECK_FALSE(half.complete);
  CHECK(known_count(half) == done);
  h.start_job(h.path);
  h.job->resume(half);
  CHECK(h.job->done_count() == done);
  const uint64_t before = h.job->read_bytes();
  h.run();
  CHECK(h.job->failure().status == CUBBY_OK);
  CHECK(h.job->read_bytes() - before < columns * locker_bytes);
  CHECK(h.job->done_count() == total);
  const store::seal whole = h.written();
  CHECK(whole.complete);
  CHECK(known_count(whole) == total);
  fixture fresh;
  fresh.run();
  CHECK(fresh.written().banks == whole.banks);
}

TEST_CASE("a seal of another shape is not gone on with") {
  fixture h;
  store::seal other;
  other.chunk_bytes = 65536;
  other.banks = {{1, 2, 3}};
  h.job->resume(other);
  CHECK(h.job->done_count() == 0);
  other.chunk_bytes = 4096;
  other.banks = {std::vector<uint64_t>(h.job->total_count(), 5)};
  h.job->resume(other);
  CHECK(h.job->done_count() == 0);
}

TEST_CASE("a seal that cannot be written fails with the reason, interrupted or not") {
  for (const bool interrupted : {false, true}) {
    fixture h;
    h.start_job(h.in.path("nowhere/seal"));
    CHECK_FALSE(h.job->step());
    if (interrupted) h.job->stop();
    h.run();
    CHECK(h.job->failure().native == ENOENT);
    CHECK(h.job->failure().text.find("nowhere/seal") != std::string::npos);
    CHECK_FALSE(h.job->writing());
  }
}

TEST_CASE("a read that fails, or falls short, ends the seal once all have come back, unwritten") {
  for (const bool falls_short : {false, true}) {
    fixture h;
    CHECK_FALSE(h.job->step());
    h.state.tiers[h.disk].path->flush(h.state.now_ns);
    if (falls_short) {
      h.world(h.disk).end_short(0, 4096);
    } else {
      h.world(h.disk).end(0, EIO);
    }
    h.served = 1;
    h.deliver();
    CHECK_FALSE(h.job->step());
    h.serve();
    CHECK(h.job->step());
    const error &why = h.job->failure();
    CHECK(why.status == CUBBY_ERR_IO);
    CHECK(why.text.find(falls_short
                            ? "/models/weights.bin ends before its last expert"
                            : "/models/weights.bin could not be read") != std::string::npos);
    CHECK_FALSE(h.is_written());
    h.job.reset();
    CHECK(h.buffers() == 16);
  }
}

TEST_CASE("a file that changed while it was sealed has no seal") {
  fixture h;
  CHECK_FALSE(h.job->step());
  h.serve();
  h.world(h.disk).file.mtime_ns = 9;
  h.run();
  CHECK(h.job->failure().status == CUBBY_ERR_CORRUPT);
  CHECK_FALSE(h.is_written());
}

TEST_CASE("without memory for staging a seal fails instead of waiting") {
  fixture h;
  h.no_host_memory = true;
  bool ended = false;
  for (int steps = 0; steps < 10 && !ended; ++steps) ended = h.job->step();
  CHECK(ended);
  CHECK(h.job->failure().status == CUBBY_ERR_NO_MEMORY);
  CHECK_FALSE(h.is_written());
}

TEST_CASE("a seal that is written beside the pump ends with a later step") {
  fixture h(false);
  while (!h.job->writing()) {
    REQUIRE_FALSE(h.job->step());
    h.serve();
  }
  while (!h.job->step()) std::this_thread::yield();
  CHECK_FALSE(h.job->writing());
  CHECK(h.job->failure().status == CUBBY_OK);
  CHECK(h.written().complete);
}

}  // namespace seal_job_test
