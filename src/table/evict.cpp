// Frames of what leaves a tier, and where its bytes go. Which object leaves is decided by the
// admission protocol.
#include <algorithm>

#include "table/admission_driver.hpp"
#include "table/controller.hpp"

namespace cubby::table {
namespace {

/// A tier that demotes keeps at most this share of itself free for what comes next.
constexpr uint64_t reserve_share = 16;
constexpr uint32_t demotions_max = 8;

}  // namespace

bank *controller::bank_of_object(placement::object who, uint32_t &number) const {
  auto after =
      std::upper_bound(by_object_.begin(), by_object_.end(), who,
                       [](placement::object o, const bank *b) { return o < b->object_base; });
  if (after == by_object_.begin()) return nullptr;
  bank *where = *std::prev(after);
  number = who - where->object_base;
  return number < where->count() ? where : nullptr;
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

/// Gives the frame of an evicting word back.
void controller::free_frame(uint32_t tier, bank &where, uint32_t number) {
  locker_word &word = where.word(tier, number);
  const uint64_t frame = word.look().frame;
  word.clear();
  tiers_[tier]->memory->give(frame, where.frame_bytes_in(tier, number));
  changed_ = true;
}

bool controller::drop(bank &where, uint32_t number, uint32_t tier) {
  if (where.word(tier, number).look().state == locker_state::absent) return true;
  admission_driver driver(*this);
  return admission_.evict(tier, where.object_base + number, placement::departure::dropped, driver);
}

/// It has its frame from here on: so the policy hears of newcomers in the order they were asked for
/// in, and not in that of a disk. Once.
void controller::introduce(const move &m) {
  admission_driver driver(*this, m.order);
  const placement::object who = m.where->object_base + m.number;
  if (m.demotion) {
    admission_.admit(m.to, who, driver);
  } else {
    admission_.track(m.to, who, driver);
  }
  if (admission_.awaits_decision(m.to)) tiers_[m.to]->decisions_wanted.store(true);
}

/// Its frame goes without having been published.
void controller::withdraw(uint32_t tier, const bank &where, uint32_t number) {
  const uint64_t cost = tiers_[tier]->memory->cost_bytes(where.frame_bytes_in(tier, number));
  admission_.untrack(tier, where.object_base + number, cost);
}

/// What is not pinned any more stays or goes, where that was to be decided.
void controller::decide_admissions(uint32_t tier) {
  admission_driver driver(*this);
  admission_.decide(tier, driver);
  tiers_[tier]->decisions_wanted.store(admission_.awaits_decision(tier));
}

bool controller::win_place(uint32_t tier, const bank &where, uint32_t number,
                           const transfer::urgency &order) {
  admission_driver driver(*this, order);
  return admission_.win_place(tier, where.object_base + number, placement::claim::newcomer, driver);
}

void controller::admit(uint32_t tier, const bank &where, uint32_t number) {
  admission_driver driver(*this);
  admission_.admit(tier, where.object_base + number, driver);
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
  if (!reachable || !win_place(below, where, number, order)) return false;
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

bool controller::evict_one(uint32_t tier, placement::newcomer wanted,
                           const transfer::urgency &order, bool may_demote) {
  admission_driver driver(*this, order);
  wanted.demand = order.io_class == CUBBY_DEMAND;
  return admission_.evict_one(
      tier, wanted, may_demote ? placement::departure::demoted : placement::departure::evicted,
      driver);
}

/// What waits for the frames of copies on their way down lends those its urgency.
void controller::hasten_leaving(uint32_t tier, const transfer::urgency &order) {
  for (uint32_t index = 0; index < moves_.size(); ++index) {
    const move &m = moves_[index];
    if (m.state == move_state::active && m.demotion && m.from == tier) raise(index, order);
  }
}

/// True when a frame for `bytes` can be taken now. Where victims have to be copied down first,
/// enough of them are on their way and the caller waits.
bool controller::make_room(uint32_t tier, placement::newcomer wanted,
                           const transfer::urgency &order) {
  admission_driver driver(*this, order);
  wanted.demand = order.io_class == CUBBY_DEMAND;
  return admission_.make_room(tier, wanted, driver);
}

/// A tier whose victims are copied down keeps a few frames free, so that demand need not wait for
/// the copying.
void controller::keep_reserve() {
  for (uint32_t tier = 0; tier < tier_count(); ++tier) {
    tier_slot &slot = *tiers_[tier];
    if (slot.memory == nullptr) continue;
    const uint32_t below = demotion_target(tier);
    if (admission_.books(tier).policy->chooses()) continue;  // room for probation serves
    if (below == no_tier || copy_path(tier, below).queued_count() != 0) continue;
    const uint64_t wanted =
        std::min(slot.largest_set_bytes, slot.memory->budget_bytes() / reserve_share);
    for (uint32_t i = 0; i < demotions_max; ++i) {
      const uint64_t kept = slot.memory->used_bytes() - slot.leaving_bytes;
      if (kept + wanted <= slot.memory->budget_bytes() || slot.leaving_bytes >= wanted) break;
      if (!evict_one(tier, {}, write_back_order(), true)) break;
    }
  }
}

result<void> controller::resize(uint32_t tier, uint64_t budget_bytes) {
  tier_slot &slot = *tiers_[tier];
  const size_t before = slot.memory->blocks().size();
  if (auto set = slot.memory->set_budget(budget_bytes); !set) return set;
  slot.budget_bytes.store(slot.memory->budget_bytes());
  reconfigure_policies();
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
