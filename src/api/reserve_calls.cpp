// Blocks written in place: reserve gives frames, commit makes them found.
#include <algorithm>

#include "api/block_requests.hpp"
#include "api/guard.hpp"
#include "api/reservations.hpp"
#include "base/checked.hpp"
#include "base/mutant.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

using ull = unsigned long long;

void give_up(runtime &self, std::span<const reserved_block> blocks) {
  {
    const auto lock = self.hold_pump();
    for (const reserved_block &one : blocks) {
      if (one.what) self.engine().puts.abandon(*one.what);
    }
  }
  self.kick();  // others may wait for the room
}

class reserve_call {
 public:
  reserve_call(runtime &self, const cubby_item *items, uint32_t count, uint32_t tier, uint8_t keep,
               void **addr)
      : self_(self), items_(items), count_(count), tier_(tier), keep_(keep), addr_(addr) {
    blocks_.resize(count);
  }

  /// All frames or none.
  cubby_status run(int8_t *item_status, cubby_pins *pins) {
    try {
      const cubby_status status = take_all();
      if (status == CUBBY_OK) {
        const auto lock = self_.hold_pump();
        *pins = self_.reservations.add(std::move(blocks_), self_.next_region_mark());
      } else {
        give_up(self_, blocks_);
        return status;
      }
    } catch (...) {
      give_up(self_, blocks_);
      throw;
    }
    if (storing_) self_.kick();
    for (uint32_t i = 0; i < count_ && item_status != nullptr; ++i) item_status[i] = CUBBY_OK;
    return CUBBY_OK;
  }

 private:
  cubby_status take_all() {
    size_t at = 0;  // in the caller's addresses
    for (uint32_t i = 0; i < count_; ++i) {
      auto name = read_name(self_, items_[i], i);
      if (!name) return keep_error(name.failure());
      const residency::locker_bank &bank = *name->bank;
      if (items_[i].at_bytes != 0) {
        CUBBY_REFUSE("item %u: a block is written from its first byte on; set at_bytes to 0", i);
      }
      const uint64_t length = length_of(items_[i]);
      if (length > block_bytes_of(bank)) {
        CUBBY_REFUSE("item %u: %llu bytes, and a block of bank %s holds %llu", i,
                     static_cast<ull>(length), bank.desc().name,
                     static_cast<ull>(block_bytes_of(bank)));
      }
      blocks_[i].keep = keep_;
      blocks_[i].length_bytes = length == 0 ? block_bytes_of(bank) : length;
      auto begun = begin(*name, i);
      if (!begun) return keep_error(begun.failure());
      using start = engine::blocks::start;
      if (*begun == start::joined) return keep_error(why_joined(*name, i));
      if (*begun == start::full) return keep_error(why_full(*name, i));
      for (uint32_t p = 0; p < bank.part_count(); ++p) {
        addr_[at++] = *begun == start::known ? nullptr : address(*blocks_[i].what, p);
      }
    }
    return CUBBY_OK;
  }

  result<engine::blocks::start> begin(const named_block &name, uint32_t i) {
    engine::block_write what;
    what.space = name.space;
    what.keep = keep_;
    what.key = directory::text_of(items_[i].key);
    if (items_[i].parent != nullptr) what.parent = directory::text_of(*items_[i].parent);
    directory::put_request request;
    request.space = name.space;
    request.key = items_[i].key;
    request.parent = items_[i].parent;
    request.keep = keep_;
    request.parts = parts_reached(*name.bank, blocks_[i].length_bytes);
    engine::parts &engine = self_.engine();
    const auto lock = self_.hold_pump();
    engine.state.now_ns = self_.now();
    engine.puts.expire_all(engine.state.now_ns);
    if (call_ == 0) call_ = engine.state.next_sequence();
    auto begun = engine.puts.begin(*name.bank, request, what.at, call_, {.only_tier = tier_});
    if (begun && *begun == engine::blocks::start::begun) {
      if (CUBBY_MUTANT(publish_reserved)) engine.puts.publish(what.at);
      blocks_[i].what = std::move(what);
    }
    storing_ =
        storing_ || (begun && *begun == engine::blocks::start::known && engine.stored.busy());
    return begun;
  }

