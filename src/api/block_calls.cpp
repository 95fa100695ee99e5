// Put and get: copies between blocks and the caller's memory.
//
// The calling thread copies. A put holds the pump to get a frame and to publish, not while it
// copies; one that is to outlive the process goes on as a request until it is stored, and past the
// tiers (CUBBY_BYPASS) it is written from the caller's memory, where that lies on pages. A get of a
// block in host memory takes no lock but where a region is named: it finds the locker by its key,
// pins it, and asks once more whether the key still has that locker, for a number is used again.
// Blocks that are on disk alone are read and copied by a request.
#include "api/block_calls.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <thread>

#include "api/block_requests.hpp"
#include "api/guard.hpp"
#include "api/spans.hpp"
#include "base/mutant.hpp"
#include "base/streaming_copy.hpp"
#include "engine/on_pages.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

using ull = unsigned long long;
using residency::locker_bank;

/// How long a put waits for another of the same key, and for frames whose blocks are being stored.
constexpr uint64_t join_patience_ns = 1'000'000'000;
constexpr uint64_t store_patience_ns = 10'000'000'000;

// ---- put -------------------------------------------------------------------------------------

/// Blocks of a call that outlive the process begin to be written while the rest is copied, so that
/// the device does not wait for the last one's copy; and before the call waits, for that may be for
/// one of them.
class early_writes {
 public:
  early_writes(runtime &self, rest_of_call &rest, engine::put_verb &verb)
      : self_(self), rest_(rest), verb_(verb) {}

  [[nodiscard]] bool begun() const { return begun_; }
  /// So much has been copied since, of the items up to this one.
  void copied(uint32_t item, uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ < least_bytes || item + 1 == verb_.items.size()) return;
    begin_before(item + 1);
  }
  /// Those of the items before this one. False: there was none.
  bool begin_before(uint32_t item) {
    bytes_ = 0;
    const auto end = std::min(item, static_cast<uint32_t>(verb_.items.size()));
    if (next_ >= end) return false;
    // Once something has begun, nothing may fail before the request has it.
    rest_.request().items.reserve(verb_.items.size());
    {
      const auto lock = self_.hold_pump();
      for (; next_ < end; ++next_) {
        if (!verb_.comes_from_device(next_)) begin(verb_.items[next_]);
      }
    }
    self_.kick();
    return true;
  }

 private:
  static constexpr uint64_t least_bytes = 1 << 20;  // of a large I/O

  void begin(engine::put_item &one) {
    if (!one.block) return;
    one.job = self_.engine().stored.begin_write(std::move(*one.block));
    one.block.reset();
    begun_ = true;
  }

  runtime &self_;
  rest_of_call &rest_;
  engine::put_verb &verb_;
  uint64_t bytes_ = 0;
  uint32_t next_ = 0;
  bool begun_ = false;
};

class put_call {
 public:
  /// `call`: 0, or what an earlier item of the same call left there. `before_bytes`: of those items
  /// that are to be stored.
  /// `device`: the memory is a device's, and a request copies it.
  put_call(runtime &self, const cubby_item &item, uint32_t index,
           std::span<const memory_piece> from, bool device, const cubby_how &how, uint64_t &call,
           uint64_t before_bytes, early_writes &early)
      : self_(self),
        item_(item),
        index_(index),
        pieces_(from),
        device_(device),
        how_(how),
        call_(call),
        before_bytes_(before_bytes),
        early_(early) {}

  /// Is the block to be written to its store from the caller's memory, which then has to stay as it
  /// is until that is over?
  [[nodiscard]] bool goes_past_memory() const {
    return place_.bank != nullptr && !place_.has_frame();
  }

  /// PENDING: `later` is to be copied or stored, and then found.
  result<cubby_status> run(std::optional<engine::block_write> &later) {
    auto name = read_name(self_, item_, index_);
    if (!name) return name.failure();
    bank_ = name->bank;
    if (item_.at_bytes != 0) {
      return fail(CUBBY_ERR_INVALID,
                  "item %u: a put writes a block from its first byte on; set at_bytes to 0",
                  index_);
    }
    space_ = name->space;
    if (auto fits = check_length(); !fits) return fits.failure();
    auto started = start();
    if (!started) return started.failure();
    if (*started == engine::blocks::start::known) return CUBBY_OK;
    if (*started == engine::blocks::start::full) {
      return fail(
          CUBBY_ERR_BUSY,
          "item %u: bank %s has no room just now: what is there is pinned, leased or on its "
          "way; unpin some, or add memory or columns",
          index_, bank_->desc().name);
    }
    return copy_and_publish(later);
  }

