#include "placement/policy.hpp"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/prng.hpp"
#include "support/catch.hpp"

namespace policy_test {

namespace {

std::unique_ptr<cubby::placement::policy> make_policy(
    std::string_view name, const cubby::placement::policy_config &config) {
  const cubby_policy_ops *ops = cubby::placement::runtime_policy(name);
  return ops == nullptr ? nullptr : cubby::placement::make_policy(*ops, config);
}

using cubby::base::prng;
using cubby::placement::no_object;
using cubby::placement::policy;
using cubby::placement::policy_config;
using cubby::placement::policy_names;
using objects = std::vector<cubby_object>;

constexpr uint64_t uses_per_object = 32;  // of lfu, before counts are halved

policy_config config_of(uint32_t object_count) {
  policy_config config;
  config.object_count = object_count;
  return config;
}

void visit(policy &p, const objects &used) { p.visit(used); }

void insert(policy &p, const objects &all) {
  for (const cubby_object one : all) p.inserted(one);
}

objects whole_round(policy &p) {
  objects order;
  p.begin_victims();
  for (cubby_object object = p.next_victim(); object != no_object; object = p.next_victim())
    order.push_back(object);
  return order;
}

/// The same policies, sorted anew at every round.
class reference {
 public:
  reference(bool by_count, uint32_t object_count) : by_count_(by_count) { grow(object_count); }

  void visit(const objects &used) {
    for (const cubby_object object : used) {
      if (by_count_) {
        ++count_[object];
        last_[object] = ++clock_;
        if (++uses_ >= uses_per_object * count_.size()) {
          for (uint32_t &count : count_) count /= 2;
          uses_ = 0;
        }
      } else if (resident_.count(object) != 0) {
        last_[object] = ++clock_;
      }
    }
  }
  void inserted(cubby_object object) {
    resident_.insert(object);
    if (!by_count_) last_[object] = ++clock_;
  }
  void removed(cubby_object object) { resident_.erase(object); }
  void grow(uint32_t object_count) {
    count_.resize(object_count);
    last_.resize(object_count);
  }
  [[nodiscard]] objects order() const {
    objects all(resident_.begin(), resident_.end());
    std::stable_sort(all.begin(), all.end(), [this](cubby_object a, cubby_object b) {
      if (by_count_ && count_[a] != count_[b]) return count_[a] < count_[b];
      return last_[a] < last_[b];
    });
    return all;
  }
  [[nodiscard]] const std::set<cubby_object> &resident() const { return resident_; }

