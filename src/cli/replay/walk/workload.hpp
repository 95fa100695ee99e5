// A trace in the form that it is replayed in, and capacities of it.
#pragma once

#include "cli/replay/walk/schedule.hpp"

namespace cubby_cli::replay {

struct workload {
  std::string path;
  trace read;
  expert_schedule schedule;    // of experts
  std::vector<uint32_t> next;  // of KV: next_touches()

  [[nodiscard]] bool of_experts() const { return read.of_experts; }
  [[nodiscard]] uint32_t lockers() const {
    return read.of_experts ? schedule.objects() : read.kv.unique;
  }
  [[nodiscard]] uint64_t accesses() const {
    return read.of_experts ? schedule.used.size() : read.kv.blocks.size();
  }
  [[nodiscard]] uint32_t unique() const {
    return read.of_experts ? schedule.unique : read.kv.unique;
  }
};

outcome<workload> read_workload(const std::string &path, uint32_t batch, uint64_t limit);

struct asked_capacity {
  std::string text;
  uint32_t lockers = 0;
};

/// "25%" of the lockers there are, or a number of lockers; `least` and all of them are its bounds.
outcome<asked_capacity> read_capacity(const std::string &text, const workload &of, uint32_t least);

/// What one layer of a token, or one block, needs.
inline uint32_t least_capacity(const workload &of) {
  return of.of_experts() ? of.schedule.top_k : 1;
}

}  // namespace cubby_cli::replay
