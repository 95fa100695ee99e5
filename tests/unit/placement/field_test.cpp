// The published policies against results worked out apart from them: textbook examples, the optimum
// by exhaustive search, and models written down a second time in the plainest way.
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "base/prng.hpp"
#include "support/policy_fixture.hpp"

namespace field_test {

namespace {

using cubby::base::prng;
using policy_fixture::fixture;
using sequence = std::vector<cubby_object>;

policy_fixture::shape cache_of(uint32_t capacity, uint32_t objects = 16) {
  policy_fixture::shape shape;
  shape.capacity = capacity;
  shape.columns = objects;
  return shape;
}

std::vector<uint64_t> next_uses(const sequence &of) {
  std::vector<uint64_t> next(of.size(), CUBBY_NEVER_USED);
  std::map<cubby_object, uint64_t> upcoming;
  for (size_t i = of.size(); i-- > 0;) {
    if (upcoming.count(of[i]) != 0) next[i] = upcoming[of[i]];
    upcoming[of[i]] = i;
  }
  return next;
}

uint32_t misses(const char *name, const sequence &of, uint32_t capacity) {
  fixture h(name, cache_of(capacity));
  const auto next = next_uses(of);
  uint32_t count = 0;
  for (size_t i = 0; i < of.size(); ++i) count += h.touch(of[i], next[i]) ? 0u : 1u;
  return count;
}

/// Zipf-like, with scans in between.
sequence random_uses(uint64_t seed, uint32_t objects, size_t count) {
  prng random(seed);
  sequence made;
  while (made.size() < count) {
    if (random.chance(1, 40)) {
      const uint64_t first = random.below(objects);
      for (uint64_t i = 0; i < objects / 2; ++i)
        made.push_back(static_cast<cubby_object>((first + i) % objects));
    }
    const uint64_t range = 1 + random.below(objects);
    made.push_back(static_cast<cubby_object>(random.below(range)));
  }
  return made;
}

/// The fewest misses of all, with rejection allowed: over every set that could be resident.
uint32_t fewest_misses(const sequence &of, uint32_t capacity, uint32_t objects) {
  std::map<uint32_t, uint32_t> best = {{0, 0}};  // residents as bits → misses so far
  for (const cubby_object object : of) {
    std::map<uint32_t, uint32_t> next;
    const auto reach = [&](uint32_t set, uint32_t cost) {
      const auto [at, is_new] = next.try_emplace(set, cost);
      if (!is_new) at->second = std::min(at->second, cost);
    };
    for (const auto &[set, cost] : best) {
      if ((set >> object & 1) != 0) {
        reach(set, cost);
        continue;
      }
      reach(set, cost + 1);
      if (static_cast<uint32_t>(__builtin_popcount(set)) < capacity)
        reach(set | 1u << object, cost + 1);
      for (uint32_t out = 0; out < objects; ++out)
        if ((set >> out & 1) != 0) reach((set & ~(1u << out)) | 1u << object, cost + 1);
    }
    best = std::move(next);
  }
  uint32_t least = ~0u;
  for (const auto &[set, cost] : best) least = std::min(least, cost);
  return least;
}

/// Runs a policy beside a model that gives hit or miss.
void compare(const char *name, uint32_t capacity,
             const std::function<std::function<bool(cubby_object)>(uint32_t)> &model) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const sequence uses = random_uses(seed, 48, 3000);
    fixture h(name, cache_of(capacity, 48));
    const auto reference = model(capacity);
    for (size_t i = 0; i < uses.size(); ++i) {
      INFO(name << " seed " << seed << " use " << i);
      REQUIRE(h.touch(uses[i]) == reference(uses[i]));
    }
  }
}

// The string of Silberschatz, Galvin and Gagne, "Operating System Concepts", chapter on page
// replacement: three frames, 12 faults under LRU, 9 under the optimum.
const sequence textbook = {7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1};

}  // namespace

TEST_CASE("LRU and the optimum miss as the textbook says", "[placement]") {
  CHECK(misses("lru", textbook, 3) == 12);
  CHECK(fewest_misses(textbook, 3, 8) <= 9);
  CHECK(misses("belady", textbook, 3) == fewest_misses(textbook, 3, 8));
}

TEST_CASE("Belady with bypass is the optimum", "[placement]") {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const sequence uses = random_uses(seed, 7, 60);
    INFO("seed " << seed);
    CHECK(misses("belady", uses, 3) == fewest_misses(uses, 3, 7));
  }
}

TEST_CASE("A long lookahead is Belady, a longer one is never worse", "[placement]") {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const sequence uses = random_uses(seed, 12, 70);
    CHECK(misses("lookahead-8", uses, 4) == misses("belady", uses, 4));
    CHECK(misses("lookahead-2", uses, 4) >= misses("belady", uses, 4));
  }
}

TEST_CASE("LRU-2 forgets who was used once before who was used twice", "[placement]") {
  // O'Neil et al.: the backward 2-distance of a page seen once is infinite.
  fixture h("lru-2", cache_of(3));
  for (const cubby_object object : {1u, 1u, 2u, 2u, 3u}) h.touch(object);
  h.touch(4);
  CHECK(h.victims == sequence{3});
  h.touch(3);  // its history remains: now seen twice, and 4 once
  CHECK(h.victims == sequence{3, 4});
}

