// Spaces of keys, and which prefixes of a chain of keys are there.
#include <algorithm>
#include <array>
#include <memory_resource>

#include "api/guard.hpp"
#include "api/requests.hpp"
#include "api/runtime.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

cubby_status unknown_space(cubby_space space) {
  return keep_error(fail(CUBBY_ERR_STALE, "space %u is not one of this runtime", space));
}

std::span<const uint8_t> bytes_at(const void *data, uint32_t bytes) {
  return {static_cast<const uint8_t *>(data), bytes};
}

std::string_view text_at(const void *data, uint32_t bytes) {
  return {static_cast<const char *>(data), bytes};
}

/// Where a block is that the directory knows: in the nearest tier that has it.
uint8_t state_of(engine::parts &engine, const residency::locker_bank &bank,
                 const directory::key_view &seen) {
  if (seen.present == 0) return seen.pending != 0 ? CUBBY_STATE_PENDING : CUBBY_STATE_MISS;
  uint8_t best = CUBBY_STATE_PENDING;  // on its way from one tier to another
  for (uint32_t tier = 0; tier < engine.state.tiers.count(); ++tier) {
    const engine::tier_slot &slot = engine.state.tiers[tier];
    if (slot.memory == nullptr || bank.words(tier) == nullptr) continue;
    if (bank.word(tier, seen.locker).look().state != residency::locker_state::ready) continue;
    const bool host = slot.memory->host_addressable();
    best = std::max<uint8_t>(best, host ? CUBBY_STATE_HOST : CUBBY_STATE_DEVICE);
  }
  const bool on_disk = best == CUBBY_STATE_PENDING && bank.blocks->is_stored(seen.locker);
  return on_disk ? uint8_t{CUBBY_STATE_FILE} : best;
}

/// What a prefix needs: without a rule for parts, the first of each block.
result<directory::match_rule> read_rule(const cubby_match_rule *rule, uint32_t part_count) {
  directory::match_rule wanted = directory::match_rule::first_part();
  if (rule == nullptr) return wanted;
  wanted.of[0].trailing = rule->trailing_count;
  if (rule->parts == nullptr) return wanted;
  if (rule->part_count == 0 || rule->part_count > part_count || rule->trailing_count != 0) {
    return fail(
        CUBBY_ERR_INVALID,
        "cubby_match_rule: %u rules for parts, and blocks of %u parts; give one a part, and "
        "trailing_count 0 beside them",
        rule->part_count, part_count);
  }
  wanted.parts = 0;
  for (uint32_t p = 0; p < rule->part_count; ++p) {
    const cubby_part_rule &one = rule->parts[p];
    if (one.needed == 0) continue;
    wanted.parts = static_cast<uint16_t>(wanted.parts | 1u << p);
    wanted.of[p] = {one.trailing_count, std::max(one.group_keys, 1u)};
  }
  if (wanted.parts != 0) return wanted;
  return fail(CUBBY_ERR_INVALID,
              "cubby_match_rule: no part is needed; set needed for one at least");
}

}  // namespace

