// The admission protocol alone: its rules one by one, and random traces held against a naive model
// that keeps everything in plain lists.
#include "placement/admission/admission.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/prng.hpp"
#include "support/catch.hpp"

namespace admission_test {

namespace {

using namespace cubby::placement;
using cubby::base::prng;

/// A policy that logs its calls. Victims go by number; with admit() a higher number is worth
/// more than a lower one.
struct logging_policy {
  std::set<cubby_object> tracked;
  std::set<cubby_object>::iterator next;
  uint32_t rounds = 0;
  bool wrong = false;  // got an object twice, or one that it does not know
};
std::vector<logging_policy *> made;
std::string fault;  // how the next policy breaks the rules

logging_policy &of(cubby_policy *policy) { return *reinterpret_cast<logging_policy *>(policy); }

int32_t create(const cubby_policy_config *, cubby_policy **out) {
  made.push_back(new logging_policy);
  *out = reinterpret_cast<cubby_policy *>(made.back());
  return 0;
}
void destroy(cubby_policy *policy) {
  std::erase(made, &of(policy));
  delete &of(policy);
}
void visit(cubby_policy *, const cubby_policy_visit *) {}
void access(cubby_policy *, const cubby_policy_access *) {}
void inserted(cubby_policy *policy, cubby_object object, uint64_t) {
  of(policy).wrong |= !of(policy).tracked.insert(object).second;
}
void removed(cubby_policy *policy, cubby_object object) {
  of(policy).wrong |= of(policy).tracked.erase(object) != 1;
}
void begin_victims(cubby_policy *policy, const cubby_policy_need *) {
  of(policy).next = of(policy).tracked.begin();
  ++of(policy).rounds;
}
cubby_object next_victim(cubby_policy *policy) {
  logging_policy &self = of(policy);
  if (fault == "absent") return 1000;
  if (fault == "twice" && !self.tracked.empty()) return *self.tracked.begin();
  if (fault == "silent" || self.next == self.tracked.end()) return CUBBY_NO_OBJECT;
  return *self.next++;
}
int32_t admit(cubby_policy *, cubby_object incoming, cubby_object victim) {
  return incoming > victim ? 1 : 0;
}
int32_t grow(cubby_policy *, const cubby_policy_config *) { return 0; }
void stats(const cubby_policy *, cubby_policy_stats *) {}

cubby_policy_ops ops_of(bool chooses) {
  cubby_policy_ops ops = {};
  ops.struct_size = sizeof ops;
  ops.abi_version = CUBBY_POLICY_ABI_VERSION;
  ops.name = "logging";
  ops.create = create;
  ops.destroy = destroy;
  ops.visit = visit;
  ops.access = access;
  ops.inserted = inserted;
  ops.removed = removed;
  ops.begin_victims = begin_victims;
  ops.next_victim = next_victim;
  ops.admit = chooses ? admit : nullptr;
  ops.grow = grow;
  ops.stats = stats;
  return ops;
}

constexpr uint64_t locker = 10;  // bytes

/// Frames without bytes: what is in each tier, and how often it is pinned.
struct fake_host {
  static constexpr bool replaces_policies = true;
  struct copy {
    presence state = presence::ready;
    uint32_t pins = 0;
  };
  std::map<uint32_t, std::map<cubby_object, copy>> copies;
  std::map<uint32_t, uint64_t> budget;
  std::vector<std::string> left;  // "tier:object:departure"
  std::string broken;

