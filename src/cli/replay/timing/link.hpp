// Links of a fixed speed: how they are written, what moves over them, and what waits for it. A pure
// model; docs/timing.md has its equations.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::replay {

struct link_speed {
  std::string name;  // "host" or "nvme"
  double bytes_per_s = 0;
  uint64_t latency_ns = 0;
};

/// "host:25GB/s,10us".
outcome<link_speed> read_link(const std::string &text);

/// A link that carries objects of one size, one after the other.
struct link_queue {
  uint64_t move_ns = 0, latency_ns = 0, free_ns = 0;

  link_queue() = default;
  link_queue(const link_speed &link, uint64_t object_bytes);
  /// Takes its turn; when it begins, and when it has come.
  std::pair<uint64_t, uint64_t> take(uint64_t asked_ns);
};

/// When each leg of a move begins and ends. One that needs no nvme has an empty leg there.
struct move {
  uint64_t asked = 0, nvme_begins = 0, nvme_ends = 0, host_begins = 0, host_ends = 0;
};
/// `nvme` may be none: the host has it.
move take_links(uint64_t asked_ns, link_queue *nvme, link_queue &host);

/// What a token or a request waited for. Only KV blocks can be computed anew.
enum class stall_cause { host, host_queue, nvme, nvme_queue, recompute };
inline constexpr uint32_t move_causes = 4, all_causes = 5;
inline constexpr std::array<const char *, all_causes> stall_names = {"host", "host_queue", "nvme",
                                                                     "nvme_queue", "recompute"};
using stalls = std::array<uint64_t, all_causes>;

/// Waits until it has come, and says what for.
void wait_for(const move &until, uint64_t &now_ns, stalls &to);

/// p50_ns, p99_ns (nearest rank) and mean_ns. The order of the values is lost.
nlohmann::json spread_of(std::vector<uint64_t> &values);

/// The spread of all stalls, their share of `over_ns`, and the spread of each of the first
/// `causes`.
nlohmann::json stall_report(const std::vector<stalls> &of, uint32_t causes, uint64_t over_ns);

}  // namespace cubby_cli::replay
