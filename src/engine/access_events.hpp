// What was used, on its way from the threads that use lockers to the policies: written into bounded
// rings, a shard a thread, and put together again by whoever holds the pump.
#pragma once

#include <cubby/policy.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <vector>

#include "base/bounded_queue.hpp"
#include "engine/names.hpp"
#include "placement/policy.hpp"

namespace cubby::engine {

/// Sequences of a batch that policies tell apart.
inline constexpr uint32_t sequences_max = 1024;

/// What the event behind this one is.
enum class event_follows : uint8_t {
  another_visit,
  same_sequence,  // more of what this sequence chose
  same_visit,     // what another sequence of the batch chose in the same row
};

/// One row's choice, or part of it.
struct access_event {
  static constexpr uint32_t numbers_max = 12;
  uint16_t bank = 0;  // handle
  uint8_t count = 0;
  event_follows next = event_follows::another_visit;
  uint32_t slot = 0;  // which sequence of a batch; what pins tell is of the first
  std::array<uint32_t, numbers_max> numbers;  // the first `count`
};

/// The events of one visit on their way: they enter the ring all at once, or not at all where there
/// is no room for them, so that no other visit is taken for a part of this one. A batch so large
/// that it needs more is several visits.
struct event_chain {
  static constexpr uint32_t events_max = 128;
  std::array<access_event, events_max> events;
  uint32_t count = 0;
};

/// A visit put together again.
struct assembled_visit {
  std::vector<cubby_policy_route> routes;
  std::vector<cubby_object> chosen;  // of all routes, one after the other
  std::vector<cubby_object> used;    // each once

  [[nodiscard]] bool empty() const { return chosen.empty(); }
  void clear() {
    routes.clear();
    chosen.clear();
    used.clear();
  }
  /// May throw; the visit is as it was then.
  void add(uint32_t slot, cubby_object object, bool begins_route);
  /// `routes` point into `chosen` from here on.
  void finish();
};

/// What each thread writes without meeting the others.
struct alignas(64) thread_shard {
  static constexpr size_t events_max = size_t{2} * event_chain::events_max;
  base::bounded_queue<access_event> events{events_max};
  std::atomic<uint64_t> dropped_count{0};  // visits that found no room
  std::array<std::atomic<uint64_t>, tiers_max> hits{};
  std::atomic<uint32_t> active{0};  // calls in progress

  // The pump's: a visit of which some events have come.
  alignas(64) assembled_visit visit;
  event_follows last = event_follows::another_visit;
  locker_bank *bank = nullptr;
  uint32_t row = 0;
};

/// A visit in one event: lockers of a bank, number_of(0) to number_of(count - 1).
template <class Numbers>
[[gnu::always_inline]] inline void record_visit(thread_shard &to, cubby_bank handle, uint32_t count,
                                                const Numbers &number_of) {
  const bool pushed = to.events.push_in_place([&](access_event &event) {
    event.bank = static_cast<uint16_t>(handle);
    event.count = static_cast<uint8_t>(count);
    event.next = event_follows::another_visit;
    event.slot = 0;
    for (size_t i = 0; i != count; ++i) event.numbers[i] = number_of(i);
  });
  if (!pushed) to.dropped_count.fetch_add(1, std::memory_order_relaxed);
}
/// A visit in several: what each of its sequences chose, and then its end.
void record_route(thread_shard &to, cubby_bank handle, event_chain &chain,
                  std::span<const uint32_t> numbers, uint32_t slot,
                  event_follows joined = event_follows::same_visit);
void end_visit(thread_shard &to, event_chain &chain);

/// The blocks that a call has used, in their order: one visit a bank, recorded at the latest when
/// the call is over.
class used_blocks {
 public:
  explicit used_blocks(thread_shard &to) : to_(to) {}
  used_blocks(const used_blocks &) = delete;
  used_blocks &operator=(const used_blocks &) = delete;
  ~used_blocks() { record(); }

  /// Before a request is submitted for some of them: the policies learn of a use before they give
  /// up others for it.
  void record();
  void add(cubby_bank handle, uint32_t number) {
    if (count_ == numbers_.size() || (count_ != 0 && handle != bank_)) put_aside();
    bank_ = handle;
    numbers_[count_++] = number;
  }

 private:
  void put_aside();

  thread_shard &to_;
  cubby_bank bank_ = 0;
  size_t count_ = 0;
  std::array<uint32_t, access_event::numbers_max> numbers_;
  std::optional<event_chain> earlier_;  // most calls need none
};

/// Puts one event of the shard to those before it, and calls visit(bank, row, assembled) for each
/// visit that is whole.
template <class Visit>
void assemble_event(thread_shard &from, const access_event &event, const bank_registry &banks,
                    const Visit &visit) {
  const auto flush = [&] {
    if (!from.visit.empty()) visit(*from.bank, from.row, from.visit);
    from.visit.clear();
  };
  locker_bank *named = banks.find(event.bank);
  if (named != from.bank) flush();
  from.bank = named;
  bool begins = from.last != event_follows::same_sequence || from.visit.routes.empty();
  for (uint32_t i = 0; i < event.count && named != nullptr; ++i) {
    const uint32_t number = event.numbers[i];
    if (number >= named->count()) continue;  // of a bank that was there before
    if (named->row_of(number) != from.row) {
      flush();
      begins = true;
    }
    from.row = named->row_of(number);
    from.visit.add(event.slot, named->object_base + number, begins);
    begins = false;
  }
  // Where more is to follow and is not here yet, its thread is just now writing it.
  if (event.next == event_follows::another_visit) flush();
}

/// The same for all that is in the shard. A visit that finds no memory is lost and counted, as
/// where the ring is full.
template <class Visit>
void assemble_visits(thread_shard &from, const bank_registry &banks, const Visit &visit) {
  access_event event;
  while (from.events.pop(event)) {
    try {
      assemble_event(from, event, banks, visit);
    } catch (const std::bad_alloc &) {
      from.visit.clear();
      from.dropped_count.fetch_add(1, std::memory_order_relaxed);
    }
    from.last = event.next;
  }
}

}  // namespace cubby::engine
