#include "residency/frame_check.hpp"

#include <algorithm>
#include <array>
#include <memory_resource>
#include <vector>

namespace cubby::residency {
namespace {

using ull = unsigned long long;
using locker = bank_registry::locker;

/// Alignment of lent memory, and sizes of lent pieces.
result<void> check_lent(const tier::memory_tier &memory, const locker &item) {
  const locker_bank &bank = *item.bank;
  if (memory.places().align_bytes < bank.align_bytes()) {
    return fail(CUBBY_ERR_INVALID,
                "tier %s: its lent memory is aligned to %llu bytes, bank %s "
                "wants %u",
                memory.name().c_str(), static_cast<ull>(memory.places().align_bytes),
                bank.desc().name, bank.align_bytes());
  }
  if (!memory.places().strided()) return {};
  const uint32_t row = bank.row_of(item.number);
  const auto &pieces = memory.places().piece_bytes;  // 0 behind the last one
  const auto none = std::count(pieces.begin(), pieces.end(), uint64_t{0});
  bool fits = pieces.size() - static_cast<size_t>(none) == bank.part_count();
  for (uint32_t p = 0; fits && p < bank.part_count(); ++p) {
    fits = bank.part_bytes(row, p) <= memory.places().piece_bytes[p];
  }
  if (fits) return {};
  return fail(CUBBY_ERR_INVALID,
              "tier %s: its lent pieces do not hold the parts of row %u of "
              "bank %s",
              memory.name().c_str(), row, bank.desc().name);
}

}  // namespace

uint64_t cost_of(const frame_source &from, std::span<const locker> lockers) {
  if (lockers.size() == 1) {
    const locker &only = lockers.front();
    return from.memory.cost_bytes(only.bank->frame_bytes_in(from.tier, only.number));
  }
  std::array<std::byte, 64 * sizeof(locker)> room;
  std::pmr::monotonic_buffer_resource memory(room.data(), room.size());
  std::pmr::vector<locker> sorted(lockers.begin(), lockers.end(), &memory);
  std::sort(sorted.begin(), sorted.end(), [](const locker &a, const locker &b) {
    return a.bank != b.bank ? a.bank < b.bank : a.number < b.number;
  });
  uint64_t bytes = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const locker &item = sorted[i];
    if (i != 0 && sorted[i - 1].bank == item.bank && sorted[i - 1].number == item.number) continue;
    bytes += from.memory.cost_bytes(item.bank->frame_bytes_in(from.tier, item.number));
  }
  return bytes;
}

result<void> check_frames(const frame_source &from, std::span<const locker> lockers) {
  for (const locker &item : lockers) {
    if (!from.memory.is_lent()) break;
    if (auto held = check_lent(from.memory, item); !held) return held;
  }
  const uint64_t bytes = cost_of(from, lockers);
  if (bytes <= from.budget_bytes) return {};
  error failure = fail(CUBBY_ERR_BUDGET,
                       "tier %s: the set needs %llu bytes at once, the budget is "
                       "%llu; raise the budget to %llu, or pin fewer lockers together",
                       from.memory.name().c_str(), static_cast<ull>(bytes),
                       static_cast<ull>(from.budget_bytes), static_cast<ull>(bytes));
  failure.tier = from.handle;
  failure.needed_bytes = bytes;
  return failure;
}

}  // namespace cubby::residency
