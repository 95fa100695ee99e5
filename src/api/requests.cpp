#include "api/requests.hpp"

#include <algorithm>
#include <cerrno>

#include "api/completion_queue.hpp"
#include "residency/frame_check.hpp"

namespace cubby::api {

error tickets_used_up() {
  return fail(CUBBY_ERR_BUSY,
              "as many tickets are alive as cubby_config.tickets_max "
              "allows; take completions or wait for tickets, then try again");
}

error queue_full() {
  return fail(CUBBY_ERR_BUSY,
              "the completion queue has no place left; take "
              "completions first, or make it larger");
}

error no_bank(runtime &self, cubby_bank bank) {
  using residency::bank_registry;
  const residency::locker_bank *const seen =
      self.engine().state.banks.at(bank_registry::index_of(bank));
  if (seen == nullptr || seen->handle != bank) {
    return fail(CUBBY_ERR_STALE, "bank %u is not one of this runtime", bank);
  }
  error failure =
      fail(CUBBY_ERR_BUSY,
           "bank %u is being removed; once that is over, it is gone, or there as before", bank);
  failure.retryable = true;
  return failure;
}

error bank_went() {
  error failure = fail(CUBBY_ERR_BUSY,
                       "a bank of the call is being removed, or was just now; once that is over, "
                       "it is gone, or there as before");
  failure.retryable = true;
  return failure;
}

cubby_status no_ticket() { return keep_error(tickets_used_up()); }

result<void> check_sync(const engine::tier_slot &slot, const cubby_sync &sync) {
  if (sync.struct_size == 0) {
    return fail(CUBBY_ERR_INVALID, "cubby_sync.struct_size is 0; set it to sizeof(cubby_sync)");
  }
  const cubby_sync asked = read_struct(sync);
  const tier::backend_instance &by = slot.memory->backend();
  if (by.streams().support() == tier::stream_support::none) {
    if (asked.stream == 0) return {};
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "tier %s has no streams, for it is no device's memory; pass sync = NULL, or name a "
                "tier of backend \"cuda\"",
                slot.name.c_str());
  }
  if (asked.device == std::max(by.device(), 0)) return {};
  return fail(CUBBY_ERR_INVALID,
              "cubby_sync.device is %d, and tier %s is memory of device %d; use a stream of that "
              "device",
              asked.device, slot.name.c_str(), std::max(by.device(), 0));
}

result<void> check_frame(const engine::parts &engine, uint32_t tier,
                         const residency::bank_registry::locker &one) {
  const engine::tier_slot &slot = engine.state.tiers[tier];
  return residency::check_frames({*slot.memory, tier, slot.handle, slot.budget_bytes.load()},
                                 {&one, 1});
}

error no_mark(const engine::tier_slot &slot, int32_t status) {
  if (status == -ENOTSUP) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "a graph is being captured from the stream, so its work has no end yet; call again "
                "once the graph has run");
  }
  return fail_errno(-status,
                    "tier %s: the stream could not be marked; look at cubby_sync.stream, which is "
                    "to be a living stream of the tier's device",
                    slot.name.c_str());
}

bool is_own_queue(const runtime &self, const cubby_cq *queue) {
  return cubby_cq::is_living(queue) && queue->owner() == &self;
}

error no_own_queue() {
  return fail(CUBBY_ERR_STALE,
              "cubby_how.cq is no queue of this runtime: it was removed, or belongs to another");
}

result<cubby_how> read_how(runtime &self, const cubby_how *how, order_of may) {
  cubby_how asked{};
  if (how == nullptr) return asked;
  if (how->struct_size == 0)
    return fail(CUBBY_ERR_INVALID, "cubby_how.struct_size is 0; set it to sizeof(cubby_how)");
  asked = read_struct(*how);
  if (asked.io_class > CUBBY_WRITE_BACK) {
    return fail(CUBBY_ERR_INVALID, "cubby_how.io_class %u is not known", asked.io_class);
  }
  if ((asked.flags & ~how_flags) != 0) {
    return fail(CUBBY_ERR_INVALID, "cubby_how.flags 0x%x are not known", asked.flags);
  }
  if (may == order_of::host && asked.sync != nullptr && asked.sync->stream != 0) {
    return fail(
        CUBBY_ERR_NOT_SUPPORTED,
        "only pins, and gets and puts of a device's memory, are ordered with a device's stream; "
        "pass sync = NULL, and wait for the ticket");
  }
  if (asked.cq != nullptr && !is_own_queue(self, asked.cq)) return no_own_queue();
  return asked;
}

