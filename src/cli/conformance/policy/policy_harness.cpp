#include "cli/conformance/policy/policy_harness.hpp"

#include <array>

namespace cubby_conformance::policies {
namespace {

constexpr size_t most_answers = 1 << 16, most_routes = 8, most_used = 64;

}  // namespace

policy_harness::policy_harness(const subject &on, const workload &of, uint64_t seed)
    : on_(on), of_(&of) {
  resize(of);
  answers_.reserve(most_answers);
  const cubby_policy_config config = of.config(seed);
  const under_way call(on_, "create");
  const int32_t came = on_.ops.create(&config, &self_);
  expect(came == 0, "create() for ", of.name, " gave ", errno_text(came),
         "; its flags say that it is made for them");
  expect(self_ != nullptr, "create() for ", of.name, " gave 0 and no instance");
}

void policy_harness::resize(const workload &of) {
  room_ += of.budget_bytes - budget_;
  budget_ = of.budget_bytes;
  const size_t count = of.object_count();
  bytes_.resize(count);
  for (const cubby_policy_bank &bank : of.banks)
    for (uint32_t i = 0; i < bank.rows * bank.columns; ++i)
      bytes_[bank.first_object + i] = bank.object_bytes;
  for (auto *one : {&resident_, &pinned_, &in_use_}) one->resize(count);
  named_.resize(count);
}

void policy_harness::note(const char *what, uint32_t value) {
  if (answers_.size() < most_answers) answers_.push_back({what, value});
}

void policy_harness::play(const turn &one) {
  now_ns_ = one.now_ns;
  if (one.visit) {
    visit(one);
    return;
  }
  const auto count = static_cast<uint32_t>(one.used.size());
  const bool head_first = (on_.ops.flags & CUBBY_POLICY_HEAD_FIRST) != 0;
  for (uint32_t i = 0; i < count; ++i) access(one, head_first ? i : count - 1 - i);
  ++requests_;
}

void policy_harness::visit(const turn &one) {
  std::array<cubby_policy_route, most_routes> routes{};
  for (uint32_t i = 0; i < one.routes.size(); ++i)
    routes[i] = {i, static_cast<uint32_t>(one.routes[i].size()), one.routes[i].data()};
  cubby_policy_visit event = {};
  event.struct_size = sizeof event;
  event.bank = one.bank;
  event.row = one.row;
  event.used_count = static_cast<uint32_t>(one.used.size());
  event.used = one.used.data();
  if ((on_.ops.flags & CUBBY_POLICY_OFFLINE) != 0) event.next_use = one.next_use.data();
  event.routes = routes.data();
  event.route_count = static_cast<uint32_t>(one.routes.size());
  event.prefill = one.prefill;
  event.number = visits_++;
  event.now_ns = now_ns_;
  std::array<cubby_object, most_used> missing{};
  size_t missing_count = 0;
  for (const cubby_object object : one.used)
    if (!resident(object)) missing[missing_count++] = object;
  {
    const under_way call(on_, "visit");
    on_.ops.visit(self_, &event);
  }
  ++call_count_;
  used_ += event.used_count;
  const uint8_t held = on_.ops.admit == nullptr ? 1 : 0;
  for (const cubby_object object : one.used) in_use_[object] = held;
  for (size_t i = 0; i < missing_count; ++i) bring(missing[i]);
  for (const cubby_object object : one.used) in_use_[object] = 0;
}

void policy_harness::access(const turn &one, uint32_t at) {
  const cubby_object object = one.used[at];
  const bool offline = (on_.ops.flags & CUBBY_POLICY_OFFLINE) != 0;
  cubby_policy_access event = {};
  event.struct_size = sizeof event;
  event.object = object;
  event.parent = at == 0 ? CUBBY_NO_OBJECT : one.used[at - 1];
  event.depth = at;
  event.last = at + 1 == one.used.size() ? 1 : 0;
  event.next_use = offline ? one.next_use[at] : CUBBY_NEVER_USED;
  event.number = requests_;
  event.now_ns = now_ns_;
  const bool hit = resident(object);
  {
    const under_way call(on_, "access");
    on_.ops.access(self_, &event);
  }
  ++call_count_;
  ++used_;
  if (!hit) bring(object);
}

void policy_harness::bring(cubby_object object) {
  const uint64_t cost = bytes_[object];
  if (room_ < cost) begin_round(object, cost - room_);
  while (room_ < cost) {
    const cubby_object victim = next_unpinned();
    if (victim == CUBBY_NO_OBJECT) return;
    if (on_.ops.admit != nullptr) {
      const under_way call(on_, "admit");
      const int32_t came = on_.ops.admit(self_, object, victim);
      ++call_count_;
      expect(came == 0 || came == 1, "admit() gave ", came, "; it says 1 or 0");
      note("admit() gave", static_cast<uint32_t>(came));
      if (came == 0) ++declined_;
      if (came == 0) return;
    }
    remove(victim);
  }
  room_ -= cost;
  resident_[object] = 1;
  ++resident_count_;
  ++inserted_;
  ++call_count_;
  const under_way call(on_, "inserted");
  on_.ops.inserted(self_, object, cost);
}

void policy_harness::remove(cubby_object object) {
  room_ += bytes_[object];
  resident_[object] = 0;
  --resident_count_;
  ++removed_;
  ++call_count_;
  const under_way call(on_, "removed");
  on_.ops.removed(self_, object);
}

void policy_harness::begin_round(cubby_object incoming, uint64_t missing_bytes) {
  ++round_;
  named_count_ = 0;
  ++call_count_;
  const cubby_policy_need need = {sizeof need, incoming, missing_bytes, now_ns_};
  const under_way call(on_, "begin_victims");
  on_.ops.begin_victims(self_, &need);
}

cubby_object policy_harness::next_victim() {
  cubby_object object = CUBBY_NO_OBJECT;
  {
    const under_way call(on_, "next_victim");
    object = on_.ops.next_victim(self_);
  }
  ++call_count_;
  note("next_victim() gave", object);
  if (object == CUBBY_NO_OBJECT) {
    for (cubby_object other = 0; other < resident_.size(); ++other)
      expect(!resident(other) || named_[other] == round_, "round ", round_, " of ", of_->name,
             ": next_victim() gave CUBBY_NO_OBJECT after ", named_count_, " objects, and object ",
             other, " is resident and was not named; it ends when all have been named");
    return object;
  }
  expect(object < resident_.size(), "round ", round_, " of ", of_->name, ": next_victim() gave ",
         object, "; objects are numbered below ", resident_.size());
  expect(named_[object] != round_, "round ", round_, " of ", of_->name,
         ": next_victim() gave object ", object,
         " a second time; each resident is named at most once a round");
  expect(resident(object), "round ", round_, " of ", of_->name, ": next_victim() gave object ",
         object, ", which is not resident");
  named_[object] = round_;
  ++named_count_;
  return object;
}

cubby_object policy_harness::next_unpinned() {
  for (;;) {
    const cubby_object object = next_victim();
    if (object == CUBBY_NO_OBJECT || (pinned_[object] == 0 && in_use_[object] == 0)) return object;
  }
}

uint32_t policy_harness::whole_round() {
  begin_round(CUBBY_NO_OBJECT, 1);
  while (next_victim() != CUBBY_NO_OBJECT) {
  }
  return named_count_;
}

void policy_harness::shrink(uint64_t budget_bytes) {
  cubby_policy_config config = of_->config();
  config.budget_bytes = budget_bytes;
  const uint64_t held = budget_ - room_;
  {
    const under_way call(on_, "grow");
    expect(on_.ops.grow(self_, &config) == 0, "grow() with a smaller budget was refused");
  }
  budget_ = room_ = budget_bytes;
  room_ -= held;  // below zero, modulo 2^64, until enough have left
  if (held <= budget_bytes) return;
  begin_round(CUBBY_NO_OBJECT, held - budget_bytes);
  while (room_ > budget_bytes) {
    const cubby_object victim = next_unpinned();
    expect(victim != CUBBY_NO_OBJECT, "a budget of ", budget_bytes, " bytes instead of ",
           of_->budget_bytes, ": the round ended with ", budget_bytes - room_, " bytes resident");
    remove(victim);
  }
}

void policy_harness::grow(const workload &larger) {
  const cubby_policy_config config = larger.config();
  resize(larger);
  of_ = &larger;
  const under_way call(on_, "grow");
  const int32_t came = on_.ops.grow(self_, &config);
  expect(came == 0, "grow() to ", config.bank_count, " banks and ", config.object_count,
         " objects gave ", errno_text(came));
}

bool policy_harness::hint(const cubby_policy_hint &what) {
  const under_way call(on_, "hint");
  const int32_t came = on_.ops.hint(self_, &what);
  expect(came == 0 || came == 1, "hint() of kind ", what.kind, " gave ", came, "; it says 1 or 0");
  return came == 1;
}

void policy_harness::forget(cubby_object object) {
  const under_way call(on_, "forget");
  on_.ops.forget(self_, object);
}

void policy_harness::end() {
  const under_way call(on_, "destroy");
  on_.ops.destroy(self_);
  self_ = nullptr;
}

cubby_policy_stats policy_harness::stats() const {
  cubby_policy_stats said = {};
  said.struct_size = sizeof said;
  const under_way call(on_, "stats");
  on_.ops.stats(self_, &said);
  return said;
}

void policy_harness::look_at(const cubby_policy_stats &said) const {
  const auto same = [&](const char *name, uint64_t came, uint64_t expected) {
    expect(came == expected, "stats() of ", of_->name, ": ", name, " is ", came,
           ", by the calls it is ", expected);
  };
  same("used_count", said.used_count, used_);
  same("insert_count", said.insert_count, inserted_);
  same("remove_count", said.remove_count, removed_);
  same("declined_count", said.declined_count, declined_);
  expect(said.state_bytes != 0, "stats() of ", of_->name,
         ": state_bytes is 0; it is the memory of the instance");
  expect(std::memchr(said.warning, 0, sizeof said.warning) != nullptr, "stats() of ", of_->name,
         ": warning has no end; it is a text of at most 159 bytes and a zero");
}

}  // namespace cubby_conformance::policies
