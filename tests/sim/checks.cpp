// What is looked at after every step.
#include <algorithm>
#include <cstring>

#include "sim/simulation.hpp"

namespace sim {

void simulation::violate(const char *promise, const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  std::vsnprintf(text, sizeof text, format, list);
  va_end(list);
  violations_.push_back({options_.seed, step_, promise, text, log_.last()});
}

/// What the runtime says of itself; a policy that breaks the rules is done without and named there.
uint32_t simulation::read_log(uint32_t lines_max) {
  uint32_t count = 0;
  for (cubby_log_line line; count < lines_max && cubby_log_take(rt_, &line, 1) == 1; ++count) {
    if (std::strstr(line.text, "broke the rules") != nullptr) violate("policy", "%s", line.text);
  }
  return count;
}

bool simulation::check_bytes(const shadow_request &r, uint32_t item, bool whole) {
  const shadow_item &what = r.items[item];
  for (uint32_t part = 0; part < r.part_count; ++part) {
    const auto seen_bytes = static_cast<const unsigned char *>(r.addr[item * r.part_count + part]);
    const auto &right = what.bank->right(world_, what.number, part);
    if (seen_bytes == nullptr) {
      violate("P1", "request %" PRIu64 ": item %u is OK and part %u has no address", r.number, item,
              part);
      return false;
    }
    const size_t size = right.size(), edge = std::min<size_t>(size, 32);
    const bool same =
        whole ? std::memcmp(seen_bytes, right.data(), size) == 0
              : std::memcmp(seen_bytes, right.data(), edge) == 0 &&
                    std::memcmp(seen_bytes + size - edge, right.data() + size - edge, edge) == 0;
    if (same) continue;
    const auto first = std::mismatch(right.begin(), right.end(), seen_bytes).first;
    violate("P1",
            "request %" PRIu64 ": bank %" PRIu64
            " locker %u part %u in tier %s is wrong from byte "
            "%td of %zu on",
            r.number, what.bank->ordinal, what.number, part, tiers_[r.tier].name,
            first - right.begin(), size);
    return false;
  }
  return true;
}

/// A row that came is right, and where one did not nothing was written.
bool simulation::check_row(const shadow_request &r, uint32_t item, bool came) {
  const shadow_item &what = r.items[item];
  const size_t size = what.bank->table_row_bytes;
  const unsigned char *const seen_bytes = &r.into[item * size];
  const auto untouched = [](unsigned char byte) { return byte == not_written; };
  if (!came) {
    if (std::all_of(seen_bytes, seen_bytes + size, untouched)) return true;
    violate("P3", "request %" PRIu64 ": row %u did not come, and its memory was written", r.number,
            item);
    return false;
  }
  const auto &right = what.bank->right(world_, what.number, 0);
  const uint64_t at = r.table_rows[item] % what.bank->page_rows * size;
  if (std::memcmp(seen_bytes, right.data() + at, size) == 0) return true;
  violate("P1", "request %" PRIu64 ": bank %" PRIu64 " row %" PRIu64 " of the table is wrong",
          r.number, what.bank->ordinal, r.table_rows[item]);
  return false;
}

void simulation::hold(shadow_request &r, uint32_t item) {
  shadow_item &what = r.items[item];
  if (!check_bytes(r, item, true)) return;
  shadow_locker &locker = what.bank->lockers[what.number];
  shadow_hold &held = locker.holds[r.tier];
  const auto first = r.addr.begin() + static_cast<std::ptrdiff_t>(item * r.part_count);
  const std::vector<const void *> addr(first, first + r.part_count);
  if (held.count != 0 && held.addr != addr) {
    return violate("P6", "request %" PRIu64 ": bank %" PRIu64 " locker %u was moved while pinned",
                   r.number, what.bank->ordinal, what.number);
  }
  if (locker.struck) saw(seen::fault_hidden);
  const bool at_host = has_host_ && has_device_ && locker.holds[1].count != 0;
  if (r.tier == 0 && r.asked_poll != 0 && at_host) saw(seen::host_to_device);
  what.held = true;
  held.addr = addr;
  ++held.count;
  ++what.bank->held_count;
  locker.anchored = true;
}

void simulation::let_go(shadow_request &r, uint32_t item) {
  shadow_item &what = r.items[item];
  what.released = true;
  if (!what.held) return;
  what.held = false;
  --what.bank->lockers[what.number].holds[r.tier].count;
  --what.bank->held_count;
}

void simulation::check_landed(shadow_request &r) {
  if (!r.has_status) return;
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    const int8_t now = r.status[i];
    if (r.last_status[i] != CUBBY_PENDING && now != r.last_status[i]) {
      return violate("P1", "request %" PRIu64 ": item %u was final with %s and became %s", r.number,
                     i, cubby_status_name(static_cast<cubby_status>(r.last_status[i])),
                     cubby_status_name(static_cast<cubby_status>(now)));
    }
    r.last_status[i] = now;
    if (now == CUBBY_OK && r.kind == asked::gather && !check_row(r, i, true)) return;
    if (now != CUBBY_OK || r.kind != asked::pin || r.items[i].released || r.canceled) continue;
    if (!check_bytes(r, i, !r.items[i].checked)) return;
    r.items[i].checked = true;
    saw(seen::landed_early);
  }
}

