// Random calls, beside a directory that is a map and looks at every prefix by itself.
#include <map>
#include <optional>
#include <set>

#include "base/prng.hpp"
#include "unit/directory/fixture.hpp"

namespace model_test {

using namespace directory_test;

namespace {

constexpr uint32_t lockers = 24;
constexpr uint32_t parts = 3;
constexpr uint16_t all = 0b111;

struct modelled_entry {
  std::string parent;
  uint32_t locker = 0;
  uint16_t present = 0;
  uint64_t until_ns = 0;
  std::vector<uint16_t> puts;  // under way
  entry_ref entry;

  [[nodiscard]] uint16_t pending() const {
    uint16_t mask = 0;
    for (const uint16_t one : puts) mask = static_cast<uint16_t>(mask | one);
    return mask;
  }
};

using place = std::pair<uint32_t, std::string>;  // space, key

class model_run {
 public:
  model_run(uint64_t seed, uint64_t buckets)
      : prng_(seed), real_([&] {
          directory_config config = config_of(lockers, parts);
          config.bucket_count = buckets;
          config.seed = seed;
          return config;
        }()) {
    spaces_ = {real_.space, real_.open("model", "b")};
    for (uint32_t i = 0; i < 14; ++i) {
      const std::string text = "k" + std::to_string(i);
      names_.push_back(i % 3 == 0 ? text + std::string(40 + i, 'x') : text);
    }
    for (uint32_t i = 0; i < lockers; ++i) free_.insert(i);
  }

  void step() {
    switch (prng_.below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return begin();
      case 4:
      case 5:
      case 6:
        return end_put();
      case 7:
      case 8:
        return erase();
      case 9:
        return withhold();
      case 10:
        return pass_time();
      default:
        return prng_.chance(1, 30) ? replace_space() : begin();
    }
  }
  void check() {
    for (const uint32_t space : spaces_) {
      for (const std::string &name : names_) check_view(space, name);
      for (int i = 0; i < 3; ++i) check_match(space);
    }
    REQUIRE(real_.keys.counts().entries - real_.keys.counts().reclaimable == model_.size());
  }
  void finish() {
    while (!model_.empty()) {
      const auto first = model_.begin();
      if (!first->second.puts.empty()) {
        end(first, true);
      } else {
        erase_at(first);
      }
    }
    std::vector<uint32_t> released;
    real_.keys.reclaim(1000, released);
    free_.insert(released.begin(), released.end());
    REQUIRE(real_.keys.counts().entries == 0);
    REQUIRE(real_.keys.counts().parents_absent == 0);
    REQUIRE(free_.size() == lockers);
  }

 private:
  using model_map = std::map<place, modelled_entry>;

  uint16_t some_parts() { return static_cast<uint16_t>(1 + prng_.below(all)); }
  const std::string &some_name() { return names_[prng_.below(names_.size())]; }
  uint32_t some_space() { return spaces_[prng_.below(2)]; }
  model_map::iterator some_entry() {
    auto at = model_.begin();
    if (at != model_.end()) std::advance(at, prng_.below(model_.size()));
    return at;
  }
  /// The parent that each key usually has: a tree.
  std::string usual_parent(size_t index) { return index == 0 ? "" : names_[(index - 1) / 2]; }

  void begin() {
    const size_t index = prng_.below(names_.size());
    const place at{some_space(), names_[index]};
    const std::string parent = prng_.chance(1, 20) ? some_name() : usual_parent(index);
    const uint16_t asked = some_parts();
    if (free_.empty()) return;
    real_.next_locker = *free_.begin();
    const auto answer = real_.begin(at.second, parent, asked, at.first);
    const auto known = model_.find(at);
    if (parent == at.second || (known != model_.end() && known->second.parent != parent)) {
      REQUIRE(answer.failure().status == CUBBY_ERR_INVALID);
      return;
    }
    REQUIRE(answer.ok());
    modelled_entry &one = known != model_.end() ? known->second : model_[at];
    const uint16_t pending = one.pending();
    REQUIRE(answer->known == (asked & one.present));
    REQUIRE(answer->joined == (asked & pending));
    const auto fresh = static_cast<uint16_t>(asked & ~one.present & ~pending);
    REQUIRE(answer->fresh == fresh);
    const bool is_new = known == model_.end();
    REQUIRE(answer->took_locker == is_new);
    if (is_new) {
      one.locker = real_.next_locker - 1;
      free_.erase(one.locker);
    }
    one.parent = parent;
    one.entry = answer->entry;
    if (fresh != 0) one.puts.push_back(fresh);
    REQUIRE(answer->locker == one.locker);
  }

  void end_put() {
    const auto at = some_entry();
    if (at != model_.end() && !at->second.puts.empty()) end(at, prng_.chance(1, 4));
  }
  void end(model_map::iterator at, bool abandons) {
    modelled_entry &one = at->second;
    const uint16_t put = one.puts.back();
    one.puts.pop_back();
    const auto ended = abandons ? real_.keys.abandon(one.entry, one.locker, put)
                                : real_.keys.publish(one.entry, one.locker, put);
    REQUIRE(ended.ok());
    REQUIRE(ended->visible == !abandons);
    if (!abandons) one.present = static_cast<uint16_t>(one.present | put);
    const bool over = one.present == 0 && one.puts.empty();
    REQUIRE(ended->released == (over ? one.locker : no_locker));
    if (over) forget(at);
  }
  void forget(model_map::iterator at) {
    free_.insert(at->second.locker);
    model_.erase(at);
  }

