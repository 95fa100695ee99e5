#include <cstring>
#include <string>
#include <vector>

#include "base/checked.hpp"
#include "base/digest.hpp"
#include "base/prng.hpp"
#include "base/result.hpp"
#include "support/catch.hpp"

namespace base_test {

using namespace cubby;

TEST_CASE("checked arithmetic answers instead of wrapping") {
  const uint64_t most = ~uint64_t{0};
  CHECK(base::checked_add(most - 1, 1) == most);
  CHECK_FALSE(base::checked_add(most, 1).has_value());
  CHECK(base::checked_multiply(1u << 20, 1u << 20) == (uint64_t{1} << 40));
  CHECK_FALSE(base::checked_multiply(uint64_t{1} << 33, uint64_t{1} << 33).has_value());
  CHECK(base::align_down(4097, 4096) == 4096);
  CHECK(base::align_up(4097, 4096) == 8192);
  CHECK(base::align_up(4096, 4096) == 4096);
}

TEST_CASE("a digest is bound to bytes and to place") {
  std::vector<unsigned char> bytes(70'000, 7);
  const base::chunk_identity here{5, 1, 0, 2};
  const uint64_t digest = base::chunk_digest(bytes.data(), bytes.size(), here);
  CHECK(digest != 0);
  CHECK(digest == base::chunk_digest(bytes.data(), bytes.size(), here));

  SECTION("one flipped bit is seen") {
    bytes[69'999] ^= 1;
    CHECK(digest != base::chunk_digest(bytes.data(), bytes.size(), here));
  }
  SECTION("another locker, generation, part or chunk is seen") {
    for (const base::chunk_identity other :
         {base::chunk_identity{6, 1, 0, 2}, {5, 2, 0, 2}, {5, 1, 1, 2}, {5, 1, 0, 3}}) {
      CHECK(digest != base::chunk_digest(bytes.data(), bytes.size(), other));
    }
  }
}

TEST_CASE("the generator repeats itself from a seed and stays in its bounds") {
  base::prng first(42);
  base::prng second(42);
  base::prng third(43);
  bool differs = false;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = first.below(10);
    CHECK(value < 10);
    CHECK(value == second.below(10));
    differs |= value != third.below(10);
  }
  CHECK(differs);
}

TEST_CASE("a failed system call keeps its errno and gets a fitting status") {
  const error full = fail_errno(ENOSPC, "cannot write '%s'", "x");
  CHECK(full.status == CUBBY_ERR_NO_SPACE);
  CHECK(full.native == ENOSPC);
  CHECK(full.text == std::string("cannot write 'x': ") + std::strerror(ENOSPC));
  CHECK(fail_errno(EROFS, "x").status == CUBBY_ERR_DENIED);
  CHECK(fail_errno(EIO, "x").status == CUBBY_ERR_IO);
}

TEST_CASE("a result is a value or an error") {
  const result<int> good = 3;
  REQUIRE(good);
  CHECK(*good == 3);
  const result<int> bad = fail(CUBBY_ERR_BUDGET, "needs %d", 7);
  REQUIRE_FALSE(bad);
  CHECK(bad.failure().status == CUBBY_ERR_BUDGET);
  CHECK(bad.failure().text == "needs 7");
}

TEST_CASE("a digest taken piece by piece is the digest of the whole") {
  std::vector<unsigned char> bytes(300000);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = static_cast<unsigned char>(i * 31 + i / 7);
  for (const size_t length : {size_t{0}, size_t{1}, size_t{240}, size_t{1025}, bytes.size()})
    for (const size_t step : {size_t{1}, size_t{63}, size_t{4096}, size_t{300000}}) {
      cubby::base::digest_stream stream;
      for (size_t at = 0; at < length; at += step)
        stream.add(bytes.data() + at, std::min(step, length - at));
      CHECK(stream.value() == cubby::base::digest64(bytes.data(), length));
      CHECK(stream.value() == cubby::base::digest64(bytes.data(), length));  // looking changes none
    }
}

}  // namespace base_test
