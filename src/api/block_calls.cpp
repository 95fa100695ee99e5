// Put and get: copies between blocks and the caller's memory, made by the calling thread.
//
// A put holds the pump to get a frame and to publish, not while it copies. A get of a block in host
// memory takes no lock but where a region is named: it finds the locker by its key, pins it, and
// asks once more whether the key still has that locker, for a number is used again.
#include "api/block_calls.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "api/guard.hpp"
#include "api/requests.hpp"
#include "api/spans.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

using ull = unsigned long long;
using residency::locker_bank;

/// How long a put waits for another of the same key.
constexpr uint64_t join_patience_ns = 1'000'000'000;

/// The caller's memory that an item names. Regions it names are not removed while this stands.
class item_memory {
 public:
  /// Takes the pump where the item names a region; it must not be held.
  item_memory(runtime &self, const cubby_item &item, uint32_t index) : self_(self), item_(item) {
    for (uint32_t i = 0; i < item.span_count && item.spans != nullptr; ++i) {
      names_region_ = names_region_ || item.spans[i].region != 0;
    }
    const auto lock = hold_if_needed();
    pieces = read_spans(self, item, index);
    count(1);
  }
  item_memory(const item_memory &) = delete;
  item_memory &operator=(const item_memory &) = delete;
  ~item_memory() {
    const auto lock = hold_if_needed();
    count(~0u);
  }

  result<std::vector<memory_piece>> pieces{std::vector<memory_piece>{}};

 private:
  std::unique_lock<std::mutex> hold_if_needed() {
    return names_region_ ? self_.hold_pump() : std::unique_lock<std::mutex>();
  }
  void count(uint32_t change) {
    for (uint32_t i = 0; names_region_ && i < item_.span_count; ++i) {
      region *const named = find_region(self_, item_.spans[i].region);
      if (named != nullptr) named->used += change;
    }
  }

  runtime &self_;
  const cubby_item &item_;
  bool names_region_ = false;
};

struct named_block {
  locker_bank *bank = nullptr;
  uint32_t space = 0;
};

result<named_block> read_name(runtime &self, const cubby_item &item, uint32_t index) {
  if (item.space == 0) {
    return fail(CUBBY_ERR_INVALID,
                "item %u names no space: blocks are put and got by their keys; pin lockers that "
                "are named by number",
                index);
  }
  const space_list::named in = self.spaces.find(item.space);
  if (in.bank == nullptr) {
    return fail(CUBBY_ERR_STALE, "item %u names space %u, which is not one of this runtime", index,
                item.space);
  }
  return named_block{in.bank, in.space};
}

std::array<memory_piece, CUBBY_PARTS_MAX> parts_at(const locker_bank &bank,
                                                   const void *const *addresses) {
  std::array<memory_piece, CUBBY_PARTS_MAX> parts{};
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    auto *const at = static_cast<std::byte *>(const_cast<void *>(addresses[p]));
    parts[p] = {at, bank.part_bytes(0, p)};
  }
  return parts;
}

uint64_t locker_bytes(const locker_bank &bank) {
  uint64_t bytes = 0;
  for (uint32_t p = 0; p < bank.part_count(); ++p) bytes += bank.part_bytes(0, p);
  return bytes;
}

// ---- put -------------------------------------------------------------------------------------

class put_call {
 public:
  put_call(runtime &self, const cubby_item &item, uint32_t index,
           std::span<const memory_piece> from, uint8_t keep)
      : self_(self), item_(item), index_(index), pieces_(from), keep_(keep) {}

  result<void> run() {
    auto name = read_name(self_, item_, index_);
    if (!name) return name.failure();
    bank_ = name->bank;
    if (item_.at_bytes != 0) {
      return fail(CUBBY_ERR_INVALID,
                  "item %u: a put writes a block from its first byte on; set at_bytes to 0",
                  index_);
    }
    if (auto fits = check_length(); !fits) return fits.failure();
    auto started = start(name->space);
    if (!started) return started.failure();
    if (*started == engine::blocks::start::known) return {};
    if (*started == engine::blocks::start::full) {
      return fail(
          CUBBY_ERR_BUSY,
          "item %u: bank %s has no room just now: what is there is pinned, leased or on its "
          "way; unpin some, or add memory or columns",
          index_, bank_->desc().name);
    }
    return copy_and_publish();
  }