  static uint64_t length_of(const cubby_item &item) {
    uint64_t length = 0;
    for (uint32_t s = 0; s < item.span_count && item.spans != nullptr; ++s) {
      length = base::saturating_add(length, item.spans[s].bytes);
    }
    return length;
  }

  [[nodiscard]] error why_joined(const named_block &name, uint32_t i) const {
    for (uint32_t k = 0; k < i; ++k) {
      const auto &before = blocks_[k].what;
      const bool same = before && before->at.bank == name.bank && before->space == name.space &&
                        before->key == directory::text_of(items_[i].key);
      if (!same) continue;
      return fail(CUBBY_ERR_INVALID, "item %u has the key of item %u; name each block once", i, k);
    }
    return fail(CUBBY_ERR_BUSY,
                "item %u: another put or reservation of the same key, or a pin, lease or read of "
                "the block whose place it takes, has not ended; end that, and try again",
                i);
  }

  /// No room: just now, or is it for the blocks of this reservation alone already?
  [[nodiscard]] error why_full(const named_block &name, uint32_t i) const {
    const auto lock = self_.hold_pump();  // a resize changes budgets
    const engine::tier_slot &in = self_.engine().state.tiers[tier_];
    uint64_t own_bytes = 0;
    uint32_t of_bank = 0;
    const auto add = [&](const residency::locker_bank &bank, uint32_t number) {
      own_bytes += in.memory->cost_bytes(bank.frame_bytes_in(tier_, number));
      if (&bank == name.bank) ++of_bank;
    };
    for (uint32_t k = 0; k < i; ++k) {
      if (blocks_[k].what) add(*blocks_[k].what->at.bank, blocks_[k].what->at.number);
    }
    add(*name.bank, 0);
    if (of_bank > name.bank->count()) {
      return fail(CUBBY_ERR_BUDGET,
                  "item %u: the reservation is of more blocks than the %llu of bank %s; reserve "
                  "fewer together, or give the bank more columns",
                  i, static_cast<ull>(name.bank->count()), name.bank->desc().name);
    }
    if (own_bytes > in.memory->budget_bytes()) {
      error why = fail(CUBBY_ERR_BUDGET,
                       "item %u: the reservation takes %llu bytes up to here, and the budget of "
                       "tier %s is %llu; reserve fewer blocks together, or raise it",
                       i, static_cast<ull>(own_bytes), in.name.c_str(),
                       static_cast<ull>(in.memory->budget_bytes()));
      why.needed_bytes = own_bytes;
      why.tier = in.handle;
      return why;
    }
    return fail(CUBBY_ERR_BUSY,
                "item %u: bank %s has no room just now: what is there is pinned, leased, reserved "
                "or on its way; end some of that, drain, and try again",
                i, name.bank->desc().name);
  }

  void *address(const engine::block_write &what, uint32_t part) const {
    const engine::block_place &at = what.at;
    return self_.engine().state.tiers.address(*at.bank, at.tier, at.frame, at.number, part);
  }

  runtime &self_;
  const cubby_item *const items_;
  const uint32_t count_, tier_;
  uint64_t call_ = 0;  // of all its items, for the policies
  const uint8_t keep_;
  bool storing_ = false;  // a block that was known may be on its way to its store
  void **const addr_;
  std::vector<reserved_block> blocks_;
};

/// One block of a commit. Nothing is left reserved.
result<cubby_status> commit_block(runtime &self, reserved_block &block, uint8_t keep,
                                  std::optional<engine::block_write> &later) {
  if (!block.what) {
    if (keep <= block.keep || keep < CUBBY_KEEP_RESTART) return CUBBY_OK;
    return fail(
        CUBBY_ERR_INVALID,
        "a block of the reservation was known already and nothing was reserved for it, so it "
        "does not live longer than cubby_reserve asked for; say keep there");
  }
  engine::block_write what = std::move(*block.what);
  block.what.reset();
  if (keep >= CUBBY_KEEP_RESTART) what.keep = std::max(what.keep, keep);
  if (is_stored_first(what.keep)) {
    const auto lock = self.hold_pump();
    if (auto why = self.engine().stored.why_not_stored(*what.at.bank, what.space)) {
      self.engine().puts.abandon(what);
      return *why;
    }
  }
  self.engine().puts.settle_written(what.at, block.length_bytes);
  return finish_block(self, std::move(what), later);
}

