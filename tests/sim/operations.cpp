// The random operations; each is one step.
#include <algorithm>

#include "sim/simulation.hpp"
#include "sim/weighted.hpp"

namespace sim {

shadow_bank *simulation::pick_bank() {
  return banks_.empty() ? nullptr : banks_[random_.below(banks_.size())].get();
}

uint32_t simulation::pick_tier_to_pin() {
  return host_may_rot_ ? 0 : static_cast<uint32_t>(random_.below(tiers_.size()));
}

/// Distinct columns of one row, the low ones far more often: routing is not uniform either.
std::vector<uint32_t> simulation::pick_numbers(const shadow_bank &bank, uint32_t count) {
  const auto row = static_cast<uint32_t>(random_.below(bank.rows));
  count = std::min(count, bank.columns);
  std::vector<uint32_t> numbers;
  while (numbers.size() < count) {
    uint64_t column = random_.below(bank.columns);
    if (chance(50)) column = random_.below(column + 1);
    const auto number = static_cast<uint32_t>(row * bank.columns + column);
    if (std::find(numbers.begin(), numbers.end(), number) == numbers.end()) {
      numbers.push_back(number);
    }
  }
  return numbers;
}

uint64_t simulation::frame_bytes_max(const shadow_bank &bank, uint32_t number) const {
  uint64_t sum = 0;
  for (const shadow_extent &part : bank.lockers[number].parts) {
    sum += (part.bytes + 4095 + 4095) / 4096 * 4096;  // its pages, wherever it begins in the first
  }
  return sum;
}

uint64_t simulation::frame_bytes_max() const {
  uint64_t most = 4096;
  for (const auto &bank : banks_) {
    for (uint32_t i = 0; i < bank->lockers.size(); ++i) {
      most = std::max(most, frame_bytes_max(*bank, i));
    }
  }
  return most;
}

void simulation::do_pin() {
  shadow_bank *bank = pick_bank();
  if (bank == nullptr || tiers_.empty() || alive_.size() > 30) return do_time();
  if (held_.size() > 12 || (held_.size() > 4 && chance(40))) return do_unpin();
  const auto shared = *std::find_if(banks_.begin(), banks_.end(),
                                    [&](const auto &one) { return one.get() == bank; });
  std::vector<uint32_t> numbers =
      pick_numbers(*bank, static_cast<uint32_t>(1 + random_.below(chance(70) ? 4 : 16)));
  if (chance(10)) {  // another row too
    const auto more = pick_numbers(*bank, 2);
    for (const uint32_t number : more) {
      if (std::find(numbers.begin(), numbers.end(), number) == numbers.end()) {
        numbers.push_back(number);
      }
    }
  }
  if (chance(3)) numbers.push_back(numbers[0]);  // the same locker twice in one set
  // Lockers of another bank may stand in the set where they have as many parts.
  const auto other = banks_[random_.below(banks_.size())];
  std::vector<uint32_t> others;
  if (other != shared && other->part_count == bank->part_count && chance(30)) {
    others = pick_numbers(*other, static_cast<uint32_t>(1 + random_.below(3)));
    saw(seen::two_banks);
  }
  shadow_request &r = prepare(asked::pin, static_cast<uint32_t>(numbers.size() + others.size()));
  for (size_t i = 0; i < numbers.size(); ++i) r.items[i] = {shared, numbers[i]};
  for (size_t i = 0; i < others.size(); ++i) r.items[numbers.size() + i] = {other, others[i]};
  r.part_count = bank->part_count;
  r.tier = pick_tier_to_pin();
  if (chance(10)) r.flags |= CUBBY_NO_WAIT;
  if (chance(10)) r.flags |= CUBBY_BYPASS;
  if (chance(15)) r.flags |= CUBBY_NO_VISIT;
  r.io_class = chance(75) ? uint32_t{CUBBY_DEMAND} : static_cast<uint32_t>(1 + random_.below(2));
  if (chance(20)) r.deadline_ns = now_ns_ + random_.below(1'500'000);
  r.queue = chance(70) ? static_cast<int>(random_.below(queues_.size())) : -1;
  r.has_status = chance(90);
  ask_pin(r);
}

void simulation::do_unpin() {
  if (held_.empty()) return do_time();
  const auto set =
      std::next(held_.begin(), static_cast<std::ptrdiff_t>(random_.below(held_.size())));
  const auto count = static_cast<uint32_t>(set->items.size());
  const bool whole = chance(60);
  uint32_t first = 0, some = 0;
  if (!whole) {
    first = static_cast<uint32_t>(random_.below(count));
    some = static_cast<uint32_t>(1 + random_.below(count - first));
  }
  const uint32_t end = whole ? count : first + some;
  bool already = false;
  for (uint32_t i = first; i < end; ++i) already = already || set->items[i].released;
  if (!whole && already && chance(80)) return do_time();
  for (uint32_t i = first; i < end; ++i) {
    if (set->items[i].held && !check_bytes(*set, i, true)) return;
  }
  const cubby_status status = cubby_unpin(rt_, set->pins, first, some, nullptr);
  log_.add(step_, "unpin request=%" PRIu64 " first=%" PRIu64 " count=%" PRIu64, set->number, first,
           some, status);
  if (!whole && already) {  // some of it was given back before: an answer, and nothing is done
    if (status == CUBBY_OK) {
      violate("P6", "request %" PRIu64 ": items were unpinned twice", set->number);
    }
    return saw(seen::unpin_twice_refused);
  }
  if (status != CUBBY_OK) {
    return violate("P6", "request %" PRIu64 ": unpin of held items says %s", set->number,
                   cubby_status_name(status));
  }
  if (!whole) saw(seen::unpin_part);
  for (uint32_t i = first; i < end; ++i) {
    if (!set->items[i].released) let_go(*set, i);
  }
  if (!set->all_released()) return;
  if (chance(20)) {
    const cubby_status again = cubby_unpin(rt_, set->pins, 0, 0, nullptr);
    if (again >= 0) violate("P6", "request %" PRIu64 ": the set was unpinned twice", set->number);
    saw(seen::unpin_twice_refused);
  }
  held_.erase(set);
}

/// Unpin of what is still loading.
void simulation::do_withdraw() {
  std::vector<shadow_request *> loading;
  for (shadow_request &r : alive_) {
    if (r.kind == asked::pin && r.ticket != 0 && !r.all_released()) loading.push_back(&r);
  }
  if (loading.empty()) return do_time();
  shadow_request &r = *loading[random_.below(loading.size())];
  const auto count = static_cast<uint32_t>(r.items.size());
  const bool whole = count == 1 || chance(50);
  const auto first = static_cast<uint32_t>(whole ? 0 : random_.below(count));
  if (!whole && r.items[first].released) return do_time();
  const cubby_status status = cubby_unpin(rt_, r.pins, first, whole ? 0 : 1, nullptr);
  log_.add(step_, "withdraw request=%" PRIu64 " first=%" PRIu64 " whole=%" PRIu64, r.number, first,
           whole, status);
  // A set that has failed already is gone; its completion is still to be taken.
  if (status == CUBBY_ERR_STALE) return;
  if (status != CUBBY_OK) {
    return violate("P6", "request %" PRIu64 ": withdrawal says %s", r.number,
                   cubby_status_name(status));
  }
  saw(whole ? seen::withdraw_whole : seen::withdraw_part);
  for (uint32_t i = first; i < (whole ? count : first + 1); ++i) r.items[i].released = true;
}

void simulation::do_prefetch() {
  shadow_bank *bank = pick_bank();
  if (bank == nullptr || tiers_.empty() || alive_.size() > 30) return do_time();
  const auto shared = *std::find_if(banks_.begin(), banks_.end(),
                                    [&](const auto &one) { return one.get() == bank; });
  const auto numbers = pick_numbers(*bank, static_cast<uint32_t>(1 + random_.below(8)));
  shadow_request &r = prepare(asked::prefetch, static_cast<uint32_t>(numbers.size()));
  for (size_t i = 0; i < numbers.size(); ++i) r.items[i] = {shared, numbers[i]};
  r.tier = static_cast<uint32_t>(random_.below(tiers_.size()));
  r.io_class = chance(70) ? uint32_t{CUBBY_FORECAST} : static_cast<uint32_t>(random_.below(3));
  if (chance(40)) r.deadline_ns = now_ns_ + random_.below(1'000'000);
  const bool no_ticket = chance(40);
  r.queue = !no_ticket && chance(60) ? static_cast<int>(random_.below(queues_.size())) : -1;
  r.has_status = !no_ticket && chance(60);
  ask_prefetch(r, no_ticket);
}

/// Rows that are looked up, some of them often, some twice in one gather.
void simulation::do_gather() {
  std::vector<std::shared_ptr<shadow_bank>> tables;
  for (const auto &bank : banks_) {
    if (bank->table_row_bytes != 0) tables.push_back(bank);
  }
  // Frames of the host that rot are not verified when rows are copied from them.
  if (tables.empty() || !has_host_ || host_may_rot_ || alive_.size() > 30) return do_time();
  const auto bank = tables[random_.below(tables.size())];
  const auto count = static_cast<uint32_t>(1 + random_.below(chance(70) ? 8 : 100));
  shadow_request &r = prepare(asked::gather, count);
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t row = random_.below(bank->table_row_count);
    if (chance(50)) row = random_.below(row + 1);
    r.table_rows.push_back(row);
    r.items[i] = {bank, static_cast<uint32_t>(row / bank->page_rows)};
  }
  r.tier = static_cast<uint32_t>(tiers_.size() - 1);
  if (chance(20)) r.flags |= CUBBY_NO_WAIT;
  if (chance(10)) r.flags |= CUBBY_BYPASS;
  if (chance(15)) r.flags |= CUBBY_NO_VISIT;
  r.io_class = chance(75) ? uint32_t{CUBBY_DEMAND} : static_cast<uint32_t>(1 + random_.below(2));
  if (chance(20)) r.deadline_ns = now_ns_ + random_.below(1'500'000);
  r.queue = chance(60) ? static_cast<int>(random_.below(queues_.size())) : -1;
  r.has_status = chance(70);
  ask_gather(r);
}