TEST_CASE("LRU-2 agrees with sorting by the last use but one", "[placement]") {
  compare("lru-2", 11, [](uint32_t capacity) {
    struct state {
      std::map<cubby_object, std::pair<uint64_t, uint64_t>> times;
      std::set<cubby_object> in;
      uint64_t clock = 0;
    };
    auto s = std::make_shared<state>();
    return [s, capacity](cubby_object object) {
      s->times[object] = {s->times[object].second, ++s->clock};
      if (s->in.count(object) != 0) return true;
      if (s->in.size() >= capacity) {
        const auto before = [&](cubby_object a, cubby_object b) {
          return s->times[a] < s->times[b];
        };
        s->in.erase(std::min_element(s->in.begin(), s->in.end(), before));
      }
      s->in.insert(object);
      return false;
    };
  });
}

TEST_CASE("SIEVE agrees with the paper's listing", "[placement]") {
  compare("sieve", 11, [](uint32_t capacity) {
    struct state {
      std::vector<std::pair<cubby_object, bool>> queue;  // oldest first
      size_t hand = 0;
    };
    auto s = std::make_shared<state>();
    return [s, capacity](cubby_object object) {
      for (auto &[one, visited] : s->queue)
        if (one == object) return visited = true;
      if (s->queue.size() >= capacity) {
        if (s->hand >= s->queue.size()) s->hand = 0;
        while (s->queue[s->hand].second) {
          s->queue[s->hand].second = false;
          s->hand = (s->hand + 1) % s->queue.size();
        }
        s->queue.erase(s->queue.begin() + static_cast<std::ptrdiff_t>(s->hand));
        if (s->hand >= s->queue.size()) s->hand = ~size_t{0};  // the next round starts at the tail
      }
      s->queue.emplace_back(object, false);
      return false;
    };
  });
}

TEST_CASE("S3-FIFO agrees with the paper's listing", "[placement]") {
  compare("s3-fifo", 20, [](uint32_t capacity) {
    struct state {
      std::deque<cubby_object> s, m, g;
      std::map<cubby_object, int> freq;
    };
    auto st = std::make_shared<state>();
    return [st, capacity](cubby_object object) {
      state &q = *st;
      const auto in = [&](const std::deque<cubby_object> &d) {
        return std::find(d.begin(), d.end(), object) != d.end();
      };
      if (in(q.s) || in(q.m)) {
        q.freq[object] = std::min(q.freq[object] + 1, 3);
        return true;
      }
      const size_t small = capacity / 10, main = capacity - small;
      const auto evict_main = [&] {
        for (;;) {
          const cubby_object t = q.m.front();
          q.m.pop_front();
          if (q.freq[t]-- <= 0) return;
          q.m.push_back(t);
        }
      };
      const auto evict_small = [&] {
        while (!q.s.empty()) {
          const cubby_object t = q.s.front();
          q.s.pop_front();
          if (q.freq[t] <= 1) {
            q.g.push_back(t);
            if (q.g.size() > main) q.g.pop_front();
            return true;
          }
          q.freq[t] = 0;
          q.m.push_back(t);
          if (q.m.size() > main) {
            evict_main();
            return true;
          }
        }
        return false;
      };
      if (q.s.size() + q.m.size() >= capacity)
        if (q.s.size() < small || !evict_small()) evict_main();
      const auto ghost = std::find(q.g.begin(), q.g.end(), object);
      q.freq[object] = 0;
      if (ghost != q.g.end()) {
        q.g.erase(ghost);
        q.m.push_back(object);
      } else {
        q.s.push_back(object);
      }
      return false;
    };
  });
}

TEST_CASE("ARC agrees with the paper's listing", "[placement]") {
  compare("arc", 11, [](uint32_t capacity) {
    struct state {
      std::deque<cubby_object> t1, t2, b1, b2;  // least recent first
      double p = 0;
    };
    auto st = std::make_shared<state>();
    return [st, c = capacity](cubby_object x) {
      state &q = *st;
      const auto take = [&](std::deque<cubby_object> &d) {
        const auto at = std::find(d.begin(), d.end(), x);
        if (at == d.end()) return false;
        d.erase(at);
        return true;
      };
      const auto replace = [&](bool in_b2) {
        const auto n = static_cast<double>(q.t1.size());
        const bool first = n >= 1 && ((in_b2 && n >= q.p) || n > q.p);
        auto &from = first ? q.t1 : q.t2;
        (first ? q.b1 : q.b2).push_back(from.front());
        from.pop_front();
      };
      if (take(q.t1) || take(q.t2)) {
        q.t2.push_back(x);
        return true;
      }
      const auto ratio = [](size_t a, size_t b) {
        return std::max(1.0, static_cast<double>(a) / static_cast<double>(b));
      };
      const auto in = [&](const std::deque<cubby_object> &d) {
        return std::find(d.begin(), d.end(), x) != d.end();
      };
      if (in(q.b1)) {
        q.p = std::min<double>(c, q.p + ratio(q.b2.size(), q.b1.size()));
        replace(false);
        take(q.b1);
        q.t2.push_back(x);
      } else if (in(q.b2)) {
        q.p = std::max(0.0, q.p - ratio(q.b1.size(), q.b2.size()));
        replace(true);
        take(q.b2);
        q.t2.push_back(x);
      } else {
        if (q.t1.size() + q.b1.size() == c) {
          if (q.t1.size() < c) {
            q.b1.pop_front();
            replace(false);
          } else {
            q.t1.pop_front();
          }
        } else if (q.t1.size() + q.t2.size() + q.b1.size() + q.b2.size() >= c) {
          if (q.t1.size() + q.t2.size() + q.b1.size() + q.b2.size() == 2 * c) q.b2.pop_front();
          if (q.t1.size() + q.t2.size() >= c) replace(false);
        }
        q.t1.push_back(x);
      }
      return false;
    };
  });
}

