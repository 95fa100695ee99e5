// Banks by handle, by object and by the address of a word.
#include "residency/bank_registry.hpp"

#include <set>

#include "support/catch.hpp"

namespace bank_registry_test {

using namespace cubby;
using namespace cubby::residency;

namespace {

std::unique_ptr<locker_bank> described(uint32_t columns) {
  cubby_bank_desc desc{};
  desc.rows = 1;
  desc.columns = columns;
  desc.locker_bytes = 64;
  auto made = locker_bank::describe(desc);
  REQUIRE(made.ok());
  return std::move(*made);
}

locker_bank &add(bank_registry &banks, uint32_t columns = 4) {
  auto added = banks.insert(described(columns));
  REQUIRE(added.ok());
  (*added)->add_tier(0, catalog::frame_layout::packed, {});
  banks.index_words();
  banks.publish(**added);
  return **added;
}

cubby_item item_of(cubby_bank bank, uint64_t number) {
  cubby_item item{};
  item.id = CUBBY_ID(bank, number);
  return item;
}

void remove(bank_registry &banks, locker_bank &bank) {
  banks.withdraw(bank);
  banks.destroy(bank);
}

}  // namespace

TEST_CASE("a bank is found between publish and withdraw, by its own handle only") {
  bank_registry banks(5);
  auto inserted = banks.insert(described(4));
  REQUIRE(inserted.ok());
  locker_bank &bank = **inserted;
  const cubby_bank handle = bank.handle;
  CHECK(banks.find(handle) == nullptr);
  banks.publish(bank);
  CHECK(banks.find(handle) == &bank);
  CHECK(banks.find(handle + (1u << bank_registry::index_bits)) == nullptr);
  CHECK(banks.find(0) == nullptr);
  bank.removed = true;
  CHECK(banks.find(handle) == nullptr);
  CHECK(banks.at(bank_registry::index_of(handle)) == &bank);
  banks.withdraw(bank);
  CHECK(banks.at(bank_registry::index_of(handle)) == nullptr);
  CHECK(banks.in_order().empty());
  CHECK(banks.owned().size() == 1);
  banks.destroy(bank);
  CHECK(banks.owned().empty());
}

TEST_CASE("every handle is given out once, then adding is refused and says why") {
  bank_registry banks(GENERATE(0u, 77u));
  std::set<cubby_bank> seen;
  const uint32_t all = bank_registry::banks_max * bank_registry::generations;
  for (uint32_t i = 0; i < all; ++i) {
    auto added = banks.insert(described(1));
    REQUIRE(added.ok());
    if (!seen.insert((*added)->handle).second) FAIL("handle " << (*added)->handle << " again");
    if ((*added)->handle > 0xFFFF) FAIL("a cubby_id has no room for " << (*added)->handle);
    remove(banks, **added);
  }
  const auto refused = banks.insert(described(1));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().text.find("65472 bank handles") != std::string::npos);
  CHECK(banks.object_count() == 0);
}

TEST_CASE("an index is used again after all others, the first removed first") {
  bank_registry banks(0);
  locker_bank &first = add(banks);
  const cubby_bank handle = first.handle;
  remove(banks, first);
  std::vector<locker_bank *> others;
  for (uint32_t i = 1; i < bank_registry::banks_max; ++i) others.push_back(&add(banks, 1));
  for (const locker_bank *bank : others) {
    if (bank_registry::index_of(bank->handle) == handle) FAIL("used again too early");
  }
  CHECK(bank_registry::index_of(add(banks, 1).handle) == bank_registry::index_of(handle));
  const auto refused = banks.insert(described(1));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().text.find("at most 1023 banks") != std::string::npos);
  CHECK(banks.find(handle) == nullptr);
}

TEST_CASE("objects lead to their lockers, also after banks between them have gone") {
  bank_registry banks(0);
  locker_bank &first = add(banks, 4);
  locker_bank &second = add(banks, 3);
  locker_bank &third = add(banks, 2);
  uint32_t number = 0;
  CHECK(banks.find_object(5, number) == &second);
  CHECK(number == 1);
  CHECK(banks.find_object(9, number) == nullptr);
  remove(banks, second);
  CHECK(banks.find_object(5, number) == nullptr);
  CHECK(banks.find_object(8, number) == &third);
  CHECK(add(banks, 3).object_base == 4);
  CHECK(banks.in_order() == std::vector<locker_bank *>{&first, banks.at(4), &third});
  CHECK(banks.object_count() == 9);
}

TEST_CASE("the address of a word leads to its locker, any other to none") {
  bank_registry banks(0);
  locker_bank &first = add(banks, 100);
  locker_bank &second = add(banks, 7);
  first.add_tier(2, catalog::frame_layout::packed, {});
  banks.index_words();
  for (uint32_t number = 0; number < 100; ++number) {
    const auto found = banks.find_word(&first.word(2, number), 2);
    if (found.bank != &first || found.number != number) FAIL("locker " << number);
  }
  CHECK(banks.find_word(&first.word(2, 3), 0).bank == nullptr);
  CHECK(banks.find_word(&second.word(0, 6), 0).number == 6);
  const locker_word elsewhere;
  CHECK(banks.find_word(&elsewhere, 0).bank == nullptr);
  const locker_word *const gone = &second.word(0, 6);
  banks.withdraw(second);
  CHECK(banks.find_word(gone, 0).bank == nullptr);
}

TEST_CASE("items name rows of banks that are there, by number") {
  bank_registry banks(0);
  const locker_bank &bank = add(banks, 4);
  cubby_item item = item_of(bank.handle, 3);
  CHECK(banks.row_of(item, 0) == &bank.row_in(0, 0));
  item.space = 1;
  CHECK(banks.row_of(item, 0) == nullptr);
  CHECK(banks.row_of(item_of(bank.handle, 4), 0) == nullptr);
  CHECK(banks.row_of(item_of(bank.handle + 1, 3), 0) == nullptr);
}

}  // namespace bank_registry_test
