// Who leaves a tier, and where to.
#include <algorithm>

#include "base/mutant.hpp"
#include "table/controller.hpp"

namespace cubby::table {
namespace {

/// How many of the policy's first choices are looked at for one whose going makes a hole that fits.
constexpr uint32_t choices_max = 8;
constexpr size_t prefetched_max = 128;
/// A tier that demotes keeps at most this share of itself free for what comes next.
constexpr uint64_t reserve_share = 16;
constexpr uint32_t demotions_max = 8;

}  // namespace

bank *controller::bank_of_object(placement::object who, uint32_t &number) const {
  return banks_.find_object(who, number);
}

/// The tier below that takes what leaves this one, when that is its office.
uint32_t controller::demotion_target(uint32_t tier) const {
  uint32_t best = no_tier;
  for (uint32_t t = 0; t < tier_count(); ++t) {
    const tier_slot &slot = *tiers_[t];
    if (slot.memory == nullptr || slot.rank <= tiers_[tier]->rank) continue;
    if ((slot.flags & CUBBY_TIER_EXCLUSIVE) == 0) continue;
    if (best == no_tier || slot.rank < tiers_[best]->rank) best = t;
  }
  return best;
}

/// The copy goes before anybody has used what was fetched for it.
void controller::forget_prefetched(tier_slot &slot, placement::object who) {
  std::erase_if(slot.prefetched, [&](const unused_prefetch &one) {
    if (one.who == who) slot.stats.prefetch_wasted_bytes += one.bytes;
    return one.who == who;
  });
}

/// Gives the frame of an evicting word back. A copy that is gone is in passing no longer: what
/// comes under its number next may be meant to stay.
void controller::forget_copy(uint32_t tier, bank &where, uint32_t number) {
  const placement::object who = where.object_base + number;
  base::erase_one(tiers_[tier]->passing, who);
  base::erase_one(tiers_[tier]->guests, who);
  forget_prefetched(*tiers_[tier], who);
  locker_word &word = where.word(tier, number);
  const uint64_t frame = word.look().frame;
  word.clear();
  tiers_[tier]->memory->give(frame, where.frame_bytes_in(tier, number));
  changed_ = true;
}

bool controller::drop(bank &where, uint32_t number, uint32_t tier) {
  locker_word &word = where.word(tier, number);
  const locker_state state = word.look().state;
  if (state == locker_state::absent) return true;
  if (!word.begin_evict()) return false;
  lose(tier, where, number);
  forget_copy(tier, where, number);
  return true;
}

/// Of a tier without a policy: whoever comes next by number, each once.
placement::object controller::next_in_turn(uint32_t tier, uint32_t &looked) {
  tier_slot &slot = *tiers_[tier];
  while (looked++ < banks_.object_count()) {
    slot.turn = (slot.turn + 1) % banks_.object_count();
    uint32_t number = 0;
    const bank *where = bank_of_object(slot.turn, number);
    if (where != nullptr && is_known(tier, *where, number)) return slot.turn;
  }
  return placement::no_object;
}

/// The least worth keeping that may go, besides those; among the first few, one whose going makes
/// a hole of `bytes`.
placement::object controller::choose_victim(uint32_t tier, const newcomer &wanted,
                                            bool spare_prefetched,
                                            const std::vector<placement::object> &besides) {
  tier_slot &slot = *tiers_[tier];
  uint64_t spared_bytes = 0;
  size_t first_spared = slot.prefetched.size();
  while (spare_prefetched && first_spared != 0) {
    spared_bytes += slot.prefetched[first_spared - 1].bytes;
    if (spared_bytes > slot.memory->budget_bytes() / spared_share) break;
    --first_spared;
  }
  const auto spared = [&](placement::object who) {
    return spare_prefetched &&
           std::any_of(slot.prefetched.begin() + static_cast<std::ptrdiff_t>(first_spared),
                       slot.prefetched.end(), [&](const auto &one) { return one.who == who; });
  };
  placement::object choice = placement::no_object;
  uint32_t looked = 0, named = 0, turns = 0;
  slot.policy->begin_victims(wanted.who, wanted.bytes, now_ns_);
  for (;;) {
    const placement::object who =
        slot.in_turn ? next_in_turn(tier, turns) : slot.policy->next_victim();
    if (who == placement::no_object) {
      const bool all_named = slot.in_turn || named >= slot.known_count;
      if (choice != placement::no_object || all_named) return choice;
      replace_policy(tier, format_text("next_victim() ended a round after %u of %u residents",
                                       named, slot.known_count));
      return choose_victim(tier, wanted, spare_prefetched, besides);
    }
    uint32_t number = 0;
    bank *where = bank_of_object(who, number);
    const locker_word::view word =
        where == nullptr ? locker_word::view{} : where->word(tier, number).look();
    const bool unknown = where == nullptr || !is_known(tier, *where, number);
    if (unknown || ++named > banks_.object_count()) {
      replace_policy(
          tier, unknown ? format_text("next_victim() named object %u, which is not resident", who)
                        : "next_victim() goes on naming objects without end");
      return choose_victim(tier, wanted, spare_prefetched, besides);
    }
    const bool here = word.state == locker_state::ready && is_kept(tier, *where, number);
    const bool free_to_go = here && (word.pin_count == 0 || CUBBY_MUTANT(reuse_pinned_frame));
    if (!free_to_go || spared(who)) continue;
    if (std::find(besides.begin(), besides.end(), who) != besides.end()) continue;
    if (choice == placement::no_object) choice = who;
    const uint64_t frame_bytes = where->frame_bytes_in(tier, number);
    if (wanted.bytes == 0 || slot.memory->would_fit(word.frame, frame_bytes, wanted.bytes)) {
      return who;
    }
    if (++looked == choices_max) return choice;
  }
}

/// Copies a victim down, which keeps its frame until that is done. False: it may simply go.
bool controller::demote(uint32_t tier, bank &where, uint32_t number,
                        const transfer::urgency &order) {
  const uint32_t below = demotion_target(tier);
  if (below == no_tier) return false;
  locker_word &target = where.word(below, number);
  if (target.look().state != locker_state::absent) return false;
  tier_slot &slot = *tiers_[below];
  const bool reachable = slot.memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE) ||
                         tiers_[tier]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE);
  const uint64_t bytes = where.frame_bytes_in(below, number);
  if (!reachable || !make_place(below, where, number, place_for::newcomer, order)) return false;
  const auto frame = slot.memory->take(bytes);
  if (!frame) return false;
  const uint32_t index = new_move(where, number, below, *frame, order);
  move &m = moves_[index];
  m.demotion = true;
  m.may_expire = false;
  m.unasked = true;
  m.keep = true;
  m.from = tier;
  m.state = move_state::active;
  introduce(m);
  target.begin_fill(index, 1);
  tier_slot &above = *tiers_[tier];
  above.leaving_bytes += above.memory->cost_bytes(where.frame_bytes_in(tier, number));
  queue_move(index);
  return true;
}

