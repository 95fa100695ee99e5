// A tier's own memory: the blocks that it comes in, and what lies in one of them.
#include "tier/memory_tier.hpp"

#include "support/fake_backend.hpp"

namespace memory_tier_test {

using cubby::tier::memory_tier;
using cubby_test::fake_world;

namespace {

constexpr uint64_t gib = uint64_t{1} << 30;

struct fixture {
  fake_world world;
  std::unique_ptr<memory_tier> memory;
  uint32_t given_back = 0;

  explicit fixture(uint64_t budget_bytes) {
    world.capabilities = CUBBY_CAP_MEMORY;
    auto made = memory_tier::own(cubby_test::open_fake(world), "host", budget_bytes);
    REQUIRE(made.ok());
    memory = std::move(*made);
  }
  cubby::result<void> merge(uint64_t together_bytes) {
    return memory->merge([&](const cubby_backend_memory &) { ++given_back; }, together_bytes);
  }
};

}  // namespace

TEST_CASE("a frame larger than a block gets memory in one piece, and others what they had") {
  fixture h(gib * 5 / 2);
  CHECK(h.memory->blocks().size() == 3);
  CHECK_FALSE(h.memory->take(gib * 5 / 4).has_value());
  CHECK_FALSE(h.memory->has_block_for(gib * 5 / 4));
  REQUIRE(h.merge(gib * 5 / 4).ok());
  CHECK(h.given_back == 3);
  CHECK(h.memory->memory_bytes() == gib * 5 / 2);
  CHECK(h.memory->has_block_for(gib * 5 / 4));
  CHECK_FALSE(h.memory->in_pieces());
  const auto frame = h.memory->take(gib * 5 / 4);
  REQUIRE(frame.has_value());
  h.memory->give(*frame, gib * 5 / 4);
  REQUIRE(h.merge(gib * 5 / 2).ok());
  CHECK(h.memory->blocks().size() == 1);
  CHECK(h.memory->take(gib * 5 / 2).has_value());
}

TEST_CASE("what lies beside a large block is given back when the budget is lowered") {
  fixture h(4 * gib);
  REQUIRE(h.merge(gib * 3 / 2).ok());
  CHECK(h.memory->blocks().size() == 3);
  REQUIRE(h.memory->set_budget(2 * gib).ok());
  h.memory->trim([](const cubby_backend_memory &) {});
  CHECK(h.memory->memory_bytes() == 2 * gib);
  CHECK(h.memory->has_block_for(gib * 3 / 2));
}

TEST_CASE("where the system has no piece so large, the tier keeps blocks of the usual size") {
  fixture h(gib * 5 / 2);
  h.world.block_bytes_max = gib;
  const auto refused = h.merge(gib * 5 / 4);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().status == CUBBY_ERR_NO_MEMORY);
  CHECK(h.memory->memory_bytes() == gib * 5 / 2);
  CHECK(h.memory->blocks().size() == 3);
  CHECK(h.memory->take(gib).has_value());
}

}  // namespace memory_tier_test
