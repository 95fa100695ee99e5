// Slot tables: where kernels find lockers by number.
#include <thread>

#include "api/guard.hpp"
#include "api/requests.hpp"
#include "api/runtime.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

/// A bank and a tier of memory, by their handles.
struct named_place {
  residency::locker_bank *bank = nullptr;
  uint32_t tier = engine::no_tier;
};

/// The pump is held.
result<named_place> find_place(runtime &self, cubby_bank bank, cubby_tier tier) {
  named_place found{self.engine().state.banks.find(bank), self.engine().state.tiers.find(tier)};
  if (found.bank == nullptr) {
    return no_bank(self, bank);
  }
  if (found.tier == engine::no_tier) {
    return fail(CUBBY_ERR_STALE, "tier %u is not one of this runtime", tier);
  }
  return found;
}

/// True once nothing of the table is in flight, and it is gone.
bool end_table(runtime &self, const named_place &of) {
  auto &slots = self.engine().state.slots;
  if (engine::slot_table *table = slots.find(of.tier, *of.bank)) table->closing = true;
  uint64_t next = 0;
  self.engine().pump.advance(self.now(), &next);
  self.wake_waiters();
  return !slots.has(of.tier, *of.bank);
}

}  // namespace

cubby_status cubby_slots_add(cubby_handle *rt, cubby_bank bank, cubby_tier tier, cubby_slots *out) {
  CUBBY_ENTER_WAITING(rt);
  if (out == nullptr || out->struct_size == 0) {
    CUBBY_REFUSE("cubby_slots_add: out is NULL, or its struct_size is 0");
  }
  return guarded([&]() -> cubby_status {
    {
      const auto lock = self.hold_pump();
      const auto found = find_place(self, bank, tier);
      if (!found) return keep_error(found.failure());
      auto &state = self.engine().state;
      const uint64_t bytes = engine::slot_table::table_bytes_for(*found->bank);
      if (auto fits = self.budgets.check_tables(bytes, "a slot table"); !fits) {
        return keep_error(fits.failure());
      }
      const auto made = state.slots.add(found->tier, *found->bank, state.services);
      if (!made) return keep_error(made.failure());
      write_struct((*made)->view(), out);
    }
    self.kick();  // the table is to be written
    return CUBBY_OK;
  });
}

cubby_status cubby_slots_remove(cubby_handle *rt, cubby_bank bank, cubby_tier tier) {
  CUBBY_ENTER_WAITING(rt);
  return guarded([&]() -> cubby_status {
    constexpr uint64_t patience_ns = 2'000'000'000;
    const uint64_t start_ns = base::now_ns();
    for (bool first = true;; first = false) {
      {
        const auto lock = self.hold_pump();
        const auto found = find_place(self, bank, tier);
        if (!found) return keep_error(found.failure());
        if (first && !self.engine().state.slots.has(found->tier, *found->bank)) {
          return keep_error(
              fail(CUBBY_MISS, "bank %s has no slot table there", found->bank->desc().name));
        }
        if (end_table(self, *found)) return CUBBY_OK;
      }
      if (base::now_ns() - start_ns > patience_ns) break;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    return keep_error(fail(CUBBY_ERR_BUSY,
                           "a slot table has copies or loads under way that take long; it is used "
                           "no more, and goes by itself once they are over"));
  });
}
