// Load or recompute: which keys of a prefix to load so that all of it is ready first.
//
// Keys before the first that is loaded are computed meanwhile, for the prefix of a key has to be
// there when it is computed; keys behind the longest prefix that is present are computed once both
// are done. So loading keys first..present-1 of count takes
//   max(computing 0..first-1, loading first..present-1) + computing present..count-1.
#include <algorithm>

#include "api/guard.hpp"
#include "api/requests.hpp"
#include "base/checked.hpp"
#include "engine/chunk_run.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

/// Of a path that nothing was measured of: as a slow disk would.
constexpr double assumed_bytes_per_ns = 0.5;
constexpr uint64_t assumed_latency_ns = 200'000;
/// A store that stands aside is not probed where that takes more than so many times computing.
constexpr uint64_t probe_factor_max = 2;

/// What loading takes, longest path first: bytes to be read from disk, and to be copied.
struct load {
  uint64_t disk_bytes = 0, copy_bytes = 0;
};

uint64_t time_of(const transfer::channel &path, uint64_t bytes) {
  if (bytes == 0) return 0;
  const uint64_t measured_ns = path.estimate_ns(bytes);
  if (measured_ns != base::never_ns) return measured_ns;
  return assumed_latency_ns +
         static_cast<uint64_t>(static_cast<double>(bytes) / assumed_bytes_per_ns);
}

class split_call {
 public:
  split_call(engine::parts &engine, residency::locker_bank &bank, uint32_t tier)
      : engine_(engine), bank_(bank), tier_(tier) {}

  cubby_split_result best(const std::vector<directory::key_view> &views, uint32_t present,
                          const uint64_t *recompute_ns) {
    const auto count = static_cast<uint32_t>(views.size());
    const bool room = present == 0 || has_room(views.front());
    if (!room) present = 0;  // none can be loaded
    uint64_t tail_ns = 0, head_ns = 0;
    for (uint32_t i = present; i < count; ++i)
      tail_ns = base::saturating_add(tail_ns, recompute_ns[i]);
    std::vector<load> from(size_t{present} + 1);  // [first]: of keys first..present-1
    for (uint32_t i = present; i-- > 0;) from[i] = added(from[i + 1], views[i]);
    cubby_split_result made{};
    made.struct_size = sizeof made;
    made.finish_ns = base::never_ns;
    for (uint32_t first = 0; first <= present; ++first) {
      const uint64_t ns =
          base::saturating_add(std::max(head_ns, time_of_load(from[first])), tail_ns);
      if (first == 0) made.load_all_ns = room ? ns : base::never_ns;
      if (ns <= made.finish_ns) {  // of two that are alike, the one that loads less
        made.finish_ns = ns;
        made.load_first = first;
        made.load_count = present - first;
      }
      if (first < present) head_ns = base::saturating_add(head_ns, recompute_ns[first]);
    }
    made.recompute_all_ns = base::saturating_add(head_ns, tail_ns);
    if (present != 0 && from[0].disk_bytes != 0)
      weigh(from[present - 1], recompute_ns[present - 1], tail_ns, made);
    if (made.load_count == 1) made.load_first = present - 1;
    if (made.load_count == 0) made.load_first = 0;
    return made;
  }

 private:
  /// Frames of the tier may be too small for a block, and its budget below one; blocks are alike.
  [[nodiscard]] bool has_room(const directory::key_view &seen) const {
    return check_frame(engine_, tier_, {&bank_, seen.locker}).ok();
  }
  /// A store that is slower than computing is gone past, and what is known of it is soon old: now
  /// and then the last block comes from there, while those before it are computed.
  void weigh(const load &last, uint64_t recompute_last_ns, uint64_t tail_ns,
             cubby_split_result &made) {
    engine::tier_slot &disk = engine_.state.tiers[bank_.file_tier];
    const uint64_t now_ns = engine_.state.now_ns;
    if (made.finish_ns == base::never_ns) return;  // it says nothing of either
    const bool aside = made.load_count == 0;
    if (disk.stand_aside.judged(aside, now_ns)) {
      const std::string text = "tier " + disk.name;
      engine_.state.log(aside ? 1 : 2,
                        aside ? text +
                                    " stands aside: computing KV blocks is quicker than reading "
                                    "them; it is probed now and then"
                              : text +
                                    " is used again: reading KV blocks is quicker than "
                                    "computing all of them");
    }
    if (!aside || !disk.stand_aside.aside()) return;
    const uint64_t head_ns = made.recompute_all_ns - tail_ns - recompute_last_ns;
    const uint64_t probe_ns = base::saturating_add(std::max(head_ns, time_of_load(last)), tail_ns);
    const bool bearable = probe_ns / probe_factor_max <= made.recompute_all_ns;
    if (last.disk_bytes == 0 || !bearable) return disk.stand_aside.went_past();
    if (!disk.stand_aside.may_use(now_ns)) return;
    made.load_count = 1;
    made.finish_ns = probe_ns;
  }