  uint32_t children_of(const place &parent) {
    uint32_t count = 0;
    for (const auto &[at, one] : model_) {
      count += at.first == parent.first && one.parent == parent.second ? 1u : 0u;
    }
    return count;
  }
  void erase() {
    const auto at = some_entry();
    if (at != model_.end()) erase_at(at);
  }
  void erase_at(model_map::iterator at) {
    const uint32_t children = children_of(at->first);
    REQUIRE(real_.keys.describe(at->second.entry).children == children);
    const bool leaf_only = prng_.chance(1, 2) && !model_.empty() && model_.size() > 3;
    const auto erased =
        real_.keys.erase(at->second.entry, leaf_only ? erase_rule::leaf : erase_rule::any);
    if (!at->second.puts.empty() || (leaf_only && children != 0)) {
      REQUIRE(erased.failure().status == CUBBY_ERR_BUSY);
      return;
    }
    REQUIRE(erased.ok());
    REQUIRE(*erased == at->second.locker);
    forget(at);
  }

  void withhold() {
    const auto at = some_entry();
    if (at == model_.end()) return;
    modelled_entry &one = at->second;
    one.until_ns = real_.now_ns + prng_.below(20);
    real_.keys.withhold(one.locker, one.until_ns);
  }
  void pass_time() {
    real_.now_ns += prng_.below(10);
    REQUIRE_FALSE(real_.keys.expire(real_.now_ns, 1000));
  }

  /// One of the spaces is removed and added again; puts under way end after it.
  void replace_space() {
    uint32_t &space = spaces_[prng_.below(2)];
    REQUIRE(real_.keys.remove_space(space).ok());
    const uint32_t gone = space;
    space = real_.open("model", space == real_.space ? "tenant" : "b");
    if (gone == real_.space) real_.space = space;
    for (auto at = model_.begin(); at != model_.end();) {
      if (at->first.first != gone) {
        ++at;
        continue;
      }
      for (const uint16_t put : at->second.puts) {
        const auto ended = real_.keys.publish(at->second.entry, at->second.locker, put);
        REQUIRE(ended.ok());
        REQUIRE_FALSE(ended->visible);
        if (ended->released != no_locker) free_.insert(ended->released);
      }
      at = model_.erase(at);
    }
    std::vector<uint32_t> released;
    while (real_.keys.counts().reclaimable != 0) real_.keys.reclaim(7, released);
    free_.insert(released.begin(), released.end());
  }

  void check_view(uint32_t space, const std::string &name) {
    const key_view view = real_.view(name, space);
    const auto at = model_.find({space, name});
    const modelled_entry none;
    const modelled_entry &one = at != model_.end() ? at->second : none;
    REQUIRE(view.present == one.present);
    REQUIRE(view.pending == one.pending());
    if (one.present == 0) return;
    REQUIRE(view.locker == one.locker);
    REQUIRE(real_.keys.still_holds(view));
    REQUIRE(real_.keys.at_locker(one.locker) == view.entry);
  }

  [[nodiscard]] uint16_t offered(const modelled_entry &one) const {
    return one.until_ns > real_.now_ns ? uint16_t{0} : one.present;
  }
  [[nodiscard]] bool usable(uint32_t space, const std::vector<std::string> &chain, size_t length,
                            const match_rule &rule) const {
    for (size_t i = 0; i < length; ++i) {
      const auto at = model_.find({space, chain[i]});
      if (at == model_.end() || offered(at->second) == 0) continue;
      if (at->second.parent != (i == 0 ? "" : chain[i - 1])) return false;
    }
    for (uint32_t part = 0; part < parts; ++part) {
      const uint32_t needed = rule.parts != 0 ? rule.parts : all;
      if (((needed >> part) & 1) == 0) continue;
      const uint32_t every = rule.of[part].every;
      if (length % every != 0) return false;
      const size_t groups = length / every;
      const uint32_t trailing = rule.of[part].trailing;
      const size_t first = trailing == 0 || trailing > groups ? 0 : groups - trailing;
      for (size_t group = first; group < groups; ++group) {
        const auto at = model_.find({space, chain[(group + 1) * every - 1]});
        if (at == model_.end() || ((offered(at->second) >> part) & 1) == 0) return false;
      }
    }
    return true;
  }
  void check_match(uint32_t space) {
    std::vector<std::string> chain;
    for (size_t index = prng_.below(names_.size());; index = (index - 1) / 2) {
      chain.insert(chain.begin(), names_[index]);
      if (index == 0) break;
    }
    if (prng_.chance(1, 4)) chain[prng_.below(chain.size())] = some_name();
    match_rule rule;
    rule.parts = static_cast<uint16_t>(prng_.below(all + 1));
    for (part_rule &one : rule.of) {
      one.trailing = static_cast<uint32_t>(prng_.below(4));
      one.every = static_cast<uint32_t>(1 + prng_.below(2));
    }
    const auto found = real_.match(chain, &rule, nullptr, space);
    uint32_t longest = 0;
    for (size_t length = 1; length <= chain.size(); ++length) {
      const bool right = usable(space, chain, length, rule);
      REQUIRE(found.restorable[length - 1] == right);
      if (right) longest = static_cast<uint32_t>(length);
    }
    REQUIRE(found.hit_count == longest);
  }

  base::prng prng_;
  fixture real_;
  std::vector<uint32_t> spaces_;
  std::vector<std::string> names_;
  std::set<uint32_t> free_;
  model_map model_;
};

}  // namespace

TEST_CASE("random calls do what a map of entries would") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    model_run run(seed, seed % 4 == 0 ? 1 : 0);
    for (int i = 0; i < 400; ++i) {
      run.step();
      if (i % 8 == 0) run.check();
    }
    run.finish();
  }
}

}  // namespace model_test