 private:
  result<engine::blocks::start> start() {
    using begin = engine::blocks::start;
    const uint64_t since_ns = base::now_ns();
    const engine::stored_blocks &stored = self_.engine().stored;
    const engine::request_table &requests = self_.engine().requests;
    for (;;) {
      const uint64_t ended = stored.ended_count();
      // Blocks of puts that the runtime has not taken up yet are about to be stored.
      const bool coming = requests.has_accepted();
      bool copies_begun = false, storing = false;
      auto begun = try_start(copies_begun, storing);
      const bool storing_it = storing && (!begun || *begun == begin::known);
      if (copies_begun || storing_it) self_.kick();  // what makes room is copied down
      if (!begun || *begun == begin::begun || *begun == begin::known) return begun;
      const bool waits = (how_.flags & CUBBY_NO_WAIT) == 0;
      // It may be for an earlier item of this call: its key, or its frame.
      if (waits && early_.begin_before(index_)) continue;
      if (*begun == begin::full && !((storing || coming) && waits)) return begun;
      const uint64_t waited_ns = base::now_ns() - since_ns;
      if (*begun == begin::full && waited_ns > store_patience_ns) return begun;
      // Its own call's earlier write of the key ends when the disk has had those before it.
      const uint64_t patience_ns = early_.begun() ? store_patience_ns : join_patience_ns;
      if (*begun == begin::joined && (!waits || waited_ns > patience_ns)) {
        return fail(CUBBY_ERR_BUSY,
                    "item %u: another put of the same key, or a pin, lease or read of the block "
                    "whose place it takes, has not ended; end that, and put again",
                    index_);
      }
      // Each try holds the pump, which is to bring the end of what is waited for.
      do {
        if (self_.caller_pump() && self_.try_advance(0, nullptr, runtime::effort::all)) continue;
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      } while (*begun == begin::full && stored.ended_count() == ended &&
               requests.has_accepted() == coming && base::now_ns() - since_ns < store_patience_ns);
    }
  }

  result<engine::blocks::start> try_start(bool &copies_begun, bool &storing) {
    engine::parts &engine = self_.engine();
    const auto lock = self_.hold_pump();
    if (is_stored_first(how_.keep)) {
      if (auto why = engine.stored.why_not_stored(*bank_, space_)) {
        storing = why->status == CUBBY_ERR_BUSY;  // the pump has something to do for it
        return *why;
      }
    }
    directory::put_request request;
    request.space = space_;
    request.key = item_.key;
    request.parent = item_.parent;
    request.keep = how_.keep;
    request.parts = parts_reached(*bank_, transfer::bytes_of(pieces_));
    engine.state.now_ns = self_.now();
    engine.puts.expire(engine.state.now_ns);
    if (call_ == 0) call_ = engine.state.next_sequence();
    auto begun = engine.puts.begin(*bank_, request, place_, call_, {.none = may_go_past_memory()});
    copies_begun = !engine.table.empty();
    storing = engine.stored.busy();
    return begun;
  }

  [[nodiscard]] bool may_go_past_memory() const {
    // Each piece is an I/O of its own; small ones cost more than a copy.
    constexpr size_t pieces_max = 256;
    constexpr uint64_t least_piece_bytes = 16 << 10;
    return !device_ && (how_.flags & CUBBY_BYPASS) != 0 && is_stored_first(how_.keep) &&
           pieces_.size() <= pieces_max && self_.engine().state.config.verify &&
           engine::lies_on_pages(*bank_, pieces_, least_piece_bytes, 1);
  }

  result<void> check_length() const {
    const uint64_t bytes = transfer::bytes_of(pieces_);
    const uint64_t most = block_bytes_of(*bank_);
    if (bytes <= most) return {};
    error why = fail(CUBBY_ERR_INVALID, "item %u: %llu bytes, and a block of bank %s holds %llu",
                     index_, static_cast<ull>(bytes), bank_->desc().name, static_cast<ull>(most));
    why.needed_bytes = bytes;
    return why;
  }

