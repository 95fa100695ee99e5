// What every policy must keep, whoever wrote it: only residents are named, each once a round and
// all of them in the end; the same calls give the same answers; nothing is allocated after create;
// counters move; growing changes nothing that was there.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "base/prng.hpp"
#include "placement/registry.hpp"
#include "support/policy_fixture.hpp"

namespace {
std::atomic<uint64_t> allocation_count{0};
}  // namespace

void *operator new(size_t bytes) {
  ++allocation_count;
  if (void *memory = malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void *operator new(size_t bytes, const std::nothrow_t &) noexcept {
  ++allocation_count;
  return malloc(bytes > 0 ? bytes : 1);
}
[[gnu::noinline]] void operator delete(void *memory, const std::nothrow_t &) noexcept {
  free(memory);
}
[[gnu::noinline]] void operator delete(void *memory) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void *memory, size_t) noexcept { free(memory); }

namespace {

using cubby::base::prng;
using policy_fixture::fixture;

policy_fixture::shape experts_shape() {
  policy_fixture::shape shape;
  shape.kind = CUBBY_POLICY_BANK_EXPERTS;
  shape.rows = 4;
  shape.columns = 16;
  shape.routed = 2;
  shape.capacity = 20;
  return shape;
}

policy_fixture::shape blocks_shape() {
  policy_fixture::shape shape;
  shape.kind = CUBBY_POLICY_BANK_KV;
  shape.columns = 64;
  shape.capacity = 20;
  return shape;
}

bool for_experts(const cubby_policy_ops &of) { return (of.flags & CUBBY_POLICY_EXPERTS) != 0; }

/// A step of a made-up workload: one visit of experts, or one block.
uint32_t step(fixture &h, uint32_t number, prng &random) {
  if (!for_experts(h.ops())) {
    const uint64_t now_ns = uint64_t{number} * 300'000'000;
    return h.touch(static_cast<cubby_object>(random.below(1 + random.below(64))), CUBBY_NEVER_USED,
                   now_ns)
               ? 1
               : 0;
  }
  const uint32_t row = number % 4;
  const auto first = static_cast<cubby_object>(random.below(1 + random.below(16)));
  const auto second = (first + 1 + static_cast<cubby_object>(random.below(15))) % 16;
  return h.visit(row, {row * 16 + first, row * 16 + second});
}

policy_fixture::shape shape_for(const cubby_policy_ops &of) {
  return for_experts(of) ? experts_shape() : blocks_shape();
}

template <class F>
void for_every_policy(const F &f) {
  for (const cubby_policy_ops *one : cubby::placement::all_policies()) {
    INFO("policy " << one->name);
    f(*one);
  }
}

}  // namespace

TEST_CASE("Every table of operations is whole, every name is found", "[placement]") {
  std::set<std::string> names;
  for_every_policy([&](const cubby_policy_ops &of) {
    CHECK(of.struct_size == sizeof(cubby_policy_ops));
    CHECK(of.abi_version == CUBBY_POLICY_ABI_VERSION);
    CHECK(names.insert(of.name).second);
    CHECK(cubby_policy_find(of.name) == &of);
    CHECK((of.flags & (CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV)) != 0);
    for (const bool there :
         {of.create != nullptr, of.destroy != nullptr, of.visit != nullptr, of.access != nullptr,
          of.inserted != nullptr, of.removed != nullptr, of.begin_victims != nullptr,
          of.next_victim != nullptr, of.grow != nullptr, of.stats != nullptr})
      CHECK(there);
  });
  CHECK(cubby_policy_all(nullptr, 0) == names.size());
  CHECK(cubby_policy_find("nobody") == nullptr);
  CHECK(cubby_policy_find(nullptr) == nullptr);
}

TEST_CASE("A round names every resident once and nobody else", "[placement]") {
  for_every_policy([](const cubby_policy_ops &of) {
    fixture h(of.name, shape_for(of));
    prng random(7);
    for (uint32_t i = 0; i < 3000; ++i) {
      step(h, i, random);
      REQUIRE(h.residents.size() <= 20);
      if (i % 50 != 49) continue;
      std::vector<cubby_object> order = h.whole_round(CUBBY_NO_OBJECT);
      std::sort(order.begin(), order.end());
      REQUIRE(std::adjacent_find(order.begin(), order.end()) == order.end());
      for (const cubby_object object : order) REQUIRE(h.residents.count(object) == 1);
      REQUIRE(order.size() == h.residents.size());
    }
  });
}

TEST_CASE("Who is pinned is passed over and stays", "[placement]") {
  for_every_policy([](const cubby_policy_ops &of) {
    fixture h(of.name, shape_for(of));
    prng random(8);
    for (uint32_t i = 0; i < 200; ++i) step(h, i, random);
    for (const cubby_object object : h.residents)
      if (h.pinned.size() < 10) h.pinned.insert(object);
    for (uint32_t i = 200; i < 2000; ++i) {
      step(h, i, random);
      for (const cubby_object object : h.pinned) REQUIRE(h.residents.count(object) == 1);
    }
    CHECK(h.victims.size() > 20);
  });
}

TEST_CASE("The same calls give the same victims", "[placement]") {
  for_every_policy([](const cubby_policy_ops &of) {
    fixture a(of.name, shape_for(of)), b(of.name, shape_for(of));
    prng random_a(9), random_b(9);
    for (uint32_t i = 0; i < 3000; ++i) REQUIRE(step(a, i, random_a) == step(b, i, random_b));
    CHECK(a.victims == b.victims);
    CHECK_FALSE(a.victims.empty());
  });
}

TEST_CASE("Nothing is allocated after create", "[placement]") {
  for_every_policy([](const cubby_policy_ops &of) {
    fixture h(of.name, shape_for(of));
    uint64_t allocated = 0;
    prng random(10);
    for (uint32_t i = 0; i < 3000; ++i) {
      const auto object = static_cast<cubby_object>(random.below(64));
      cubby_policy_access access = {};
      access.struct_size = sizeof access;
      access.object = object;
      access.parent = CUBBY_NO_OBJECT;
      access.next_use = CUBBY_NEVER_USED;
      access.last = 1;
      access.number = i;
      access.now_ns = uint64_t{i} * 300'000'000;
      const cubby_policy_route route = {0, 1, &object};
      cubby_policy_visit visit = {};
      visit.struct_size = sizeof visit;
      visit.row = object / 16;
      visit.used = &object;
      visit.used_count = 1;
      visit.routes = &route;
      visit.route_count = 1;
      visit.number = i;
      const bool hit = h.residents.count(object) != 0;
      cubby_object victim = CUBBY_NO_OBJECT;
      const uint64_t before = allocation_count;
      if (for_experts(of))
        of.visit(h.policy(), &visit);
      else
        of.access(h.policy(), &access);
      bool keep = !hit;
      if (!hit && h.residents.size() >= 20) {
        victim = h.first_victim(object);
        keep = victim != CUBBY_NO_OBJECT &&
               (of.admit == nullptr || of.admit(h.policy(), object, victim) != 0);
        if (keep) of.removed(h.policy(), victim);
      }
      if (keep) of.inserted(h.policy(), object, 100);
      allocated += allocation_count - before;
      if (keep && victim != CUBBY_NO_OBJECT) h.residents.erase(victim);
      if (keep) h.residents.insert(object);
    }
    CHECK(allocated == 0);
  });
}

TEST_CASE("Counters move, state is reported", "[placement]") {
  for_every_policy([](const cubby_policy_ops &of) {
    fixture h(of.name, shape_for(of));
    prng random(11);
    for (uint32_t i = 0; i < 500; ++i) step(h, i, random);
    const cubby_policy_stats stats = h.stats();
    CHECK(stats.used_count == (for_experts(of) ? 1000 : 500));
    CHECK(stats.insert_count == h.residents.size() + h.victims.size());
    CHECK(stats.remove_count == h.victims.size());
    CHECK(stats.state_bytes > 64 * 4);
    CHECK(stats.state_bytes < 64 * 1200);
  });
}

TEST_CASE("Growing keeps who is resident", "[placement]") {
  for_every_policy([](const cubby_policy_ops &of) {
    fixture h(of.name, shape_for(of));
    prng random(12);
    for (uint32_t i = 0; i < 300; ++i) step(h, i, random);
    const policy_fixture::shape like = shape_for(of);
    const auto bank = [&](cubby_object first) {
      return policy_fixture::bank_of(like.kind, first, like.rows, like.columns,
                                     policy_fixture::locker_bytes, 0);
    };
    h.grow({bank(0), bank(64)}, 2000);
    const std::vector<cubby_object> order = h.whole_round(CUBBY_NO_OBJECT);
    for (const cubby_object object : order) REQUIRE(h.residents.count(object) == 1);
    CHECK(order.size() == h.residents.size());
    for (uint32_t i = 300; i < 600; ++i) step(h, i, random);
    h.bring(127);
    CHECK(h.residents.size() <= 20);
  });
}
