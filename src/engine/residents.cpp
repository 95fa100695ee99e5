#include "engine/residents.hpp"

#include <algorithm>

#include "base/erase_one.hpp"

namespace cubby::engine {
namespace {

constexpr size_t prefetched_max = 128;

}  // namespace

uint32_t demotion_target(const tier_set &tiers, uint32_t tier) {
  uint32_t best = no_tier;
  for (uint32_t t = 0; t < tiers.count(); ++t) {
    const tier_slot &slot = tiers[t];
    if (slot.memory == nullptr || slot.rank <= tiers[tier].rank || !slot.is_exclusive()) continue;
    if (best == no_tier || slot.rank < tiers[best].rank) best = t;
  }
  return best;
}

bool residents::shares_policy_with(uint32_t tier, uint32_t nearer) const {
  const tier_slot &slot = state_.tiers[tier], &other = state_.tiers[nearer];
  if (slot.admission.policy == nullptr || other.admission.policy == nullptr) return false;
  return tier == nearer || (slot.is_exclusive() && other.rank < slot.rank);
}

bool residents::on_probation(uint32_t tier, placement::object object) const {
  const tier_admission &here = state_.tiers[tier].admission;
  return std::find(here.on_probation.begin(), here.on_probation.end(), object) !=
             here.on_probation.end() ||
         std::find(here.no_allocate.begin(), here.no_allocate.end(), object) !=
             here.no_allocate.end();
}

bool residents::is_admitted(uint32_t tier, const locker_bank &bank, uint32_t number) const {
  const locker_word::view word = bank.word(tier, number).look();
  if (word.state == locker_state::absent || word.state == locker_state::evicting) return false;
  if (word.state == locker_state::filling) {
    const fill &f = fills_[static_cast<uint32_t>(word.frame)];
    if (f.intermediate != tier && (f.to != tier || !f.announced)) return false;
  }
  return !on_probation(tier, bank.object_base + number);
}

bool residents::is_tracked(uint32_t tier, const locker_bank &bank, uint32_t number,
                           uint32_t but) const {
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (t != but && shares_policy_with(tier, t) && is_admitted(t, bank, number)) return true;
  }
  return false;
}

void residents::announce(fill &f) {
  if (f.announced) return;
  f.announced = true;
  tier_admission &here = state_.tiers[f.to].admission;
  if (f.demotion || !here.policy->chooses()) return admit(f.to, *f.bank, f.number);
  if (here.probation_count++ == 0) reconfigure_policies();  // room is left free from here on
  here.on_probation.push_back({f.bank->object_base + f.number, here.probation_rounds});
  here.has_probation.store(true, std::memory_order_seq_cst);
}

void residents::retract(fill &f) {
  if (!f.announced) return;
  f.announced = false;
  untrack(f.to, *f.bank, f.number);
  base::erase_one(state_.tiers[f.to].admission.on_probation, f.bank->object_base + f.number);
}

void residents::admit(uint32_t tier, const locker_bank &bank, uint32_t number) {
  tier_slot &slot = state_.tiers[tier];
  slot.admission.admitted_bytes += slot.memory->cost_bytes(bank.frame_bytes_in(tier, number));
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (!shares_policy_with(t, tier) || is_tracked(t, bank, number, tier)) continue;
    notify_inserted(t, bank, number);
  }
}

void residents::notify_inserted(uint32_t tier, const locker_bank &bank, uint32_t number) {
  tier_slot &slot = state_.tiers[tier];
  const uint64_t cost = slot.memory->cost_bytes(bank.frame_bytes_in(tier, number));
  slot.admission.policy->inserted(bank.object_base + number, cost);
  ++slot.admission.tracked_count;
}

/// Its word says already that it is not there any more.
void residents::untrack(uint32_t tier, const locker_bank &bank, uint32_t number) {
  const placement::object object = bank.object_base + number;
  if (on_probation(tier, object)) return;
  tier_slot &slot = state_.tiers[tier];
  slot.admission.admitted_bytes -= slot.memory->cost_bytes(bank.frame_bytes_in(tier, number));
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (!shares_policy_with(t, tier) || is_tracked(t, bank, number, tier)) continue;
    state_.tiers[t].admission.policy->removed(object);
    --state_.tiers[t].admission.tracked_count;
  }
}

void residents::remember_prefetched(uint32_t tier, placement::object object, uint64_t bytes) {
  auto &list = state_.tiers[tier].admission.prefetched;
  if (list.size() == prefetched_max) list.erase(list.begin());
  list.push_back({object, bytes});
}

/// The copy goes before anybody has used what was fetched for it.
void residents::forget_prefetched(uint32_t tier, placement::object object) {
  tier_slot &slot = state_.tiers[tier];
  std::erase_if(slot.admission.prefetched, [&](const unused_prefetch &one) {
    if (one.object == object) slot.stats.prefetch_wasted_bytes += one.bytes;
    return one.object == object;
  });
}

/// A copy that is gone is in no list any longer: what comes under its number next may be meant to
/// stay.
void residents::release_copy(uint32_t tier, locker_bank &bank, uint32_t number) {
  const placement::object object = bank.object_base + number;
  tier_slot &slot = state_.tiers[tier];
  base::erase_one(slot.admission.no_allocate, object);
  base::erase_one(slot.admission.on_probation, object);
  forget_prefetched(tier, object);
  locker_word &word = bank.word(tier, number);
  const uint64_t frame = word.look().frame;
  word.clear();
  slot.memory->give(frame, bank.frame_bytes_in(tier, number));
  state_.changed = true;
}

