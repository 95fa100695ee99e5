// Which tier of files serves a path.
#include "tier/file_tier.hpp"

#include "support/fake_backend.hpp"

namespace file_tier_test {

using cubby::tier::file_tier;

TEST_CASE("the longest directory that a path lies in counts") {
  cubby_test::fake_world world;
  auto made = file_tier::make(cubby_test::open_fake(world), "nvme:0", {"/data", "/data/fast/"});
  REQUIRE(made.ok());
  const file_tier &tier = **made;
  CHECK(tier.directory_match("/data/fast/model.gguf") == sizeof "/data/fast/" - 1);
  CHECK(tier.directory_match("/data/model.gguf") == sizeof "/data/" - 1);
  CHECK(tier.directory_match("/database/model.gguf") == 0);
  CHECK(tier.directory_match("model.gguf") == 0);
}

}  // namespace file_tier_test
