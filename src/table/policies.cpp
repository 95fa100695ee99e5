// What the policies are told: which banks and budgets there are, what is used, what is foreseen.
// And what becomes of one that breaks the rules.
#include <algorithm>
#include <bit>

#include "table/controller.hpp"

namespace cubby::table {

/// One that goes on where a nearer tier ends has guests only where somebody pins in it.
bool controller::receives_guests(uint32_t tier) const {
  if (tiers_[tier]->guest_count != 0) return true;
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (t != tier && stands_for(tier, t)) return false;
  }
  return true;
}

/// What a tier keeps free for guests, when its policy chooses who stays: the experts that a batch
/// may use in a layer, and in the next where they are fetched ahead.
uint64_t controller::guest_bytes(uint32_t tier) const {
  constexpr uint64_t share_max = 4;  // a small tier is not given up to them
  const tier_slot &slot = *tiers_[tier];
  const bool chooses =
      slot.policy != nullptr ? slot.policy->chooses() : config_.policy->admit != nullptr;
  if (!chooses || !receives_guests(tier)) return 0;
  const tier::memory_tier &memory = *slot.memory;
  uint64_t bytes = 0;
  for (const bank *one : banks_.in_order()) {
    if (one->desc().kind != CUBBY_BANK_EXPERTS) continue;
    const uint64_t frame = memory.cost_bytes(one->frame_bytes_max(one->layout(tier)));
    const uint64_t routed = std::max(one->desc().routed_count, one->routed_seen);
    const uint64_t used = std::min<uint64_t>(routed * sequences_, one->columns());
    bytes = std::max(bytes, (slot.fetched_ahead ? 2 : 1) * used * frame);
  }
  return std::min(bytes, memory.budget_bytes() / share_max);
}

/// For those who stay.
uint64_t controller::kept_budget_bytes(uint32_t tier) const {
  return tiers_[tier]->memory->budget_bytes() - guest_bytes(tier);
}

/// The banks as a tier's policy is told of them, in the order of their numbers.
placement::policy_config controller::policy_view(uint32_t tier,
                                                 std::vector<cubby_policy_bank> &banks) const {
  const tier_slot &slot = *tiers_[tier];
  for (const bank *one : banks_.in_order()) {
    cubby_policy_bank told = {};
    told.struct_size = sizeof told;
    told.kind = one->desc().kind == CUBBY_BANK_EXPERTS ? CUBBY_POLICY_BANK_EXPERTS
                : one->desc().kind == CUBBY_BANK_KV    ? CUBBY_POLICY_BANK_KV
                                                       : CUBBY_POLICY_BANK_OTHER;
    told.first_object = one->object_base;
    told.rows = one->rows();
    told.columns = one->columns();
    told.routed_count = one->desc().routed_count;
    for (uint32_t row = 0; row < one->rows(); ++row)
      told.object_bytes += slot.memory->cost_bytes(one->frame_bytes_in(tier, row * one->columns()));
    told.object_bytes /= std::max(1u, one->rows());
    banks.push_back(told);
  }
  uint64_t budget_bytes = kept_budget_bytes(tier);
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (t != tier && stands_for(tier, t)) budget_bytes += kept_budget_bytes(t);
  }
  const bool demotes = demotion_target(tier) != no_tier;
  return {banks_.object_count(), config_.seed, budget_bytes, sequences_, banks, demotes};
}

/// After a bank has come or gone, or a budget has changed. False: there was no memory for what is
/// new; the policies go on as they were.
bool controller::tell_policies() {
  bool told = true;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    if (tiers_[i]->policy == nullptr) continue;
    std::vector<cubby_policy_bank> banks;
    told = tiers_[i]->policy->grow(policy_view(i, banks)) && told;
  }
  return told;
}

/// A policy that names what it must not is done without: least recently used takes its place, or,
/// where there is no memory for that, who leaves goes by number.
void controller::replace_policy(uint32_t tier, const std::string &what_it_did) {
  tier_slot &slot = *tiers_[tier];
  const char *name = slot.policy->name();
  std::vector<cubby_policy_bank> banks;
  auto made = placement::make_policy(*placement::runtime_policy("lru"), policy_view(tier, banks));
  slot.in_turn = made == nullptr;
  if (made != nullptr) {
    slot.policy = std::move(made);
    slot.known_count = 0;
    tell_what_is_kept(tier);
  }
  services_.log(
      services_.context, 0,
      format_text("tier %s: policy %s broke the rules: %s; %s from now on, the policy "
                  "needs mending (docs/policies.md)",
                  slot.name.c_str(), name, what_it_did.c_str(),
                  slot.in_turn ? "there is no memory for lru, so who leaves goes by number"
                               : "lru decides here")
          .c_str());
}

