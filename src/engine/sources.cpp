#include "engine/sources.hpp"

#include "engine/chunk_run.hpp"

namespace cubby::engine {

/// What has to pass through host memory is further away than what lies there.
bool sources::is_nearer(uint32_t a, uint32_t b, uint32_t to) const {
  const bool a_staged = state_.tiers.staged(a, to), b_staged = state_.tiers.staged(b, to);
  if (a_staged != b_staged) return b_staged;
  return state_.tiers[a].rank < state_.tiers[b].rank;
}

/// Its bytes can be had from a file, too, at once.
bool sources::has_file(const fill &f) const {
  const bool stored = f.bank->blocks != nullptr && f.bank->blocks->is_stored(f.number);
  if (!stored) return f.bank->mapped() && files_.unchanged(*f.bank);
  const failed_reads &of = state_.tiers[f.bank->file_tier].failed_reads;
  return !of.bypassed() && of.would_allow(locker_name(*f.bank, f.number), state_.now_ns);
}

bool sources::choose_copy(uint32_t index) {
  fill &f = fills_[index];
  uint32_t best = no_tier;
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (t == f.to || t == f.bad_tier || !state_.tiers.is_memory(t)) continue;
    if (state_.tiers[t].lost.load(std::memory_order_relaxed)) continue;
    if (f.bank->word(t, f.number).look().state != locker_state::ready) continue;
    if (!state_.tiers.connected(t, f.to)) continue;
    if (goes_past(t, f)) {
      f.passed_copy = true;
    } else if (best == no_tier || is_nearer(t, best, f.to)) {
      best = t;
    }
  }
  if (best == no_tier) return false;
  uint64_t frame = 0;
  if (f.bank->word(best, f.number).pin(frame) != pin_outcome::pinned) return false;
  f.from = best;
  f.passed_copy = false;
  // Only now is a probe spent: what could not be held would have measured nothing.
  if (may_pass(best, f)) (void)state_.tiers[best].stand_aside.may_use(state_.now_ns);
  return true;
}

/// Its bytes need not come from the tier, where that has them.
bool sources::may_pass(uint32_t tier, const fill &f) const {
  return state_.tiers.goes_past(tier, *f.bank) &&
         state_.tiers[tier].rank > state_.tiers[f.to].rank && f.attempts == 0 && has_file(f);
}

/// And they do not, unless it is time for a probe.
bool sources::goes_past(uint32_t tier, const fill &f) const {
  return may_pass(tier, f) && !state_.tiers[tier].stand_aside.would_use(state_.now_ns);
}

/// A locker that comes from a file though it lies in tiers that stand aside.
void sources::count_passed(const fill &f) {
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (t == f.to || !state_.tiers.is_memory(t) || !goes_past(t, f)) continue;
    if (f.bank->word(t, f.number).look().state != locker_state::ready) continue;
    state_.tiers[t].stand_aside.went_past();
  }
}

/// Waits for a fill that brings a copy nearer, rather than read the file twice.
bool sources::follow_other(uint32_t index) {
  const fill &f = fills_[index];
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (t == f.to || !state_.tiers.is_memory(t)) continue;
    const locker_word::view word = f.bank->word(t, f.number).look();
    if (word.state != locker_state::filling) continue;
    const auto leader = static_cast<uint32_t>(word.frame);
    if (leader == index || fills_[leader].state != fill_state::active) continue;
    // What another device would have to give out again is read sooner from where it is.
    if (!state_.tiers.connected(t, f.to) || state_.tiers.staged(t, f.to)) continue;
    fills_.follow(leader, index);
    return true;
  }
  return false;
}

/// On its way from a file to a device a locker may leave a copy in host memory, which is then also
/// what the file is read into.
void sources::add_intermediate(uint32_t index) {
  fill &f = fills_[index];
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    tier_slot &slot = state_.tiers[t];
    if (t == f.to || slot.memory == nullptr || slot.rank < state_.tiers[f.to].rank) continue;
    // What may not stay in the nearer tier needs its copy here.
    const bool may_stay = !state_.admission.books(f.to).policy->chooses();
    if (slot.is_exclusive() && may_stay) continue;
    if (f.bank->layout(t) != frame_layout::skewed || state_.tiers.goes_past(t, *f.bank)) {
      continue;
    }
    locker_word &word = f.bank->word(t, f.number);
    if (word.look().state != locker_state::absent) continue;
    if (!copies_.win_place(t, *f.bank, f.number, f.order)) continue;
    const auto frame = slot.memory->take(f.bank->frame_bytes_in(t, f.number));
    if (!frame) continue;
    word.begin_fill(index, 1);
    f.intermediate = t;
    f.intermediate_frame = *frame;
    copies_.admit(t, *f.bank, f.number);
    return;
  }
}

result<sources::choice> sources::choose(uint32_t index) {
  fill &f = fills_[index];
  f.passed_copy = false;
  if (state_.tiers.memory_count() > 1) {  // else there is no copy elsewhere
    if (choose_copy(index)) return choice::reads;
    if (follow_other(index)) return choice::follows;
  }
  locker_bank &bank = *f.bank;
  const bool stored = bank.blocks != nullptr && bank.blocks->is_stored(f.number);
  if (!bank.mapped() && !stored) {
    return fail(CUBBY_MISS, "locker %u of bank %s is nowhere any more", f.number, bank.desc().name);
  }
  if (!stored && !files_.unchanged(bank)) return bank.failed;
  f.from = stored ? bank.file_tier : files_.choose(bank, f.number, f.bad_files);
  if (f.from == no_tier) return bank.failed;
  tier_slot &files = state_.tiers[f.from];
  if (stored && !files.failed_reads.allows(locker_name(bank, f.number), state_.now_ns)) {
    f.from = no_tier;
    withhold_unread(state_, f);
    return not_read_again(bank, f.number, files);
  }
  if (reads_in_place(state_.tiers, bank, f.to)) {
    if (f.passed_copy) count_passed(f);
    return choice::reads;
  }
  if (f.intermediate == no_tier) add_intermediate(index);
  if (f.intermediate == no_tier && !state_.tiers[f.from].staging->usable()) {
    f.from = no_tier;
    return fail(CUBBY_ERR_NO_MEMORY,
                "no staging memory could be had; raise the memory limit, or add a host tier");
  }
  if (f.passed_copy) count_passed(f);
  return choice::reads;
}

void withhold_unread(engine_state &state, const fill &f) {
  for (uint32_t t = 0; t < state.tiers.count(); ++t) {
    // Its own words say no more than that it is under way.
    if (t == f.to || t == f.intermediate || t == f.bad_tier || !state.tiers.is_memory(t)) continue;
    if (state.tiers[t].lost.load(std::memory_order_relaxed)) continue;
    if (f.bank->word(t, f.number).look().state == locker_state::ready) return;
  }
  f.bank->blocks->keys.withhold(f.number, state.now_ns + failed_reads::pause_ns);
}

}  // namespace cubby::engine
