// What the calls that make a ticket have in common.
#pragma once

#include <utility>

#include "api/runtime.hpp"
#include "store/model_file.hpp"

namespace cubby::api {

/// BUSY: as many tickets as were allowed are alive; no place is left in the completion queue.
error tickets_used_up();
error queue_full();
/// The first, as the call's own.
cubby_status no_ticket();
inline constexpr uint32_t how_flags = CUBBY_NO_VISIT | CUBBY_NO_WAIT | CUBBY_BYPASS;

/// Whole, and asks for nothing that has to be looked up but its queue: good as it stands where
/// that is its own.
inline bool plain(const cubby_how &how) {
  return how.struct_size == sizeof how && how.io_class <= CUBBY_WRITE_BACK &&
         (how.flags & ~how_flags) == 0 && how.sync == nullptr;
}
/// Is it a queue of this runtime? And what to answer where it is not: STALE.
bool is_own_queue(const runtime &self, const cubby_cq *queue);
error no_own_queue();
/// Of a handle that find() does not know: STALE, or BUSY while the bank is being removed, for it
/// may turn out to be in use.
error no_bank(runtime &self, cubby_bank bank);
/// Of one that was seen, and then was not.
error bank_went();
/// A copy of how a request is to be served, checked. Order with a stream is for calls that have a
/// tier to order with: `streams`, and they hold it against the tier with check_sync().
enum class order_of { host, streams };
result<cubby_how> read_how(runtime &self, const cubby_how *how, order_of may = order_of::host);
/// NOT_SUPPORTED or INVALID where the stream is not one of the tier's device. A tier without
/// streams has host order: it takes no stream but 0.
result<void> check_sync(const engine::tier_slot &slot, const cubby_sync &sync);
/// INVALID or BUDGET where the tier, as it is now, never has a frame for the locker.
result<void> check_frame(const engine::parts &engine, uint32_t tier,
                         const residency::bank_registry::locker &one);
/// Of a stream that could not be marked.
error no_mark(const engine::tier_slot &slot, int32_t status);
/// What is ordered with a stream, and not by the host.
[[nodiscard]] inline bool in_stream_order(const engine::tier_slot &slot, const cubby_sync *sync) {
  return sync != nullptr &&
         slot.memory->backend().streams().support() != tier::stream_support::none;
}
/// A copy of how a file is to be adopted, checked.
result<cubby_adopt_desc> read_adopt(const cubby_adopt_desc *desc);
/// The model file, or the table in it, as read_adopt() has it.
result<store::model_file> open_adopted(const char *path, const cubby_adopt_desc &asked);
/// A place for a request, given back unless it was used.
struct request_place {
  request_place(runtime &self, bool forget)
      : requests(self.engine().requests), index(requests.take(forget)) {}
  request_place(const request_place &) = delete;
  request_place &operator=(const request_place &) = delete;
  ~request_place() {
    if (index != engine::no_index) requests.give(index);
  }
  uint32_t use() { return std::exchange(index, engine::no_index); }

  engine::request_table &requests;
  uint32_t index;  // no_index: there is none
};
/// Fills what every request has, but for its verb.
void prepare_request(runtime &self, engine::request &r, uint32_t tier, const cubby_how &how);
/// Hands it over; PENDING, with the ticket in *ticket where one is wanted.
cubby_status submit_request(runtime &self, uint32_t index, cubby_ticket *ticket);
/// The bank and the directory's space of an item that names its block by key.
struct named_block {
  residency::locker_bank *bank = nullptr;
  uint32_t space = 0;
};
result<named_block> read_name(runtime &self, const cubby_item &item, uint32_t index);
/// Which lockers the items name, by number or by key; keys that are not there are known to be a
/// MISS. INVALID or STALE with the item's number.
result<void> read_items(runtime &self, const cubby_item *items, uint32_t count,
                        std::vector<engine::request_item> &out);

inline constexpr uint32_t items_max = 1u << 16;

}  // namespace cubby::api