void simulation::do_drop() {
  shadow_bank *bank = pick_bank();
  if (bank == nullptr || tiers_.empty()) return do_time();
  const auto numbers = pick_numbers(*bank, static_cast<uint32_t>(1 + random_.below(4)));
  std::vector<cubby_item> items(numbers.size());
  bool held = false;
  const auto tier = static_cast<uint32_t>(random_.below(tiers_.size() + 1));
  for (size_t i = 0; i < numbers.size(); ++i) {
    items[i].id = CUBBY_ID(bank->handle, numbers[i]);
    for (uint32_t t = 0; t < tiers_.size(); ++t) {
      held = held || (bank->lockers[numbers[i]].holds[t].count != 0 &&
                      (tier == tiers_.size() || tier == t));
    }
  }
  const cubby_status status = cubby_drop(rt_, items.data(), static_cast<uint32_t>(items.size()),
                                         tier == tiers_.size() ? 0 : tiers_[tier].handle);
  log_.add(step_, "drop bank=%" PRIu64 " items=%" PRIu64 " tier=%" PRIu64, bank->ordinal,
           items.size(), tier, status);
  if (held && status == CUBBY_OK) {
    violate("P6", "bank %" PRIu64 ": a drop of pinned lockers says OK", bank->ordinal);
  }
  if (status != CUBBY_OK && status != CUBBY_ERR_BUSY && status != CUBBY_PARTIAL) {
    violate("P5", "bank %" PRIu64 ": drop says %s", bank->ordinal, cubby_status_name(status));
  }
  saw(status == CUBBY_OK ? seen::drop : seen::drop_refused);
}

