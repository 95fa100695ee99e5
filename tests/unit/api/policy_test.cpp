// Policies of the runtime: libraries by path, those that break the rules, forecasts.
#include <cubby/policy.h>

#include <cstdlib>

#include "unit/api/house.hpp"

namespace {
using namespace api_test;

cubby_status open_with(const std::string &policy, cubby_handle **rt) {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = CUBBY_PUMP_CALLER;
  config.policy = policy.c_str();
  return cubby_open(&config, rt);
}

std::string log_of(cubby_handle *rt) {
  std::string all;
  cubby_log_line line{};
  while (cubby_log_take(rt, &line, 1) == 1) all += line.text + std::string("\n");
  return all;
}

}  // namespace

TEST_CASE("a policy library is held against policy.h before it is used") {
  cubby_handle *rt = nullptr;
  const auto refused = [&](const char *fault, const std::string &word) {
    setenv("CUBBY_BAD_POLICY", fault, 1);
    CHECK(open_with(CUBBY_BAD_POLICY_LIBRARY, &rt) == CUBBY_ERR_INVALID);
    INFO(explain());
    CHECK(explain().find(word) != std::string::npos);
    CHECK(rt == nullptr);
  };
  refused("version", "version 99");
  refused("small", "64 bytes");
  refused("nameless", "no name");
  refused("lacking", "no removed()");
  refused("nothing", "gave no table");
  refused("offline", "needs the future");
  CHECK(open_with("./no_such_policy.so", &rt) == CUBBY_ERR_INVALID);
  CHECK(explain().find("no_such_policy.so") != std::string::npos);
  CHECK(cubby_policy_load(nullptr, nullptr, 0) == nullptr);
  char why[8] = {};
  CHECK(cubby_policy_load("./no_such_policy.so", why, sizeof why) == nullptr);
  CHECK(std::string(why).size() == 7);
}

TEST_CASE("a policy that breaks the rules is named, and the runtime goes on without it") {
  for (const char *fault : {"outside", "again"}) {
    setenv("CUBBY_BAD_POLICY", fault, 1);
    weights w;
    cubby_handle *rt = nullptr;
    REQUIRE(open_with(CUBBY_BAD_POLICY_LIBRARY, &rt) == CUBBY_OK);
    house h(rt);
    h.map(w);
    const cubby_tier host = h.tier("host:0", 0, 1'300'000);
    for (uint32_t round = 0; round < 3; ++round) {
      for (uint32_t number = 0; number < weights::rows * weights::columns; ++number) {
        cubby_pins pins = 0;
        std::vector<const void *> addr;
        INFO(fault << " " << number);
        REQUIRE(h.pin({number}, host, pins, addr) == CUBBY_OK);
        for (uint32_t part = 0; part < weights::parts; ++part)
          CHECK(w.same(addr[part], number, part));
        CHECK(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
      }
    }
    const std::string log = log_of(rt);
    INFO(log);
    CHECK(log.find("policy bad broke the rules") != std::string::npos);
    CHECK(log.find("lru decides") != std::string::npos);
  }
}

TEST_CASE("what is foreseen for tokens ahead goes to a policy that wants it") {
  weights w;
  cubby_handle *rt = nullptr;
  for (const std::string policy : {"lru", "moe"}) {
    REQUIRE(open_with(policy, &rt) == CUBBY_OK);
    house h(rt);
    h.map(w);
    h.tier("host:0", 0, 2'000'000);
    const uint16_t columns[] = {1, 2};
    cubby_hint_item hint{};
    hint.struct_size = sizeof hint;
    hint.kind = CUBBY_HINT_ROUTE;
    hint.bank = h.bank;
    hint.route = {0, 1, 2, columns, nullptr};
    hint.ahead = 1;
    uint8_t outcome = 9;
    CHECK(cubby_hint(rt, &hint, 1, &outcome) == CUBBY_OK);
    CHECK(outcome == (policy == "lru" ? CUBBY_HINT_REJECTED : CUBBY_HINT_ACCEPTED));
    const uint16_t wrong[] = {1, 9999};
    hint.route.columns = wrong;
    CHECK(cubby_hint(rt, &hint, 1, &outcome) == CUBBY_OK);
    CHECK(outcome == CUBBY_HINT_REJECTED);
  }
}
