// What the engine knows: visits, hints; and what the library would answer: estimates.
#include "api/guard.hpp"
#include "api/requests.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

/// From which probability on a route is worth a transfer.
constexpr float likely = 0.5F;

/// The memory tier nearest to compute.
uint32_t nearest_tier(runtime &self) {
  uint32_t best = engine::no_tier;
  engine::parts &engine = self.engine();
  for (uint32_t i = 0; i < engine.state.tiers.count(); ++i) {
    if (engine.state.tiers[i].memory == nullptr) continue;
    if (best == engine::no_tier || engine.state.tiers[i].rank < engine.state.tiers[best].rank)
      best = i;
  }
  return best;
}

/// Tokens ahead: the policies may want to know; nothing is fetched for it yet.
uint8_t foresee(runtime &self, const residency::locker_bank &bank, const cubby_hint_item &hint) {
  std::vector<cubby_object> objects;
  for (uint32_t i = 0; i < hint.route.column_count; ++i) {
    if (hint.route.columns[i] >= bank.grid().columns()) return CUBBY_HINT_REJECTED;
    objects.push_back(bank.object_base + hint.route.row * bank.grid().columns() +
                      hint.route.columns[i]);
  }
  cubby_policy_hint policy_hint{};
  policy_hint.struct_size = sizeof policy_hint;
  policy_hint.kind = CUBBY_POLICY_HINT_ROUTE;
  policy_hint.slot = std::min(hint.route.slot, engine::sequences_max - 1);
  policy_hint.ahead = hint.ahead;
  policy_hint.object_count = static_cast<uint32_t>(objects.size());
  policy_hint.objects = objects.data();
  policy_hint.probabilities = hint.route.weights;
  policy_hint.ttl_ns = hint.ttl_ns;
  policy_hint.now_ns = self.now();
  const auto lock = self.hold_pump();
  return self.engine().feed.hint(policy_hint) ? CUBBY_HINT_ACCEPTED : CUBBY_HINT_REJECTED;
}

/// A prefetch that nobody hears of. False: there is no ticket for it.
bool fetch_ahead(runtime &self, uint32_t tier, uint64_t until_ns,
                 std::vector<engine::request_item> &&wanted) {
  const uint32_t index = self.engine().requests.take(true);
  if (index == engine::no_index) return false;
  cubby_how how{};
  how.io_class = CUBBY_FORECAST;
  how.deadline_ns = until_ns;
  engine::request &r = self.engine().requests[index];
  r.verb = engine::prefetch_verb{};
  prepare_request(self, r, tier, how);
  r.items = std::move(wanted);
  self.engine().requests.submit(index);
  return true;
}

/// Of a block by key: the policies are notified, the store gives a closed one up first, and one
/// that is scheduled is read ahead.
uint8_t take_key(runtime &self, const cubby_hint_item &hint) {
  cubby_item named{};
  named.space = hint.space;
  named.key = hint.key;
  std::vector<engine::request_item> found;
  const bool used = hint.space != 0 && directory::is_key(hint.key) &&
                    read_items(self, &named, 1, found) && found[0].known != CUBBY_MISS;
  if (!used) return CUBBY_HINT_REJECTED;
  residency::locker_bank &bank = *found[0].bank;
  const uint32_t number = found[0].number;
  {
    const auto lock = self.hold_pump();
    if (found[0].is_another()) return CUBBY_HINT_REJECTED;
    const cubby_object object = bank.object_base + number;
    cubby_policy_hint passed{};
    passed.struct_size = sizeof passed;
    passed.kind = hint.kind;
    passed.priority = hint.priority;
    passed.object_count = 1;
    passed.objects = &object;
    passed.when_ns = hint.when_ns;
    passed.ttl_ns = hint.ttl_ns;
    passed.now_ns = self.now();
    self.engine().feed.hint(passed);
    if (hint.kind == CUBBY_HINT_CLOSED) bank.blocks->take_used(number);
  }
  const uint32_t tier = nearest_tier(self);
  const bool away = tier != engine::no_tier && bank.blocks->is_stored(number) &&
                    !self.engine().state.tiers.have_in_memory(bank, number);
  if (hint.kind != CUBBY_HINT_SCHEDULED || !away) return CUBBY_HINT_ACCEPTED;
  const uint64_t until_ns = hint.when_ns == 0 ? 0 : self.now() + hint.when_ns;
  return fetch_ahead(self, tier, until_ns, std::move(found)) ? CUBBY_HINT_ACCEPTED
                                                             : CUBBY_HINT_CLIPPED;
}

