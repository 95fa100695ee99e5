// The ring itself under stress: a completion queue that overflows, a kernel that refuses
// submissions for ever or for a while, and a locked memory limit too small for registered buffers.
struct io_uring;
static int submit_or_refuse(io_uring *ring);
#define CUBBY_URING_SUBMIT submit_or_refuse
#include "uring/uring.cpp"  // NOLINT: the test replaces one call of it

#include <sys/resource.h>
#include <sys/wait.h>

#include <map>
#include <memory>

#include "support/catch.hpp"
#include "support/services.hpp"

static int refusals = 0;  // how many of the next submissions fail
static int refusals_made = 0;
static int submit_or_refuse(io_uring *ring) {
  if (refusals == 0) return io_uring_submit(ring);
  --refusals;
  ++refusals_made;
  return -EAGAIN;
}

namespace {
using namespace cubby_uring;

constexpr const char *readable = "/proc/self/exe";

struct opened_ring {
  cubby_test::test_services host;
  cubby_backend_services services = host.services();
  cubby_backend *self = nullptr;
  int32_t status = 0;
  const cubby_backend_ops &ops = *cubby_uring_backend();

  explicit opened_ring(uint32_t depth) {
    cubby_backend_config config{};
    config.struct_size = sizeof config;
    config.device = -1;
    config.queue_depth = depth;
    status = ops.open(&services, &config, &self);
    if (status != 0) WARN("skipped, io_uring is not available here: errno " << -status);
  }
  opened_ring(const opened_ring &) = delete;
  opened_ring &operator=(const opened_ring &) = delete;
  ~opened_ring() {
    if (self != nullptr) ops.close(self);
  }
  uint32_t file(const char *path) {
    cubby_backend_file out{};
    out.struct_size = sizeof out;
    return ops.file_open(self, path, CUBBY_BACKEND_FILE_READ, &out) == 0 ? out.file : 0;
  }
};

struct page_deleter {
  void operator()(unsigned char *memory) const { std::free(memory); }
};
using pages = std::unique_ptr<unsigned char[], page_deleter>;
pages make_pages(std::size_t bytes) {
  return pages(static_cast<unsigned char *>(std::aligned_alloc(4096, bytes)));
}

std::vector<cubby_backend_io> page_reads(uint32_t file, unsigned char *memory, uint32_t count) {
  std::vector<cubby_backend_io> ios(count);
  for (uint32_t i = 0; i < count; ++i) {
    ios[i].cookie = 100 + i;
    ios[i].op = CUBBY_BACKEND_READ;
    ios[i].file = file;
    ios[i].memory = memory + i * 4096u;
    ios[i].bytes = 4096;
  }
  return ios;
}

// Bounded: at most 5,000 looks. Each cookie may come back once only.
std::map<uint64_t, int32_t> reap_all(opened_ring &ring, std::size_t count) {
  std::map<uint64_t, int32_t> seen;
  for (int look = 0; look < 5000 && seen.size() < count; ++look) {
    cubby_backend_done out[3];
    uint64_t next = 0;
    const uint32_t got = ring.ops.reap(ring.self, 0, out, 3, &next);
    for (uint32_t i = 0; i < got; ++i) {
      REQUIRE(seen.emplace(out[i].cookie, out[i].error).second);
    }
    if (got == 0) REQUIRE(ring.ops.wait(ring.self, 1'000'000, -1) == 0);
  }
  return seen;
}

}  // namespace

TEST_CASE("a completion queue of 4 overflowed by 32 I/Os loses none and doubles none") {
  opened_ring ring(2);
  if (ring.status != 0) return;
  instance &inner = of(ring.self);
  REQUIRE(*inner.ring.cq.kring_entries == 4);
  make_slots(inner, 32);
  const uint32_t file = ring.file(readable);
  REQUIRE(file != 0);
  const pages memory = make_pages(32 * 4096);
  const auto ios = page_reads(file, memory.get(), 32);
  for (const cubby_backend_io &io : ios) REQUIRE(ring.ops.submit(ring.self, 0, &io, 1) == 1);
  // Nothing was reaped: wait until the kernel itself says that the queue has overflowed.
  for (int i = 0; i < 5000 && !io_uring_cq_has_overflow(&inner.ring); ++i) usleep(1000);
  REQUIRE(io_uring_cq_has_overflow(&inner.ring));
  const auto seen = reap_all(ring, 32);
  CHECK(seen.size() == 32);
  for (const auto &[cookie, error] : seen) CHECK(error == 0);
  CHECK(reap_all(ring, 0).empty());
  ring.ops.file_close(ring.self, file);
}

