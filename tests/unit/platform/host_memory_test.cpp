#include "platform/host_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/clock.hpp"
#include "support/catch.hpp"

namespace host_memory_test {

using namespace cubby;

namespace {

bool huge_pages_are_offered() {
  char text[128] = "";
  FILE *file = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
  if (file == nullptr) return false;
  const bool read = std::fgets(text, sizeof text, file) != nullptr;
  std::fclose(file);
  return read && std::strstr(text, "[never]") == nullptr;
}

}  // namespace

TEST_CASE("host memory is zeroed, writable, aligned and counted") {
  const uint64_t bytes = (uint64_t{8} << 20) + 4096;
  auto memory = platform::take_host_memory(bytes, 0);
  REQUIRE(memory);
  CHECK(reinterpret_cast<uintptr_t>(memory->base) % (uint64_t{2} << 20) == 0);
  CHECK(memory->bytes == bytes);
  CHECK(memory->huge_bytes <= memory->bytes);
  auto *data = static_cast<unsigned char *>(memory->base);
  uint64_t not_zero = 0;
  for (uint64_t i = 0; i < bytes; ++i) not_zero += data[i] != 0;
  CHECK(not_zero == 0);
  data[bytes - 1] = 1;
  if (!huge_pages_are_offered()) {
    WARN("transparent huge pages are off here: that they back the memory is not checked");
  } else {
    // The kernel may be short of them; the first of four is asked for, as a fresh machine gives it.
    CHECK(memory->huge_bytes >= (uint64_t{2} << 20));
  }
  platform::give_host_memory(*memory);
}

TEST_CASE("memory bound to node 0 is read back there; nodes that do not exist are refused") {
  auto memory = platform::take_host_memory(4096, 1);
  REQUIRE(memory);
  if (memory->bind_errno != 0) {
    WARN("binding is forbidden here: errno " << memory->bind_errno << "; not checked");
  } else if (memory->numa_nodes == 0) {
    WARN("the kernel does not say where pages are; the binding is not read back");
  } else {
    CHECK(memory->numa_nodes == 1);
  }
  const bool bound = memory->bind_errno == 0;
  platform::give_host_memory(*memory);
  if (!bound) return;
  auto absent = platform::take_host_memory(4096, uint64_t{1} << 62);
  REQUIRE_FALSE(absent);
  CHECK(absent.failure().status == CUBBY_ERR_INVALID);
}

TEST_CASE("memory that was given back is no longer mapped, nor are its guards") {
  auto memory = platform::take_host_memory(8192, 0);
  REQUIRE(memory);
  auto *first = static_cast<char *>(memory->base);
  const uint64_t page = 4096;
  unsigned char present[1];
  CHECK(::mincore(first - page, page, present) == 0);
  CHECK(::mincore(first + memory->bytes, page, present) == 0);
  platform::give_host_memory(*memory);
  for (char *at = first - page; at < first + 8192 + page; at += page) {
    CHECK(::mincore(at, page, present) == -1);
  }
}

TEST_CASE("huge pages of one piece are not counted for its neighbour") {
  const uint64_t bytes = uint64_t{4} << 20;
  auto one = platform::take_host_memory(bytes, 0);
  auto other = platform::take_host_memory(bytes, 0);
  REQUIRE(one);
  REQUIRE(other);
  // Splitting the neighbour's pages must not show in the first one's count.
  const uint64_t before = one->huge_bytes;
  REQUIRE(::madvise(other->base, other->bytes, MADV_DONTNEED) == 0);
  CHECK(platform::huge_bytes_of(one->base, one->bytes) == before);
  CHECK(platform::huge_bytes_of(other->base, other->bytes) == 0);
  platform::give_host_memory(*one);
  platform::give_host_memory(*other);
}

TEST_CASE("first touch by any number of threads touches every page once made") {
  for (const uint32_t threads : {1u, 2u, 7u}) {
    const uint64_t bytes = (uint64_t{6} << 20) + 4096;
    auto memory = platform::take_host_memory(bytes, 0, {threads, {0}});
    REQUIRE(memory);
    CHECK(memory->touch_thread_count >= 1);
    CHECK(memory->touch_thread_count <= std::min(threads, 4u));
    std::vector<unsigned char> present(bytes / 4096);
    REQUIRE(::mincore(memory->base, bytes, present.data()) == 0);
    CHECK(std::count(present.begin(), present.end(), 1) ==
          static_cast<std::ptrdiff_t>(present.size()));
    platform::give_host_memory(*memory);
  }
}

// Not part of the ordinary run: unit_platform "[measure]" prints what first touch costs here.
TEST_CASE("speed of first touch", "[.][measure]") {
  const uint64_t bytes = uint64_t{512} << 20;
  for (int round = 0; round < 3; ++round) {
    for (const uint32_t threads : {1u, 2u}) {
      const uint64_t start_ns = base::now_ns();
      auto memory = platform::take_host_memory(bytes, 0, {threads, {}});
      const double seconds = static_cast<double>(base::now_ns() - start_ns) / 1e9;
      REQUIRE(memory);
      std::printf("%u thread(s): %.2f GB/s, %.0f %% on huge pages\n", threads,
                  static_cast<double>(bytes) / 1e9 / seconds,
                  100.0 * static_cast<double>(memory->huge_bytes) / static_cast<double>(bytes));
      platform::give_host_memory(*memory);
    }
  }
}

TEST_CASE("impossible sizes are errors that name the bytes") {
  auto none = platform::take_host_memory(0, 0);
  REQUIRE_FALSE(none);
  CHECK(none.failure().status == CUBBY_ERR_INVALID);
  for (const uint64_t bytes : {~uint64_t{0}, uint64_t{1} << 60}) {
    auto much = platform::take_host_memory(bytes, 0);
    REQUIRE_FALSE(much);
    CHECK(much.failure().status == CUBBY_ERR_NO_MEMORY);
    CHECK(much.failure().needed_bytes == bytes);
  }
}

}  // namespace host_memory_test