cubby_status commit_all(runtime &self, std::vector<reserved_block> &blocks, const cubby_how &how,
                        rest_of_call &rest, cubby_ticket *ticket) {
  engine::put_verb verb;
  try {
    batch all(how, static_cast<uint32_t>(blocks.size()));
    verb.items.resize(blocks.size());
    for (uint32_t i = 0; i < blocks.size(); ++i) {
      std::optional<engine::block_write> later;
      all.ended(i, commit_block(self, blocks[i], how.keep, later));
      if (later) verb.items[i] = engine::put_item(std::move(*later));
    }
    if (!all.is_pending()) return all.result_now();
    return rest.submit_put(all, std::move(verb), ticket);
  } catch (...) {
    abandon_blocks(self, verb.items);
    give_up(self, blocks);
    throw;
  }
}

}  // namespace

cubby_status cubby_reserve(cubby_handle *rt, const cubby_item *items, uint32_t count,
                           cubby_tier tier, const cubby_how *how, cubby_pins *pins, void **addr,
                           cubby_ticket *ticket) {
  CUBBY_ENTER(rt);
  if (items == nullptr || pins == nullptr || addr == nullptr || count == 0 || count > items_max) {
    CUBBY_REFUSE("cubby_reserve: items, pins or addr is NULL, or count %u is not 1 to %u", count,
                 items_max);
  }
  *pins = 0;
  if (ticket != nullptr) *ticket = 0;
  return guarded([&]() -> cubby_status {
    auto asked = read_block_how(self, how);
    if (!asked) return keep_error(asked.failure());
    const uint32_t slot = self.engine().state.tiers.find(tier);
    if (slot == engine::no_tier) {
      return keep_error(fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier));
    }
    const engine::tier_slot &in = self.engine().state.tiers[slot];
    if (in.memory == nullptr || !in.memory->host_addressable()) {
      return keep_error(fail(CUBBY_ERR_NOT_SUPPORTED,
                             "tier %s: the processor cannot write there; reserve in a tier of host "
                             "memory",
                             in.name.c_str()));
    }
    return reserve_call(self, items, count, slot, asked->keep, addr).run(asked->item_status, pins);
  });
}

cubby_status cubby_commit(cubby_handle *rt, cubby_pins pins, uint32_t first, uint32_t count, int ok,
                          const cubby_how *how, cubby_ticket *ticket) {
  if (ticket != nullptr) *ticket = 0;
  cubby_ticket made = 0;
  bool waits = false;
  const cubby_status begun = [&]() -> cubby_status {
    CUBBY_ENTER(rt);
    return guarded([&]() -> cubby_status {
      auto asked = read_block_how(self, how);
      if (!asked) return keep_error(asked.failure());
      waits = ticket == nullptr && asked->cq == nullptr;
      rest_of_call rest(self, *asked);
      const auto longest_keep = [&] {
        const auto lock = self.hold_pump();
        return std::max(self.reservations.longest_keep(pins), asked->keep);
      };
      if (ok != 0 && is_stored_first(longest_keep())) {
        if (auto wanted = rest.want(); !wanted) return keep_error(wanted.failure());
      }
      std::vector<reserved_block> blocks;
      {
        const auto lock = self.hold_pump();
        auto taken = self.reservations.take(pins, first, count);
        if (!taken) return keep_error(taken.failure());
        blocks = std::move(*taken);
      }
      if (ok == 0) {
        give_up(self, blocks);
        return CUBBY_OK;
      }
      return commit_all(self, blocks, *asked, rest, &made);
    });
  }();
  if (begun == CUBBY_PENDING && waits) return wait_for_end(rt, made);
  if (ticket != nullptr) *ticket = made;
  return begun;
}