void simulation::do_visit() {
  shadow_bank *bank = pick_bank();
  if (bank == nullptr) return;
  uint16_t columns[4];
  cubby_routed routed{};
  routed.row = static_cast<uint32_t>(random_.below(bank->rows));
  routed.column_count = std::min(bank->columns, 4u);
  for (uint16_t &column : columns) column = static_cast<uint16_t>(random_.below(bank->columns));
  routed.columns = columns;
  const cubby_status status = cubby_visit(rt_, bank->handle, &routed, 1);
  log_.add(step_, "visit bank=%" PRIu64 " row=%" PRIu64, bank->ordinal, routed.row, 0, status);
  if (status != CUBBY_OK) violate("P5", "visit says %s", cubby_status_name(status));
}

void simulation::do_hint() {
  shadow_bank *bank = pick_bank();
  if (bank == nullptr) return;
  uint16_t columns[4];
  float weights[4];
  cubby_hint_item hint{};
  hint.struct_size = sizeof hint;
  hint.kind = CUBBY_HINT_ROUTE;
  hint.bank = bank->handle;
  hint.route.row = static_cast<uint32_t>(random_.below(bank->rows));
  hint.route.column_count = std::min(bank->columns, 4u);
  for (uint32_t i = 0; i < 4; ++i) {
    columns[i] = static_cast<uint16_t>((random_.below(bank->columns) + i) % bank->columns);
    weights[i] = static_cast<float>(random_.unit());
  }
  hint.route.columns = columns;
  hint.route.weights = chance(50) ? weights : nullptr;
  hint.ahead = static_cast<uint32_t>(1 + random_.below(3));
  if (chance(50)) hint.ttl_ns = random_.below(10'000'000);
  uint8_t outcome = 0;
  const cubby_status status = cubby_hint(rt_, &hint, 1, &outcome);
  log_.add(step_, "hint bank=%" PRIu64 " row=%" PRIu64 " outcome=%" PRIu64, bank->ordinal,
           hint.route.row, outcome, status);
  if (status != CUBBY_OK && status != CUBBY_ERR_BUSY && status != CUBBY_PARTIAL) {
    violate("P5", "hint says %s", cubby_status_name(status));
  }
}

