#include "api/block_requests.hpp"

#include <cerrno>
#include <new>
#include <utility>

namespace cubby::api {

using residency::locker_bank;
using transfer::memory_piece;

std::array<memory_piece, CUBBY_PARTS_MAX> parts_at(const locker_bank &bank,
                                                   const void *const *addresses) {
  std::array<memory_piece, CUBBY_PARTS_MAX> parts{};
  for (uint32_t p = 0; p < bank.part_count(); ++p) {
    auto *const at = static_cast<std::byte *>(const_cast<void *>(addresses[p]));
    parts[p] = {at, bank.part_bytes(0, p)};
  }
  return parts;
}

uint64_t block_bytes_of(const locker_bank &bank) {
  uint64_t bytes = 0;
  for (uint32_t p = 0; p < bank.part_count(); ++p) bytes += bank.part_bytes(0, p);
  return bytes;
}

uint16_t parts_reached(const locker_bank &bank, uint64_t length_bytes) {
  uint32_t parts = 0;
  uint64_t behind = 0;
  for (uint32_t p = 0; p < bank.part_count() && behind < length_bytes; ++p) {
    parts |= 1u << p;
    behind += bank.part_bytes(0, p);
  }
  return static_cast<uint16_t>(parts);
}

uint32_t reading_tier(const engine::parts &engine) {
  uint32_t best = engine::no_tier;
  for (uint32_t t = 0; t < engine.state.tiers.count(); ++t) {
    const engine::tier_slot &slot = engine.state.tiers[t];
    if (slot.memory == nullptr || !slot.memory->host_addressable()) continue;
    if (best == engine::no_tier || slot.rank < engine.state.tiers[best].rank) best = t;
  }
  return best;
}

result<cubby_how> read_block_how(runtime &self, const cubby_how *how, order_of may) {
  auto asked = read_how(self, how, may);
  if (asked && asked->keep > CUBBY_KEEP_DURABLE) {
    return fail(CUBBY_ERR_INVALID, "cubby_how.keep %u is not known", asked->keep);
  }
  return asked;
}

cubby_status finish_block(runtime &self, engine::block_write &&what,
                          std::optional<engine::block_write> &later) {
  engine::parts &engine = self.engine();
  if (is_stored_first(what.keep)) {
    later = std::move(what);
    return CUBBY_PENDING;
  }
  bool storing = false;
  {
    const auto lock = self.hold_pump();
    engine.puts.publish_and_write(std::move(what));
    storing = engine.stored.busy();
  }
  if (storing) self.kick();
  return CUBBY_OK;
}

cubby_status wait_for_end(cubby_handle *rt, cubby_ticket ticket) {
  cubby_status status = cubby_wait(rt, ticket, -1);
  while (status == CUBBY_ERR_NO_MEMORY) {
    const cubby_status again = cubby_wait(rt, ticket, -1);
    if (again == CUBBY_ERR_STALE) break;  // it was the request's own
    status = again;
  }
  return status;
}

void abandon_blocks(runtime &self, std::span<engine::put_item> items) {
  const auto lock = self.hold_pump();
  for (engine::put_item &one : items) {
    if (one.block) self.engine().puts.abandon(*one.block);
    one.block.reset();
  }
}

void batch::set(uint32_t item, cubby_status status) noexcept {
  known_[item] = status;
  if (item_status_ == nullptr) return;
  __atomic_store_n(&item_status_[item], static_cast<int8_t>(status), __ATOMIC_RELEASE);
}

void batch::ran_out(uint32_t item) noexcept {
  if (known_[item] == CUBBY_PENDING) --pending_count_;
  set(item, CUBBY_ERR_NO_MEMORY);
  if (first_ < 0) return;
  first_ = CUBBY_ERR_NO_MEMORY;
  failure_ = no_memory();
}

void batch::ended(uint32_t item, const result<cubby_status> &with) {
  const cubby_status status = with ? *with : with.failure().status;
  set(item, status);
  if (status == CUBBY_PENDING) ++pending_count_;
  if (status == CUBBY_OK) ++ok_count_;
  if (status == CUBBY_OK || status == CUBBY_PENDING || first_ < 0) return;
  if (first_ == CUBBY_OK || status < 0) first_ = status;  // an error is worth more than a miss
  if (with) return;
  failure_ = with.failure();
  keep_error(failure_);
}

void batch::hand_over(engine::request &r) {
  r.items.assign(known_.size(), {});
  for (size_t i = 0; i < known_.size(); ++i) r.items[i].known = known_[i];
  r.failure = std::move(failure_);
}

stream_order::~stream_order() {
  if (mark_ != 0) self_.engine().state.releases.hold(tier_, mark_, {});
}

result<void> stream_order::take(uint32_t tier, uint32_t item) {
  if (how_.sync == nullptr) return {};
  if (tier == engine::no_tier) {
    if (how_.sync->stream == 0) return {};
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "item %u: its memory is the host's, and only memory of a device is ordered with a "
                "stream; pass sync = NULL, and wait for the ticket",
                item);
  }
  if (tier == tier_) return {};
  const engine::tier_slot &slot = self_.engine().state.tiers[tier];
  if (auto right = check_sync(slot, *how_.sync); !right) return right;
  return record(tier);
}

