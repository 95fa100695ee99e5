// What must be true: the right bytes of every locker, who holds what, which requests are alive.
// It knows the calls and their results, never the state of the runtime.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "sim/world.hpp"

namespace sim {

inline constexpr uint32_t memory_tiers_max = 2;

struct shadow_extent {
  uint64_t offset_bytes = 0, bytes = 0;
  uint32_t file = 0;
};

struct shadow_hold {  // of one locker in one tier
  uint32_t count = 0;
  std::vector<const void *> addr;  // by part, while held
};

struct shadow_locker {
  std::vector<shadow_extent> parts;
  std::vector<std::vector<unsigned char>> right;  // by part, made when first needed
  /// Its bytes were seen to be right once: from here on the runtime has a digest to hold against
  /// what the disk says, and the disk may lie.
  bool anchored = false;
  /// A fault has struck one of its ranges since the world was last well.
  bool struck = false;
  std::array<shadow_hold, memory_tiers_max> holds;
  [[nodiscard]] uint64_t bytes() const {
    uint64_t sum = 0;
    for (const shadow_extent &part : parts) sum += part.bytes;
    return sum;
  }
};

struct shadow_bank {
  cubby_bank handle = 0;
  uint64_t ordinal = 0;  // counts banks ever made
  std::vector<std::string> files;
  uint32_t rows = 0, columns = 0, part_count = 1;
  std::vector<uint64_t> part_bytes;  // [rows * part_count]
  // Of a table, whose lockers are pages of its rows; the last page may have fewer.
  uint32_t table_row_bytes = 0, page_rows = 0;
  uint64_t table_row_count = 0;
  std::vector<shadow_locker> lockers;
  bool file_changed = false;
  uint64_t held_count = 0;   // items of complete sets
  uint64_t asked_count = 0;  // items of requests alive

  [[nodiscard]] uint64_t bytes_of(uint32_t number, uint32_t part) const {
    const uint64_t bytes = part_bytes[number / columns * part_count + part];
    const bool last = table_row_bytes != 0 && number + 1 == lockers.size();
    return last ? table_row_count * table_row_bytes - number * bytes : bytes;
  }
  const std::vector<unsigned char> &right(cubby_sim::world &sim, uint32_t number, uint32_t part) {
    shadow_locker &locker = lockers[number];
    locker.right.resize(part_count);
    std::vector<unsigned char> &bytes = locker.right[part];
    const shadow_extent &extent = locker.parts[part];
    if (bytes.empty()) {
      bytes.resize(extent.bytes);
      sim.find(files[extent.file])->read(extent.offset_bytes, bytes.data(), extent.bytes);
    }
    return bytes;
  }
};

struct shadow_tier {
  cubby_tier handle = 0;
  const char *name = "";
  uint64_t budget_bytes = 0;  // what was last agreed
  bool shrinking = false;     // used may still be above the budget
  cubby_tier_stats last{};
};

struct shadow_item {
  std::shared_ptr<shadow_bank> bank;
  uint32_t number = 0;
  bool released = false;  // given back, or withdrawn before it came
  bool held = false;      // in a set: its bytes are pinned. One that failed in a set whose others
                          // came is not, and still belongs to whoever unpins the set
  bool checked = false;   // its bytes were looked at after it landed
};

enum class asked : uint32_t { pin, prefetch, resize, gather };

/// A request alive, and later the set it has become.
struct shadow_request {
  asked kind = asked::pin;
  uint64_t number = 0;  // of the simulation, from 1; also cubby_how.user
  cubby_ticket ticket = 0;
  cubby_pins pins = 0;
  uint32_t tier = 0, flags = 0, io_class = 0;
  uint64_t deadline_ns = 0;
  int queue = -1;  // which completion queue; -1 = wait
  bool canceled = false;
  bool has_status = false;
  bool canceled_at_once = false;  // nothing was polled between request and cancel
  bool complete = false;          // a held set
  uint64_t asked_poll = 0;        // polls before it was asked
  uint64_t budget_bytes = 0;      // of a resize
  std::vector<shadow_item> items;
  std::vector<const void *> addr;  // the runtime writes here until completion
  std::vector<int8_t> status, last_status;
  // Of a gather, an item a row: which, and where they go.
  std::vector<uint64_t> table_rows;
  std::vector<unsigned char> into;
  uint32_t part_count = 1;
  [[nodiscard]] bool any_released() const {
    for (const shadow_item &item : items) {
      if (item.released) return true;
    }
    return false;
  }
  [[nodiscard]] bool all_released() const {
    for (const shadow_item &item : items) {
      if (!item.released) return false;
    }
    return true;
  }
};

}  // namespace sim
