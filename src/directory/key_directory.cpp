#include "directory/key_directory.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/mutant.hpp"

namespace cubby::directory {

namespace {

constexpr uint32_t locker_count_max = ~uint32_t{0} - 1;

uint16_t parts_mask(uint32_t part_count) { return static_cast<uint16_t>((1u << part_count) - 1); }

/// Each entry names one parent at most, so there are as many absent parents as entries at most.
uint32_t nodes_for(uint32_t locker_count) {
  return static_cast<uint32_t>(std::min<uint64_t>(uint64_t{locker_count} * 2, locker_count_max));
}

uint64_t buckets_for(const directory_config &config) {
  return config.bucket_count != 0 ? config.bucket_count
                                  : std::bit_ceil(uint64_t{config.locker_count});
}

result<void> check_parts(uint32_t parts, uint32_t all) {
  if ((parts & ~all) == 0) return {};
  return fail(CUBBY_ERR_INVALID,
              "parts 0x%x: the bank has parts 0x%x only; name none of the others", parts, all);
}

key_view view_of(const probe &one) {
  const bool held = one.state.present != 0 || one.state.pending != 0;
  return {one.entry, held ? one.state.locker : no_locker, one.state.present, one.state.pending};
}

}  // namespace

result<void> key_directory::check(const directory_config &config) {
  if (config.locker_count == 0 || config.locker_count > locker_count_max) {
    return fail(CUBBY_ERR_INVALID, "directory: %u lockers; give the bank 1 to %u",
                config.locker_count, locker_count_max);
  }
  if (config.part_count == 0 || config.part_count > CUBBY_PARTS_MAX) {
    return fail(CUBBY_ERR_INVALID, "directory: %u parts; give the bank 1 to %u", config.part_count,
                static_cast<uint32_t>(CUBBY_PARTS_MAX));
  }
  if (config.space_max == 0 || config.space_max > 0xFFFF) {
    return fail(CUBBY_ERR_INVALID, "directory: %u spaces at once; allow 1 to 65535",
                config.space_max);
  }
  if (config.bucket_count != 0 && !std::has_single_bit(config.bucket_count)) {
    return fail(CUBBY_ERR_INVALID, "directory: %llu buckets; give a power of two, or 0",
                static_cast<unsigned long long>(config.bucket_count));
  }
  return {};
}

key_directory::key_directory(const directory_config &config)
    : all_parts_(parts_mask(config.part_count)),
      pool_(nodes_for(config.locker_count)),
      index_(pool_, buckets_for(config), config.seed),
      spaces_(config.space_max),
      entries_(pool_, index_, spaces_, config.locker_count),
      leases_(pool_, config.lease_max) {}

result<uint32_t> key_directory::open_space(uint32_t handle) const {
  if (CUBBY_MUTANT(cross_space)) return uint32_t{1};
  const uint32_t id = spaces_.id_of(handle);
  if (id == 0) return space_table::stale_handle(handle);
  return id;
}

/// How far a match has come.
struct key_directory::chain {
  const packed_key *before_key = nullptr;  // the key before the next one; nullptr: it is a root
  packed_key carried;                      // that key, from one group to the next
  entry_ref before;                        // the node of that, if it has one
  bool cut = false;  // a key with another parent was met: no prefix leads over it
  uint32_t hit_count = 0;
};

/// Is the key before it in the query the parent that was recorded for it, though by another node
/// than was seen?
key_directory::link key_directory::link_of(const chain &at, const probe &one) const noexcept {
  if (at.before_key == nullptr) return one.parent == 0 ? link::right : link::other;
  if (one.parent == 0) return link::other;
  const entry_ref parent = entry_ref::of(one.parent);
  // The key before may have got another node since it was looked at.
  const bool same = pool_.holds_key(parent.index, *at.before_key);
  if (pool_.at(parent.index).life() != parent.life) return link::unknown;
  return same ? link::right : link::other;
}

/// The parts that count for a prefix which leads over the key.
uint16_t key_directory::usable_parts(chain &at, const probe &one) const noexcept {
  if (one.state.present == 0) return 0;
  if (at.before && entry_ref::of(one.parent) == at.before) return one.state.present;
  const link above = link_of(at, one);
  if (above == link::other) at.cut = true;
  return above == link::right ? one.state.present : uint16_t{0};
}

/// What could not be read is not offered.
void key_directory::hide_withheld(probe &one, uint64_t now_ns) const noexcept {
  if (one.state.present == 0) return;
  if (entries_.withheld().is_withheld(one.state.locker, now_ns)) one.state.present = 0;
}

void key_directory::walk(const match_query &query, uint32_t space, prefix_meter &meter,
                         chain &at) const {
  std::array<probe, key_index::group> probes;
  for (uint32_t first = 0; first < query.count; first += key_index::group) {
    const uint32_t count = std::min(key_index::group, query.count - first);
    for (uint32_t i = 0; i < count; ++i) pack_key(query.keys[first + i], space, probes[i].key);
    index_.find(std::span(probes).first(count));
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t n = first + i;
      if (query.now_ns != 0) hide_withheld(probes[i], query.now_ns);
      if (query.views != nullptr) query.views[n] = view_of(probes[i]);
      if (at.cut) continue;
      const uint16_t parts = usable_parts(at, probes[i]);
      if (!at.cut && meter.add(parts)) {
        at.hit_count = n + 1;
        if (query.restorable != nullptr) query.restorable[n / 64] |= uint64_t{1} << n % 64;
      }
      at.before_key = &probes[i].key;
      at.before = probes[i].entry;
    }
    at.carried = probes[count - 1].key;  // the next group takes its place
    at.before_key = &at.carried;
    if ((at.cut || meter.is_over()) && query.views == nullptr) return;
  }
}