  presence presence_of(uint32_t tier, cubby_object object) {
    const auto at = copies[tier].find(object);
    if (at == copies[tier].end()) return presence::absent;
    return at->second.pins != 0 ? presence::pinned : at->second.state;
  }
  static uint64_t frame_bytes(uint32_t, cubby_object) { return locker; }
  static uint64_t cost_bytes(uint32_t, cubby_object) { return locker; }
  bool has_hole(uint32_t tier, uint64_t bytes) {
    return copies[tier].size() * locker + bytes <= budget[tier];
  }
  static bool makes_hole(uint32_t, cubby_object, uint64_t) { return true; }
  static bool is_hole_coming(uint32_t, uint64_t) { return false; }
  bool begin_evict(uint32_t tier, cubby_object object) {
    if (presence_of(tier, object) != presence::ready) return false;
    copies[tier].erase(object);
    return true;
  }
  void finish_evict(uint32_t tier, cubby_object object, departure how) {
    left.push_back(std::to_string(tier) + ":" + std::to_string(object) + ":" +
                   (how == departure::dropped   ? "dropped"
                    : how == departure::evicted ? "evicted"
                                                : "demoted"));
  }
  static uint64_t now_ns() { return 0; }
  void policy_broken(uint32_t, const char *, const std::string &what, bool lru_decides) {
    broken = what + (lru_decides ? " (lru)" : "");
    fault.clear();
  }
};

tier_view view_of(uint64_t lockers, uint32_t probation_lockers = 0) {
  tier_view view;
  view.budget_bytes = lockers * locker;
  if (probation_lockers != 0) view.layers.push_back({64, probation_lockers, locker});
  return view;
}

/// One tier of `lockers`, of which so many are reserved for probation.
struct fixture {
  explicit fixture(bool chooses, uint64_t lockers = 8, uint32_t probation_lockers = 0)
      : ops(ops_of(chooses)), one(ops, 1) {
    one.set_object_count(64);
    host.budget[0] = lockers * locker;
    REQUIRE(one.add_tier(0, 0, false, view_of(lockers, probation_lockers), host) == 0);
    one.reconfigure_policies();
  }
  /// A frame, if there is one, and bytes in it.
  bool load(cubby_object object, uint32_t pins = 0) {
    if (!one.make_room(0, {object, locker}, host)) return false;
    host.copies[0][object].pins = pins;
    one.track(0, object, host);
    return true;
  }
  const cubby_policy_ops ops;
  fake_host host;
  admission one;
};

}  // namespace

TEST_CASE("objects that have not come to be are not counted any more, and policies hear of it") {
  fixture f(false);
  f.one.set_object_count(1 << 20);
  REQUIRE(f.one.reconfigure_policies());
  const uint64_t grown = f.one.books(0).policy->state_bytes();
  f.one.restore_object_count();
  REQUIRE(f.one.reconfigure_policies());
  CHECK(f.one.books(0).on_probation_since.capacity() == 64);
  CHECK(f.one.books(0).lists.bytes() < 4096);
  CHECK(f.one.books(0).policy->state_bytes() <= grown);
  for (cubby_object object = 0; object < 64; ++object) REQUIRE(f.load(object));
  f.one.set_object_count(80);
  REQUIRE(f.one.reconfigure_policies());
  CHECK(f.load(79));
  CHECK(f.one.is_admitted(0, 79));
}

TEST_CASE("Without admit() an object is admitted with its frame, and victims make room") {
  fixture f(false, 3);
  for (const cubby_object object : {5u, 3u, 9u}) REQUIRE(f.load(object));
  CHECK(f.one.is_admitted(0, 3));
  CHECK(f.one.books(0).admitted_bytes == 3 * locker);
  f.host.copies[0][3].pins = 1;
  REQUIRE(f.load(7));  // 3 is named first, and pinned
  CHECK(f.host.left == std::vector<std::string>{"0:5:demoted"});
  CHECK(!f.one.is_tracked(0, 5));
}

TEST_CASE(
    "With admit() an object is on probation until its use is over, then admitted or rejected") {
  fixture f(true, 4, 1);  // one of four is for probation
  for (const cubby_object object : {10u, 11u, 12u}) {
    REQUIRE(f.load(object));
    CHECK(f.one.books(0).is_on_probation(object));
    CHECK(!f.one.is_tracked(0, object));
    f.one.decide(0, f.host);
    CHECK(f.one.is_admitted(0, object));
  }
  REQUIRE(f.load(5, 1));
  f.one.decide(0, f.host);
  CHECK(f.one.books(0).is_on_probation(5));  // pinned, and there is no room
  f.host.copies[0][5].pins = 0;
  f.one.decide(0, f.host);
  CHECK(f.host.left == std::vector<std::string>{"0:5:dropped"});  // worth less than 10
  REQUIRE(f.load(20));
  f.one.decide(0, f.host);
  CHECK(f.host.left.back() == "0:10:demoted");
  CHECK(f.one.is_admitted(0, 20));
  CHECK(!f.one.books(0).has_undecided());
}

TEST_CASE(
    "A pinned object on probation stays at once where there is room, and is overdue at last") {
  fixture f(true, 4, 1);
  REQUIRE(f.load(1, 1));
  f.one.decide(0, f.host);
  CHECK(f.one.is_admitted(0, 1));
  for (const cubby_object object : {10u, 11u, 2u}) REQUIRE(f.load(object, object == 2 ? 1 : 0));
  uint32_t rounds = 0;
  while (f.one.books(0).is_on_probation(2) && rounds < 1000) f.one.decide(0, f.host), ++rounds;
  CHECK(rounds == 257);
  CHECK(f.one.is_admitted(0, 2));
  CHECK(f.host.left == std::vector<std::string>{"0:10:demoted"});  // whatever it is worth
}

TEST_CASE(
    "A no-allocate object goes when it is unpinned, and before all others when room is short") {
  fixture f(false, 3);
  f.host.copies[0][4].pins = 1;
  f.one.track_no_allocate(0, 4);
  CHECK(f.one.books(0).is_no_allocate(4));
  f.one.decide(0, f.host);
  CHECK(f.host.copies[0].count(4) == 1);
  f.host.copies[0][4].pins = 0;
  REQUIRE(f.load(1));
  REQUIRE(f.load(2));
  REQUIRE(f.load(3));
  CHECK(f.host.left == std::vector<std::string>{"0:4:evicted"});
  CHECK(!f.one.books(0).has_undecided());
}

TEST_CASE("Unused prefetches are spared up to a quarter of the tier, until their first use") {
  fixture f(false, 8);
  for (cubby_object object = 0; object < 8; ++object) REQUIRE(f.load(object));
  for (cubby_object object = 0; object < 3; ++object) f.one.note_prefetched(0, object, locker);
  REQUIRE(f.load(20));
  CHECK(f.host.left.back() == "0:0:demoted");  // of three only the two newest are spared
  CHECK(f.one.books(0).prefetch_wasted_bytes == locker);
  const cubby_object used[] = {1};
  f.one.visit({}, used, {});
  CHECK(f.one.books(0).prefetch_used_bytes == locker);
  REQUIRE(f.load(21));
  CHECK(f.host.left.back() == "0:1:demoted");
  REQUIRE(f.load(22));
  CHECK(f.host.left.back() == "0:3:demoted");
}

TEST_CASE("A prefetched object on probation waits for its first use, which the driver hears of") {
  fixture f(true, 4, 1);
  REQUIRE(f.load(3));
  f.one.note_prefetched(0, 3, locker);
  CHECK(!f.one.books(0).awaits_decision());
  f.one.decide(0, f.host);
  CHECK(f.one.books(0).is_on_probation(3));
  const cubby_object other[] = {9}, used[] = {3};
  CHECK(f.one.visit({}, other, {}) == 0);
  CHECK(f.one.visit({}, used, {}) == 1);
  CHECK(f.one.books(0).awaits_decision());
  f.one.decide(0, f.host);
  CHECK(f.one.is_admitted(0, 3));
}

TEST_CASE("Room that was taken for probation is not free for what comes later and is worth less") {
  fixture f(true, 4, 1);
  for (const cubby_object object : {10u, 11u, 12u}) {
    REQUIRE(f.load(object));
    f.one.decide(0, f.host);
  }
  REQUIRE(f.load(20, 1));
  REQUIRE(f.load(5, 1));  // no frame is left: 10 goes, and nobody was asked
  CHECK(f.host.left == std::vector<std::string>{"0:10:demoted"});
  CHECK(f.one.books(0).taken_bytes == locker);
  f.host.copies[0][5].pins = 0;
  f.one.decide(0, f.host);
  CHECK(f.host.left.back() == "0:5:dropped");
  f.host.copies[0][20].pins = 0;
  f.one.decide(0, f.host);
  CHECK(f.one.is_admitted(0, 20));
  CHECK(f.one.books(0).taken_bytes == 0);
}

TEST_CASE("The policy of an exclusive tier is notified of the nearer tiers' objects, each once") {
  fixture f(false, 4);
  f.host.budget[1] = 4 * locker;
  REQUIRE(f.load(7));
  REQUIRE(f.one.add_tier(1, 5, true, view_of(4), f.host) == 0);
  CHECK(f.one.shares_policy_with(1, 0));
  CHECK(!f.one.shares_policy_with(0, 1));
  CHECK(f.one.is_tracked(1, 7));  // which was there before the tier
  CHECK(!f.one.is_admitted(1, 7));
  f.host.copies[1][7];
  f.one.admit(1, 7, f.host);
  CHECK(!made.back()->wrong);
  f.one.untrack(0, 7, locker);
  CHECK(!f.one.is_tracked(0, 7));
  CHECK(f.one.is_tracked(1, 7));
  f.one.untrack(1, 7, locker);
  CHECK(made.back()->tracked.empty());
  CHECK(!made.back()->wrong);
}

TEST_CASE("A policy that breaks the rules is named, and LRU takes its place") {
  const std::pair<const char *, const char *> faults[] = {
      {"absent", "next_victim() named object 1000, which is not resident"},
      {"twice", "next_victim() named object 1 twice in a round"},
      {"silent", "next_victim() ended a round after 0 of 2 residents, without naming object 1"}};
  for (const auto &[how, said] : faults) {
    INFO(how);
    fixture f(false, 2);
    REQUIRE(f.load(1));
    REQUIRE(f.load(2));
    f.host.copies[0][1].pins = 1;
    fault = how;
    REQUIRE(f.load(3));
    CHECK(f.host.broken.starts_with(said));
    CHECK(f.host.broken.ends_with("(lru)"));
    CHECK(f.host.left == std::vector<std::string>{"0:2:demoted"});
    CHECK(f.one.books(0).tracked_count == 2);
  }
}

namespace {

/// The same protocol for one tier and the policy above, in lists that are searched.
struct naive_model {
  bool chooses;
  size_t lockers, probation_room;
  std::vector<cubby_object> admitted, probation,
      no_allocate;  // the last two in the order they came in
  std::vector<cubby_object> unused;
  size_t taken = 0;
  std::vector<std::string> left;

