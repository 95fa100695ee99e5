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
/// may use in a layer.
uint64_t controller::guest_bytes(uint32_t tier) const {
  constexpr uint64_t share_max = 4;  // a small tier is not given up to them
  const tier_slot &slot = *tiers_[tier];
  const bool chooses =
      slot.policy != nullptr ? slot.policy->chooses() : config_.policy->admit != nullptr;
  if (!chooses || !receives_guests(tier)) return 0;
  const tier::memory_tier &memory = *slot.memory;
  uint64_t bytes = 0;
  for (const bank *one : by_object_) {
    if (one->desc().kind != CUBBY_BANK_EXPERTS) continue;
    const uint64_t frame = memory.cost_bytes(one->frame_bytes_max(one->layout(tier)));
    const uint64_t used =
        std::min<uint64_t>(uint64_t{one->desc().routed_count} * sequences_, one->columns());
    bytes = std::max(bytes, used * frame);
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
      told.object_bytes += slot.memory->cost_bytes(one->frame_bytes_in(tier, row * one->columns()));
    told.object_bytes /= std::max(1u, one->rows());
    banks.push_back(told);
  }
  uint64_t budget_bytes = kept_budget_bytes(tier);
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (t != tier && stands_for(tier, t)) budget_bytes += kept_budget_bytes(t);
  }
  return {object_count_, config_.seed, budget_bytes, sequences_, banks};
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

/// A policy that names what it must not is done without: least recently used takes its place.
void controller::replace_policy(uint32_t tier, const std::string &what_it_did) {
  tier_slot &slot = *tiers_[tier];
  services_.log(services_.context, 0,
                format_text("tier %s: policy %s broke the rules: %s; lru decides here from now on, "
                            "the policy needs mending (docs/policies.md)",
                            slot.name.c_str(), slot.policy->name(), what_it_did.c_str())
                    .c_str());
  std::vector<cubby_policy_bank> banks;
  auto made = placement::make_policy(*placement::runtime_policy("lru"), policy_view(tier, banks));
  if (made == nullptr) throw std::bad_alloc();
  slot.policy = std::move(made);
  tell_what_is_kept(tier);
}

/// To a policy that knows of nothing yet.
void controller::tell_what_is_kept(uint32_t tier) {
  for (const bank *where : by_object_) {
    for (uint32_t number = 0; number < where->count(); ++number) {
      if (is_known(tier, *where, number)) tell_of(tier, *where, number);
    }
  }
}

void controller::drain_visits(shard &from) {
  visit_note note;
  note_follows last = note_follows::another_visit;
  const bank *where = nullptr;
  uint32_t row = 0;
  const auto flush = [&] {
    if (!visit_.empty()) visit(*where, row);
    visit_.clear();
  };
  while (from.visits.pop(note)) {
    const bank *named = banks_[note.bank].load(std::memory_order_relaxed);
    if (last == note_follows::another_visit || named != where) flush();
    where = named;
    bool begins = last != note_follows::same_sequence || visit_.routes.empty();
    for (uint32_t i = 0; i < note.count && where != nullptr; ++i) {
      const uint32_t number = note.numbers[i];
      if (number >= where->count()) continue;  // of a bank that was there before
      if (where->row_of(number) != row) {
        flush();
        begins = true;
      }
      row = where->row_of(number);
      visit_.add(note.slot, where->object_base + number, begins);
      begins = false;
    }
    last = note.next;
  }
  flush();
}

/// A batch may come to have more sequences than before; policies are told in powers of two, for
/// they may have to learn anew.
void controller::make_room_for_sequences(uint32_t count) {
  if (count <= sequences_) return;
  const uint32_t before = sequences_;
  sequences_ = std::bit_ceil(count);
  if (!tell_policies()) sequences_ = before;
}

void controller::visit(const bank &where, uint32_t row) {
  ++visit_count_;
  visit_.finish();
  for (cubby_policy_route &route : visit_.routes) {
    if (recorder_ != nullptr) {
      recorder_->visit(where, row, route.slot, {route.objects, route.count});
    }
    route.slot = std::min(route.slot, sequences_max - 1);
    make_room_for_sequences(route.slot + 1);
  }
  const auto at = std::find(by_object_.begin(), by_object_.end(), &where);
  const placement::visit_place place = {static_cast<uint32_t>(at - by_object_.begin()), row,
                                        now_ns_};
  const std::vector<placement::object> &objects = visit_.used;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    tier_slot &slot = *tiers_[i];
    if (slot.policy == nullptr) continue;
    slot.policy->visit(objects, place, visit_.routes);
    if (slot.prefetched.empty()) continue;
    std::erase_if(slot.prefetched, [&](const unused_prefetch &one) {
      const bool used = std::find(objects.begin(), objects.end(), one.who) != objects.end();
      if (used) slot.stats.prefetch_used_bytes += one.bytes;
      return used;
    });
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