void simulation::do_estimate() {
  shadow_bank *bank = pick_bank();
  if (bank == nullptr || tiers_.empty()) return;
  const auto numbers = pick_numbers(*bank, 4);
  std::vector<cubby_item> items(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) items[i].id = CUBBY_ID(bank->handle, numbers[i]);
  std::vector<uint64_t> ready(items.size(), 0);
  const auto tier = static_cast<uint32_t>(random_.below(tiers_.size()));
  const cubby_status status = cubby_estimate(rt_, items.data(), static_cast<uint32_t>(items.size()),
                                             tiers_[tier].handle, ready.data());
  log_.add(step_, "estimate bank=%" PRIu64 " tier=%" PRIu64 " first=%" PRIu64, bank->ordinal, tier,
           ready[0], status);
  if (status < 0) violate("P5", "estimate says %s", cubby_status_name(status));
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (bank->lockers[numbers[i]].holds[tier].count != 0 && ready[i] != 0) {
      violate("P6", "bank %" PRIu64 " locker %u is pinned and would arrive in %" PRIu64 " ns",
              bank->ordinal, numbers[i], ready[i]);
    }
  }
}

void simulation::do_cancel() {
  std::vector<shadow_request *> some;
  for (shadow_request &r : alive_) {
    if (r.ticket != 0 && !r.canceled) some.push_back(&r);
  }
  if (some.empty()) return do_time();
  // Often the newest: before anything of it was begun.
  shadow_request &r = chance(50) ? *some.back() : *some[random_.below(some.size())];
  const cubby_status status = cubby_cancel(rt_, r.ticket);
  log_.add(step_, "cancel request=%" PRIu64, r.number, 0, 0, status);
  if (status != CUBBY_OK && status != CUBBY_ERR_STALE) {
    return violate("P3", "request %" PRIu64 ": cancel says %s", r.number,
                   cubby_status_name(status));
  }
  r.canceled = true;
  r.canceled_at_once = polls_ == r.asked_poll;
}

