// Words and rows of a bank in its tiers.
#include "residency/locker_bank.hpp"

#include <set>

#include "support/catch.hpp"

namespace locker_bank_test {

using namespace cubby;
using namespace cubby::residency;
using catalog::frame_layout;

namespace {

std::unique_ptr<locker_bank> described(uint32_t rows, uint32_t columns, uint32_t parts) {
  const std::vector<uint64_t> part_bytes(parts, 65536);
  cubby_bank_desc desc{};
  desc.rows = rows;
  desc.columns = columns;
  desc.locker_bytes = 65536 * parts;
  desc.part_count = parts;
  desc.part_bytes = part_bytes.data();
  auto made = locker_bank::describe(desc);
  REQUIRE(made.ok());
  return std::move(*made);
}

cubby_item item_of(cubby_bank bank, uint64_t number) {
  cubby_item item{};
  item.id = CUBBY_ID(bank, number);
  return item;
}

}  // namespace

TEST_CASE("words of a layer's neighbours lie on different cache lines, none twice") {
  const auto bank = described(24, 32, 1);
  bank->add_tier(0, frame_layout::packed, {});
  std::set<const locker_word *> places;
  for (uint32_t number = 0; number < bank->count(); number++) {
    places.insert(&bank->word(0, number));
    if (number % 32 == 0) continue;
    const auto here = reinterpret_cast<uintptr_t>(&bank->word(0, number));
    const auto before = reinterpret_cast<uintptr_t>(&bank->word(0, number - 1));
    if (here / 64 == before / 64) FAIL("lockers " << number - 1 << " and " << number);
  }
  CHECK(places.size() == bank->count());
}

TEST_CASE("tables take at most 64 bytes a locker without digests") {
  const auto bank = described(48, 128, 3);
  bank->add_tier(0, frame_layout::packed, {});
  bank->add_tier(1, frame_layout::packed, {});
  CHECK(bank->table_bytes() <= 64 * bank->count());
}

TEST_CASE("a row pins its own resident lockers and says where their parts are") {
  const auto bank = described(2, 4, 2);
  bank->handle = 7;
  tier::frame_address memory;
  memory.base = {0x10000, 0x10000};
  memory.stride = {4096, 4096};
  bank->add_tier(0, frame_layout::packed, memory);
  for (const uint32_t number : {4u, 5u}) {
    bank->word(0, number).begin_fill(1, 1);
    bank->word(0, number).publish(number * 32, 0);
  }
  const cubby_item items[] = {item_of(7, 4), item_of(7, 5), item_of(7, 6)};
  std::array<std::atomic<locker_word *>, 3> words{};
  std::array<const void *, 6> addr{};
  CHECK(bank->row_in(0, 0).pin(items, 3, words.data(), addr.data()) == 0);
  CHECK(bank->row_in(0, 1).pin(items, 3, words.data(), addr.data()) == 2);
  CHECK(words[1].load() == &bank->word(0, 5));
  CHECK(bank->word(0, 5).look().pin_count == 1);
  CHECK(reinterpret_cast<uintptr_t>(addr[2]) == 0x10000 + 5 * 32 * 4096);
  CHECK(reinterpret_cast<uintptr_t>(addr[3]) == 0x10000 + 5 * 32 * 4096 + 65536);
}

}  // namespace locker_bank_test