transfer::channel &controller::copy_path(uint32_t from, uint32_t to) {
  const bool pull = tiers_[from]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE);
  return *tiers_[pull ? to : from]->path;
}

bool controller::evict(uint32_t tier, placement::object who, const transfer::urgency &order,
                       bool may_demote) {
  uint32_t number = 0;
  bank &where = *bank_of_object(who, number);
  if (!where.word(tier, number).begin_evict()) return false;  // somebody was quicker
  tier_slot &slot = *tiers_[tier];
  lose(tier, where, number);
  ++slot.stats.evict_count;
  forget_prefetched(slot, who);
  if (may_demote && demote(tier, where, number, order)) return true;
  forget_copy(tier, where, number);
  return true;
}

bool controller::evict_one(uint32_t tier, const newcomer &wanted, const transfer::urgency &order,
                           bool may_demote) {
  tier_slot &slot = *tiers_[tier];
  for (size_t i = 0; i < slot.passing.size(); ++i) {
    uint32_t number = 0;
    bank *where = bank_of_object(slot.passing[i], number);
    if (where == nullptr || !where->word(tier, number).begin_evict()) continue;
    ++slot.stats.evict_count;
    forget_copy(tier, *where, number);
    return true;
  }
  if (drop_a_guest(tier, false)) return true;
  for (const bool spare : {true, false}) {
    if (!spare && order.io_class != CUBBY_DEMAND) break;  // a guess does not push out a guess
    const placement::object who = choose_victim(tier, wanted, spare);
    if (who != placement::no_object && evict(tier, who, order, may_demote)) return true;
  }
  return order.io_class == CUBBY_DEMAND && drop_a_guest(tier, true);
}

