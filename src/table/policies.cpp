// What the policies hear: which banks and budgets there are, what is used, what is foreseen.
#include <algorithm>

#include "table/admission_driver.hpp"
#include "table/controller.hpp"

namespace cubby::table {

/// A tier and the banks, in the order of their numbers, as its policy is told of them.
placement::tier_view controller::view_of(uint32_t tier) const {
  const tier::memory_tier &memory = *tiers_[tier]->memory;
  placement::tier_view view;
  view.budget_bytes = memory.budget_bytes();
  view.demotes = demotion_target(tier) != no_tier;
  for (const bank *one : by_object_) {
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
      told.object_bytes += memory.cost_bytes(one->frame_bytes_in(tier, row * one->columns()));
    told.object_bytes /= std::max(1u, one->rows());
    view.banks.push_back(told);
    if (told.kind != CUBBY_POLICY_BANK_EXPERTS) continue;
    const uint64_t frame_bytes = one->frame_bytes_max(one->layout(tier));
    view.layers.push_back({one->columns(), std::max(told.routed_count, one->routed_seen),
                           memory.cost_bytes(frame_bytes)});
  }
  return view;
}

/// After a bank or a tier has come or gone, or a budget or a bank's layout has changed. False: a
/// policy had no memory for what is new, and goes on as it was.
bool controller::reconfigure_policies() {
  for (uint32_t tier = 0; tier < tier_count(); ++tier) {
    tier_slot &slot = *tiers_[tier];
    if (slot.memory == nullptr) continue;
    admission_.describe_tier(tier, view_of(tier));
    slot.largest_set_bytes = 0;
    for (const bank *one : by_object_) {
      const uint64_t bytes =
          std::max(1u, one->desc().routed_count) * one->frame_bytes_max(one->layout(tier));
      slot.largest_set_bytes = std::max(slot.largest_set_bytes, bytes);
    }
  }
  return admission_.reconfigure_policies();
}

/// Of a new memory tier; 0, or why its policy cannot be made.
int32_t controller::make_policy(uint32_t tier) {
  const tier_slot &slot = *tiers_[tier];
  admission_driver driver(*this);
  return admission_.add_tier(tier, slot.rank, (slot.flags & CUBBY_TIER_EXCLUSIVE) != 0,
                             view_of(tier), driver);
}

void controller::log_broken_policy(uint32_t tier, const char *name, const std::string &what_it_did,
                                   bool lru_decides) {
  services_.log(
      services_.context, 0,
      format_text("tier %s: policy %s broke the rules: %s; %s from now on, the policy "
                  "needs mending (docs/policies.md)",
                  tiers_[tier]->name.c_str(), name, what_it_did.c_str(),
                  lru_decides ? "lru decides here"
                              : "there is no memory for lru, so who leaves goes by number")
          .c_str());
}

void controller::drain_visits(shard &from) {
  heard_chain &chain = from.chain;
  visit_note note;
  const auto flush = [&] {
    if (!chain.visit.empty()) visit(*chain.where, chain.row, chain.visit);
    chain.visit.clear();
  };
  while (from.visits.pop(note)) {
    bank *named = banks_[note.bank].load(std::memory_order_relaxed);
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

/// How many of a row a sequence uses is learned where nobody has said it.
void controller::make_room_for_routes(bank &where, const gathered_visit &seen) {
  if (where.desc().routed_count != 0 || where.desc().kind != CUBBY_BANK_EXPERTS) return;
  const uint32_t before = where.routed_seen;
  for (const cubby_policy_route &route : seen.routes)
    where.routed_seen = std::max(where.routed_seen, route.count);
  if (where.routed_seen != before && !reconfigure_policies()) where.routed_seen = before;
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
    admission_.expect_sequences(route.slot + 1);
  }
  const auto at = std::find(by_object_.begin(), by_object_.end(), &where);
  const placement::visit_place place = {static_cast<uint32_t>(at - by_object_.begin()), row,
                                        now_ns_};
  const uint32_t awaited = admission_.visit(place, seen.used, seen.routes);
  if (awaited == 0) return;
  for (uint32_t tier = 0; tier < tier_count(); ++tier)
    if ((awaited >> tier & 1) != 0) tiers_[tier]->decisions_wanted.store(true);
  note_frames();
}

}  // namespace cubby::table