  [[nodiscard]] size_t room() const { return lockers - probation_room; }
  [[nodiscard]] size_t all() const {
    return admitted.size() + probation.size() + no_allocate.size();
  }
  static bool has(const std::vector<cubby_object> &list, cubby_object object) {
    return std::find(list.begin(), list.end(), object) != list.end();
  }
  void leave(cubby_object object, const char *how) {
    for (auto *list : {&admitted, &probation, &no_allocate, &unused}) std::erase(*list, object);
    left.push_back("0:" + std::to_string(object) + ":" + how);
  }
  /// The lowest number that may leave.
  [[nodiscard]] cubby_object victim(const std::set<cubby_object> &pinned, bool spare) const {
    std::vector<cubby_object> spared;
    for (auto at = unused.rbegin(); spare && at != unused.rend(); ++at) {
      if ((spared.size() + 1) * locker > lockers * locker / 4) break;
      spared.push_back(*at);
    }
    cubby_object least = no_object;
    for (const cubby_object object : admitted)
      if (pinned.count(object) == 0 && !has(spared, object)) least = std::min(least, object);
    return least;
  }
  bool drop_probationary(const std::set<cubby_object> &pinned, bool unused_too) {
    unused_too = unused_too || unused.size() * locker > lockers * locker / 4;
    for (const cubby_object object : probation) {
      if ((!unused_too && has(unused, object)) || pinned.count(object) != 0) continue;
      leave(object, "dropped");
      return true;
    }
    return false;
  }
  bool evict_one(const std::set<cubby_object> &pinned) {
    for (const cubby_object object : no_allocate)
      if (pinned.count(object) == 0) return leave(object, "evicted"), true;
    if (drop_probationary(pinned, false)) return true;
    for (const bool spare : {true, false}) {
      const cubby_object object = victim(pinned, spare);
      if (object != no_object) return leave(object, "demoted"), true;
    }
    return drop_probationary(pinned, true);
  }
  bool load(cubby_object object, bool keep, const std::set<cubby_object> &pinned) {
    while (all() == lockers) {
      const size_t before = admitted.size();
      if (!evict_one(pinned)) return false;
      if (chooses) taken += before - admitted.size();
    }
    (!keep ? no_allocate : chooses ? probation : admitted).push_back(object);
    return true;
  }
  bool win(cubby_object object, const std::set<cubby_object> &pinned) {
    if (room() == 0) return false;
    if (admitted.size() + 1 > room()) {
      const cubby_object least = victim(pinned, true);
      if (least == no_object || object < least) return false;
      leave(least, "demoted");
      return true;
    }
    taken = std::min(taken, room() - admitted.size());
    if (room() - admitted.size() - taken >= 1) return true;
    const cubby_object least = victim(pinned, true);
    if (least != no_object && object < least) return false;
    taken -= std::min<size_t>(taken, 1);
    return true;
  }
  void decide(const std::set<cubby_object> &pinned) {
    for (const cubby_object object : std::vector<cubby_object>(no_allocate))
      if (pinned.count(object) == 0) leave(object, "dropped");
    for (const cubby_object object : std::vector<cubby_object>(probation)) {
      const bool held = pinned.count(object) != 0;
      if (held && admitted.size() + taken + 1 > room()) continue;
      if (has(unused, object)) continue;
      if (win(object, pinned)) {
        std::erase(probation, object);
        admitted.push_back(object);
      } else if (!held) {
        leave(object, "dropped");
      }
    }
  }
};

struct random_trace {
  random_trace(bool chooses, uint64_t seed)
      : f(chooses, 8, chooses ? 2 : 0),
        model{chooses, 8, chooses ? 2u : 0u, {}, {}, {}, {}, 0, {}},
        dice(seed) {}