/// Who waits for the frames of those that are copied down lends them its urgency.
void controller::hasten_leaving(uint32_t tier, const transfer::urgency &order) {
  for (uint32_t index = 0; index < moves_.size(); ++index) {
    const move &m = moves_[index];
    if (m.state == move_state::active && m.demotion && m.from == tier) raise(index, order);
  }
}

/// True when a frame for `bytes` can be taken now. Where victims have to be copied down first,
/// enough of them are on their way and the caller waits.
bool controller::make_room(uint32_t tier, const newcomer &wanted, const transfer::urgency &order) {
  tier_slot &slot = *tiers_[tier];
  const uint64_t cost = slot.memory->cost_bytes(wanted.bytes);
  while (!slot.memory->fits(wanted.bytes)) {
    const uint64_t kept = slot.memory->used_bytes() - slot.leaving_bytes;
    if (slot.leaving_bytes != 0 && kept + cost <= slot.memory->budget_bytes()) {
      hasten_leaving(tier, order);
      return false;
    }
    const uint64_t kept_before = slot.kept_bytes;
    if (!evict_one(tier, wanted, order, true)) return false;
    if (slot.policy->chooses()) slot.taken_bytes += kept_before - slot.kept_bytes;
  }
  return true;
}

/// A tier whose victims are copied down keeps a few frames free, so that demand need not wait for
/// the copying.
void controller::keep_reserve() {
  for (uint32_t tier = 0; tier < tier_count(); ++tier) {
    tier_slot &slot = *tiers_[tier];
    if (slot.memory == nullptr) continue;
    const uint32_t below = demotion_target(tier);
    if (slot.policy->chooses()) continue;  // what is there for guests serves
    if (below == no_tier || copy_path(tier, below).queued_count() != 0) continue;
    uint64_t wanted = 0;
    for (const bank *where : banks_.in_order()) {
      wanted = std::max(wanted, std::max(1u, where->desc().routed_count) *
                                    where->frame_bytes_max(where->layout(tier)));
    }
    wanted = std::min(wanted, slot.memory->budget_bytes() / reserve_share);
    for (uint32_t i = 0; i < demotions_max; ++i) {
      const uint64_t kept = slot.memory->used_bytes() - slot.leaving_bytes;
      if (kept + wanted <= slot.memory->budget_bytes() || slot.leaving_bytes >= wanted) break;
      const transfer::urgency order{CUBBY_WRITE_BACK, base::never_ns, ++sequence_};
      if (!evict_one(tier, {}, order, true)) break;
    }
  }
}

void controller::remember_prefetched(uint32_t tier, placement::object who, uint64_t bytes) {
  auto &list = tiers_[tier]->prefetched;
  if (list.size() == prefetched_max) list.erase(list.begin());
  list.push_back({who, bytes});
}

result<void> controller::resize(uint32_t tier, uint64_t budget_bytes) {
  tier_slot &slot = *tiers_[tier];
  const size_t before = slot.memory->blocks().size();
  if (auto set = slot.memory->set_budget(budget_bytes); !set) return set;
  slot.budget_bytes.store(slot.memory->budget_bytes());
  tell_policies();
  register_blocks(tier, before);
  changed_ = true;
  return {};
}

/// Tells the file backend of the tier's memory from block `first` on.
void controller::register_blocks(uint32_t tier, size_t first) {
  const tier_slot &slot = *tiers_[tier];
  if (file_slot_ == no_tier || slot.memory == nullptr || !slot.memory->direct()) return;
  for (size_t i = first; i < slot.memory->blocks().size(); ++i) {
    const cubby_backend_memory &block = slot.memory->blocks()[i];
    tiers_[file_slot_]->files->register_memory(block.base, block.bytes);
  }
}

void controller::unregister_block(uint32_t tier, const cubby_backend_memory &block) {
  if (file_slot_ == no_tier || !tiers_[tier]->memory->direct()) return;
  tiers_[file_slot_]->files->unregister_memory(block.base, block.bytes);
}

void controller::shrink_blocks(uint32_t tier) {
  tiers_[tier]->memory->trim(
      [&](const cubby_backend_memory &block) { unregister_block(tier, block); });
}

void controller::merge_blocks(uint32_t tier) {
  tier_slot &slot = *tiers_[tier];
  if (!slot.memory->in_pieces()) return;
  auto merged =
      slot.memory->merge([&](const cubby_backend_memory &block) { unregister_block(tier, block); });
  if (!merged) services_.log(services_.context, 1, merged.failure().text.c_str());
  register_blocks(tier, 0);
}

}  // namespace cubby::table