 private:
  result<engine::blocks::start> start(uint32_t space) {
    const uint64_t until_ns = base::now_ns() + join_patience_ns;
    for (;;) {
      bool copies_begun = false;
      auto begun = try_start(space, copies_begun);
      if (copies_begun) self_.kick();  // what makes room is copied down
      if (!begun || *begun != engine::blocks::start::joined) return begun;
      if (base::now_ns() > until_ns) {
        return fail(CUBBY_ERR_BUSY,
                    "item %u: another put of the same key has not ended in a second; try again",
                    index_);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  result<engine::blocks::start> try_start(uint32_t space, bool &copies_begun) {
    engine::parts &engine = self_.engine();
    const auto lock = self_.hold_pump();
    directory::put_request request;
    request.space = space;
    request.key = item_.key;
    request.parent = item_.parent;
    request.keep = keep_;
    engine.state.now_ns = self_.now();
    engine.puts.expire(engine.state.now_ns);
    auto begun = engine.puts.begin(*bank_, request, place_);
    copies_begun = !engine.table.empty();
    return begun;
  }

  result<void> check_length() const {
    const uint64_t bytes = bytes_of(pieces_);
    const uint64_t most = locker_bytes(*bank_);
    if (bytes <= most) return {};
    error why = fail(CUBBY_ERR_INVALID, "item %u: %llu bytes, and a block of bank %s holds %llu",
                     index_, static_cast<ull>(bytes), bank_->desc().name, static_cast<ull>(most));
    why.needed_bytes = bytes;
    return why;
  }

  result<void> copy_and_publish() {
    engine::blocks &puts = self_.engine().puts;
    const uint64_t bytes = bytes_of(pieces_);
    std::vector<uint64_t> digests;
    try {
      write(bytes);
      digests = puts.digests_of(place_);
    } catch (...) {
      const auto lock = self_.hold_pump();
      puts.abandon(place_);
      throw;
    }
    const auto lock = self_.hold_pump();
    puts.publish(place_, bytes, digests);
    return {};
  }

  void write(uint64_t bytes) const {
    const engine::tier_set &tiers = self_.engine().state.tiers;
    std::array<const void *, CUBBY_PARTS_MAX> addresses{};
    for (uint32_t p = 0; p < bank_->part_count(); ++p) {
      addresses[p] = tiers.address(*bank_, place_.tier, place_.frame, place_.number, p);
    }
    const auto all = parts_at(*bank_, addresses.data());
    const std::span<const memory_piece> parts(all.data(), bank_->part_count());
    copy_pieces(pieces_, locker_pieces(parts, 0, bytes));
    clear_behind(parts, bytes);
  }

  runtime &self_;
  const cubby_item &item_;
  const uint32_t index_;
  const std::span<const memory_piece> pieces_;
  const uint8_t keep_;
  locker_bank *bank_ = nullptr;
  engine::block_place place_;
};

// ---- get -------------------------------------------------------------------------------------

/// A pin of one block in one tier, through a pin set as any other.
class block_pin {
 public:
  block_pin(runtime &self, uint32_t shard) : self_(self), shard_(shard) {}
  block_pin(const block_pin &) = delete;
  block_pin &operator=(const block_pin &) = delete;
  ~block_pin() {
    if (held_ == 0) return;
    bool wake = false;
    residency::pinning &pins = self_.engine().state.pins;
    if (!pins.unpin_whole(held_, 0, 0, shard_, wake)) wake = pins.unpin(held_, 0, 0, shard_).wake;
    if (wake) self_.kick();
  }

  /// MISS when it is not in the tier, BUSY when no pin set is left.
  cubby_status take(const locker_bank &bank, uint32_t number, uint32_t tier) {
    residency::pinning &pins = self_.engine().state.pins;
    residency::pin_set *const set = pins.take(shard_);
    if (set == nullptr) return CUBBY_ERR_BUSY;
    cubby_item named{};
    named.id = CUBBY_ID(bank.handle, number);
    const auto begun = pins.pin_first_row(*set, &named, 1, tier, 0, addresses.data());
    if (begun.pinned == 0) {
      pins.give_back(*set, shard_);
      return CUBBY_MISS;
    }
    held_ = pins.hold_all(*set, 1);
    return CUBBY_OK;
  }

  std::array<const void *, CUBBY_PARTS_MAX> addresses{};

 private:
  runtime &self_;
  const uint32_t shard_;
  cubby_pins held_ = 0;
};

class get_call {
 public:
  get_call(runtime &self, const cubby_item &item, uint32_t index,
           std::span<const memory_piece> into, uint32_t shard)
      : self_(self), item_(item), index_(index), into_(into), shard_(shard) {}

  /// MISS leaves the destination untouched.
  result<cubby_status> run() {
    auto name = read_name(self_, item_, index_);
    if (!name) return name.failure();
    const locker_bank &bank = *name->bank;
    // A block that moves between tiers, or whose number is used again meanwhile, is looked up anew.
    constexpr uint32_t tries_max = 64;
    for (uint32_t i = 0; i < tries_max; ++i) {
      const auto seen = bank.blocks->keys.find(name->space, item_.key);
      if (!seen) return seen.failure();
      if (seen->present == 0) return CUBBY_MISS;
      auto copied = copy_from(bank, *seen);
      if (!copied || *copied) return copied ? result<cubby_status>(CUBBY_OK) : copied.failure();
      if (!self_.engine().puts.is_in_memory(bank, seen->locker)) return CUBBY_MISS;
      std::this_thread::yield();
    }
    return CUBBY_MISS;
  }

 private:
  /// False when it is in no tier just now, or not the key's any more.
  result<bool> copy_from(const locker_bank &bank, const directory::key_view &seen) {
    const uint64_t bytes = bytes_of(into_);
    engine::parts &engine = self_.engine();
    for (uint32_t tier = 0; tier < engine.state.tiers.count(); ++tier) {
      const engine::tier_slot &slot = engine.state.tiers[tier];
      if (slot.memory == nullptr || !slot.memory->readable()) continue;
      block_pin held(self_, shard_);
      const cubby_status status = held.take(bank, seen.locker, tier);
      if (status == CUBBY_MISS) continue;
      if (status != CUBBY_OK) {
        return fail(status, "item %u: as many pin sets are held as there is room for; unpin some",
                    index_);
      }
      if (!bank.blocks->keys.still_holds(seen)) return false;
      const uint64_t length = bank.blocks->length(seen.locker);
      if (item_.at_bytes > length || bytes > length - item_.at_bytes) {
        return fail(CUBBY_ERR_INVALID,
                    "item %u: bytes %llu to %llu were asked for, and the block has %llu", index_,
                    static_cast<ull>(item_.at_bytes), static_cast<ull>(item_.at_bytes + bytes),
                    static_cast<ull>(length));
      }
      const auto parts = parts_at(bank, held.addresses.data());
      copy_pieces(locker_pieces({parts.data(), bank.part_count()}, item_.at_bytes, bytes), into_);
      engine::thread_shard &mine = engine.feed.shard(shard_);
      mine.hits[tier].fetch_add(1, std::memory_order_relaxed);
      engine::record_visit(mine, bank.handle, 1, [&](size_t) { return seen.locker; });
      return true;
    }
    return false;
  }

  runtime &self_;
  const cubby_item &item_;
  const uint32_t index_;
  const std::span<const memory_piece> into_;
  const uint32_t shard_;
};

/// What a batch comes to. Each item's status is final once it is written.
class batch {
 public:
  batch(const cubby_how &how, uint32_t count) : item_status_(how.item_status), count_(count) {}

  void ended(uint32_t item, cubby_status status, const error *why) {
    if (item_status_ != nullptr) {
      __atomic_store_n(&item_status_[item], static_cast<int8_t>(status), __ATOMIC_RELEASE);
    }
    if (status == CUBBY_OK) ++ok_count_;
    if (status == CUBBY_OK || first_ < 0) return;  // an error is worth more than a miss
    if (first_ == CUBBY_OK || status < 0) first_ = status;
    if (why != nullptr) keep_error(*why);
  }
  [[nodiscard]] cubby_status result() const {
    if (ok_count_ == count_) return CUBBY_OK;
    return ok_count_ == 0 ? first_ : CUBBY_PARTIAL;
  }

 private:
  int8_t *const item_status_;
  const uint32_t count_;
  uint32_t ok_count_ = 0;
  cubby_status first_ = CUBBY_OK;
};

template <class One>
cubby_status for_each_item(runtime &self, const char *call, const cubby_item *items, uint32_t count,
                           const cubby_how *how, cubby_ticket *ticket, const One &one) {
  if (items == nullptr || count == 0 || count > items_max) {
    CUBBY_REFUSE("%s: items is NULL, or count %u is not 1 to %u", call, count, items_max);
  }
  if (ticket != nullptr) *ticket = 0;
  return guarded([&]() -> cubby_status {
    auto asked = read_how(self, how);
    if (!asked) return keep_error(asked.failure());
    batch all(*asked, count);
    for (uint32_t i = 0; i < count; ++i) {
      const item_memory memory(self, items[i], i);
      result<cubby_status> ended = memory.pieces ? one(items[i], i, *memory.pieces, *asked)
                                                 : result<cubby_status>(memory.pieces.failure());
      if (ended) {
        all.ended(i, *ended, nullptr);
      } else {
        const error why = ended.failure();
        all.ended(i, why.status, &why);
      }
    }
    return all.result();
  });
}

}  // namespace

cubby_status cubby_put(cubby_handle *rt, const cubby_item *items, uint32_t count,
                       const cubby_how *how, cubby_ticket *ticket) {
  CUBBY_ENTER(rt);
  return for_each_item(self, "cubby_put", items, count, how, ticket,
                       [&](const cubby_item &item, uint32_t i, std::span<const memory_piece> from,
                           const cubby_how &asked) -> result<cubby_status> {
                         auto put = put_call(self, item, i, from, asked.keep).run();
                         if (!put) return put.failure();
                         return CUBBY_OK;
                       });
}

cubby_status cubby_get(cubby_handle *rt, const cubby_item *items, uint32_t count,
                       const cubby_how *how, cubby_ticket *ticket) {
  CUBBY_ENTER(rt);
  return for_each_item(
      self, "cubby_get", items, count, how, ticket,
      [&](const cubby_item &item, uint32_t i, std::span<const memory_piece> into,
          const cubby_how &) { return get_call(self, item, i, into, entered.shard_index).run(); });
}

cubby_status cubby::api::drop_blocks(runtime &self, const cubby_item *items, uint32_t count) {
  uint32_t held_count = 0;
  for (uint32_t i = 0; i < count; ++i) {
    auto name = read_name(self, items[i], i);
    if (!name) return keep_error(name.failure());
    const auto lock = self.hold_pump();
    const auto seen = name->bank->blocks->keys.find(name->space, items[i].key);
    if (!seen) return keep_error(seen.failure());
    if (seen->locker == directory::no_locker) continue;
    if (auto dropped = self.engine().puts.drop(*name->bank, *seen); !dropped) {
      keep_error(dropped.failure());
      ++held_count;
    }
  }
  self.kick();  // others may wait for the room
  return held_count == 0 ? CUBBY_OK : CUBBY_ERR_BUSY;
}