TEST_CASE("GDSF weighs uses by size and ages by who left", "[placement]") {
  fixture h("gdsf", cache_of(2));
  h.touch(1);
  h.touch(1);
  h.touch(2);
  h.touch(3);  // 2 has one use, 1 has two
  CHECK(h.victims == sequence{2});
  h.touch(
      4);  // 3 came after 2 left: clock 0.01 + one use of 0.01; 1 has two uses: the older leaves
  CHECK(h.victims == sequence{2, 1});
}

TEST_CASE("W-TinyLFU keeps what is frequent from a scan", "[placement]") {
  fixture h("w-tinylfu", cache_of(10, 400));
  for (int round = 0; round < 8; ++round)
    for (cubby_object object = 0; object < 8; ++object) h.touch(object);
  for (cubby_object object = 100; object < 180; ++object)
    h.touch(object);  // under ten sizes of the cache
  uint32_t admitted = 0;
  for (cubby_object object = 0; object < 8; ++object)
    admitted += h.residents.count(object) != 0 ? 1u : 0u;
  CHECK(admitted >= 7);
}

TEST_CASE("Random victims are spread over all", "[placement]") {
  fixture h("random", cache_of(8, 4096));
  std::map<cubby_object, int> left;
  for (cubby_object object = 0; object < 8; ++object) h.touch(object);
  std::map<size_t, int> by_age;
  for (int i = 0; i < 4000; ++i) {
    const auto order = h.whole_round(9);
    REQUIRE(order.size() == 8);
    ++left[order.front()];
  }
  for (const auto &[object, count] : left) CHECK(std::abs(count - 500) < 120);
}

namespace {

/// A set gets all of its places or none: it finds its first one, is refused the last, gives the
/// first one back, and waits.
void try_in_vain(fixture &h, cubby_object object) {
  h.ops().inserted(h.policy(), object, 100);
  h.ops().removed(h.policy(), object);
}

void use(fixture &h, cubby_object object, uint64_t number) {
  cubby_policy_access access = {};
  access.struct_size = sizeof access;
  access.object = object;
  access.parent = CUBBY_NO_OBJECT;
  access.next_use = CUBBY_NEVER_USED;
  access.number = number;
  h.ops().access(h.policy(), &access);
}

/// Two houses see the same uses. In one of them a missing one tries up to twice in vain, by
/// `in_vain`, between its use and its coming: the victims must be the same.
void compare_tries(const char *name, const std::function<void(fixture &, cubby_object)> &in_vain) {
  INFO(name);
  fixture at_once(name, cache_of(12, 64)), waits(name, cache_of(12, 64));
  prng random(7);
  for (uint32_t step = 0; step < 4000; ++step) {
    const auto object = static_cast<cubby_object>(random.below(random.below(64) + 1));
    const bool missing = at_once.residents.count(object) == 0;
    for (fixture *h : {&at_once, &waits}) {
      use(*h, object, step);
      if (missing && h->residents.size() == 12) h->remove(h->first_victim(object));
    }
    REQUIRE(at_once.victims == waits.victims);
    if (!missing) continue;
    for (uint64_t tries = random.below(3); tries > 0; --tries) in_vain(waits, object);
    for (fixture *h : {&at_once, &waits}) h->bring(object);
  }
  REQUIRE(at_once.victims.size() > 1000);
}

}  // namespace

TEST_CASE("A set that waits for its places teaches once", "[placement]") {
  for (const char *name : {"arc", "s3-fifo", "gdsf", "lru", "lru-2", "lfu", "sieve", "w-tinylfu"})
    compare_tries(name, try_in_vain);
}

TEST_CASE("ARC's target moves once for a ghost, however often its place is asked for",
          "[placement]") {
  // Of those that left within the last dozen: they are ghosts.
  compare_tries("arc", [](fixture &h, cubby_object object) {
    const auto lately = h.victims.end() - std::min<ptrdiff_t>(12, std::ssize(h.victims));
    if (std::find(lately, h.victims.end(), object) != h.victims.end()) (void)h.first_victim(object);
  });
}

}  // namespace field_test