 private:
  bool by_count_;
  uint64_t clock_ = 0;
  uint64_t uses_ = 0;
  std::set<cubby_object> resident_;
  std::vector<uint32_t> count_;
  std::vector<uint64_t> last_;
};

void compare_with_reference(const std::string &name, uint64_t seed) {
  uint32_t object_count = 24;
  prng random(seed);
  const auto tested = make_policy(name, config_of(object_count));
  REQUIRE(tested);
  reference naive(name != "lru", object_count);
  const auto any = [&] { return static_cast<cubby_object>(random.below(object_count)); };
  for (int step = 0; step < 6000; ++step) {
    INFO(name << " seed " << seed << " step " << step);
    const uint64_t what = random.below(10);
    if (what < 5) {
      objects used;
      for (uint64_t n = random.below(6); n > 0; --n) used.push_back(std::min(any(), any()));
      tested->visit(used);
      naive.visit(used);
    } else if (what < 7) {
      const cubby_object object = any();
      if (naive.resident().count(object) != 0) continue;
      tested->inserted(object);
      naive.inserted(object);
    } else if (what < 8) {
      const cubby_object object = any();
      tested->removed(object);
      naive.removed(object);
    } else if (what < 9 || object_count >= 64 || !random.chance(1, 50)) {
      // A round that skips some (pinned), takes some and stops somewhere.
      const objects expected = naive.order();
      const uint64_t stop = random.below(expected.size() + 2);
      tested->begin_victims();
      for (uint64_t i = 0; i < stop; ++i) {
        const cubby_object object = tested->next_victim();
        REQUIRE(object == (i < expected.size() ? expected[i] : no_object));
        if (object == no_object || random.chance(1, 2)) continue;
        tested->removed(object);
        naive.removed(object);
      }
    } else {
      object_count += 8;
      tested->grow(config_of(object_count));
      naive.grow(object_count);
    }
  }
  REQUIRE(whole_round(*tested) == naive.order());
}

}  // namespace

TEST_CASE("policy names: auto is first and each can be made, none needs the future") {
  const auto names = policy_names();
  REQUIRE(names.size() == 14);
  CHECK(std::string(names[0]) == "auto");
  for (const char *name : names) CHECK(make_policy(name, config_of(4)) != nullptr);
  CHECK(make_policy("clock", config_of(4)) == nullptr);
  CHECK(make_policy("belady", config_of(4)) == nullptr);
  CHECK(make_policy("", config_of(4)) == nullptr);
}

TEST_CASE("lru: the oldest use leaves first, and a visit moves an object back") {
  const auto p = make_policy("lru", config_of(5));
  insert(*p, {3, 1, 4});
  CHECK(whole_round(*p) == objects{3, 1, 4});
  visit(*p, {3, 0});
  CHECK(whole_round(*p) == objects{1, 4, 3});
  p->removed(4);
  CHECK(whole_round(*p) == objects{1, 3});
}

TEST_CASE("lfu: the smallest count leaves first, then the oldest use, then the lower index") {
  const auto p = make_policy("lfu", config_of(6));
  insert(*p, {5, 4, 2, 1, 0});
  CHECK(whole_round(*p) == objects{0, 1, 2, 4, 5});
  visit(*p, {0, 0, 4, 1});
  CHECK(whole_round(*p) == objects{2, 5, 4, 1, 0});
}

TEST_CASE("lfu: frequency counter never incremented (SGLang #18843): uses outside the tier count") {
  const auto p = make_policy("lfu", config_of(4));
  insert(*p, {0, 1});
  visit(*p, {0, 1, 2, 2, 2, 0});
  p->inserted(2);  // arrives with its three uses, not as a newcomer
  CHECK(whole_round(*p) == objects{1, 0, 2});
  p->removed(2);
  visit(*p, {2});
  p->inserted(2);  // leaving does not forget
  visit(*p, {0, 0});
  CHECK(whole_round(*p) == objects{1, 2, 0});  // four uses each, 0's the later
  p->removed(2);
  p->forget(2);  // the number stands for something else
  p->inserted(2);
  CHECK(whole_round(*p) == objects{2, 1, 0});
}

TEST_CASE("lfu: old fame fades") {
  const auto p = make_policy("lfu", config_of(2));
  insert(*p, {0, 1});
  const uint64_t period = 2 * uses_per_object;
  for (uint64_t i = 0; i + 1 < period; ++i) visit(*p, {0});
  visit(*p, {1});  // halves: 31 and 0
  for (uint64_t i = 0; i < period / 2; ++i) visit(*p, {1});
  CHECK(whole_round(*p) == objects{0, 1});
}

TEST_CASE("what is pinned is skipped, named once in a round and proposed again in the next") {
  for (const char *name : {"lru", "lfu"}) {
    INFO(name);
    const auto p = make_policy(name, config_of(4));
    insert(*p, {0, 1, 2, 3});
    visit(*p, {0, 1, 2, 3});
    p->begin_victims();
    CHECK(p->next_victim() == 0);  // pinned
    CHECK(p->next_victim() == 1);
    p->removed(1);
    CHECK(p->next_victim() == 2);  // pinned
    CHECK(whole_round(*p) == objects{0, 2, 3});
    CHECK(p->next_victim() == no_object);
    CHECK(whole_round(*p) == objects{0, 2, 3});
  }
}

TEST_CASE("the same calls give the same victims") {
  for (const char *name : policy_names()) {
    INFO(name);
    objects orders[2];
    for (objects &order : orders) {
      const auto p = make_policy(name, config_of(100));
      prng random(7);
      for (cubby_object object = 0; object < 100; object += 2) p->inserted(object);
      for (int i = 0; i < 1000; ++i) visit(*p, {static_cast<cubby_object>(random.below(100))});
      order = whole_round(*p);
    }
    CHECK(orders[0].size() == 50);
    CHECK(orders[0] == orders[1]);
  }
}

TEST_CASE("grow keeps what is known, and state grows with nothing else") {
  for (const char *name : {"lru", "lfu"}) {
    INFO(name);
    const auto p = make_policy(name, config_of(2));
    insert(*p, {0, 1});
    visit(*p, {1, 0});
    const uint64_t before = p->state_bytes();
    p->grow(config_of(1000));
    const uint64_t after = p->state_bytes();
    CHECK(after > before);
    CHECK(whole_round(*p) == objects{1, 0});
    visit(*p, {999, 1, 0});
    p->inserted(999);
    p->grow(config_of(5));  // never shrinks
    CHECK(whole_round(*p).size() == 3);
    for (cubby_object object = 0; object < 1000; ++object) p->inserted(object);
    CHECK(whole_round(*p).size() == 1000);
    CHECK(p->state_bytes() == after);
  }
}

TEST_CASE("nothing resident: no victims") {
  for (const char *name : policy_names()) {
    const auto p = make_policy(name, config_of(0));
    CHECK(whole_round(*p).empty());
    p->grow(config_of(1));
    CHECK(whole_round(*p).empty());
  }
}

TEST_CASE("lru and lfu agree with a naive reference") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    compare_with_reference("lru", seed);
    compare_with_reference("lfu", seed);
  }
}

}  // namespace policy_test