  result<cubby_status> copy_and_publish(std::optional<engine::block_write> &later) {
    const std::string_view parent =
        item_.parent == nullptr ? std::string_view() : directory::text_of(*item_.parent);
    engine::block_write whole;
    try {
      whole = {place_,
               space_,
               std::string(directory::text_of(item_.key)),
               std::string(parent),
               how_.keep,
               {},
               group()};
      if (device_) {
        later = std::move(whole);
        return CUBBY_PENDING;
      }
      if (place_.has_frame() && streams()) {
        self_.engine().puts.settle(place_, pieces_);
        stream_frame();
      } else if (place_.has_frame()) {
        write_frame();
        self_.engine().puts.settle(place_, transfer::bytes_of(pieces_));
      } else {
        self_.engine().puts.settle(place_, pieces_);
        for (const memory_piece &one : pieces_) whole.from.push_back({one.at, one.bytes});
      }
    } catch (...) {
      const auto lock = self_.hold_pump();
      self_.engine().puts.abandon(place_, space_, parent);
      throw;
    }
    return finish_block(self_, std::move(whole), later);
  }

  /// Blocks of a call are acknowledged together. Of a long call so many bytes at a time, for their
  /// frames are free only then.
  [[nodiscard]] uint64_t group() const noexcept {
    constexpr uint64_t bytes_max = uint64_t{16} << 20;
    constexpr uint32_t parts_bits = 16;
    return call_ << parts_bits | (before_bytes_ / bytes_max & ((1u << parts_bits) - 1));
  }

  /// Is the block large, and in large pieces? Then its digest brings it into the processor's cache,
  /// and from there it is copied past it: half the time of a copy whose digest is made in the
  /// frame.
  [[nodiscard]] bool streams() const {
    constexpr uint64_t least_bytes = 64 << 10, least_piece_bytes = 4 << 10;
    const uint64_t bytes = transfer::bytes_of(pieces_);
    return bank_->part_count() == 1 && bytes >= least_bytes &&
           bytes >= pieces_.size() * least_piece_bytes;
  }

  void stream_frame() const {
    const auto all =
        self_.engine().state.tiers.pieces(*bank_, place_.tier, place_.frame, place_.number);
    std::byte *to = all[0].at;
    for (const memory_piece &one : pieces_) {
      base::streaming_copy(to, one.at, one.bytes);
      to += one.bytes;
    }
    transfer::clear_behind({all.data(), 1}, transfer::bytes_of(pieces_));
  }

  void write_frame() const {
    const uint64_t bytes = transfer::bytes_of(pieces_);
    const auto all =
        self_.engine().state.tiers.pieces(*bank_, place_.tier, place_.frame, place_.number);
    const std::span<const memory_piece> parts(all.data(), bank_->part_count());
    transfer::copy_pieces(pieces_, transfer::locker_pieces(parts, 0, bytes));
    transfer::clear_behind(parts, bytes);
  }

  runtime &self_;
  const cubby_item &item_;
  const uint32_t index_;
  const std::span<const memory_piece> pieces_;
  const bool device_;
  const cubby_how &how_;
  uint64_t &call_;
  const uint64_t before_bytes_;
  early_writes &early_;
  locker_bank *bank_ = nullptr;
  uint32_t space_ = 0;
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
    named.space = residency::block_number_mark;
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
  /// `device`: the memory is a device's, and a request copies there.
  get_call(runtime &self, const cubby_item &item, uint32_t index,
           std::span<const memory_piece> into, bool device, uint32_t shard,
           engine::used_blocks &used)
      : self_(self),
        item_(item),
        index_(index),
        into_(into),
        device_(device),
        shard_(shard),
        used_(used) {}

  struct elsewhere {
    locker_bank *bank = nullptr;
    directory::key_view seen;
  };

