// Leases on keys of KV blocks.
#include "api/guard.hpp"
#include "api/runtime.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

// A handle: bank << 48 | generation << 17 | place + 1. A bank has at most 65,536 leases, and their
// generations have 31 bits.
constexpr uint32_t place_bits = 17;
constexpr uint64_t place_mask = (uint64_t{1} << place_bits) - 1;
constexpr uint64_t generation_mask = (uint64_t{1} << 31) - 1;

cubby_pins handle_of(cubby_bank bank, uint64_t lease) {
  return uint64_t{bank} << 48 | ((lease >> 32) & generation_mask) << place_bits |
         (lease & place_mask);
}
uint64_t lease_of(cubby_pins handle) {
  return ((handle >> place_bits) & generation_mask) << 32 | (handle & place_mask);
}

}  // namespace

cubby_status cubby_lease(cubby_handle *rt, cubby_space space, const cubby_key *keys, uint32_t count,
                         uint32_t ttl_ms, cubby_pins *lease) {
  CUBBY_ENTER(rt);
  if (keys == nullptr || lease == nullptr || count == 0) {
    CUBBY_REFUSE("cubby_lease: keys or lease is NULL, or count is 0");
  }
  *lease = 0;
  return guarded([&]() -> cubby_status {
    const space_list::named in = self.spaces.find(space);
    if (in.bank == nullptr) {
      return keep_error(fail(CUBBY_ERR_STALE, "space %u is not one of this runtime", space));
    }
    const auto lock = self.hold_pump();
    const uint64_t now_ns = self.now();
    self.engine().puts.expire(now_ns);
    const uint64_t until_ns = ttl_ms == 0 ? base::never_ns : now_ns + uint64_t{ttl_ms} * 1'000'000;
    const auto made = in.bank->blocks->keys.lease(in.space, keys, count, until_ns);
    if (!made) return keep_error(made.failure());
    *lease = handle_of(in.bank->handle, *made);
    return CUBBY_OK;
  });
}

cubby_status cubby_lease_end(cubby_handle *rt, cubby_pins lease, uint32_t first, uint32_t count) {
  CUBBY_ENTER(rt);
  return guarded([&]() -> cubby_status {
    {
      const auto lock = self.hold_pump();
      residency::locker_bank *bank =
          self.engine().state.banks.find(static_cast<cubby_bank>(lease >> 48));
      if (bank == nullptr || bank->blocks == nullptr) {
        return keep_error(fail(CUBBY_ERR_STALE, "the lease is not of a bank of this runtime"));
      }
      self.engine().puts.expire(self.now());
      auto ended = bank->blocks->keys.end_lease(lease_of(lease), first, count);
      if (!ended) return keep_error(ended.failure());
      self.engine().state.changed = true;
    }
    self.kick();  // others may wait for the room
    return CUBBY_OK;
  });
}
