// Verifications of what lies in memory.
#include "api/block_requests.hpp"
#include "api/completion_queue.hpp"
#include "api/guard.hpp"
#include "api/requests.hpp"

using namespace cubby;
using namespace cubby::api;

cubby_status cubby_verify(cubby_handle *rt, const cubby_item *items, uint32_t count,
                          cubby_tier tier, const cubby_how *how, cubby_ticket *ticket) {
  if (ticket != nullptr) *ticket = 0;
  CUBBY_ENTER(rt);
  if (items == nullptr || count == 0 || count > items_max) {
    CUBBY_REFUSE("cubby_verify: items is NULL, or count %u is not 1 to %u", count, items_max);
  }
  return guarded([&]() -> cubby_status {
    auto asked = read_how(self, how);
    if (!asked) return keep_error(asked.failure());
    if (ticket == nullptr && asked->cq == nullptr) {
      CUBBY_REFUSE("cubby_verify: pass a ticket or a completion queue, which say when it is over");
    }
    const engine::tier_set &tiers = self.engine().state.tiers;
    const uint32_t slot = tiers.find(tier);
    if (slot == engine::no_tier) {
      return keep_error(fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier));
    }
    if (tiers[slot].memory == nullptr) {
      CUBBY_REFUSE("cubby_verify: tier %s has files; cubby verify looks at those",
                   tiers[slot].name.c_str());
    }
    if (!self.engine().state.config.verify) {
      return keep_error(
          fail(CUBBY_ERR_NOT_SUPPORTED,
               "cubby_verify: the runtime was opened with CUBBY_VERIFY_OFF, so it has "
               "no digests to hold bytes against"));
    }
    rest_of_call rest(self, *asked);
    if (auto wanted = rest.want(); !wanted) return keep_error(wanted.failure());
    engine::request &r = rest.request();
    if (auto read = read_items(self, items, count, r.items); !read) {
      return keep_error(read.failure());
    }
    for (uint32_t i = 0; i < count; ++i) {
      engine::set_status_at(asked->item_status, i, r.items[i].known);
    }
    return rest.submit(engine::verify_verb{}, slot, ticket);
  });
}