  /// MISS leaves the destination untouched. PENDING: it has to be read, or copied to a device;
  /// `later` says which block.
  result<cubby_status> run(elsewhere &later) {
    auto name = read_name(self_, item_, index_);
    if (!name) return name.failure();
    locker_bank &bank = *name->bank;
    // A block that moves between tiers, or whose number is used again meanwhile, is looked up anew;
    // one that goes on moving, or is where threads cannot read it, is brought by a request.
    constexpr uint32_t tries_max = 64;
    for (uint32_t i = 0;; ++i) {
      const auto seen = bank.blocks->keys.find(name->space, item_.key);
      if (!seen) return seen.failure();
      if (seen->present == 0) return CUBBY_MISS;
      auto copied = device_ ? result<bool>(false) : copy_from(bank, *seen);
      if (!copied || *copied) return copied ? result<cubby_status>(CUBBY_OK) : copied.failure();
      const bool moves = i == tries_max;
      if (bank.blocks->is_stored(seen->locker) || moves || device_) {
        if (auto fits = check_range(bank, seen->locker); !fits) {
          if (!bank.blocks->keys.still_holds(*seen) && !moves) continue;
          return fits.failure();
        }
        later = {&bank, *seen};
        note_use(bank, seen->locker);
        return CUBBY_PENDING;
      }
      if (!self_.engine().state.tiers.have_in_memory(bank, seen->locker)) return CUBBY_MISS;
      std::this_thread::yield();
    }
  }

 private:
  /// False when it is in no tier just now, or not the key's any more.
  result<bool> copy_from(const locker_bank &bank, const directory::key_view &seen) {
    const uint64_t bytes = transfer::bytes_of(into_);
    engine::parts &engine = self_.engine();
    for (uint32_t tier = 0; tier < engine.state.tiers.count(); ++tier) {
      const engine::tier_slot &slot = engine.state.tiers[tier];
      if (slot.memory == nullptr || !slot.memory->readable()) continue;
      block_pin held(self_, shard_);
      const uint32_t number = CUBBY_MUTANT(neighbour_bytes) ? seen.locker ^ 1 : seen.locker;
      const cubby_status status = held.take(bank, number, tier);
      if (status == CUBBY_MISS) continue;
      if (status != CUBBY_OK) {
        return fail(status, "item %u: as many pin sets are held as there is room for; unpin some",
                    index_);
      }
      if (!bank.blocks->keys.still_holds(seen)) return false;
      if (auto fits = check_range(bank, seen.locker); !fits) return fits.failure();
      const auto parts = parts_at(bank, held.addresses.data());
      transfer::copy_pieces(
          transfer::locker_pieces({parts.data(), bank.part_count()}, item_.at_bytes, bytes), into_);
      engine.feed.shard(shard_).hits[tier].fetch_add(1, std::memory_order_relaxed);
      note_use(bank, seen.locker);
      return true;
    }
    return false;
  }

  result<void> check_range(const locker_bank &bank, uint32_t number) const {
    const uint64_t bytes = transfer::bytes_of(into_), length = bank.blocks->length(number);
    if (item_.at_bytes <= length && bytes <= length - item_.at_bytes) return {};
    return fail(CUBBY_ERR_INVALID,
                "item %u: bytes %llu to %llu were asked for, and the block has %llu", index_,
                static_cast<ull>(item_.at_bytes), static_cast<ull>(item_.at_bytes + bytes),
                static_cast<ull>(length));
  }

  void note_use(const locker_bank &bank, uint32_t number) const {
    bank.blocks->mark_used(number);
    used_.add(bank.handle, number);
  }

  runtime &self_;
  const cubby_item &item_;
  const uint32_t index_;
  const std::span<const memory_piece> into_;
  const bool device_;
  const uint32_t shard_;
  engine::used_blocks &used_;
};

// ---- batches ---------------------------------------------------------------------------------

/// What of a put is not over when its items have been gone through.
struct put_rest {
  put_rest(runtime &self, rest_of_call &rest) : early(self, rest, verb) {}

  engine::put_verb verb;
  early_writes early;
  uint64_t call = 0;
  device_regions devices;
  uint64_t copied_bytes = 0;  // of the item gone through last, where it is to be written yet
  uint64_t stored_bytes = 0;  // of all such items
};