  std::set<cubby_object> pinned() {
    std::set<cubby_object> held;
    for (const auto &[object, copy] : f.host.copies[0])
      if (copy.pins != 0) held.insert(object);
    return held;
  }
  void step() {
    const auto object = static_cast<cubby_object>(dice.below(24));
    const auto at = f.host.copies[0].find(object);
    const bool here = at != f.host.copies[0].end();
    switch (dice.below(6)) {
      case 0:
      case 1:
        if (!here) load(object);
        break;
      case 2:  // for a few rounds only, so that nothing is overdue
        if (here) at->second.pins = 1 - at->second.pins;
        break;
      case 3: {
        const cubby_object used[] = {object};
        f.one.visit({}, used, {});
        std::erase(model.unused, object);
        break;
      }
      case 4:
        if (dice.below(8) == 0 && here && at->second.pins == 0) {
          f.one.evict(0, object, departure::dropped, f.host);
          model.leave(object, "dropped");
        }
        break;
      default:
        if (dice.below(4) == 0)
          for (auto &[held, copy] : f.host.copies[0]) copy.pins = 0;
        f.one.decide(0, f.host);
        model.decide(pinned());
    }
  }
  void load(cubby_object object) {
    const bool keep = dice.below(6) != 0, prefetched = keep && dice.below(4) == 0;
    const std::set<cubby_object> held = pinned();
    const bool came = f.one.make_room(0, {object, locker}, f.host);
    REQUIRE(came == model.load(object, keep, held));
    if (!came) return;
    f.host.copies[0][object].pins = prefetched ? 0 : 1;
    if (keep)
      f.one.track(0, object, f.host);
    else
      f.one.track_no_allocate(0, object);
    if (!prefetched) return;
    f.one.note_prefetched(0, object, locker);
    model.unused.push_back(object);
  }
  void compare() {
    REQUIRE(f.host.left == model.left);
    CHECK(f.one.books(0).admitted_bytes == model.admitted.size() * locker);
    CHECK(f.one.books(0).taken_bytes == model.taken * locker);
    CHECK(f.one.books(0).tracked_count == model.admitted.size());
    uint32_t waiting = 0;
    for (cubby_object object = 0; object < 24; ++object) {
      CHECK(f.one.is_admitted(0, object) == naive_model::has(model.admitted, object));
      CHECK(f.one.books(0).is_on_probation(object) == naive_model::has(model.probation, object));
      CHECK(f.one.books(0).is_no_allocate(object) == naive_model::has(model.no_allocate, object));
      if (naive_model::has(model.probation, object) && !naive_model::has(model.unused, object))
        ++waiting;
    }
    CHECK(f.one.books(0).awaits_decision() == (waiting != 0));
    CHECK(made.back()->tracked ==
          std::set<cubby_object>(model.admitted.begin(), model.admitted.end()));
    CHECK(!made.back()->wrong);
  }

