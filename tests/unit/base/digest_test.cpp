#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "base/digest.hpp"
#include "base/prng.hpp"
#include "support/catch.hpp"

namespace digest_test {

TEST_CASE("a chunk's digest is the same piece by piece") {
  std::vector<unsigned char> bytes(300000);
  cubby::base::prng random(5);
  for (unsigned char &one : bytes) one = static_cast<unsigned char>(random.next());
  const cubby::base::chunk_identity identity{7, 1, 2, 3};
  for (const size_t size : {size_t{1}, size_t{255}, size_t{4096}, size_t{262144}, bytes.size()}) {
    for (const size_t piece : {size_t{1} << 10, size_t{65536}, size_t{100001}}) {
      cubby::base::digest_stream all(identity);
      for (size_t at = 0; at < size; at += piece) {
        all.add(bytes.data() + at, std::min(piece, size - at));
      }
      CHECK(all.chunk_value() == cubby::base::chunk_digest(bytes.data(), size, identity));
    }
  }
}

TEST_CASE("a digest piece by piece does not depend on what its memory held before") {
  const std::vector<char> bytes(100000, 'b');
  const cubby::base::chunk_identity identity{7, 1, 2, 3};
  const uint64_t want = cubby::base::chunk_digest(bytes.data(), bytes.size(), identity);
  alignas(cubby::base::digest_stream) unsigned char memory[sizeof(cubby::base::digest_stream)];
  for (size_t from = 0; from < sizeof memory; from += 64) {
    // A digest of the same identity lay here, and something else wrote over a part of it.
    new (memory) cubby::base::digest_stream(identity);
    std::memset(memory + from, 0x5a, 64);
    auto *const again = new (memory) cubby::base::digest_stream(identity);
    again->add(bytes.data(), 50000);
    again->add(bytes.data() + 50000, 50000);
    CHECK(again->chunk_value() == want);
  }
}

}  // namespace digest_test
