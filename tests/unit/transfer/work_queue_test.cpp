// Digests by workers and by the pump: each job ends once, with the digests that one would make by
// itself, and nothing runs once the queue is gone.
#include "transfer/work_queue.hpp"

#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace work_queue_test {

using namespace cubby;
using transfer::digest_job;
using transfer::work_queue;

namespace {

constexpr uint64_t chunk_bytes = 4096;

std::vector<std::byte> random_bytes(size_t size, uint32_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::byte &one : bytes)
    one = static_cast<std::byte>((seed = seed * 1664525 + 1013904223) >> 24);
  return bytes;
}

struct counting_owner final : transfer::job_owner {
  std::vector<uint32_t> calls;
  explicit counting_owner(size_t jobs) : calls(jobs, 0) {}
  void job_done(uint32_t tag) override { ++calls[tag]; }
};

/// Runs what is enqueued when the test says so: a worker that comes as late as it likes.
struct late_pool final : platform::worker_pool {
  std::vector<std::shared_ptr<platform::work_item>> &items;
  explicit late_pool(std::vector<std::shared_ptr<platform::work_item>> &all) : items(all) {}
  [[nodiscard]] uint32_t thread_count() const override { return 2; }
  bool enqueue(const std::shared_ptr<platform::work_item> &one) noexcept override {
    items.push_back(one);
    return true;
  }
};

void ignore(void *) {}

digest_job job_over(const std::vector<std::byte> &bytes, std::vector<uint64_t> &digests,
                    counting_owner &owner, uint32_t tag) {
  digest_job job;
  job.bytes = bytes.data();
  job.size_bytes = bytes.size();
  job.first_bytes = 1000;
  job.chunk_bytes = chunk_bytes;
  job.first = {7, 1, 2, 3};
  job.digests = digests.data();
  job.owner = &owner;
  job.tag = tag;
  return job;
}

std::vector<uint64_t> expected(const std::vector<std::byte> &bytes) {
  std::vector<uint64_t> digests;
  size_t at = 0;
  for (uint32_t chunk = 3; at < bytes.size(); ++chunk) {
    const size_t size = std::min<size_t>(at == 0 ? 1000 : chunk_bytes, bytes.size() - at);
    digests.push_back(base::chunk_digest(bytes.data() + at, size, {7, 1, 2, chunk}));
    at += size;
  }
  return digests;
}

}  // namespace

TEST_CASE("chunks are digested as each by itself") {
  for (const size_t size : {size_t{1}, size_t{1000}, size_t{1001}, size_t{5096}, size_t{20000}}) {
    const auto bytes = random_bytes(size, 5);
    const auto right = expected(bytes);
    std::vector<uint64_t> digests(right.size() + 1, 42);
    counting_owner owner(1);
    transfer::make_digests(job_over(bytes, digests, owner, 0));
    CHECK(digests.back() == 42);  // nothing beyond the last chunk
    digests.pop_back();
    CHECK(digests == right);
  }
}

TEST_CASE("without workers the caller makes the digests") {
  work_queue all;
  const auto bytes = random_bytes(100, 1);
  std::vector<uint64_t> digests(1);
  counting_owner owner(1);
  CHECK_FALSE(all.has_help());
  CHECK_FALSE(all.submit(job_over(bytes, digests, owner, 0)));
  CHECK_FALSE(all.step());
  CHECK_FALSE(all.has_finished());
}

TEST_CASE("the pump makes the digests that no worker has begun") {
  std::vector<std::shared_ptr<platform::work_item>> items;
  const auto bytes = random_bytes(size_t{200} << 10, 2);
  const auto right = expected(bytes);
  std::vector<std::vector<uint64_t>> digests(3, std::vector<uint64_t>(right.size()));
  counting_owner owner(3);
  {
    work_queue all;
    all.use(std::make_unique<late_pool>(items), {ignore, ignore, nullptr});
    for (uint32_t i = 0; i < 3; ++i) REQUIRE(all.submit(job_over(bytes, digests[i], owner, i)));
    CHECK(items.size() == 2);  // no more than there are workers
    CHECK(all.step());
    CHECK(owner.calls == std::vector<uint32_t>{1, 0, 0});
    items[0]->run();  // takes the two that are left
    CHECK(all.has_finished());
    CHECK(owner.calls == std::vector<uint32_t>{1, 0, 0});
    CHECK(all.step());
    CHECK_FALSE(all.has_finished());
    CHECK(owner.calls == std::vector<uint32_t>{1, 1, 1});
    CHECK_FALSE(all.step());
  }
  items[1]->run();  // after the end: finds it closed
  for (const auto &one : digests) CHECK(one == right);
}

