// What callers get wrong: each has a status of its own and a sentence with cause and remedy, and
// nothing was done.
#include <pthread.h>

#include <array>
#include <cerrno>
#include <set>

#include "unit/api/runtime_fixture.hpp"
#include "unit/store/scratch.hpp"

namespace bad_input_test {

using namespace api_test;

namespace {

constexpr uint64_t mib = 1 << 20;

/// The call failed so, and the sentence has the words that help.
void check_refused(cubby_status status, cubby_status wanted, const std::string &words) {
  const std::string text = explain();
  INFO(text);
  CHECK(status == wanted);
  CHECK(text.find(words) != std::string::npos);
  CHECK(text.size() > 20);
}

cubby_error last() {
  cubby_error why{};
  why.struct_size = sizeof why;
  cubby_explain(&why, nullptr, 0);
  return why;
}

/// A runtime with a tier and a mapped bank.
struct furnished {
  weights w;
  runtime_fixture h{CUBBY_PUMP_CALLER, 8};
  cubby_tier host = h.tier("host:0", 0, 4 * mib);
  furnished() { h.map(w); }
};

cubby_status add_tier(cubby_handle *rt, const char *name, uint64_t budget, uint32_t flags = 0,
                      const char *backend = "host") {
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = backend;
  desc.name = name;
  desc.device = -1;
  desc.budget_bytes = budget;
  desc.flags = flags;
  cubby_tier made = 0;
  return cubby_tier_add(rt, &desc, &made);
}

uint32_t count_lines(cubby_handle *rt, const std::string &words) {
  uint32_t count = 0;
  cubby_log_line line{};
  while (cubby_log_take(rt, &line, 1) == 1) {
    if (std::string(line.text).find(words) != std::string::npos) ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("a runtime that is NULL is an argument error of every call") {
  cubby_item item{};
  cubby_pins pins = 0;
  cubby_bank bank = 0;
  cubby_tier tier = 0;
  cubby_ticket ticket = 0;
  cubby_cq *queue = nullptr;
  const cubby_status all[] = {
      cubby_pin(nullptr, &item, 1, 1, nullptr, &pins, nullptr, &ticket),
      cubby_unpin(nullptr, 1, 0, 0, nullptr),
      cubby_prefetch(nullptr, &item, 1, 1, nullptr, &ticket),
      cubby_drop(nullptr, &item, 1, 0),
      cubby_tier_add(nullptr, nullptr, &tier),
      cubby_tier_resize(nullptr, 1, 4096, nullptr),
      cubby_bank_adopt(nullptr, "x", nullptr, &bank),
      cubby_bank_add_copy(nullptr, 1, "x"),
      cubby_bank_remove(nullptr, 1),
      cubby_cq_add(nullptr, 1, &queue),
      cubby_cq_remove(nullptr),
      cubby_wait(nullptr, 1, 0),
      cubby_cancel(nullptr, 1),
      cubby_drain(nullptr, 0),
      cubby_poll(nullptr, 0, nullptr),
      cubby_seal(nullptr, "x", nullptr, nullptr, &ticket),
      cubby_open(nullptr, nullptr),
  };
  for (const cubby_status status : all) CHECK(status == CUBBY_ERR_INVALID);
  CHECK(cubby_close(nullptr) == CUBBY_OK);  // as free(NULL)
  CHECK(cubby_cq_take(nullptr, nullptr, 1) == 0);
  CHECK(cubby_cq_fd(nullptr) == -1);
  CHECK(cubby_log_take(nullptr, nullptr, 1) == 0);
}

TEST_CASE("a stale bank, tier, pin set or ticket is named as such, never followed") {
  furnished f;
  runtime_fixture &h = f.h;
  const auto wanted = h.items({1});
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  REQUIRE(h.pin({1}, f.host, pins, addr) == CUBBY_OK);
  CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  check_refused(cubby_unpin(h.rt, pins, 0, 0, nullptr), CUBBY_ERR_STALE, "released before");
  check_refused(cubby_unpin(h.rt, 0, 0, 0, nullptr), CUBBY_ERR_STALE, "not held");
  check_refused(cubby_unpin(h.rt, ~cubby_pins{0}, 0, 0, nullptr), CUBBY_ERR_STALE, "not held");

  const cubby_tier no_tier = f.host + 7;
  cubby_pins none = 0;
  check_refused(cubby_pin(h.rt, wanted.data(), 1, no_tier, nullptr, &none, addr.data(), &ticket),
                CUBBY_ERR_STALE, "not one of this runtime");
  check_refused(cubby_prefetch(h.rt, wanted.data(), 1, no_tier, nullptr, nullptr), CUBBY_ERR_STALE,
                "not one of this runtime");
  check_refused(cubby_drop(h.rt, wanted.data(), 1, no_tier), CUBBY_ERR_STALE, "not one of this");
  check_refused(cubby_tier_resize(h.rt, no_tier, mib, nullptr), CUBBY_ERR_STALE, "not one of this");
  cubby_tier_info info{};
  info.struct_size = sizeof info;
  check_refused(cubby_tier_describe(h.rt, no_tier, &info), CUBBY_ERR_STALE, "not one of this");

  REQUIRE(cubby_tier_resize(h.rt, f.host, 3 * mib, &ticket) == CUBBY_PENDING);
  CHECK(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  check_refused(cubby_wait(h.rt, ticket, 0), CUBBY_ERR_STALE, "waited for");
  check_refused(cubby_cancel(h.rt, ticket), CUBBY_ERR_STALE, "not alive");
  cubby_done done{};
  check_refused(cubby_progress(h.rt, ticket, &done), CUBBY_ERR_STALE, "not alive");
  check_refused(cubby_wait(h.rt, 0, 0), CUBBY_ERR_STALE, "not alive");
  check_refused(cubby_wait(h.rt, ~cubby_ticket{0}, -1), CUBBY_ERR_STALE, "not alive");

  const cubby_bank old = h.bank;
  REQUIRE(cubby_bank_remove(h.rt, old) == CUBBY_OK);
  check_refused(cubby_pin(h.rt, wanted.data(), 1, f.host, nullptr, &none, addr.data(), &ticket),
                CUBBY_ERR_STALE, "item 0 names bank");
  cubby_bank_desc desc{};
  check_refused(cubby_bank_info(h.rt, old, &desc), CUBBY_ERR_STALE, "not one of this runtime");
  const uint16_t column = 0;
  const cubby_routed routed{0, 0, 1, &column, nullptr};
  check_refused(cubby_visit(h.rt, old, &routed, 1), CUBBY_ERR_STALE, "not one of this runtime");
}

TEST_CASE("a queue of another runtime, or one that was removed, is stale") {
  furnished a, b;
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(b.h.rt, 4, &queue) == CUBBY_OK);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.cq = queue;
  const auto wanted = a.h.items({1});
  const void *addr[2] = {};
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  const auto try_pin = [&] {
    return cubby_pin(a.h.rt, wanted.data(), 1, a.host, &how, &pins, addr, &ticket);
  };
  check_refused(try_pin(), CUBBY_ERR_STALE, "no queue of this runtime");
  check_refused(cubby_prefetch(a.h.rt, wanted.data(), 1, a.host, &how, nullptr), CUBBY_ERR_STALE,
                "no queue of this runtime");
  REQUIRE(cubby_cq_remove(queue) == CUBBY_OK);
  check_refused(try_pin(), CUBBY_ERR_STALE, "was removed");
  CHECK(pins == 0);
  CHECK(ticket == 0);
}

TEST_CASE("a queue outlives its runtime: what it holds may be taken, then it is removed") {
  cubby_cq *queue = nullptr;
  cubby_done done{};
  {
    furnished f;
    REQUIRE(cubby_cq_add(f.h.rt, 4, &queue) == CUBBY_OK);
    cubby_how how{};
    how.struct_size = sizeof how;
    how.cq = queue;
    how.user = 11;
    const auto wanted = f.h.items({1});
    cubby_ticket ticket = 0;
    REQUIRE(cubby_prefetch(f.h.rt, wanted.data(), 1, f.host, &how, &ticket) == CUBBY_PENDING);
    CHECK(cubby_drain(f.h.rt, 10'000'000'000) == CUBBY_OK);
  }
  CHECK(cubby_cq_take(queue, &done, 1) == 1);
  CHECK(done.user == 11);
  CHECK(cubby_cq_take(queue, &done, 1) == 0);
  CHECK(cubby_cq_remove(queue) == CUBBY_OK);
}

TEST_CASE("double unpin: of the whole set STALE, of an item INVALID, and the others stay held") {
  furnished f;
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({1, 2, 3}, f.host, pins, addr) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, pins, 1, 1, nullptr) == CUBBY_OK);
  check_refused(cubby_unpin(f.h.rt, pins, 1, 1, nullptr), CUBBY_ERR_INVALID, "unpinned before");
  check_refused(cubby_unpin(f.h.rt, pins, 0, 2, nullptr), CUBBY_ERR_INVALID, "unpinned before");
  check_refused(cubby_unpin(f.h.rt, pins, 2, 9, nullptr), CUBBY_ERR_INVALID, "no items 2 to 10");
  CHECK(f.w.same(addr[0], 1, 0));
  CHECK(f.w.same(addr[4], 3, 0));
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_ERR_STALE);
  CHECK(f.h.stats(f.host).pinned_bytes == 0);
}

TEST_CASE("struct_size 0 is refused by name, where something would be left unread") {
  furnished f;
  cubby_handle *rt = f.h.rt;
  const cubby_config config{};
  cubby_handle *made = nullptr;
  check_refused(cubby_open(&config, &made), CUBBY_ERR_INVALID, "sizeof(cubby_config)");
  CHECK(made == nullptr);
  const cubby_tier_desc tier{};
  cubby_tier tier_made = 0;
  check_refused(cubby_tier_add(rt, &tier, &tier_made), CUBBY_ERR_INVALID, "struct_size is 0");
  const cubby_bank_desc bank{};
  cubby_bank bank_made = 0;
  check_refused(cubby_bank_add(rt, &bank, &bank_made), CUBBY_ERR_INVALID, "struct_size is 0");
  const cubby_region_desc region{};
  cubby_region region_made = 0;
  check_refused(cubby_region_add(rt, &region, &region_made), CUBBY_ERR_INVALID, "struct_size is 0");
  cubby_adopt_desc adopt{};
  adopt.seal_path = "elsewhere";
  check_refused(cubby_bank_adopt(rt, f.w.path.c_str(), &adopt, &bank_made), CUBBY_ERR_INVALID,
                "sizeof(cubby_adopt_desc)");
  check_refused(cubby_seal(rt, f.w.path.c_str(), &adopt, nullptr, nullptr), CUBBY_ERR_INVALID,
                "sizeof(cubby_adopt_desc)");
  const cubby_how how{};
  const auto wanted = f.h.items({1});
  const void *addr[2] = {};
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  check_refused(cubby_pin(rt, wanted.data(), 1, f.host, &how, &pins, addr, &ticket),
                CUBBY_ERR_INVALID, "sizeof(cubby_how)");
  cubby_hint_item hint{};
  check_refused(cubby_hint(rt, &hint, 1, nullptr), CUBBY_ERR_INVALID, "struct_size");
  cubby_stats_block block{};
  block.struct_size = sizeof block;
  std::array<cubby_tier_stats, 2> tiers{};
  tiers[0].struct_size = 13;
  check_refused(cubby_stats(rt, &block, tiers.data(), 2), CUBBY_ERR_INVALID,
                "sizeof(cubby_tier_stats)");
}

TEST_CASE("zero counts, missing arrays and counts beyond all sense") {
  furnished f;
  cubby_handle *rt = f.h.rt;
  const auto wanted = f.h.items({1});
  const void *addr[2] = {};
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  for (const uint32_t count : {0u, 1u << 20, ~0u}) {
    check_refused(cubby_pin(rt, wanted.data(), count, f.host, nullptr, &pins, addr, &ticket),
                  CUBBY_ERR_INVALID, "is not 1 to 65536");
    check_refused(cubby_prefetch(rt, wanted.data(), count, f.host, nullptr, nullptr),
                  CUBBY_ERR_INVALID, "is not 1 to 65536");
    check_refused(cubby_drop(rt, wanted.data(), count, 0), CUBBY_ERR_INVALID, "is not 1 to 65536");
  }
  check_refused(cubby_pin(rt, nullptr, 1, f.host, nullptr, &pins, addr, &ticket), CUBBY_ERR_INVALID,
                "items");
  check_refused(cubby_pin(rt, wanted.data(), 1, f.host, nullptr, nullptr, addr, &ticket),
                CUBBY_ERR_INVALID, "pins is NULL");
  check_refused(cubby_pin(rt, wanted.data(), 1, f.host, nullptr, &pins, addr, nullptr),
                CUBBY_ERR_INVALID, "needs a ticket or a completion queue");
  check_refused(cubby_visit(rt, f.h.bank, nullptr, 0), CUBBY_ERR_INVALID, "count is 0");
  check_refused(cubby_hint(rt, nullptr, 0, nullptr), CUBBY_ERR_INVALID, "count is 0");
  cubby_cq *queue = nullptr;
  for (const uint32_t capacity : {0u, ~0u}) {
    check_refused(cubby_cq_add(rt, capacity, &queue), CUBBY_ERR_INVALID, "is not 1 to 1048576");
  }
  auto beyond = f.h.items({weights::rows * weights::columns});
  check_refused(cubby_pin(rt, beyond.data(), 1, f.host, nullptr, &pins, addr, &ticket),
                CUBBY_ERR_INVALID, "bank weights has 24");
  CHECK(last().id == beyond[0].id);
  const char *file = f.w.path.c_str();
  check_refused(cubby_bank_map(rt, f.h.bank, &file, 0, f.w.extents.data(), 1), CUBBY_ERR_INVALID,
                "missing");
}

TEST_CASE("wrong sizes of extents: each is refused, and the bank can still be mapped") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.rows = 1;
  desc.columns = 2;
  desc.locker_bytes = 4096;
  cubby_bank bank = 0;
  REQUIRE(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_OK);
  const char *file = w.path.c_str();
  const auto map = [&](std::vector<cubby_extent> extents) {
    return cubby_bank_map(h.rt, bank, &file, 1, extents.data(), extents.size());
  };
  const cubby_extent first{CUBBY_ID(bank, 0), 0, 0, 0, 4096},
      second{CUBBY_ID(bank, 1), 0, 0, 8192, 4096};
  const uint64_t end = w.bytes.size();
  CHECK(map({first}) == CUBBY_ERR_INVALID);
  CHECK(map({first, first}) == CUBBY_ERR_INVALID);
  CHECK(map({first, {CUBBY_ID(bank, 2), 0, 0, 0, 4096}}) == CUBBY_ERR_INVALID);
  CHECK(map({first, {CUBBY_ID(bank, 1), 1, 0, 0, 4096}}) == CUBBY_ERR_INVALID);
  CHECK(map({first, {CUBBY_ID(bank, 1), 0, 1, 0, 4096}}) == CUBBY_ERR_INVALID);
  CHECK(map({first, {CUBBY_ID(bank, 1), 0, 0, 0, 4095}}) == CUBBY_ERR_INVALID);
  CHECK(map({first, {CUBBY_ID(bank, 1), 0, 0, end - 4095, 4096}}) < 0);
  CHECK(map({first, {CUBBY_ID(bank, 1), 0, 0, ~uint64_t{0} - 100, 4096}}) < 0);
  CHECK(map({first, second}) == CUBBY_OK);
}

TEST_CASE("full queues are BUSY with what to do, and nothing accepted is lost") {
  furnished f;  // eight tickets
  cubby_handle *rt = f.h.rt;
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(rt, 2, &queue) == CUBBY_OK);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.cq = queue;
  cubby_ticket ticket = 0;
  const auto prefetch = [&](uint32_t number, const cubby_how *with) {
    return cubby_prefetch(rt, f.h.items({number}).data(), 1, f.host, with, &ticket);
  };
  CHECK(prefetch(0, &how) == CUBBY_PENDING);
  CHECK(prefetch(1, &how) == CUBBY_PENDING);
  check_refused(prefetch(2, &how), CUBBY_ERR_BUSY, "take completions first");
  CHECK(last().retryable == 1);
  check_refused(cubby_cq_remove(queue), CUBBY_ERR_BUSY, "tickets name the queue");
  for (uint32_t i = 0; i < 6; ++i) CHECK(prefetch(i, nullptr) == CUBBY_PENDING);
  check_refused(prefetch(7, nullptr), CUBBY_ERR_BUSY, "tickets_max");
  CHECK(ticket == 0);
  CHECK(cubby_drain(rt, 10'000'000'000) == CUBBY_OK);
  std::array<cubby_done, 4> done{};
  CHECK(cubby_cq_take(queue, done.data(), 4) == 2);
  CHECK(prefetch(7, nullptr) == CUBBY_PENDING);
  CHECK(cubby_wait(rt, ticket, 10'000'000'000) == CUBBY_OK);
  CHECK(cubby_cq_remove(queue) == CUBBY_OK);
}

TEST_CASE("zero and impossible budgets: the error says how many bytes are needed") {
  runtime_fixture h(CUBBY_PUMP_CALLER);
  for (const uint64_t budget : {uint64_t{0}, uint64_t{4095}}) {
    check_refused(add_tier(h.rt, "host:0", budget), CUBBY_ERR_BUDGET, "at least 4096");
    CHECK(last().needed_bytes == 4096);
  }
  weights w;
  const cubby_tier host = h.tier("host:0", 0, mib);
  h.map(w);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  check_refused(h.pin({0, 1, 2}, host, pins, addr), CUBBY_ERR_BUDGET, "raise the budget");
  const uint64_t needed = last().needed_bytes;
  CHECK(needed > mib);
  CHECK(last().tier == host);
  CHECK(pins == 0);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_tier_resize(h.rt, host, needed, &ticket) == CUBBY_PENDING);  // the remedy
  REQUIRE(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  REQUIRE(h.pin({0, 1, 2}, host, pins, addr) == CUBBY_OK);
  check_refused(cubby_tier_resize(h.rt, host, 4096, &ticket), CUBBY_ERR_BUDGET, "unpin first");
  CHECK(last().needed_bytes > mib);
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
  check_refused(cubby_tier_resize(h.rt, host, 0, &ticket), CUBBY_ERR_BUDGET,
                "ask for 4096 at least");
  CHECK(last().needed_bytes == 4096);
  REQUIRE(cubby_tier_resize(h.rt, host, 8192, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  const auto one = h.items({0});
  check_refused(cubby_prefetch(h.rt, one.data(), 1, host, nullptr, nullptr), CUBBY_ERR_BUDGET,
                "raise the budget");
  CHECK(last().needed_bytes > 8192);
}

TEST_CASE("a ceiling for the runtime's tables is honoured, with the bytes that are needed") {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.table_bytes_max = 1024;
  cubby_handle *rt = nullptr;
  check_refused(cubby_open(&config, &rt), CUBBY_ERR_BUDGET, "table_bytes_max");
  CHECK(rt == nullptr);
  config.table_bytes_max = last().needed_bytes;
  REQUIRE(cubby_open(&config, &rt) == CUBBY_OK);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.name = "large";
  desc.rows = desc.columns = 1000;
  desc.locker_bytes = 4096;
  cubby_bank bank = 0;
  check_refused(cubby_bank_add(rt, &desc, &bank), CUBBY_ERR_BUDGET, "bank large");
  CHECK(last().needed_bytes > config.table_bytes_max);
  cubby_close(rt);
}

TEST_CASE("a budget below one token's working set is warned of once, with the number") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const cubby_tier host = h.tier("host:0", 0, mib);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.name = "weights";
  desc.rows = weights::rows;
  desc.columns = weights::columns;
  desc.row_bytes = w.row_bytes.data();
  desc.routed_count = 2;
  cubby_bank bank = 0;
  REQUIRE(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_OK);
  uint64_t needed = 0;
  for (const uint64_t bytes : w.row_bytes) needed += 2 * bytes;
  cubby_log_line line{};
  REQUIRE(cubby_log_take(h.rt, &line, 1) == 1);
  INFO(line.text);
  CHECK(line.level == 1);
  CHECK(line.tier == host);
  CHECK(std::string(line.text).find("below one token's working set") != std::string::npos);
  // The number is the sum over rows, in the layout of the tier: some padding is in it.
  const std::string text = line.text;
  const uint64_t said = std::stoull(text.substr(text.find("bank weights, ") + 14));
  CHECK(said >= needed);
  CHECK(said < needed + 6 * 8192);
  // Not again for other tiers and banks, only for what is new.
  h.tier("host:1", 1, 64 * mib);
  desc.name = "another";
  desc.routed_count = 0;
  REQUIRE(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_OK);
  CHECK(count_lines(h.rt, "working set") == 0);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_tier_resize(h.rt, host, mib / 2, &ticket) == CUBBY_PENDING);
  cubby_wait(h.rt, ticket, 10'000'000'000);
  CHECK(count_lines(h.rt, "budget of 524288 bytes is below") == 1);
}

TEST_CASE("policy name is honoured or refused (cache flags silently ignored: ds4 #639)") {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.policy = "no-such-policy";
  cubby_handle *rt = nullptr;
  check_refused(cubby_open(&config, &rt), CUBBY_ERR_INVALID, "cubby_policy_list()");
  CHECK(rt == nullptr);
  config.policy = "lfu";
  REQUIRE(cubby_open(&config, &rt) == CUBBY_OK);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.rows = desc.columns = 1;
  desc.locker_bytes = 64;
  desc.policy = "lru";
  cubby_bank bank = 0;
  check_refused(cubby_bank_add(rt, &desc, &bank), CUBBY_ERR_NOT_SUPPORTED, "\"lru\"");
  desc.policy = "lfu";
  CHECK(cubby_bank_add(rt, &desc, &bank) == CUBBY_OK);
  cubby_close(rt);
}

TEST_CASE("flags and kinds that are not known are refused, never ignored") {
  furnished f;
  cubby_handle *rt = f.h.rt;
  check_refused(add_tier(rt, "host:1", mib, 0x80), CUBBY_ERR_INVALID, "0x80");
  check_refused(add_tier(rt, "nvme:0", 0, CUBBY_TIER_EXCLUSIVE, "file"), CUBBY_ERR_INVALID,
                "memory tiers");
  check_refused(add_tier(rt, "host:0", mib), CUBBY_ERR_INVALID, "already");
  check_refused(add_tier(rt, "x", mib, 0, "tape"), CUBBY_ERR_NOT_SUPPORTED, "no backend \"tape\"");
  cubby_adopt_desc adopt{};
  adopt.struct_size = sizeof adopt;
  adopt.flags = 4;
  cubby_bank bank = 0;
  check_refused(cubby_bank_adopt(rt, f.w.path.c_str(), &adopt, &bank), CUBBY_ERR_INVALID, "0x4");
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = 0x100;
  const auto wanted = f.h.items({1});
  check_refused(cubby_prefetch(rt, wanted.data(), 1, f.host, &how, nullptr), CUBBY_ERR_INVALID,
                "0x100");
  how.flags = 0;
  how.io_class = 9;
  check_refused(cubby_prefetch(rt, wanted.data(), 1, f.host, &how, nullptr), CUBBY_ERR_INVALID,
                "io_class 9");
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = 5;
  cubby_handle *made = nullptr;
  check_refused(cubby_open(&config, &made), CUBBY_ERR_INVALID, "pump 5");
  config.pump = 0;
  config.abi_version = 99;
  check_refused(cubby_open(&config, &made), CUBBY_ERR_NOT_SUPPORTED, "version 99");
}

TEST_CASE("resident experts keep no dead host copy (KTransformers #2084)") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const cubby_tier device = h.tier("device:0", 0, 4 * mib, uint64_t{8} << 30);
  const cubby_tier host = h.tier("host:0", 1, 8 * mib, 0, CUBBY_TIER_EXCLUSIVE);
  h.map(w);
  for (uint32_t number = 0; number < 8; ++number) {
    std::vector<const void *> addr;
    cubby_pins pins = 0;
    REQUIRE(h.pin({number}, host, pins, addr) == CUBBY_OK);  // a host copy was there before
    cubby_unpin(h.rt, pins, 0, 0, nullptr);
    REQUIRE(h.pin({number}, device, pins, addr) == CUBBY_OK);
    cubby_unpin(h.rt, pins, 0, 0, nullptr);
  }
  CHECK(cubby_drain(h.rt, 10'000'000'000) == CUBBY_OK);
  CHECK(h.stats(device).used_bytes > 8 * w.row_bytes[0]);
  CHECK(h.stats(host).used_bytes == 0);
}

TEST_CASE("files that are missing, forbidden or no files are named with errno and remedy") {
  runtime_fixture h(CUBBY_PUMP_CALLER);
  cubby_bank bank = 0;
  check_refused(cubby_bank_adopt(h.rt, "no/such.gguf", nullptr, &bank), CUBBY_ERR_INVALID,
                "look at the path");
  CHECK(last().native == ENOENT);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.rows = desc.columns = 1;
  desc.locker_bytes = 64;
  REQUIRE(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_OK);
  const char *file = "no/such/file";
  const cubby_extent extent{CUBBY_ID(bank, 0), 0, 0, 0, 64};
  check_refused(cubby_bank_map(h.rt, bank, &file, 1, &extent, 1), CUBBY_ERR_INVALID, file);
  CHECK(last().native == ENOENT);
  file = "/";
  CHECK(cubby_bank_map(h.rt, bank, &file, 1, &extent, 1) < 0);
  INFO(explain());
  CHECK(explain().find("/") != std::string::npos);
  const char *paths[] = {"no/such/directory"};
  cubby_tier_desc tier{};
  tier.struct_size = sizeof tier;
  tier.backend = "file";
  tier.name = "nvme:0";
  tier.paths = paths;
  tier.path_count = 1;
  cubby_tier made = 0;
  check_refused(cubby_tier_add(h.rt, &tier, &made), CUBBY_ERR_INVALID, "make it first");
  CHECK(last().native == ENOENT);
  std::ofstream("bad_input_plain_file") << "x";
  paths[0] = "bad_input_plain_file";
  check_refused(cubby_tier_add(h.rt, &tier, &made), CUBBY_ERR_INVALID, "is no directory");
  std::remove("bad_input_plain_file");
}

TEST_CASE("lent memory without a count, a closed descriptor and items beyond a set are named") {
  furnished f;
  cubby_handle *const rt = f.h.rt;
  const cubby_region region = 1;
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = "host";
  desc.name = "lent";
  desc.budget_bytes = mib;
  desc.memory = &region;
  cubby_tier made = 0;
  check_refused(cubby_tier_add(rt, &desc, &made), CUBBY_ERR_INVALID, "memory_count is 0");
  desc.memory = nullptr;
  desc.memory_count = 1;
  check_refused(cubby_tier_add(rt, &desc, &made), CUBBY_ERR_INVALID, "memory is NULL");
  cubby_region_desc shared{};
  shared.struct_size = sizeof shared;
  shared.kind = CUBBY_MEMORY_SHARED_FD;
  shared.fd = -1;
  shared.bytes = 4096;
  cubby_region added = 0;
  check_refused(cubby_region_add(rt, &shared, &added), CUBBY_ERR_INVALID, "-1 is not open");
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({1, 2}, f.host, pins, addr) == CUBBY_OK);
  check_refused(cubby_unpin(rt, pins, 2, 0, nullptr), CUBBY_ERR_INVALID, "no items 2 to 2");
  CHECK(cubby_unpin(rt, pins, 1, 0, nullptr) == CUBBY_OK);  // all from there on
  check_refused(cubby_unpin(rt, pins, 1, 1, nullptr), CUBBY_ERR_INVALID, "unpinned before");
  CHECK(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE("NUMA nodes that this machine lacks are refused, and those it has are named") {
  furnished f;
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = "host";
  desc.name = "near";
  desc.device = -1;
  desc.budget_bytes = mib;
  cubby_tier made = 0;
  // One that there is beside one that there is not: the kernel takes it without a word.
  for (const uint64_t nodes : {uint64_t{1} << 63, uint64_t{1} << 63 | 1, ~uint64_t{0}}) {
    desc.numa_nodes = nodes;
    check_refused(cubby_tier_add(f.h.rt, &desc, &made), CUBBY_ERR_INVALID, "has memory on 0");
  }
  CHECK(explain().find("63, and this machine") != std::string::npos);
  desc.numa_nodes = 1;
  INFO(explain());
  CHECK(cubby_tier_add(f.h.rt, &desc, &made) == CUBBY_OK);
}

TEST_CASE("a long name is cut between characters") {
  furnished f;
  const std::string name(21, 'x');
  const std::string long_name = name + name + name.substr(1) + "€uro";  // bytes 62 to 64 are €
  REQUIRE(add_tier(f.h.rt, long_name.c_str(), mib) == CUBBY_OK);
  bool found = false;
  for (cubby_tier tier = f.host; tier < f.host + 8; ++tier) {
    cubby_tier_info info{};
    info.struct_size = sizeof info;
    if (cubby_tier_describe(f.h.rt, tier, &info) != CUBBY_OK) continue;
    if (info.name[0] != 'x') continue;
    found = true;
    CHECK(std::string(info.name) == long_name.substr(0, 62));
  }
  CHECK(found);
  CHECK(add_tier(f.h.rt, "x€", 0) < 0);
  const std::string whole = explain();
  const size_t at = whole.find("€");
  REQUIRE(at != std::string::npos);
  for (size_t room = at + 2; room <= at + 3; ++room) {
    char text[64];
    cubby_explain(nullptr, text, room);
    CHECK(std::string(text) == whole.substr(0, at));
  }
}

namespace {

/// New threads ask for a stack that no process has the addresses for, so none can be had.
class no_threads {
 public:
  no_threads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t huge = before_;
    pthread_attr_setstacksize(&huge, size_t{1} << 47);
    REQUIRE(pthread_setattr_default_np(&huge) == 0);
  }
  ~no_threads() { pthread_setattr_default_np(&before_); }
  no_threads(const no_threads &) = delete;
  no_threads &operator=(const no_threads &) = delete;

 private:
  pthread_attr_t before_;
};

void check_no_thread(cubby_status status) {
  check_refused(status, CUBBY_ERR_NO_MEMORY, "raise ulimit -u, ulimit -v or the cgroup's pids.max");
  CHECK(last().native == EAGAIN);
  CHECK(last().retryable == 1);
}

}  // namespace

TEST_CASE("a thread that cannot be had is one status and one sentence, whoever wanted it") {
  const scratch::folder folder;
  const std::string model = folder.write("m.gguf", scratch::mixed_model().bytes());
  runtime_fixture h(CUBBY_PUMP_THREAD);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_seal(h.rt, model.c_str(), nullptr, nullptr, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(h.rt, ticket, 20'000'000'000) == CUBBY_OK);
  const no_threads none;
  cubby_config config{};
  config.struct_size = sizeof config;
  cubby_handle *rt = nullptr;
  check_no_thread(cubby_open(&config, &rt));
  CHECK(explain().find("CUBBY_PUMP_CALLER") != std::string::npos);
  const char *const here = ".";
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = "threadpool";
  desc.name = "nvme:0";
  desc.paths = &here;
  desc.path_count = 1;
  cubby_tier made = 0;
  check_no_thread(cubby_tier_add(h.rt, &desc, &made));
  std::filesystem::remove(model + ".cubby-seal");
  REQUIRE(cubby_seal(h.rt, model.c_str(), nullptr, nullptr, &ticket) == CUBBY_PENDING);
  check_no_thread(cubby_wait(h.rt, ticket, 20'000'000'000));
}

TEST_CASE("a verification may end in a queue alone; without queue and ticket it is refused") {
  furnished f;
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({1}, f.host, pins, addr) == CUBBY_OK);
  const auto which = f.h.items({1});
  check_refused(cubby_verify(f.h.rt, which.data(), 1, f.host, nullptr, nullptr), CUBBY_ERR_INVALID,
                "a ticket or a completion queue");
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(f.h.rt, 1, &queue) == CUBBY_OK);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.cq = queue;
  how.user = 7;
  REQUIRE(cubby_verify(f.h.rt, which.data(), 1, f.host, &how, nullptr) == CUBBY_PENDING);
  REQUIRE(cubby_cq_wait(queue, 10'000'000'000) == CUBBY_OK);
  cubby_done done{};
  REQUIRE(cubby_cq_take(queue, &done, 1) == 1);
  CHECK(done.status == CUBBY_OK);
  CHECK(done.user == 7);
  CHECK(cubby_cq_remove(queue) == CUBBY_OK);
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE("numbers of a bank and of a region that do not fit together are refused") {
  furnished f;
  cubby_bank_desc bank{};
  bank.struct_size = sizeof bank;
  bank.name = "experts";
  bank.rows = 1;
  bank.columns = 4;
  bank.locker_bytes = 4096;
  bank.routed_count = 5;
  cubby_bank made = 0;
  check_refused(cubby_bank_add(f.h.rt, &bank, &made), CUBBY_ERR_INVALID, "routed_count is 5");
  bank.routed_count = 4;
  CHECK(cubby_bank_add(f.h.rt, &bank, &made) == CUBBY_OK);

  static char memory[4096];
  cubby_region_desc region{};
  region.struct_size = sizeof region;
  region.base = memory;
  region.bytes = ~uint64_t{0};
  cubby_region added = 0;
  check_refused(cubby_region_add(f.h.rt, &region, &added), CUBBY_ERR_INVALID, "ends beyond");
  region.bytes = 0;
  region.stride_bytes = region.piece_bytes = uint64_t{1} << 60;
  region.piece_count = 4;
  check_refused(cubby_region_add(f.h.rt, &region, &added), CUBBY_ERR_INVALID, "ends beyond");
  region.stride_bytes = region.piece_bytes = 1024;
  CHECK(cubby_region_add(f.h.rt, &region, &added) == CUBBY_OK);
  // Without a size it is what the pieces need, and one that is said has to be enough for them.
  region.piece_bytes = 1000;
  region.bytes = 3 * 1024 + 999;
  check_refused(cubby_region_add(f.h.rt, &region, &added), CUBBY_ERR_INVALID,
                "of 4071 bytes has 4 pieces of 1000 bytes, 1024 apart, which reach over 4072");
  region.bytes = 3 * 1024 + 1000;
  CHECK(cubby_region_add(f.h.rt, &region, &added) == CUBBY_OK);
}

TEST_CASE("a long name does not push the remedy out of the sentence") {
  const std::string name(2000, 'p');
  cubby_config config{};
  config.struct_size = sizeof config;
  config.policy = name.c_str();
  cubby_handle *rt = nullptr;
  check_refused(cubby_open(&config, &rt), CUBBY_ERR_INVALID, "a library is named by its path");
  CHECK(explain().find("there is no policy") == 0);
}

}  // namespace bad_input_test
