#include "engine/slot_tables.hpp"

#include <cubby/cubby_device.cuh>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "base/abi.hpp"
#include "base/assert.hpp"

namespace cubby::engine {
namespace {

static_assert(sizeof(cubby_slots::base) == CUBBY_PARTS_MAX * sizeof(uint64_t));

/// A number may be listed again before the list was read: it has come and gone meanwhile.
uint32_t places_for(uint64_t count) {
  return std::bit_ceil(static_cast<uint32_t>(std::max<uint64_t>(2 * count, 64)));
}

uint64_t device_bytes_for(uint64_t count, uint64_t part_rows) {
  return (2 * count + part_rows) * sizeof(uint64_t) + sizeof(cubby_device::device_state);
}

/// That the device reaches.
uint64_t host_bytes_for(const locker_bank &bank) {
  const uint64_t count = bank.count(), part_rows = uint64_t{bank.grid().rows()} * bank.part_count();
  return (count + part_rows + places_for(count)) * sizeof(uint64_t) +
         sizeof(cubby_device::shared_state);
}

uint64_t address_of(const void *at) { return reinterpret_cast<uintptr_t>(at); }
void *pointer_to(uint64_t address) { return reinterpret_cast<void *>(address); }

}  // namespace

slot_table::~slot_table() {
  tier::backend_instance &backend = tiers_[tier_].memory->backend();
  if (device_.base != nullptr) backend.release(device_);
  if (host_.base == nullptr) return;
  backend.unregister_memory(host_.base, host_.bytes);
  services_.memory_give(services_.context, &host_);
}

result<std::unique_ptr<slot_table>> slot_table::make(tier_set &tiers, uint32_t tier,
                                                     locker_bank &bank,
                                                     const cubby_backend_services &services) {
  std::unique_ptr<slot_table> made(new slot_table(tiers, tier, bank, services));
  made->take_tables();
  if (auto taken = made->take_memory(); !taken) return taken.failure();
  made->describe();
  return made;
}

/// Of the numbers of lockers: marks_, statuses_, changed_, asked_, to_ask_, and leaving_.
uint64_t slot_table::table_bytes_for(const locker_bank &bank) {
  constexpr uint64_t each = 2 + 2 * sizeof(uint32_t) + sizeof(question) + sizeof(leaver);
  return sizeof(slot_table) + bank.count() * each + host_bytes_for(bank);
}

uint64_t slot_table::table_bytes() const {
  return sizeof *this + marks_.capacity() + statuses_.capacity() +
         (changed_.capacity() + to_ask_.capacity()) * sizeof(uint32_t) +
         asked_.capacity() * sizeof(question) + leaving_.capacity() * sizeof(leaver) + host_.bytes;
}

/// So that nothing takes memory later on.
void slot_table::take_tables() {
  const uint64_t count = bank_.count();
  marks_.resize(count);
  statuses_.resize(count);
  changed_.reserve(count);
  asked_.reserve(count);
  leaving_.reserve(count);
  to_ask_.resize(count);
}

result<void> slot_table::take_memory() {
  const uint64_t count = bank_.count(),
                 part_rows = uint64_t{bank_.grid().rows()} * bank_.part_count();
  tier::memory_tier &memory = *tiers_[tier_].memory;
  auto device = memory.backend().reserve(device_bytes_for(count, part_rows));
  if (!device) return device.failure();
  device_ = *device;
  cubby_backend_memory host{};
  host.struct_size = sizeof host;
  if (services_.memory_take(services_.context, host_bytes_for(bank_), 0, &host) != 0) {
    return no_memory();
  }
  host_ = host;
  shared_ = view_.shared = address_of(host_.base);
  if (memory.readable()) return {};
  if (memory.backend().register_memory(host_.base, host_.bytes)) {
    auto there = memory.backend().address_in_device(host_.base);
    if (!there) return there.failure();
    view_.shared = *there;
    return {};
  }
  return fail(
      CUBBY_ERR_NOT_SUPPORTED,
      "tier %s: its device cannot be made to reach %llu bytes of host memory, where kernels "
      "list what they lack; raise the limit of locked memory (ulimit -l)",
      memory.name().c_str(), static_cast<unsigned long long>(host_.bytes));
}

void slot_table::describe() {
  const uint64_t count = bank_.count(),
                 part_rows = uint64_t{bank_.grid().rows()} * bank_.part_count();
  const tier::frame_address &places = tiers_[tier_].memory->places().address;
  view_.struct_size = sizeof view_;
  view_.layout = CUBBY_SLOTS_LAYOUT;
  view_.rows = bank_.grid().rows();
  view_.columns = bank_.grid().columns();
  view_.part_count = bank_.part_count();
  view_.miss_count_max = places_for(bank_.count());
  view_.entries = address_of(device_.base);
  view_.asked = view_.entries + count * sizeof(uint64_t);
  view_.part_offsets = view_.asked + count * sizeof(uint64_t);
  view_.state = view_.part_offsets + part_rows * sizeof(uint64_t);
  words_ = static_cast<uint64_t *>(pointer_to(shared_ + sizeof(cubby_device::shared_state)));
  words_ += view_.miss_count_max;
  offsets_ = words_ + count;
  std::copy(places.base.begin(), places.base.end(), view_.base);
  std::copy(places.stride.begin(), places.stride.end(), view_.stride_bytes);
  for (uint32_t row = 0; row < bank_.grid().rows(); ++row) {
    for (uint32_t part = 0; part < bank_.part_count(); ++part) {
      const bool lacks = bank_.part_bytes(row, part) == 0;
      offsets_[row * bank_.part_count() + part] =
          lacks ? ~uint64_t{0}
                : bank_.part_offset(bank_.layout(tier_), row * bank_.grid().columns(), part);
    }
  }
}

// ---- contents -----------------------------------------------------------------------------------

/// A write that is under way may take the new word already; it is written once more all the same.
void slot_table::change(uint32_t number, uint64_t word) {
  __atomic_store_n(&words_[number], word, __ATOMIC_RELAXED);
  if ((marks_[number] & waits_for_write) != 0) return;
  marks_[number] |= waits_for_write;
  changed_.push_back(number);
}

void slot_table::list(uint32_t number, uint64_t frame) {
  CUBBY_ASSERT(frame <= cubby_device::frame_max);
  change(number, cubby_device::word_of(frame, words_[number] + 1));
}

void slot_table::withdraw(uint32_t number) {
  change(number, cubby_device::absent_word(words_[number], false));
  leaving_.push_back({number});
}

void slot_table::refuse(uint32_t number) {
  if (!cubby_device::is_there(words_[number]))
    change(number, cubby_device::absent_word(words_[number] + 1, true));
}

// ---- writes -------------------------------------------------------------------------------------

/// The offsets first: who finds an entry needs them.
uint32_t slot_table::next_to_write() {
  if (std::exchange(offsets_wait_, false)) {
    ++in_flight_count_;
    return offsets_number;
  }
  if (!offsets_written_) return no_index;
  for (size_t i = changed_.size(); i-- > 0;) {
    const uint32_t number = changed_[i];
    if ((marks_[number] & in_flight) != 0) continue;
    changed_[i] = changed_.back();
    changed_.pop_back();
    marks_[number] = static_cast<uint8_t>((marks_[number] & ~waits_for_write) | in_flight);
    ++in_flight_count_;
    return number;
  }
  return no_index;
}

slot_table::write slot_table::write_of(uint32_t number) const {
  if (number == offsets_number) {
    return {pointer_to(view_.part_offsets), offsets_, view_.state - view_.part_offsets};
  }
  return {pointer_to(view_.entries + number * sizeof(uint64_t)), words_ + number, sizeof(uint64_t)};
}

void slot_table::write_again(uint32_t number) {
  --in_flight_count_;
  if (number == offsets_number) {
    offsets_wait_ = true;
    return;
  }
  marks_[number] &= static_cast<uint8_t>(~in_flight);
  change(number, words_[number]);
}

void slot_table::written(uint32_t number) {
  --in_flight_count_;
  if (number == offsets_number) {
    offsets_written_ = true;
    return;
  }
  marks_[number] &= static_cast<uint8_t>(~in_flight);
}

// ---- what leaves --------------------------------------------------------------------------------

uint32_t slot_table::take_left(bool all) {
  const uint64_t over = cubby_device::load(shared_ + sizeof(uint64_t));
  for (size_t i = 0; i < leaving_.size(); ++i) {
    leaver &one = leaving_[i];
    if (!one.written && (marks_[one.number] & (waits_for_write | in_flight)) == 0) {
      // The device has it: what begins from here on does not find the locker.
      one.written = true;
      cubby_device::fence();
      one.begun = cubby_device::load(shared_);
    }
    if (!all && (!one.written || over < one.begun)) continue;
    const uint32_t number = one.number;
    leaving_[i] = leaving_.back();
    leaving_.pop_back();
    return number;
  }
  return no_index;
}

// ---- what kernels lack --------------------------------------------------------------------------

bool slot_table::read_list() {
  const uint64_t ring = shared_ + sizeof(cubby_device::shared_state);
  for (bool any = false;; any = true) {
    const uint64_t place = seen_miss_count_ & (view_.miss_count_max - 1);
    const uint64_t word = cubby_device::load(ring + place * sizeof(uint64_t));
    if (word >> 32 != ((seen_miss_count_ + 1) & 0xFFFFFFFF)) return any;
    ++seen_miss_count_;
    const auto number = static_cast<uint32_t>(word);
    // A number that is none, or one that is on its way.
    if (number >= bank_.count() || (marks_[number] & asked_for) != 0) continue;
    marks_[number] |= asked_for;
    to_ask_[(to_ask_first_ + to_ask_count_++) % to_ask_.size()] = number;
  }
}

uint32_t slot_table::next_miss() const {
  return to_ask_count_ == 0 ? no_index : to_ask_[to_ask_first_];
}

void slot_table::take_miss() {
  to_ask_first_ = (to_ask_first_ + 1) % to_ask_.size();
  --to_ask_count_;
  no_request_ns_ = 0;
}

int8_t *slot_table::ask(uint32_t number, uint32_t request) {
  CUBBY_ASSERT(number == next_miss());
  take_miss();
  asked_.push_back({number, request});
  statuses_[number] = CUBBY_PENDING;
  return &statuses_[number];
}

bool slot_table::cannot_ask(uint32_t number, uint64_t now_ns) {
  CUBBY_ASSERT(number == next_miss());
  if (no_request_ns_ == 0) no_request_ns_ = now_ns;
  if (now_ns < no_request_ns_ + frame_patience_ns) return false;
  take_miss();
  marks_[number] &= static_cast<uint8_t>(~asked_for);
  refuse(number);
  return true;
}

bool slot_table::look_at_asked() {
  bool crowded = false;
  for (size_t i = asked_.size(); i-- > 0;) {
    const uint32_t number = asked_[i].number;
    if (!is_answered(number)) continue;
    asked_[i] = asked_.back();
    asked_.pop_back();
    marks_[number] &= static_cast<uint8_t>(~asked_for);
    if (statuses_[number] != CUBBY_OK) refuse(number);
    crowded = crowded || statuses_[number] == CUBBY_ERR_BUSY;
  }
  return crowded;
}

// ---- all of them --------------------------------------------------------------------------------

bool slot_tables::has(uint32_t tier, const locker_bank &bank) const {
  return std::ranges::any_of(
      tables_, [&](const auto &one) { return one->tier() == tier && &one->bank() == &bank; });
}

bool slot_tables::any_of(const locker_bank &bank) const {
  return std::ranges::any_of(tables_, [&](const auto &one) { return &one->bank() == &bank; });
}

result<void> slot_tables::take_staging(uint32_t tier, const locker_bank &bank) {
  if (tiers_[tier].memory->readable()) return {};
  bool taken = tiers_[bank.file_tier].staging->fill();
  for (uint32_t other = 0; other < tiers_.count(); ++other) {
    if (other != tier && tiers_.staged(other, tier)) taken = tiers_[tier].staging->fill() && taken;
  }
  if (taken) return {};
  return fail(CUBBY_ERR_NO_MEMORY,
              "tier %s: no host memory for the buffers through which its lockers come while "
              "kernels wait for them; raise the memory limit, or the limit of locked memory",
              tiers_[tier].name.c_str());
}

result<const slot_table *> slot_tables::add(uint32_t tier, locker_bank &bank,
                                            const cubby_backend_services &services) {
  const char *const name = bank.desc().name;
  const tier_slot &slot = tiers_[tier];
  if (bank.blocks != nullptr || slot.memory == nullptr || slot.memory->host_addressable() ||
      bank.count() > slot_table::numbers_max) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "bank %s has no slot table in tier %s: tables are of banks whose lockers are named "
                "by number, %u at most, in tiers of device memory or of an emulated device",
                name, slot.name.c_str(), slot_table::numbers_max);
  }
  if (!bank.mapped()) {
    return fail(CUBBY_ERR_INVALID,
                "bank %s has no files yet, so nothing of it can be brought; map or adopt it first",
                name);
  }
  for (const auto &one : tables_) {
    if (one->tier() != tier || &one->bank() != &bank) continue;
    return fail(CUBBY_ERR_BUSY, "bank %s has a slot table in tier %s%s", name, slot.name.c_str(),
                one->closing ? " that is just going; poll, and try again" : " already");
  }
  constexpr uint32_t tables_max = 128;
  if (tables_.size() == tables_max) {
    return fail(CUBBY_ERR_NO_MEMORY, "there are %u slot tables, as many as can be", tables_max);
  }
  if (auto taken = take_staging(tier, bank); !taken) return taken.failure();
  auto made = slot_table::make(tiers_, tier, bank, services);
  if (!made) return made.failure();
  for (uint32_t number = 0; number < bank.count(); ++number) {
    const locker_word::view word = bank.word(tier, number).look();
    if (word.state == locker_state::ready) (*made)->list(number, word.frame);
  }
  while (std::ranges::any_of(tables_, [&](const auto &one) { return one->id == (*made)->id; })) {
    ++(*made)->id;
  }
  tables_.push_back(std::move(*made));
  return tables_.back().get();
}

}  // namespace cubby::engine