uint8_t take_route(runtime &self, const cubby_hint_item &hint) {
  residency::locker_bank *bank = self.engine().state.banks.find(hint.bank);
  const cubby_routed &route = hint.route;
  const uint32_t tier = nearest_tier(self);
  const bool usable = bank != nullptr && bank->blocks == nullptr && tier != engine::no_tier &&
                      route.columns != nullptr && route.row < bank->grid().rows() &&
                      route.column_count != 0;
  if (!usable) return CUBBY_HINT_REJECTED;
  if (hint.ahead != 0) return foresee(self, *bank, hint);
  std::vector<engine::request_item> wanted;
  bool clipped = false;
  for (uint32_t i = 0; i < route.column_count; ++i) {
    if (route.columns[i] >= bank->grid().columns()) return CUBBY_HINT_REJECTED;
    if (route.weights != nullptr && !(route.weights[i] >= likely)) {  // nor what is no number
      clipped = true;
      continue;
    }
    engine::request_item item;
    item.bank = bank;
    item.number = route.row * bank->grid().columns() + route.columns[i];
    wanted.push_back(item);
  }
  if (wanted.empty()) return CUBBY_HINT_CLIPPED;
  const residency::bank_registry::locker first = {bank, wanted.front().number};
  if (!check_frame(self.engine(), tier, first))
    return CUBBY_HINT_REJECTED;  // nor others of the row
  const uint64_t until_ns = hint.ttl_ns == 0 ? 0 : self.now() + hint.ttl_ns;
  if (!fetch_ahead(self, tier, until_ns, std::move(wanted))) return CUBBY_HINT_CLIPPED;
  return clipped ? CUBBY_HINT_CLIPPED : CUBBY_HINT_ACCEPTED;
}

}  // namespace

cubby_status cubby_visit(cubby_handle *rt, cubby_bank bank, const cubby_routed *routed,
                         uint32_t count) {
  CUBBY_ENTER(rt);
  if (routed == nullptr || count == 0) CUBBY_REFUSE("cubby_visit: routed is NULL or count is 0");
  return guarded([&]() -> cubby_status {
    const residency::locker_bank *found = self.engine().state.banks.find(bank);
    if (found == nullptr) {
      return keep_error(no_bank(self, bank));
    }
    for (uint32_t i = 0; i < count; ++i) {
      const cubby_routed &one = routed[i];
      if (one.row >= found->grid().rows() || (one.columns == nullptr && one.column_count != 0)) {
        CUBBY_REFUSE("cubby_visit: entry %u names row %u of %u, or has no columns", i, one.row,
                     found->grid().rows());
      }
      for (uint32_t k = 0; k < one.column_count; ++k) {
        if (one.columns[k] >= found->grid().columns()) {
          CUBBY_REFUSE("cubby_visit: entry %u names column %u of %u", i, one.columns[k],
                       found->grid().columns());
        }
      }
    }
    engine::event_chain chain;
    std::vector<uint32_t> numbers;
    uint32_t row = 0;  // of the chain
    for (uint32_t i = 0; i < count; ++i) {
      if (routed[i].column_count == 0) continue;
      if (routed[i].row != row) engine::end_visit(entered.mine, chain);
      row = routed[i].row;
      numbers.clear();
      for (uint32_t k = 0; k < routed[i].column_count; ++k) {
        numbers.push_back(row * found->grid().columns() + routed[i].columns[k]);
      }
      engine::record_route(entered.mine, found->handle, chain, numbers, routed[i].slot);
    }
    engine::end_visit(entered.mine, chain);
    return CUBBY_OK;
  });
}

cubby_status cubby_hint(cubby_handle *rt, const cubby_hint_item *hints, uint32_t count,
                        uint8_t *outcome) {
  CUBBY_ENTER(rt);
  if (hints == nullptr || count == 0) CUBBY_REFUSE("cubby_hint: hints is NULL or count is 0");
  return guarded([&]() -> cubby_status {
    // The caller's stride is its own size of the struct.
    const auto *at = reinterpret_cast<const std::byte *>(hints);
    const uint32_t stride = hints->struct_size;
    if (stride < offsetof(cubby_hint_item, ahead) || stride % alignof(cubby_hint_item) != 0)
      CUBBY_REFUSE("cubby_hint_item.struct_size is not the size of the struct; set it to sizeof");
    for (uint32_t i = 0; i < count; ++i, at += stride) {
      const cubby_hint_item hint = read_struct(*reinterpret_cast<const cubby_hint_item *>(at));
      uint8_t taken = CUBBY_HINT_REJECTED;
      if (hint.kind == CUBBY_HINT_ROUTE) taken = take_route(self, hint);
      if (hint.kind > CUBBY_HINT_ROUTE && hint.kind <= CUBBY_HINT_PRIORITY) {
        taken = take_key(self, hint);
      }
      if (outcome != nullptr) outcome[i] = taken;
    }
    self.kick();
    return CUBBY_OK;
  });
}

cubby_status cubby_estimate(cubby_handle *rt, const cubby_item *items, uint32_t count,
                            cubby_tier tier, uint64_t *ready_ns) {
  CUBBY_ENTER(rt);
  if (items == nullptr || ready_ns == nullptr || count == 0 || count > items_max) {
    CUBBY_REFUSE("cubby_estimate: items or ready_ns is NULL, or count is wrong");
  }
  return guarded([&]() -> cubby_status {
    const uint32_t slot = self.engine().state.tiers.find(tier);
    if (slot == engine::no_tier || self.engine().state.tiers[slot].memory == nullptr) {
      return keep_error(fail(CUBBY_ERR_STALE, "tier %u is no memory tier of this runtime", tier));
    }
    std::vector<engine::request_item> named;
    if (auto read = read_items(self, items, count, named); !read) return keep_error(read.failure());
    const auto lock = self.hold_pump();
    for (uint32_t i = 0; i < count; ++i) {
      ready_ns[i] = named[i].known == CUBBY_MISS
                        ? base::never_ns
                        : self.engine().numbers.estimate_ns(*named[i].bank, named[i].number, slot);
    }
    return CUBBY_OK;
  });
}