result<cubby_adopt_desc> read_adopt(const cubby_adopt_desc *desc) {
  if (desc == nullptr) return cubby_adopt_desc{};
  if (desc->struct_size == 0) {
    return fail(CUBBY_ERR_INVALID,
                "cubby_adopt_desc.struct_size is 0, so nothing in it would be read; set it to "
                "sizeof(cubby_adopt_desc)");
  }
  const cubby_adopt_desc asked = read_struct(*desc);
  if (asked.flags != 0) {
    return fail(CUBBY_ERR_INVALID, "cubby_adopt_desc.flags 0x%x are not known", asked.flags);
  }
  if (asked.kind != 0 && asked.kind != CUBBY_BANK_ROWS) {
    return fail(CUBBY_ERR_INVALID,
                "cubby_adopt_desc.kind %u: files are adopted as CUBBY_BANK_ROWS, or with 0 as what "
                "cubby_adopt_desc.tensors names",
                asked.kind);
  }
  if (asked.kind == 0 && asked.page_bytes != 0) {
    return fail(
        CUBBY_ERR_INVALID,
        "cubby_adopt_desc.page_bytes is for tables of rows; set kind to CUBBY_BANK_ROWS, or "
        "page_bytes to 0");
  }
  return asked;
}

result<store::model_file> open_adopted(const char *path, const cubby_adopt_desc &asked) {
  constexpr uint32_t page_bytes_default = 16 << 10;
  const char *tensors = asked.tensors == nullptr ? "" : asked.tensors;
  if (asked.kind != CUBBY_BANK_ROWS) return store::open_model(path, tensors);
  return store::open_table(path, tensors,
                           asked.page_bytes == 0 ? page_bytes_default : asked.page_bytes);
}

void prepare_request(runtime &self, engine::request &r, uint32_t tier, const cubby_how &how) {
  r.tier = tier;
  r.flags = how.flags;
  r.io_class = how.io_class;
  r.deadline_ns = how.deadline_ns;
  r.user = how.user;
  r.queue = how.cq;
  r.item_status = how.item_status;
  r.in_stream = false;
  r.mark = 0;
  r.cancel_wanted.store(false, std::memory_order_relaxed);
  r.status = CUBBY_PENDING;
  r.ok_count = 0;
  r.bytes = 0;
  r.issued_ns = self.now();
}

cubby_status submit_request(runtime &self, uint32_t index, cubby_ticket *ticket) {
  if (ticket != nullptr) *ticket = self.requests().of(index);
  self.engine().requests.submit(index);
  self.kick(true);
  return CUBBY_PENDING;
}

result<named_block> read_name(runtime &self, const cubby_item &item, uint32_t index) {
  if (item.space == 0) {
    return fail(CUBBY_ERR_INVALID,
                "item %u names no space: blocks are named by their keys, in a space", index);
  }
  const space_list::named in = self.spaces.find(item.space);
  if (in.bank == nullptr) {
    return fail(CUBBY_ERR_STALE, "item %u names space %u, which is not one of this runtime", index,
                item.space);
  }
  return named_block{in.bank, in.space};
}

namespace {

result<void> read_number(runtime &self, const cubby_item &named, uint32_t i,
                         engine::request_item &item) {
  const auto handle = static_cast<cubby_bank>(named.id >> 48);
  const uint64_t number = named.id & ((uint64_t{1} << 48) - 1);
  residency::locker_bank *bank = self.engine().state.banks.find(handle);
  if (bank == nullptr) {
    error failure = no_bank(self, handle);
    if (failure.status != CUBBY_ERR_STALE) return failure;
    return fail(CUBBY_ERR_STALE, "item %u names bank %u, which is not one of this runtime", i,
                handle);
  }
  if (bank->blocks != nullptr) {
    return fail(CUBBY_ERR_INVALID, "item %u names a block of bank %s by number; name it by key", i,
                bank->desc().name);
  }
  if (number >= bank->count()) {
    error failure = fail(CUBBY_ERR_INVALID, "item %u names locker %llu; bank %s has %llu", i,
                         static_cast<unsigned long long>(number), bank->desc().name,
                         static_cast<unsigned long long>(bank->count()));
    failure.id = named.id;
    return failure;
  }
  item.bank = bank;
  item.number = static_cast<uint32_t>(number);
  return {};
}

/// A key that is not there is known to be a MISS.
result<void> read_key(runtime &self, const cubby_item &named, uint32_t i,
                      engine::request_item &item) {
  auto name = read_name(self, named, i);
  if (!name) return name.failure();
  const auto seen = name->bank->blocks->keys.find(name->space, named.key);
  if (!seen) return seen.failure();
  item.bank = name->bank;
  if (seen->present == 0) {
    item.known = CUBBY_MISS;
    return {};
  }
  item.number = seen->locker;
  item.seen = *seen;
  name->bank->blocks->mark_used(seen->locker);
  return {};
}

}  // namespace

result<void> read_items(runtime &self, const cubby_item *items, uint32_t count,
                        std::vector<engine::request_item> &out) {
  out.clear();
  out.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const bool keyed = items[i].space != 0 || items[i].key.data != nullptr;
    engine::request_item &item = out.emplace_back();
    auto read = keyed ? read_key(self, items[i], i, item) : read_number(self, items[i], i, item);
    if (!read) return read;
  }
  return {};
}

}  // namespace cubby::api