void simulation::do_wait() {
  std::vector<request_list::iterator> waiting;
  for (auto r = alive_.begin(); r != alive_.end(); ++r) {
    if (r->ticket != 0 && r->queue < 0) waiting.push_back(r);
  }
  if (waiting.empty()) return do_time();
  try_wait(waiting[random_.below(waiting.size())]);
}

void simulation::do_resize() {
  if (tiers_.empty() || alive_.size() > 30) return do_time();
  const auto index = static_cast<uint32_t>(random_.below(tiers_.size()));
  for (const shadow_request &r : alive_) {
    if (r.kind == asked::resize && r.tier == index) return do_time();
  }
  shadow_request &r = prepare(asked::resize, 0);
  shadow_tier &tier = tiers_[index];
  r.tier = index;
  const uint64_t least = 4 * frame_bytes_max() / 4096;
  const uint64_t most = std::max(least + 1, total_frame_bytes_ * 8 / 10 / 4096);
  r.budget_bytes = (least + random_.below(most - least)) * 4096;
  const bool shrinks = r.budget_bytes < tier.budget_bytes;
  const cubby_status status = cubby_tier_resize(rt_, tier.handle, r.budget_bytes, &r.ticket);
  log_.add(step_, "resize request=%" PRIu64 " tier=%" PRIu64 " budget=%" PRIu64, r.number, index,
           r.budget_bytes, status);
  if (status == CUBBY_PENDING) {
    if (shrinks) {  // the new bound holds at once for what comes; what is there may take longer
      tier.shrinking = true;
      tier.budget_bytes = r.budget_bytes;
    }
    return accepted(r);
  }
  r.ticket = 0;
  finish(r, status);
}

void simulation::do_remove_bank() {
  if (banks_.empty()) return add_bank();
  if (banks_.size() < 2) return add_bank();
  const auto at = banks_.begin() + static_cast<std::ptrdiff_t>(random_.below(banks_.size()));
  const std::shared_ptr<shadow_bank> bank = *at;
  const cubby_status status = cubby_bank_remove(rt_, bank->handle);
  log_.add(step_, "bank remove %" PRIu64, bank->ordinal, 0, 0, status);
  if (status == CUBBY_ERR_BUSY) return saw(seen::bank_busy);
  if (status != CUBBY_OK) {
    return violate("P5", "bank %" PRIu64 ": remove says %s", bank->ordinal,
                   cubby_status_name(status));
  }
  if (bank->held_count != 0) {
    return violate("P6", "bank %" PRIu64 " was removed while pinned", bank->ordinal);
  }
  saw(seen::bank_removed);
  for (const std::string &path : bank->files) index_.erase(path);
  for (uint32_t i = 0; i < bank->lockers.size(); ++i) {
    total_frame_bytes_ -= frame_bytes_max(*bank, i);
  }
  banks_.erase(at);
  cubby_item item{};
  item.id = CUBBY_ID(bank->handle, 0);
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  std::vector<const void *> addr(bank->part_count, nullptr);
  if (tiers_.empty()) return;
  const cubby_status stale =
      cubby_pin(rt_, &item, 1, tiers_[0].handle, nullptr, &pins, addr.data(), &ticket);
  if (stale != CUBBY_ERR_STALE) {
    violate("P5", "bank %" PRIu64 " was removed and a pin of it says %s", bank->ordinal,
            cubby_status_name(stale));
  }
  saw(seen::stale_bank_refused);
}

