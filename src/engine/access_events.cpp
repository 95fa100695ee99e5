#include "engine/access_events.hpp"

#include "base/room.hpp"

namespace cubby::engine {

void assembled_visit::add(uint32_t slot, cubby_object object, bool begins_route) {
  // What can throw comes first.
  base::make_room(chosen, chosen.size() + 1);
  base::make_room(used, used.size() + 1);
  if (begins_route) routes.push_back({slot, 0, nullptr});
  ++routes.back().count;
  chosen.push_back(object);
  if (std::find(used.begin(), used.end(), object) == used.end()) used.push_back(object);
}

void assembled_visit::finish() {
  const cubby_object *at = chosen.data();
  for (cubby_policy_route &route : routes) {
    route.objects = at;
    at += route.count;
  }
}

void record_route(thread_shard &to, cubby_bank handle, event_chain &chain,
                  std::span<const uint32_t> numbers, uint32_t slot, event_follows joined) {
  for (size_t first = 0; first < numbers.size(); first += access_event::numbers_max) {
    if (chain.count == event_chain::events_max) end_visit(to, chain);
    if (chain.count != 0) {
      chain.events[chain.count - 1].next = first == 0 ? joined : event_follows::same_sequence;
    }
    access_event &event = chain.events[chain.count++];
    const auto here =
        numbers.subspan(first, std::min<size_t>(numbers.size() - first, access_event::numbers_max));
    event.bank = static_cast<uint16_t>(handle);
    event.slot = slot;
    event.count = static_cast<uint8_t>(here.size());
    event.next = event_follows::another_visit;
    std::copy(here.begin(), here.end(), event.numbers.begin());
  }
}

void end_visit(thread_shard &to, event_chain &chain) {
  if (chain.count == 0) return;
  if (!to.events.push_all(chain.events.data(), chain.count)) {
    to.dropped_count.fetch_add(1, std::memory_order_relaxed);
  }
  chain.count = 0;
}

void used_blocks::put_aside() {
  if (!earlier_) earlier_.emplace();
  record_route(to_, bank_, *earlier_, {numbers_.data(), count_}, 0, event_follows::same_sequence);
  count_ = 0;
}

void used_blocks::record() {
  if (count_ == 0) return;
  if (earlier_) {
    put_aside();
    end_visit(to_, *earlier_);
    return;
  }
  record_visit(to_, bank_, static_cast<uint32_t>(count_), [&](size_t i) { return numbers_[i]; });
  count_ = 0;
}

}  // namespace cubby::engine