cubby_status cubby_space_add(cubby_handle *rt, const cubby_space_desc *desc, cubby_space *out) {
  CUBBY_ENTER(rt);
  if (desc == nullptr || out == nullptr || desc->struct_size == 0) {
    CUBBY_REFUSE("cubby_space_add: desc or out is NULL, or struct_size is 0");
  }
  bool waits = false;  // for its store to make a place
  const cubby_status status = guarded([&]() -> cubby_status {
    const cubby_space_desc asked = read_struct(*desc);
    if ((asked.fingerprint == nullptr && asked.fingerprint_bytes != 0) ||
        (asked.domain == nullptr && asked.domain_bytes != 0)) {
      CUBBY_REFUSE("cubby_space_add: fingerprint or domain is NULL, but has a size");
    }
    const auto lock = self.hold_pump();
    residency::locker_bank *bank = self.engine().state.banks.find(asked.bank);
    if (bank == nullptr) {
      return keep_error(no_bank(self, asked.bank));
    }
    if (bank->blocks == nullptr) {
      CUBBY_REFUSE("bank %s is not of kind CUBBY_BANK_KV; keys name the blocks of such banks",
                   bank->desc().name);
    }
    directory::key_directory &keys = bank->blocks->keys;
    const auto made = keys.add_space(bytes_at(asked.fingerprint, asked.fingerprint_bytes),
                                     bytes_at(asked.domain, asked.domain_bytes));
    if (!made) return keep_error(made.failure());
    engine::stored_spaces &stored = self.engine().stored.spaces();
    const auto undo = [&] {
      *out = 0;
      stored.close(*bank, *made);
      static_cast<void>(keys.remove_space(*made));
      self.engine().puts.reclaim(*bank);
    };
    try {
      const auto opened =
          stored.open(*bank, *made, text_at(asked.fingerprint, asked.fingerprint_bytes),
                      text_at(asked.domain, asked.domain_bytes));
      *out = opened ? self.spaces.add(*bank, *made) : 0;
      waits = stored.waits(*bank, *made);
      if (*out != 0) return CUBBY_OK;
      undo();
      if (!opened) return keep_error(opened.failure());
      return keep_error(fail(CUBBY_ERR_BUSY, "a runtime has at most %u spaces; remove some",
                             space_list::spaces_max));
    } catch (...) {
      undo();
      throw;
    }
  });
  if (waits) self.kick();
  return status;
}

cubby_status cubby_space_remove(cubby_handle *rt, cubby_space space) {
  CUBBY_ENTER_WAITING(rt);
  return guarded([&]() -> cubby_status {
    {
      const auto lock = self.hold_pump();
      const space_list::named found = self.spaces.find(space);
      if (found.bank == nullptr) return unknown_space(space);
      auto removed = found.bank->blocks->keys.remove_space(found.space);
      if (!removed) return keep_error(removed.failure());
      self.engine().stored.spaces().close(*found.bank, found.space);
      self.spaces.hide(space);
      self.engine().puts.reclaim(*found.bank);
    }
    self.kick();          // others may wait for the room
    self.grace_period();  // calls that have seen it use its bank
    const auto lock = self.hold_pump();
    self.spaces.forget(space);
    return CUBBY_OK;
  });
}

cubby_status cubby_match(cubby_handle *rt, cubby_space space, const cubby_key *keys, uint32_t count,
                         const cubby_match_rule *rule, uint32_t *hit_count, uint8_t *state) {
  CUBBY_ENTER(rt);
  if (keys == nullptr || hit_count == nullptr || count == 0) {
    CUBBY_REFUSE("cubby_match: keys or hit_count is NULL, or count is 0");
  }
  if (rule != nullptr && rule->struct_size == 0) {
    CUBBY_REFUSE("cubby_match_rule.struct_size is 0; set it to sizeof(cubby_match_rule)");
  }
  *hit_count = 0;
  const space_list::named in = self.spaces.find(space);
  if (in.bank == nullptr) return unknown_space(space);
  return guarded([&]() -> cubby_status {
    std::array<std::byte, 256 * sizeof(directory::key_view)> room;
    std::pmr::monotonic_buffer_resource memory(room.data(), room.size());
    std::pmr::vector<directory::key_view> views(&memory);
    if (state != nullptr) views.resize(count);
    directory::match_query query;
    query.space = in.space;
    query.keys = keys;
    query.count = count;
    query.views = state != nullptr ? views.data() : nullptr;
    cubby_match_rule asked{};
    if (rule != nullptr) asked = read_struct(*rule);
    const auto wanted = read_rule(rule != nullptr ? &asked : nullptr, in.bank->part_count());
    if (!wanted) return keep_error(wanted.failure());
    query.rule = &*wanted;
    query.after = asked.after;
    query.restorable = asked.restorable;
    if (in.bank->blocks->keys.any_withheld()) query.now_ns = self.now();
    const auto found = in.bank->blocks->keys.match(query);
    if (!found) return keep_error(found.failure());
    *hit_count = *found;
    for (uint32_t i = 0; i < count && state != nullptr; ++i) {
      state[i] = state_of(self.engine(), *in.bank, views[i]);
    }
    return CUBBY_OK;
  });
}