TEST_CASE("submissions refused for ever complete with the error after a bounded number of tries") {
  opened_ring ring(4);
  if (ring.status != 0) return;
  const uint32_t file = ring.file(readable);
  const pages memory = make_pages(4 * 4096);
  const auto ios = page_reads(file, memory.get(), 4);
  refusals = 1'000'000;
  refusals_made = 0;
  REQUIRE(ring.ops.submit(ring.self, 0, ios.data(), 4) == 4);
  const auto failed = reap_all(ring, 4);
  refusals = 0;
  CHECK(refusals_made <= 2000);
  REQUIRE(failed.size() == 4);
  for (const auto &[cookie, error] : failed) CHECK(error == EAGAIN);
  // The ring is whole again: nothing withdrawn is run later, and new I/Os are.
  REQUIRE(ring.ops.submit(ring.self, 0, ios.data(), 4) == 4);
  const auto seen = reap_all(ring, 4);
  REQUIRE(seen.size() == 4);
  for (const auto &[cookie, error] : seen) CHECK(error == 0);
  ring.ops.file_close(ring.self, file);
}

TEST_CASE("submissions refused for a while are offered again and succeed") {
  opened_ring ring(4);
  if (ring.status != 0) return;
  const uint32_t file = ring.file(readable);
  const pages memory = make_pages(4 * 4096);
  const auto ios = page_reads(file, memory.get(), 4);
  refusals = 20;
  REQUIRE(ring.ops.submit(ring.self, 0, ios.data(), 4) == 4);
  const auto seen = reap_all(ring, 4);
  CHECK(refusals == 0);
  REQUIRE(seen.size() == 4);
  for (const auto &[cookie, error] : seen) CHECK(error == 0);
  ring.ops.file_close(ring.self, file);
}

TEST_CASE("reads into registered memory give the same bytes as reads into other memory") {
  opened_ring ring(4);
  if (ring.status != 0) return;
  const uint32_t file = ring.file(readable);
  const pages known = make_pages(4 * 4096), other = make_pages(4 * 4096);
  std::memset(known.get(), 1, 4 * 4096);
  if (ring.ops.memory_register(ring.self, known.get(), 4 * 4096) != 0) {
    WARN("skipped, buffers cannot be registered here: " << ring.host.lines.back());
    return;
  }
  cubby_backend_info info{};
  info.struct_size = sizeof info;
  REQUIRE(ring.ops.describe(ring.self, &info) == 0);
  CHECK(info.registered == (of(ring.self).files_registered != 0 ? 1u : 0u));
  CHECK(of(ring.self).find_region(known.get() + 4096, 3 * 4096) == 0);
  CHECK(of(ring.self).find_region(known.get() + 4096, 4 * 4096) == -1);
  CHECK(of(ring.self).find_region(other.get(), 4096) == -1);
  for (unsigned char *memory : {known.get(), other.get()}) {
    const auto ios = page_reads(file, memory, 4);
    REQUIRE(ring.ops.submit(ring.self, 0, ios.data(), 4) == 4);
    const auto seen = reap_all(ring, 4);
    REQUIRE(seen.size() == 4);
    for (const auto &[cookie, error] : seen) CHECK(error == 0);
  }
  CHECK(std::memcmp(known.get(), other.get(), 4 * 4096) == 0);
  CHECK(std::memcmp(known.get(), "\177ELF", 4) == 0);
  ring.ops.memory_unregister(ring.self, known.get(), 4 * 4096);
  REQUIRE(ring.ops.describe(ring.self, &info) == 0);
  CHECK(info.registered == 0);
  ring.ops.file_close(ring.self, file);
}

namespace {
enum child_exit { good = 0, not_limited = 10, not_opened = 11, silent = 12, claimed = 13 };

// With 64 KiB of lockable memory and no privilege to pass the limit by.
child_exit register_under_limit() {
  const rlimit limit{65536, 65536};
  if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return not_limited;
  if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return not_limited;
  opened_ring ring(4);
  if (ring.status != 0) return ring.host.lines.empty() ? silent : not_opened;
  const pages memory = make_pages(1u << 20);
  std::memset(memory.get(), 1, 1u << 20);
  if (ring.ops.memory_register(ring.self, memory.get(), 1u << 20) == 0) return not_limited;
  bool said = false;
  for (const std::string &line : ring.host.lines) said |= line.find("ulimit -l") != line.npos;
  cubby_backend_info info{};
  info.struct_size = sizeof info;
  ring.ops.describe(ring.self, &info);
  if (!said || std::string(info.why).find("ulimit -l") == std::string::npos) return silent;
  return info.registered != 0 ? claimed : good;
}
}  // namespace

TEST_CASE("ulimit -l 64: memory is not registered, and the log and the info say why") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(register_under_limit());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == not_limited || WEXITSTATUS(status) == not_opened) {
    WARN("skipped, the limit could not be put on a child or io_uring is not available under it");
    return;
  }
  CHECK(WEXITSTATUS(status) == good);
}