TEST_CASE("more jobs than the queue holds are left to the caller") {
  std::vector<std::shared_ptr<platform::work_item>> items;
  work_queue all;
  all.use(std::make_unique<late_pool>(items), {ignore, ignore, nullptr});
  const auto bytes = random_bytes(10, 3);
  std::vector<uint64_t> digests(1);
  counting_owner owner(1000);
  uint32_t taken = 0;
  while (taken < 1000 && all.submit(job_over(bytes, digests, owner, taken))) ++taken;
  CHECK(taken >= 16);
  CHECK(taken < 1000);
  while (all.step()) {
  }
  uint32_t ended = 0;
  for (const uint32_t calls : owner.calls) ended += calls;
  CHECK(ended == taken);
}

TEST_CASE("workers and the pump share many jobs, each of which ends once") {
  static std::atomic<uint32_t> wakes;
  wakes = 0;
  const auto bytes = random_bytes(size_t{256} << 10, 4);
  const auto right = expected(bytes);
  constexpr uint32_t count = 400;
  std::vector<std::vector<uint64_t>> digests(count, std::vector<uint64_t>(right.size()));
  counting_owner owner(count);
  uint32_t ended = 0;
  {
    work_queue all;
    all.use(std::make_unique<platform::thread_pool>(2),
            {[](void *) { wakes.fetch_add(1); }, ignore, nullptr});
    for (uint32_t i = 0; i < count;) {
      if (all.submit(job_over(bytes, digests[i], owner, i))) {
        ++i;
      } else {
        all.step();
      }
    }
    while (ended < count) {
      if (!all.step()) std::this_thread::yield();
      ended = 0;
      for (const uint32_t calls : owner.calls) ended += calls;
    }
  }
  CHECK(ended == count);
  for (const uint32_t calls : owner.calls) CHECK(calls == 1);
  for (const auto &one : digests) REQUIRE(one == right);
  CHECK(wakes.load() <= count);
}

TEST_CASE("a thread that waits is called when more waits than the pump will do, and helps") {
  static uint32_t calls;
  calls = 0;
  const auto bytes = random_bytes(size_t{200} << 10, 6);
  const auto right = expected(bytes);
  std::vector<std::vector<uint64_t>> digests(3, std::vector<uint64_t>(right.size()));
  counting_owner owner(3);
  work_queue all;
  all.use(nullptr, {ignore, [](void *) { ++calls; }, nullptr});
  CHECK_FALSE(all.submit(job_over(bytes, digests[0], owner, 0)));  // nobody is there
  all.join();
  for (uint32_t i = 0; i < 3; ++i) REQUIRE(all.submit(job_over(bytes, digests[i], owner, i)));
  CHECK(calls == 1);  // and not again before it has looked
  CHECK(all.wants_help());
  CHECK(all.help());
  CHECK(all.has_finished());
  CHECK(owner.calls == std::vector<uint32_t>{0, 0, 0});
  CHECK(all.step());
  CHECK(owner.calls == std::vector<uint32_t>{1, 0, 0});
  CHECK(all.help());
  CHECK(all.step());
  CHECK(all.step());  // the pump itself
  CHECK(owner.calls == std::vector<uint32_t>{1, 1, 1});
  CHECK_FALSE(all.help());
  CHECK_FALSE(all.wants_help());
  all.leave();
  CHECK_FALSE(all.has_help());
  for (const auto &one : digests) CHECK(one == right);
}

TEST_CASE("chunks are copied as they are digested, and copies are jobs of their own") {
  const auto bytes = random_bytes(20000, 7);
  const auto right = expected(bytes);
  std::vector<uint64_t> digests(right.size());
  std::vector<std::byte> low(12345), high(20000 - 12345), again(20000);
  const transfer::memory_piece into[] = {{low.data(), low.size()}, {high.data(), high.size()}};
  const transfer::memory_piece whole[] = {{again.data(), again.size()}};
  counting_owner owner(2);
  work_queue all;
  all.use(nullptr, {ignore, ignore, nullptr});
  all.join();
  auto job = job_over(bytes, digests, owner, 0);
  job.into = into;
  REQUIRE(all.submit(job));
  CHECK(all.help());
  REQUIRE(all.submit(transfer::copy_job{into, whole, again.size(), &owner, 1}));
  CHECK(all.help());
  CHECK(all.step());
  CHECK(owner.calls == std::vector<uint32_t>{1, 1});
  all.leave();
  CHECK(digests == right);
  CHECK(again == bytes);
}

}  // namespace work_queue_test
