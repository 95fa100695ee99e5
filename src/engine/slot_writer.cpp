#include "engine/slot_writer.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

namespace cubby::engine {
namespace {

constexpr uint32_t tag_shift = 24;
constexpr uint32_t tag_number = (1u << tag_shift) - 1;

}  // namespace

bool slot_writer::step() {
  auto &tables = state_.slots.all();
  bool any = false;
  for (const auto &table : tables) any = serve(*table) || any;
  if (any) busy_ns_ = state_.now_ns;
  std::erase_if(tables, [](const auto &table) {
    return table->closing && !table->any_in_flight() && !table->any_asked();
  });
  return any;
}

bool slot_writer::serve(slot_table &table) {
  const bool lost = state_.tiers[table.tier()].lost.load(std::memory_order_relaxed);
  bool any = false;
  if (!table.closing && !lost && !ending_) any = read_misses(table);
  if (table.look_at_asked()) say_crowded(table);
  if (any_waits_too_long(table)) state_.changed = any = true;  // so that it is looked at
  if (!table.closing && !lost) any = start_writes(table) || any;
  for (;;) {
    const uint32_t number = table.take_left(lost || table.closing);
    if (number == no_index) return any;
    give_frame(table, number);
    any = true;
  }
}

/// As demand, each by a request of its own: who waits for it in the device waits for it alone.
bool slot_writer::read_misses(slot_table &table) {
  bool any = table.read_list();
  for (;;) {
    const uint32_t number = table.next_miss();
    if (number == no_index) return any;
    const uint32_t index = requests_.take(true);
    if (index == no_index) {
      if (!table.cannot_ask(number, state_.now_ns)) return any;  // the next step tries again
      say_crowded(table);
      any = true;
      continue;
    }
    request &r = requests_[index];
    try {
      r.items.emplace_back();
    } catch (const std::bad_alloc &) {
      requests_.give(index);
      return any;
    }
    r.items.back().bank = &table.bank();
    r.items.back().number = number;
    r.verb = prefetch_verb{.for_kernels = true};
    r.tier = table.tier();
    r.flags = 0;
    r.io_class = CUBBY_DEMAND;
    r.deadline_ns = 0;
    r.user = 0;
    r.queue = nullptr;
    r.in_stream = false;
    r.cancel_wanted.store(false, std::memory_order_relaxed);
    r.status = CUBBY_PENDING;
    r.ok_count = 0;
    r.bytes = 0;
    r.issued_ns = state_.now_ns;
    r.item_status = table.ask(number, index);
    requests_.submit(index);
    any = true;
  }
}

/// Its frame may be one that only the work behind the wait gives back.
bool slot_writer::any_waits_too_long(const slot_table &table) const {
  return std::ranges::any_of(table.asked(), [&](const slot_table::question &one) {
    if (table.is_answered(one.number)) return false;
    const request &r = requests_[one.request];
    return r.waiting && state_.now_ns >= r.issued_ns + slot_table::frame_patience_ns;
  });
}

void slot_writer::say_crowded(slot_table &table) const {
  if (std::exchange(table.said_crowded, true)) return;
  state_.log(1,
             format_text("tier %s: kernels lacked a locker of bank %s for a second, and no frame "
                         "came free for it, so it was refused: all are pinned, or found by work "
                         "that is not over; unpin, end that work before the next look-up, or "
                         "raise the budget",
                         state_.tiers[table.tier()].name.c_str(), table.bank().desc().name));
}

bool slot_writer::start_writes(slot_table &table) {
  transfer::channel &path = *state_.tiers[table.tier()].path;
  bool any = false;
  while (table.any_to_write() && state_.now_ns >= table.retry_ns) {
    const uint32_t number = table.next_to_write();
    if (number == no_index) break;
    const slot_table::write what = table.write_of(number);
    cubby_backend_io io{};
    io.op = CUBBY_BACKEND_COPY_IN;
    io.memory = what.to;
    io.source = what.from;
    io.bytes = what.bytes;
    try {
      ios_.make_room();
      path.make_room(0);
      ios_.start(path, io, *this, table.id << tag_shift | number, state_.now_ns);
    } catch (const std::bad_alloc &) {
      table.write_again(number);
      break;
    }
    if (path.synchronous()) path.flush(state_.now_ns);
    any = true;
  }
  return any;
}

void slot_writer::io_done(uint32_t tag, const cubby_backend_done &done) {
  const auto &tables = state_.slots.all();
  const auto found =
      std::ranges::find_if(tables, [&](const auto &one) { return one->id == tag >> tag_shift; });
  CUBBY_ASSERT(found != tables.end());
  slot_table &table = **found;
  if (done.error == 0) return table.written(tag & tag_number);
  ++state_.tiers[table.tier()].stats.error_count;
  if (done.error == ENODEV) note_lost(state_, table.tier());
  constexpr uint64_t pause_ns = 1'000'000;
  table.retry_ns = state_.now_ns + pause_ns;
  table.write_again(tag & tag_number);
}

void slot_writer::give_frame(slot_table &table, uint32_t number) {
  locker_bank &bank = table.bank();
  tier_slot &slot = state_.tiers[table.tier()];
  locker_word &word = bank.word(table.tier(), number);
  CUBBY_ASSERT(word.look().state == locker_state::evicting);
  const uint64_t frame = word.look().frame;
  const uint64_t bytes = bank.frame_bytes_in(table.tier(), number);
  slot.leaving_bytes -= slot.memory->cost_bytes(bytes);
  word.clear();
  slot.memory->give(frame, bytes);
  state_.changed = true;
}

/// Often while kernels lack something, and ever more seldom while they do not.
uint64_t slot_writer::next_ns() const {
  constexpr uint64_t soonest_ns = 5'000, latest_ns = 250'000;
  if (state_.slots.all().empty()) return base::never_ns;
  const uint64_t rest_ns = state_.now_ns - std::min(busy_ns_, state_.now_ns);
  return state_.now_ns + std::clamp(rest_ns / 8, soonest_ns, latest_ns);
}

bool slot_writer::idle() const {
  return std::ranges::none_of(state_.slots.all(),
                              [](const auto &table) { return table->any_in_flight(); });
}

}  // namespace cubby::engine