/// To a policy that knows of nothing yet.
void controller::tell_what_is_kept(uint32_t tier) {
  for (const bank *where : banks_.in_order()) {
    for (uint32_t number = 0; number < where->count(); ++number) {
      if (is_known(tier, *where, number)) tell_of(tier, *where, number);
    }
  }
}

void controller::drain_visits(shard &from) {
  heard_chain &chain = from.chain;
  visit_note note;
  const auto flush = [&] {
    if (!chain.visit.empty()) visit(*chain.where, chain.row, chain.visit);
    chain.visit.clear();
  };
  while (from.visits.pop(note)) {
    bank *named = banks_.at(residency::bank_registry::index_of(note.bank));
    if (named != nullptr && named->handle != note.bank) named = nullptr;  // one that was removed
    if (named != chain.where) flush();
    chain.where = named;
    bool begins = chain.last != note_follows::same_sequence || chain.visit.routes.empty();
    for (uint32_t i = 0; i < note.count && named != nullptr; ++i) {
      const uint32_t number = note.numbers[i];
      if (number >= named->count()) continue;  // of a bank that was there before
      if (named->row_of(number) != chain.row) {
        flush();
        begins = true;
      }
      chain.row = named->row_of(number);
      chain.visit.add(note.slot, named->object_base + number, begins);
      begins = false;
    }
    chain.last = note.next;
    // Where more is to follow and is not here yet, its teller is just now writing it.
    if (chain.last == note_follows::another_visit) flush();
  }
}

/// A batch may come to have more sequences than before; policies are told in powers of two, for
/// they may have to learn anew.
void controller::make_room_for_sequences(uint32_t count) {
  if (count <= sequences_) return;
  const uint32_t before = sequences_;
  sequences_ = std::bit_ceil(count);
  if (!tell_policies()) sequences_ = before;
}

/// Who is fetched ahead must not wait for those in use to leave.
void controller::make_room_ahead(uint32_t tier) {
  tier_slot &slot = *tiers_[tier];
  if (slot.fetched_ahead) return;
  slot.fetched_ahead = true;
  if (!tell_policies()) slot.fetched_ahead = false;
}

/// How many of a row a sequence uses is learned where nobody has said it.
void controller::make_room_for_routes(bank &where, const gathered_visit &seen) {
  if (where.desc().routed_count != 0 || where.desc().kind != CUBBY_BANK_EXPERTS) return;
  const uint32_t before = where.routed_seen;
  for (const cubby_policy_route &route : seen.routes)
    where.routed_seen = std::max(where.routed_seen, route.count);
  if (where.routed_seen != before && !tell_policies()) where.routed_seen = before;
}

void controller::visit(bank &where, uint32_t row, gathered_visit &seen) {
  ++visit_count_;
  seen.finish();
  make_room_for_routes(where, seen);
  for (cubby_policy_route &route : seen.routes) {
    if (recorder_ != nullptr) {
      recorder_->visit(where, row, route.slot, {route.objects, route.count});
    }
    route.slot = std::min(route.slot, sequences_max - 1);
    make_room_for_sequences(route.slot + 1);
  }
  const auto at = std::find(banks_.in_order().begin(), banks_.in_order().end(), &where);
  const placement::visit_place place = {static_cast<uint32_t>(at - banks_.in_order().begin()), row,
                                        now_ns_};
  const std::vector<placement::object> &objects = seen.used;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    tier_slot &slot = *tiers_[i];
    if (slot.policy == nullptr) continue;
    slot.policy->visit(objects, place, seen.routes);
    if (slot.prefetched.empty()) continue;
    const size_t first_uses = std::erase_if(slot.prefetched, [&](const unused_prefetch &one) {
      const bool used = std::find(objects.begin(), objects.end(), one.who) != objects.end();
      if (used) slot.stats.prefetch_used_bytes += one.bytes;
      return used;
    });
    if (first_uses == 0 || slot.guests.empty()) continue;
    pinning_.watch(i).has_guests.store(true, std::memory_order_seq_cst);
    note_frames();
  }
}

bool controller::hint(const cubby_policy_hint &what) {
  make_room_for_sequences(what.slot + 1);
  bool taken = false;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    if (tiers_[i]->policy != nullptr) taken = tiers_[i]->policy->hint(what) || taken;
  }
  return taken;
}

}  // namespace cubby::table
