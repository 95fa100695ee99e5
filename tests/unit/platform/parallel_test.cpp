// Loops on other threads, many and quickly enough for the thread sanitizer to see one thread's work
// meet another's.
#include "platform/parallel.hpp"

#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace parallel_test {

using namespace cubby::platform;

TEST_CASE("a loop does every piece once, and what it wrote is there afterwards") {
  for (uint32_t thread_count : {1u, 2u, 8u}) {
    for (uint32_t round = 0; round < 50; ++round) {
      std::vector<uint32_t> pieces(64);
      const uint32_t ran = parallel_for(pieces.size(), thread_count, {}, [&](uint64_t i) {
        ++pieces[i];
        std::this_thread::yield();
      });
      REQUIRE(ran >= 1);
      REQUIRE(ran <= thread_count);
      REQUIRE(pieces == std::vector<uint32_t>(64, 1));
    }
  }
}

TEST_CASE("a loop of nothing runs nothing") {
  CHECK(parallel_for(0, 4, {}, [](uint64_t) { FAIL("there is no piece"); }) == 1);
}

}  // namespace parallel_test
