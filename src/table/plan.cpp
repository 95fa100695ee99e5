// Where a move gets its bytes from: the nearest copy that can be reached, somebody else's move that
// is bringing one, or the file.
#include <algorithm>

#include "table/controller.hpp"

namespace cubby::table {
namespace {

/// How long a look at a file's identity is good for.
constexpr uint64_t identity_good_ns = 10'000'000;

}  // namespace

bool controller::plan_from_tier(uint32_t index) {
  move &m = moves_[index];
  const tier::memory_tier &to = *tiers_[m.to]->memory;
  uint32_t best = no_tier;
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (t == m.to || tiers_[t]->memory == nullptr) continue;
    if (m.where->word(t, m.number).look().state != locker_state::ready) continue;
    const tier::memory_tier &from = *tiers_[t]->memory;
    const bool reachable = from.backend().can(CUBBY_CAP_HOST_ADDRESSABLE) ||
                           to.backend().can(CUBBY_CAP_HOST_ADDRESSABLE);
    if (!reachable || t == m.bad_tier) continue;
    if (best == no_tier || tiers_[t]->rank < tiers_[best]->rank) best = t;
  }
  if (best == no_tier) return false;
  uint64_t frame = 0;
  if (m.where->word(best, m.number).pin(frame) != pin_outcome::pinned) return false;
  m.from = best;
  return true;
}

/// Another move is bringing a copy nearer: wait for it rather than read the file twice.
bool controller::follow(uint32_t index) {
  move &m = moves_[index];
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (t == m.to || tiers_[t]->memory == nullptr) continue;
    const locker_word::view word = m.where->word(t, m.number).look();
    if (word.state != locker_state::filling) continue;
    const auto leader = static_cast<uint32_t>(word.frame);
    if (leader == index || moves_[leader].state != move_state::active) continue;
    if (!tiers_[t]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE) &&
        !tiers_[m.to]->memory->backend().can(CUBBY_CAP_HOST_ADDRESSABLE)) {
      continue;
    }
    moves_[leader].followers.push_back(index);
    m.state = move_state::following;
    m.from = no_tier;
    raise(leader, m.order);
    return true;
  }
  return false;
}

/// On its way from a file to a device a locker may leave a copy in host memory, which is then also
/// what it is read into.
void controller::keep_beside(uint32_t index) {
  const uint32_t to = moves_[index].to;
  bank &where = *moves_[index].where;
  const uint32_t number = moves_[index].number;
  for (uint32_t t = 0; t < tier_count(); ++t) {
    tier_slot &slot = *tiers_[t];
    if (t == to || slot.memory == nullptr || slot.rank < tiers_[to]->rank) continue;
    // What may not stay up there needs its copy here.
    const bool may_stay = !tiers_[to]->policy->chooses();
    if ((slot.flags & CUBBY_TIER_EXCLUSIVE) != 0 && may_stay) continue;
    if (where.layout(t) != frame_layout::skewed) continue;
    locker_word &word = where.word(t, number);
    if (word.look().state != locker_state::absent) continue;
    const uint64_t bytes = where.frame_bytes_in(t, number);
    if (!make_place(t, where, number, place_for::newcomer, moves_[index].order)) continue;
    const auto frame = slot.memory->take(bytes);
    if (!frame) continue;
    word.begin_fill(index, 1);
    moves_[index].beside = t;
    moves_[index].beside_frame = *frame;
    keep(t, where, number);
    return;
  }
}

bool controller::plan(uint32_t index) {
  if (plan_from_tier(index)) return true;
  if (follow(index)) return true;
  move &m = moves_[index];
  bank &where = *m.where;
  if (!where.mapped()) {
    stop(index,
         fail(CUBBY_MISS, "locker %u of bank %s is nowhere any more", m.number, where.desc().name));
    return false;
  }
  if (!file_unchanged(where)) {
    stop(index, where.failed);
    return false;
  }
  m.from = no_tier;
  if (where.layout(m.to) != frame_layout::skewed) {
    if (m.beside == no_tier) keep_beside(index);
    if (moves_[index].beside == no_tier && !staging_->usable()) {
      stop(index, fail(CUBBY_ERR_NO_MEMORY,
                       "no staging memory could be had; raise the memory "
                       "limit, or add a host tier"));
      return false;
    }
  }
  return true;
}

bool controller::file_unchanged(bank &where) {
  if (where.failed.status != CUBBY_OK) return false;
  if (where.looked_ns != 0 && now_ns_ - where.looked_ns < identity_good_ns) return true;
  where.looked_ns = now_ns_;
  for (const bank_file &file : where.files) {
    auto seen = tiers_[file_slot_]->files->stat_file(file.number);
    const bool same = seen.ok() && seen->bytes == file.bytes && seen->inode == file.inode &&
                      seen->device == file.device && seen->mtime_ns == file.mtime_ns;
    if (same) continue;
    where.failed =
        seen.ok() ? fail(CUBBY_ERR_CORRUPT,
                         "%s changed since it was adopted; nothing more is loaded from bank %s; "
                         "remove the bank and adopt the file again",
                         file.path.c_str(), where.desc().name)
                  : fail_errno(seen.failure().native,
                               "%s could not be looked at again, so nothing more is loaded from "
                               "bank %s; look at the kernel's log and the disk, then remove the "
                               "bank and adopt the file again",
                               file.path.c_str(), where.desc().name);
    services_.log(services_.context, 0, where.failed.text.c_str());
    return false;
  }
  return true;
}

/// Bytes were not as they should be: looks at the files at once, and where one was changed by
/// somebody that is the reason, for the whole bank.
void controller::changed_underneath(bank &where, error &why) {
  where.looked_ns = 0;
  if (file_unchanged(where)) return;
  const cubby_tier tier = why.tier;
  why = where.failed;
  why.tier = tier;
}

}  // namespace cubby::table