  fixture f;
  naive_model model;
  prng dice;
};

}  // namespace

TEST_CASE("Random traces give what a naive model gives, object by object") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    INFO(seed);
    random_trace trace(seed % 2 == 0, seed);
    size_t steps = 0;
    for (; steps < 400; ++steps) {
      trace.step();
      trace.compare();
    }
    CHECK(trace.model.left.size() > 10);
  }
}

TEST_CASE("where the library chooses, a tier's policy follows the banks that share it") {
  cubby_policy_bank experts = {}, blocks = {};
  experts.struct_size = blocks.struct_size = sizeof experts;
  experts.kind = CUBBY_POLICY_BANK_EXPERTS;
  experts.rows = 1;
  experts.columns = blocks.columns = 8;
  experts.routed_count = 2;
  experts.object_bytes = blocks.object_bytes = locker;
  blocks.kind = CUBBY_POLICY_BANK_KV;
  blocks.rows = 1;
  blocks.first_object = 8;
  fake_host host;
  host.budget[0] = 8 * locker;
  admission one(*find_policy("auto"), 1, 1, true);
  one.set_object_count(16);
  REQUIRE(one.add_tier(0, 0, false, view_of(8), host) == 0);
  CHECK(std::string(one.books(0).policy->name()) == "moe");
  for (cubby_object object = 8; object < 16; ++object) {
    host.copies[0][object] = {};
    one.admit(0, object, host);
  }
  const struct {
    std::vector<cubby_policy_bank> banks;
    const char *name;
  } steps[] = {{{experts}, "moe"}, {{experts, blocks}, "mixed"}, {{blocks}, "kv"}};
  for (const auto &step : steps) {
    tier_view view = view_of(8);
    view.banks = step.banks;
    CHECK(one.describe_tier(0, view, host));
    CHECK(one.reconfigure_policies());
    CHECK(std::string(one.books(0).policy->name()) == step.name);
    CHECK(one.books(0).tracked_count == 8);
  }
  // The new policy knows what is resident.
  CHECK(one.evict_one(0, {}, departure::evicted, host));
  CHECK(host.copies[0].size() == 7);
}

TEST_CASE("a policy that was named stays, whatever the banks are") {
  fake_host host;
  host.budget[0] = 8 * locker;
  admission one(*find_policy("lru"), 1);
  one.set_object_count(16);
  tier_view view = view_of(8);
  view.banks.resize(1);
  view.banks[0].struct_size = sizeof view.banks[0];
  view.banks[0].kind = CUBBY_POLICY_BANK_KV;
  view.banks[0].rows = 1;
  view.banks[0].columns = 16;
  REQUIRE(one.add_tier(0, 0, false, view, host) == 0);
  CHECK(one.describe_tier(0, view, host));
  CHECK(std::string(one.books(0).policy->name()) == "lru");
}

}  // namespace admission_test