uint64_t simulation::held_bytes(uint32_t tier) const {
  uint64_t sum = 0;
  for (const auto &bank : banks_) {
    if (bank->held_count == 0) continue;
    for (const shadow_locker &locker : bank->lockers) {
      if (locker.holds[tier].count != 0) sum += locker.bytes();
    }
  }
  return sum;
}

void simulation::look_at_stats(shadow_tier &tier, const cubby_tier_stats &now) {
  const cubby_tier_stats &last = tier.last;
  if (now.hit_count > last.hit_count) saw(seen::hit);
  if (now.evict_count > last.evict_count) saw(seen::evict);
  if (now.prefetch_used_bytes > last.prefetch_used_bytes) saw(seen::prefetch_used);
  if (now.prefetch_wasted_bytes > last.prefetch_wasted_bytes) saw(seen::prefetch_wasted);
  if (now.corrupt_count > last.corrupt_count && host_may_rot_) saw(seen::rotten_frame_replaced);
  if (now.write_back_bytes > last.write_back_bytes) saw(seen::device_to_host);
  const bool backwards = now.hit_count < last.hit_count || now.miss_count < last.miss_count ||
                         now.evict_count < last.evict_count ||
                         now.demand_bytes < last.demand_bytes || now.read_count < last.read_count ||
                         now.error_count < last.error_count ||
                         now.corrupt_count < last.corrupt_count || now.peak_bytes < last.peak_bytes;
  if (backwards) violate("P6", "tier %s: a counter went backwards", tier.name);
  tier.last = now;
}

void simulation::check_tiers() {
  cubby_stats_block block{};
  block.struct_size = sizeof block;
  cubby_tier_stats seen_tiers[8]{};
  for (cubby_tier_stats &one : seen_tiers) one.struct_size = sizeof one;
  if (cubby_stats(rt_, &block, seen_tiers, 8) != CUBBY_OK) {
    return violate("P6", "cubby_stats failed");
  }
  if (block.stall_frame_wait_ns != 0) saw(seen::frame_wait);
  for (uint32_t i = 0; i < tiers_.size(); ++i) {
    shadow_tier &tier = tiers_[i];
    const auto found = std::find_if(seen_tiers, seen_tiers + std::min(block.tier_count, 8u),
                                    [&](const auto &one) { return one.tier == tier.handle; });
    if (found == seen_tiers + 8 || found->tier != tier.handle) {
      return violate("P6", "tier %s is missing in the statistics", tier.name);
    }
    const cubby_tier_stats &now = *found;
    if (now.used_bytes <= now.budget_bytes) tier.shrinking = false;
    if (now.used_bytes > now.budget_bytes && !tier.shrinking) {
      return violate("P6", "tier %s uses %" PRIu64 " bytes of a budget of %" PRIu64, tier.name,
                     now.used_bytes, now.budget_bytes);
    }
    const uint64_t held = held_bytes(i);
    if (now.pinned_bytes < held || now.pinned_bytes > now.used_bytes) {
      return violate(
          "P6", "tier %s says %" PRIu64 " bytes are pinned; held are %" PRIu64 ", used %" PRIu64,
          tier.name, now.pinned_bytes, held, now.used_bytes);
    }
    const uint64_t small = uint64_t{1} << 62;  // what is above has been below zero
    if (now.used_bytes > small || now.pinned_bytes > small || now.prefetch_wasted_bytes > small) {
      return violate("P6", "tier %s: a counter is below zero", tier.name);
    }
    look_at_stats(tier, now);
  }
}

void simulation::check_everything() {
  for (shadow_request &r : alive_) {
    check_landed(r);
    if (!violations_.empty()) return;
  }
  // All that is held is looked at in turn: its edges now, all of it at unpin and now and then.
  uint64_t looks = held_.empty() ? 0 : 3;
  uint64_t skip = held_.empty() ? 0 : random_.below(held_.size());
  for (auto set = held_.begin(); looks != 0 && set != held_.end(); ++set) {
    if (skip != 0) {
      --skip;
      continue;
    }
    --looks;
    for (uint32_t i = 0; i < set->items.size(); ++i) {
      if (set->items[i].held && !check_bytes(*set, i, step_ % 16 == 0)) return;
    }
  }
  if (step_ % 2 == 0) check_tiers();
  if (blocks_ != nullptr && step_ % 8 == 0 && violations_.empty()) blocks_->check();
}

}  // namespace sim
