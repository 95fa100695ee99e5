// What a caller sees of its requests: tickets, and how each of them ended.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>

#include "base/abi.hpp"
#include "engine/request_table.hpp"
#include "residency/pinning.hpp"

namespace cubby::api {

/// Every call may be made by any thread.
class tickets {
 public:
  tickets(engine::request_table &requests, residency::pinning &pins)
      : requests_(requests), pins_(pins) {}

  /// Of a request that is alive.
  [[nodiscard]] cubby_ticket of(uint32_t index) const;
  /// Is it over, or not alive?
  [[nodiscard]] bool done(cubby_ticket ticket) const;
  /// The end of a ticket that is done: its status, returned once where no queue was named. PENDING,
  /// or STALE.
  cubby_status claim(cubby_ticket ticket);
  /// Asks the pump to withdraw it; false when it is not alive.
  bool cancel(cubby_ticket ticket);
  /// False when it is not alive. The pump is held, so that its figures stand still.
  bool progress(cubby_ticket ticket, cubby_done &out);
  /// Their completions were taken out of their queues: the requests are free again.
  void taken(std::span<const uint32_t> requests);
  /// A request as its completion says it, while nobody else changes it.
  [[nodiscard]] cubby_done figures(uint32_t index) const;

 private:
  /// The request of a living ticket, or no_index.
  [[nodiscard]] uint32_t find(cubby_ticket ticket) const;
  [[nodiscard]] bool is_done(uint32_t index) const;

  engine::request_table &requests_;
  residency::pinning &pins_;
  std::mutex mutex_;  // a request is given back by one thread
};

}  // namespace cubby::api
