#include "platform/host_memory.hpp"

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "support/catch.hpp"

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

TEST_CASE("memory bound to node 0 is taken; nodes that do not exist are refused") {
  auto memory = platform::take_host_memory(4096, 1);
  if (!memory && memory.failure().status != CUBBY_ERR_INVALID) {
    WARN("binding is not allowed here: " << memory.failure().text);
    return;
  }
  REQUIRE(memory);
  platform::give_host_memory(*memory);
  auto absent = platform::take_host_memory(4096, uint64_t{1} << 62);
  REQUIRE_FALSE(absent);
  CHECK(absent.failure().status == CUBBY_ERR_INVALID);
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