bool residents::drop(locker_bank &bank, uint32_t number, uint32_t tier) {
  locker_word &word = bank.word(tier, number);
  if (word.look().state == locker_state::absent) return true;
  if (!word.begin_evict()) return false;
  untrack(tier, bank, number);
  release_copy(tier, bank, number);
  return true;
}

/// A copy that is there for one use only may have waited for that.
void residents::unpin(uint32_t tier, locker_word &word) {
  const tier_admission &here = state_.tiers[tier].admission;
  if (word.unpin() && !(here.on_probation.empty() && here.no_allocate.empty())) {
    state_.note_frames();
  }
}

/// A tier that continues a nearer one has probationary lockers only where somebody pins in it.
bool residents::receives_probation(uint32_t tier) const {
  if (state_.tiers[tier].admission.probation_count != 0) return true;
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (t != tier && shares_policy_with(tier, t)) return false;
  }
  return true;
}

/// What a tier whose policy chooses leaves free: the experts that a batch may use in a layer, and
/// in the next where they are fetched ahead.
uint64_t residents::probation_bytes(uint32_t tier) const {
  constexpr uint64_t share_max = 4;  // a small tier is not given up to them
  const tier_slot &slot = state_.tiers[tier];
  const tier_admission &here = slot.admission;
  const bool chooses =
      here.policy != nullptr ? here.policy->chooses() : state_.config.policy->admit != nullptr;
  if (!chooses || !receives_probation(tier)) return 0;
  uint64_t bytes = 0;
  for (const locker_bank *bank : state_.banks.by_object()) {
    if (bank->desc().kind != CUBBY_BANK_EXPERTS) continue;
    const uint64_t frame = slot.memory->cost_bytes(bank->frame_bytes_max(bank->layout(tier)));
    const uint64_t routed = std::max(bank->desc().routed_count, bank->routed_seen);
    const uint64_t used = std::min<uint64_t>(routed * sequence_count, bank->columns());
    bytes = std::max(bytes, (here.fetched_ahead ? 2 : 1) * used * frame);
  }
  return std::min(bytes, slot.memory->budget_bytes() / share_max);
}

uint64_t residents::admitted_budget_bytes(uint32_t tier) const {
  return state_.tiers[tier].memory->budget_bytes() - probation_bytes(tier);
}

/// The banks in the order of their object numbers.
placement::policy_config residents::policy_view(uint32_t tier,
                                                std::vector<cubby_policy_bank> &banks) const {
  const tier_slot &slot = state_.tiers[tier];
  for (const locker_bank *bank : state_.banks.by_object()) {
    cubby_policy_bank view = {};
    view.struct_size = sizeof view;
    view.kind = bank->desc().kind == CUBBY_BANK_EXPERTS ? CUBBY_POLICY_BANK_EXPERTS
                : bank->desc().kind == CUBBY_BANK_KV    ? CUBBY_POLICY_BANK_KV
                                                        : CUBBY_POLICY_BANK_OTHER;
    view.first_object = bank->object_base;
    view.rows = bank->rows();
    view.columns = bank->columns();
    view.routed_count = bank->desc().routed_count;
    for (uint32_t row = 0; row < bank->rows(); ++row)
      view.object_bytes +=
          slot.memory->cost_bytes(bank->frame_bytes_in(tier, row * bank->columns()));
    view.object_bytes /= std::max(1u, bank->rows());
    banks.push_back(view);
  }
  uint64_t budget_bytes = admitted_budget_bytes(tier);
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (t != tier && shares_policy_with(tier, t)) budget_bytes += admitted_budget_bytes(t);
  }
  const bool demotes = demotion_target(state_.tiers, tier) != no_tier;
  return {state_.banks.object_count(),
          state_.config.seed,
          budget_bytes,
          sequence_count,
          banks,
          demotes};
}

bool residents::reconfigure_policies() {
  bool done = true;
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    if (state_.tiers[i].admission.policy == nullptr) continue;
    std::vector<cubby_policy_bank> banks;
    done = state_.tiers[i].admission.policy->grow(policy_view(i, banks)) && done;
  }
  return done;
}

void residents::replace_policy(uint32_t tier, const std::string &what_it_did) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  const char *name = here.policy->name();
  std::vector<cubby_policy_bank> banks;
  auto made = placement::make_policy(*placement::runtime_policy("lru"), policy_view(tier, banks));
  here.round_robin = made == nullptr;
  if (made != nullptr) {
    here.policy = std::move(made);
    here.tracked_count = 0;
    track_all(tier);
  }
  state_.log(0, format_text("tier %s: policy %s broke the rules: %s; %s from now on, the policy "
                            "needs mending (docs/policies.md)",
                            slot.name.c_str(), name, what_it_did.c_str(),
                            here.round_robin ? "there is no memory for lru, so victims go by number"
                                             : "lru decides here"));
}

void residents::track_all(uint32_t tier) {
  for (const locker_bank *bank : state_.banks.by_object()) {
    for (uint32_t number = 0; number < bank->count(); ++number) {
      if (is_tracked(tier, *bank, number)) notify_inserted(tier, *bank, number);
    }
  }
}

}  // namespace cubby::engine