result<cubby_status> put_one(runtime &self, const cubby_item &item, uint32_t i, uint32_t count,
                             const cubby_how &how, rest_of_call &rest, stream_order &order,
                             put_rest &left) {
  left.copied_bytes = 0;
  item_memory memory(self, item, i, &left.devices);
  if (!memory.pieces) return memory.pieces.failure();
  const bool device = memory.device_tier != engine::no_tier;
  if (auto taken = order.take(memory.device_tier, i); !taken) return taken.failure();
  if (device) {  // what it takes to go on is there before the put begins
    if (auto wanted = rest.want(); !wanted) return wanted.failure();
    left.verb.items.resize(count);
    left.verb.from.resize(count);
    memory.lend_to(left.verb.from[i].in_use);
  }
  std::optional<engine::block_write> later;
  put_call put(self, item, i, *memory.pieces, device, how, left.call, left.stored_bytes,
               left.early);
  auto ended = put.run(later);
  if (!later) {
    if (device) left.verb.from[i].in_use.release();
    return ended;
  }
  left.verb.items[i] = engine::put_item(std::move(*later));
  if (device) {
    left.verb.from[i].pieces = std::move(*memory.pieces);
    left.verb.from[i].tier = memory.device_tier;
  } else {
    if (put.goes_past_memory()) memory.lend_to(left.verb.in_use);
    left.copied_bytes = transfer::bytes_of(*memory.pieces);
    left.stored_bytes += left.copied_bytes;
  }
  return ended;
}

cubby_status put_all(runtime &self, const cubby_item *items, uint32_t count, const cubby_how &how,
                     cubby_ticket *ticket) {
  batch all(how, count);
  rest_of_call rest(self, how);
  stream_order order(self, how);
  put_rest left(self, rest);
  if (is_stored_first(how.keep)) {
    if (auto wanted = rest.want(); !wanted) return keep_error(wanted.failure());
    left.verb.items.resize(count);
  }
  uint32_t i = 0;
  try {
    for (; i < count; ++i) {
      all.ended(i, put_one(self, items[i], i, count, how, rest, order, left));
      if (left.copied_bytes != 0) left.early.copied(i, left.copied_bytes);
    }
  } catch (...) {
    for (uint32_t k = 0; k < left.verb.items.size(); ++k) {
      if (k >= i || left.verb.items[k].block) all.ran_out(k);
    }
    abandon_blocks(self, left.verb.items);
    if (!left.early.begun()) throw;
  }
  if (!all.is_pending()) return all.result_now();
  return rest.submit_put(all, std::move(left.verb), ticket, &order);
}

/// What of a get is not over when its items have been gone through.
struct get_rest {
  engine::get_verb verb;
  std::vector<get_call::elsewhere> blocks;  // one an item
  device_regions devices;
};

/// Is there a copy that needs no reading?
bool is_in_host_memory(runtime &self, const get_call::elsewhere &block) {
  const engine::tier_set &tiers = self.engine().state.tiers;
  for (uint32_t t = 0; t < tiers.count(); ++t) {
    if (tiers[t].memory == nullptr || !tiers[t].memory->readable()) continue;
    if (block.bank->word(t, block.seen.locker).look().state == residency::locker_state::ready) {
      return true;
    }
  }
  return false;
}

result<cubby_status> get_one(runtime &self, const cubby_item &item, uint32_t i, uint32_t count,
                             uint32_t shard, const cubby_how &how, uint32_t tier,
                             engine::used_blocks &used, rest_of_call &rest, stream_order &order,
                             get_rest &left) {
  item_memory memory(self, item, i, &left.devices);
  if (!memory.pieces) return memory.pieces.failure();
  const bool device = memory.device_tier != engine::no_tier;
  if (auto taken = order.take(memory.device_tier, i); !taken) return taken.failure();
  get_call::elsewhere later;
  auto ended = get_call(self, item, i, *memory.pieces, device, shard, used).run(later);
  if (!ended || *ended != CUBBY_PENDING) return ended;
  const bool waits = (how.flags & CUBBY_NO_WAIT) == 0 || (device && is_in_host_memory(self, later));
  if (!waits || tier == engine::no_tier) return CUBBY_MISS;
  if (auto wanted = rest.want(); !wanted) return wanted.failure();
  left.verb.targets.resize(count);
  left.blocks.resize(count);
  engine::get_target &target = left.verb.targets[i];
  memory.lend_to(device ? target.in_use : left.verb.in_use);
  target.into = std::move(*memory.pieces);
  target.at_bytes = item.at_bytes;
  target.device = memory.device_tier;
  left.blocks[i] = later;
  return ended;
}