  [[nodiscard]] load added(load to, const directory::key_view &seen) const {
    const engine::tier_set &tiers = engine_.state.tiers;
    const uint64_t bytes = bank_.blocks->length(seen.locker);
    bool elsewhere = false;
    for (uint32_t t = 0; t < tiers.count(); ++t) {
      if (!tiers.is_memory(t)) continue;
      if (bank_.word(t, seen.locker).look().state != residency::locker_state::ready) continue;
      if (t == tier_) return to;
      elsewhere = true;
    }
    // What is neither in memory nor stored is on its way from one tier to another.
    elsewhere = elsewhere || !bank_.blocks->is_stored(seen.locker);
    (elsewhere ? to.copy_bytes : to.disk_bytes) += bytes;
    return to;
  }
  /// Reading and copying go on side by side.
  [[nodiscard]] uint64_t time_of_load(const load &what) const {
    const engine::tier_slot &slot = engine_.state.tiers[tier_];
    return std::max(time_of_reads(what.disk_bytes), time_of(*slot.path, what.copy_bytes));
  }
  /// As loads of this tier have come lately; as the parts of the way promise, before there were
  /// any.
  [[nodiscard]] uint64_t time_of_reads(uint64_t bytes) const {
    engine::tier_set &tiers = engine_.state.tiers;
    if (bytes == 0) return 0;
    const uint64_t arrival_ns = tiers[tier_].arrivals.estimate_ns(bytes);
    if (arrival_ns != base::never_ns) return arrival_ns;
    const bool copied = !engine::reads_in_place(tiers, bank_, tier_);
    return std::max(time_of(*tiers[bank_.file_tier].path, bytes),
                    time_of(*tiers[tier_].path, copied ? bytes : 0));
  }

  engine::parts &engine_;
  residency::locker_bank &bank_;
  const uint32_t tier_;
};

}  // namespace

cubby_status cubby_split(cubby_handle *rt, cubby_space space, const cubby_key *keys, uint32_t count,
                         const uint64_t *recompute_ns, cubby_tier tier, cubby_split_result *out) {
  CUBBY_ENTER(rt);
  if (keys == nullptr || recompute_ns == nullptr || out == nullptr || count == 0) {
    CUBBY_REFUSE("cubby_split: keys, recompute_ns or out is NULL, or count is 0");
  }
  return guarded([&]() -> cubby_status {
    const space_list::named in = self.spaces.find(space);
    if (in.bank == nullptr) {
      return keep_error(fail(CUBBY_ERR_STALE, "space %u is not one of this runtime", space));
    }
    const uint32_t slot = self.engine().state.tiers.find(tier);
    if (slot == engine::no_tier || self.engine().state.tiers[slot].memory == nullptr) {
      return keep_error(fail(CUBBY_ERR_STALE, "tier %u is no memory tier of this runtime", tier));
    }
    std::vector<directory::key_view> views(count);
    directory::match_query query;
    query.space = in.space;
    query.keys = keys;
    query.count = count;
    query.views = views.data();
    const auto rule = directory::match_rule::first_part();
    query.rule = &rule;
    if (in.bank->blocks->keys.any_withheld()) query.now_ns = self.now();
    const auto present = in.bank->blocks->keys.match(query);
    if (!present) return keep_error(present.failure());
    const auto lock = self.hold_pump();
    self.engine().state.now_ns = self.now();
    write_struct(split_call(self.engine(), *in.bank, slot).best(views, *present, recompute_ns),
                 out);
    return CUBBY_OK;
  });
}
