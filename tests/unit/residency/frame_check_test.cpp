// What sets cost of a tier, and which it can never hold at once.
#include "residency/frame_check.hpp"

#include <array>
#include <cstdlib>

#include "support/fake_backend.hpp"

namespace frame_check_test {

using namespace cubby;
using namespace cubby::residency;
using locker = bank_registry::locker;

namespace {

constexpr uint64_t page = 4096;

/// A bank of two rows of 100 lockers, of two parts each.
struct fixture {
  cubby_test::fake_world world;
  std::unique_ptr<tier::memory_tier> memory;
  std::unique_ptr<locker_bank> bank;

  fixture() { world.capabilities = CUBBY_CAP_MEMORY | CUBBY_CAP_HOST_ADDRESSABLE; }
  void own(uint64_t budget_bytes) {
    auto made = tier::memory_tier::own(cubby_test::open_fake(world), "host", budget_bytes);
    REQUIRE(made.ok());
    memory = std::move(*made);
  }
  void lend(const std::vector<tier::lent_memory> &regions, uint64_t budget_bytes) {
    auto made =
        tier::memory_tier::lent(cubby_test::open_fake(world), "lent", budget_bytes, regions);
    REQUIRE(made.ok());
    memory = std::move(*made);
  }
  void describe(uint64_t first_part, uint64_t second_part, uint32_t align_bytes = 0) {
    const std::array<uint64_t, 4> parts{first_part, second_part, 2 * first_part, second_part};
    const std::array<uint64_t, 2> rows{first_part + second_part, 2 * first_part + second_part};
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "experts";
    desc.rows = 2;
    desc.columns = 100;
    desc.row_bytes = rows.data();
    desc.part_count = 2;
    desc.part_bytes = parts.data();
    desc.align_bytes = align_bytes;
    auto made = locker_bank::describe(desc);
    REQUIRE(made.ok());
    bank = std::move(*made);
    const auto layout =
        memory->places().strided() ? catalog::frame_layout::pieces : catalog::frame_layout::packed;
    bank->add_tier(0, layout, memory->places().address);
  }
  [[nodiscard]] frame_source source() const { return {*memory, 0, 77, memory->budget_bytes()}; }
  [[nodiscard]] std::vector<locker> lockers(const std::vector<uint32_t> &numbers) const {
    std::vector<locker> named;
    for (const uint32_t number : numbers) {
      locker one{};
      one.bank = bank.get();
      one.number = number;
      named.push_back(one);
    }
    return named;
  }
};

struct region {
  explicit region(uint64_t bytes)
      : base(static_cast<std::byte *>(std::aligned_alloc(page, bytes))) {}
  region(const region &) = delete;
  region &operator=(const region &) = delete;
  ~region() { std::free(base); }
  std::byte *base;
};

}  // namespace

TEST_CASE("a set costs whole pages of each locker, each once however often it is named") {
  fixture h;
  h.own(1024 * page);
  h.describe(page, 100);  // rows of 4196 and 8292 bytes
  const auto pages = [&](const std::vector<uint32_t> &numbers) {
    return cost_of(h.source(), h.lockers(numbers)) / page;
  };
  CHECK(pages({3}) == 2);
  CHECK(pages({103}) == 3);
  CHECK(pages({103, 3}) == 5);
  CHECK(pages({3, 4, 3, 4, 3}) == 4);
  CHECK(pages({}) == 0);
  std::vector<uint32_t> many;  // more than there is room for beside the call
  for (uint32_t i = 0; i < 200; ++i) many.push_back(i % 100);
  CHECK(pages(many) == 200);
}

TEST_CASE("lockers of the same number in two banks are two lockers") {
  fixture h, other;
  h.own(1024 * page);
  h.describe(page, 100);
  other.own(1024 * page);
  other.describe(page, 100);
  auto both = h.lockers({3});
  both.push_back(other.lockers({3})[0]);
  CHECK(cost_of(h.source(), both) == 4 * page);
}

TEST_CASE("a set within the budget passes; one above it hears what would be enough") {
  fixture h;
  h.own(8 * page);
  h.describe(page, 100);
  CHECK(check_frames(h.source(), h.lockers({1, 2, 3, 4})).ok());
  CHECK(check_frames(h.source(), h.lockers({1, 2, 3, 4, 1})).ok());
  const auto refused = check_frames(h.source(), h.lockers({1, 2, 3, 100}));
  REQUIRE_FALSE(refused.ok());
  const error &why = refused.failure();
  CHECK(why.status == CUBBY_ERR_BUDGET);
  CHECK(why.tier == 77);
  CHECK(why.needed_bytes == 9 * page);
  CHECK(why.text.find("tier host: the set needs 36864 bytes at once, the budget is 32768") !=
        std::string::npos);
}

TEST_CASE("lent memory that is aligned to less than the bank wants holds none of it") {
  const region lent(16 * page);
  fixture h;
  h.lend({{lent.base + 256, 8 * page, 0, 0, 0}}, 8 * page);
  h.describe(512, 512, 512);
  const auto refused = check_frames(h.source(), h.lockers({1}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().status == CUBBY_ERR_INVALID);
  CHECK(refused.failure().text.find("aligned to 256 bytes, bank experts wants 512") !=
        std::string::npos);
  h.describe(512, 512, 256);
  CHECK(check_frames(h.source(), h.lockers({1})).ok());
}

TEST_CASE("lent pieces hold a locker when there is one for each part, large enough") {
  const region first(16 * page), second(16 * page);
  fixture h;
  h.lend({{first.base, 0, 2 * page, 2 * page, 8}, {second.base, 0, page, page, 8}}, 24 * page);
  h.describe(page, page);
  CHECK(check_frames(h.source(), h.lockers({1, 101})).ok());  // the second row just fits
  h.describe(page + 64, page);
  CHECK(check_frames(h.source(), h.lockers({1})).ok());
  const auto refused = check_frames(h.source(), h.lockers({1, 101}));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().status == CUBBY_ERR_INVALID);
  CHECK(refused.failure().text.find("row 1 of bank experts") != std::string::npos);
  fixture lacking;
  lacking.lend({{first.base, 0, 2 * page, 2 * page, 8}}, 16 * page);
  lacking.describe(page, page);
  CHECK_FALSE(check_frames(lacking.source(), lacking.lockers({1})).ok());
}

}  // namespace frame_check_test