void simulation::do_change_file() {
  if (calm_) return do_time();
  shadow_bank *bank = pick_bank();
  if (bank == nullptr || bank->file_changed || banks_.size() < 2) return do_time();
  const std::string &path = bank->files[random_.below(bank->files.size())];
  const uint64_t how = random_.below(2);
  if (how == 0) {
    world_.touch(path, now_ns_);
  } else {
    world_.replace(path);
  }
  bank->file_changed = true;
  log_.add(step_, "file of bank %" PRIu64 " changed how=%" PRIu64, bank->ordinal, how, 0, 0);
}

/// A fault on one locker, of a kind of the simulation's choice.
void simulation::do_force_fault() {
  using cubby_sim::fault;
  shadow_bank *bank = pick_bank();
  if (bank == nullptr || calm_) return do_time();
  const auto number = static_cast<uint32_t>(random_.below(bank->lockers.size()));
  const shadow_locker &locker = bank->lockers[number];
  const auto part = static_cast<uint32_t>(random_.below(bank->part_count));
  const shadow_extent &extent = locker.parts[part];
  static constexpr fault kinds[] = {fault::eio_transient, fault::eio_sticky,   fault::short_read,
                                    fault::late,          fault::flip_transit, fault::flip_rest,
                                    fault::misdirected,   fault::stale_block};
  const fault which = kinds[random_.below(locker.anchored ? 8 : 4)];
  // A silent fault keeps to pages that no other locker reads.
  const uint64_t first = (extent.offset_bytes + 4095) / 4096 * 4096;
  const uint64_t end = (extent.offset_bytes + extent.bytes) / 4096 * 4096;
  if (end <= first) return do_time();
  const uint64_t times = 1 + random_.below(4);
  world_.force(which, bank->files[extent.file], first, end - first, times);
  log_.add(step_, "force fault=%" PRIu64 " bank=%" PRIu64 " locker=%" PRIu64,
           static_cast<uint64_t>(which), bank->ordinal, number, static_cast<int64_t>(times));
}

void simulation::do_look() {
  const uint32_t count = read_log(8);
  log_.add(step_, "log lines=%" PRIu64, count, 0, 0, 0);
  cubby_tier_info info{};
  info.struct_size = sizeof info;
  for (const shadow_tier &tier : tiers_) {
    if (cubby_tier_describe(rt_, tier.handle, &info) != CUBBY_OK) {
      violate("P5", "tier %s cannot be described", tier.name);
    }
  }
}

void simulation::do_time() {
  uint64_t to = now_ns_;
  if (chance(60)) {
    to += random_.below(chance(80) ? 150'000 : 3'000'000);
  } else if (next_ns_ != ~uint64_t{0}) {
    to = std::max(now_ns_, next_ns_);
  }
  poll(to);
}

void simulation::take_step() {
  static constexpr weighted<simulation> weights[] = {
      {270, &simulation::do_pin},        {210, &simulation::do_unpin},
      {20, &simulation::do_withdraw},    {60, &simulation::do_prefetch},
      {60, &simulation::do_gather},      {25, &simulation::do_drop},
      {25, &simulation::do_visit},       {20, &simulation::do_hint},
      {10, &simulation::do_estimate},    {40, &simulation::do_cancel},
      {60, &simulation::do_wait},        {8, &simulation::do_resize},
      {3, &simulation::do_remove_bank},  {1, &simulation::do_change_file},
      {12, &simulation::do_force_fault}, {6, &simulation::do_look},
      {230, &simulation::do_time}};
  if (blocks_ != nullptr && chance(30)) {
    blocks_->take_step();
  } else {
    do_one(*this, random_, weights);
  }
  if (violations_.empty() && chance(45)) poll(now_ns_ + random_.below(40'000));
  for (int queue = 0; queue < 2 && violations_.empty(); ++queue) {
    if (chance(40)) take_completions(queue, static_cast<uint32_t>(1 + random_.below(8)));
  }
}

}  // namespace sim