result<uint32_t> key_directory::match(const match_query &query) const {
  const auto space = open_space(query.space);
  if (!space) return space.failure();
  for (uint32_t i = 0; i < query.count; ++i) {
    if (!is_key(query.keys[i])) return bad_key(query.keys[i], "key", i);
  }
  if (query.after != nullptr && !is_key(*query.after)) return bad_key(*query.after, "after", 0);
  const match_rule rule = query.rule != nullptr ? *query.rule : match_rule{};
  if (auto known = check_parts(rule.parts, all_parts_); !known) return known.failure();
  if (query.restorable != nullptr) std::fill_n(query.restorable, (query.count + 63) / 64, 0);
  prefix_meter meter(rule, all_parts_);
  chain at;
  probe before;
  if (query.after != nullptr) {
    pack_key(*query.after, *space, before.key);
    index_.find({&before, 1});
    at.before_key = &before.key;
    at.before = before.entry;
  }
  walk(query, *space, meter, at);
  return at.hit_count;
}

result<key_view> key_directory::find(uint32_t space, const cubby_key &key) const {
  const auto id = open_space(space);
  if (!id) return id.failure();
  if (!is_key(key)) return bad_key(key, "key", 0);
  probe one;
  pack_key(key, *id, one.key);
  index_.find({&one, 1});
  return view_of(one);
}

bool key_directory::still_holds(const key_view &view) const noexcept {
  if (!view.entry || view.entry.index >= pool_.max()) return false;
  const node &looked = pool_.at(view.entry.index);
  const node_state state = node_state::of(looked.state.load(std::memory_order_acquire));
  return state.locker == view.locker && (state.present & view.present) == view.present &&
         view.present != 0 && looked.life() == view.entry.life;
}

result<put_answer> key_directory::begin_put(const put_request &request) {
  const auto space = open_space(request.space);
  if (!space) return space.failure();
  if (!is_key(request.key)) return bad_key(request.key, "key", 0);
  put_order order;
  order.has_parent = request.parent != nullptr && !CUBBY_MUTANT(lose_parent);
  if (order.has_parent) {
    if (!is_key(*request.parent)) return bad_key(*request.parent, "parent", 0);
    pack_key(*request.parent, *space, order.parent);
  }
  if (auto known = check_parts(request.parts, all_parts_); !known) return known.failure();
  pack_key(request.key, *space, order.key);
  order.parts = request.parts != 0 ? request.parts : all_parts_;
  order.locker = request.locker;
  order.keep = request.keep;
  return entries_.begin(order);
}

result<void> key_directory::set_parent(entry_ref entry, uint32_t space, const cubby_key &parent) {
  const auto id = open_space(space);
  if (!id) return id.failure();
  if (!is_key(parent)) return bad_key(parent, "parent", 0);
  packed_key packed;
  pack_key(parent, *id, packed);
  return entries_.set_parent(entry, packed);
}

result<uint64_t> key_directory::lease(uint32_t space, const cubby_key *keys, uint32_t count,
                                      uint64_t expires_ns) {
  if (count == 0) return fail(CUBBY_ERR_INVALID, "lease: of no keys; name at least one");
  std::vector<entry_ref> held;
  held.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const auto view = find(space, keys[i]);
    if (!view) return view.failure();
    if (view->present == 0) {
      return fail(CUBBY_MISS, "lease: key %u of %u is not here; match again and lease what is", i,
                  count);
    }
    held.push_back(view->entry);
  }
  if (CUBBY_MUTANT(forget_lease)) held.resize(1);
  return leases_.take(held, expires_ns);
}

bool key_directory::expire(uint64_t now_ns, uint32_t max) noexcept {
  leases_.expire(now_ns, max);
  return next_expiry_ns() <= now_ns;
}

uint64_t key_directory::next_expiry_ns() const noexcept { return leases_.next_expiry_ns(); }

directory_counts key_directory::counts() const noexcept {
  directory_counts now;
  now.entries = entries_.count();
  now.parents_absent = pool_.in_use() - entries_.count();
  now.spaces = spaces_.open_count();
  now.leases = leases_.open_count();
  now.reclaimable = spaces_.reclaimable();
  return now;
}

uint64_t key_directory::bytes() const noexcept {
  return sizeof *this + pool_.bytes() + index_.bytes() + spaces_.table_bytes() + entries_.bytes() +
         leases_.bytes();
}

}  // namespace cubby::directory