result<void> stream_order::record(uint32_t tier) {
  engine::engine_state &state = self_.engine().state;
  const engine::tier_slot &slot = state.tiers[tier];
  const tier::backend_streams by = slot.memory->backend().streams();
  if (by.support() != tier::stream_support::marked_copies) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "tier %s: its backend cannot order copies of callers' memory with a stream; pass "
                "sync = NULL once the stream's work is over",
                slot.name.c_str());
  }
  if (auto room = state.releases.make_room(); !room) return room;
  stream_ = read_struct(*how_.sync).stream;
  const int32_t marked = by.record_mark(stream_, &mark_);
  if (marked == 0) {
    tier_ = tier;
    in_stream_ = true;
    return {};
  }
  mark_ = 0;
  state.releases.take_room_back();
  return marked == -ENODEV ? engine::lost_tier(slot) : no_mark(slot, marked);
}

void stream_order::hand_over(engine::request &r) {
  r.in_stream = in_stream_;
  r.stream = stream_;
  r.mark_tier = tier_;
  r.mark = std::exchange(mark_, 0);
}

rest_of_call::~rest_of_call() {
  if (place_ && place_->index != engine::no_index && queued_) how_.cq->unreserve();
}

result<void> rest_of_call::want() {
  if (place_) return {};
  place_.emplace(self_, false);
  if (place_->index == engine::no_index) {
    place_.reset();
    return tickets_used_up();
  }
  queued_ = how_.cq != nullptr && how_.cq->reserve();
  if (how_.cq == nullptr || queued_) return {};
  place_.reset();
  return queue_full();
}

cubby_status rest_of_call::submit(engine::request_verb verb, uint32_t tier, cubby_ticket *ticket,
                                  stream_order *order) {
  request().verb = std::move(verb);
  prepare_request(self_, request(), tier, how_);
  if (order != nullptr) order->hand_over(request());
  return submit_request(self_, place_->use(), ticket);
}

cubby_status rest_of_call::submit_put(batch &all, engine::put_verb &&verb, cubby_ticket *ticket,
                                      stream_order *order) {
  try {
    all.hand_over(request());
  } catch (...) {
    abandon_blocks(self_, verb.items);
    throw;
  }
  uint32_t tier = 0;
  for (size_t i = 0; i < verb.items.size(); ++i) {
    const engine::put_item &put = verb.items[i];
    if (put.bank == nullptr) continue;
    request().items[i].bank = put.bank;
    request().items[i].number = put.number;
    tier = put.tier;
  }
  return submit(std::move(verb), tier, ticket, order);
}

}  // namespace cubby::api
