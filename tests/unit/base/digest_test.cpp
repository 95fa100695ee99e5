#include <algorithm>
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

}  // namespace digest_test