cubby_status get_all(runtime &self, const cubby_item *items, uint32_t count, const cubby_how &how,
                     uint32_t shard, cubby_ticket *ticket) {
  batch all(how, count);
  rest_of_call rest(self, how);
  stream_order order(self, how);
  get_rest left;
  const uint32_t tier = reading_tier(self.engine());
  engine::used_blocks used(self.engine().feed.shard(shard));
  for (uint32_t i = 0; i < count; ++i) {
    all.ended(i, get_one(self, items[i], i, count, shard, how, tier, used, rest, order, left));
  }
  if (!all.is_pending()) return all.result_now();
  engine::request &r = rest.request();
  all.hand_over(r);
  for (uint32_t i = 0; i < count; ++i) {
    if (left.blocks[i].bank == nullptr) continue;
    r.items[i].bank = left.blocks[i].bank;
    r.items[i].number = left.blocks[i].seen.locker;
    r.items[i].seen = left.blocks[i].seen;
  }
  used.record();
  return rest.submit(std::move(left.verb), tier, ticket, &order);
}

/// `begin(how, ticket)` does what can be done at once. Without ticket and queue the call waits for
/// the rest.
template <class Begin>
cubby_status copy_blocks(cubby_handle *rt, const char *call, const cubby_item *items,
                         uint32_t count, const cubby_how *how, cubby_ticket *ticket,
                         const Begin &begin) {
  if (ticket != nullptr) *ticket = 0;
  cubby_ticket made = 0;
  bool waits = false;
  const auto begun = [&]() -> cubby_status {
    CUBBY_ENTER(rt);
    if (items == nullptr || count == 0 || count > items_max) {
      CUBBY_REFUSE("%s: items is NULL, or count %u is not 1 to %u", call, count, items_max);
    }
    return guarded([&]() -> cubby_status {
      auto asked = read_block_how(self, how, order_of::streams);
      if (!asked) return keep_error(asked.failure());
      waits = ticket == nullptr && asked->cq == nullptr;
      return begin(self, entered.shard_index, *asked, &made);
    });
  }();
  if (begun == CUBBY_PENDING && waits) return wait_for_end(rt, made);
  if (ticket != nullptr) *ticket = made;
  return begun;
}

}  // namespace

cubby_status cubby_put(cubby_handle *rt, const cubby_item *items, uint32_t count,
                       const cubby_how *how, cubby_ticket *ticket) {
  return copy_blocks(rt, "cubby_put", items, count, how, ticket,
                     [&](runtime &self, uint32_t, const cubby_how &asked, cubby_ticket *made) {
                       return put_all(self, items, count, asked, made);
                     });
}

cubby_status cubby_get(cubby_handle *rt, const cubby_item *items, uint32_t count,
                       const cubby_how *how, cubby_ticket *ticket) {
  return copy_blocks(
      rt, "cubby_get", items, count, how, ticket,
      [&](runtime &self, uint32_t shard, const cubby_how &asked, cubby_ticket *made) {
        return get_all(self, items, count, asked, shard, made);
      });
}

cubby_status cubby::api::drop_blocks(runtime &self, const cubby_item *items, uint32_t count,
                                     cubby_tier tier) {
  const uint32_t only = tier == 0 ? engine::no_tier : self.engine().state.tiers.find(tier);
  if (tier != 0 && only == engine::no_tier) {
    return keep_error(fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier));
  }
  uint32_t held_count = 0;
  for (uint32_t i = 0; i < count; ++i) {
    auto name = read_name(self, items[i], i);
    if (!name) return keep_error(name.failure());
    const auto lock = self.hold_pump();
    self.engine().puts.expire_all(self.now());
    const auto seen = name->bank->blocks->keys.find(name->space, items[i].key);
    if (!seen) return keep_error(seen.failure());
    if (seen->locker == directory::no_locker) continue;
    if (auto dropped = self.engine().puts.drop(*name->bank, *seen, only); !dropped) {
      keep_error(dropped.failure());
      ++held_count;
    }
  }
  self.kick();  // others may wait for the room
  return held_count == 0 ? CUBBY_OK : CUBBY_ERR_BUSY;
}
