// What a machine's tiers deliver, as `cubby characterize --save` writes it and `cubby plan` reads
// it. docs/profile.md tells every field of the file with its unit.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::profile {

using ordered_json = nlohmann::ordered_json;
/// Nothing where it was not measured or does not exist: null in the file.
using number = std::optional<double>;

inline constexpr const char *format_name = "cubby-profile";
inline constexpr uint64_t format_version = 1;

/// One point of a curve.
struct point {
  std::string op;  // "read", "write", "mix70", "first_write"; memory: "copy", "chase" as well
  std::string path = "bare";         // "bare" or "cubby", the library's own
  std::optional<std::string> pages;  // of memory: "small" or "huge"
  std::string beside = "nothing";    // or "write-back"
  uint64_t block_bytes = 0;
  uint64_t depth = 0;  // I/Os in flight; memory: threads
  double bytes_per_s = 0;
  number p50_ns, p99_ns, p999_ns;  // of one block
  number cpu_ns_per_byte, joules_per_byte;
};

/// The knee of the best block size; latency is the median of the smallest block alone.
struct summary {
  double bytes_per_s = 0, latency_ns = 0;
  uint64_t block_bytes = 0, depth = 0;
  number joules_per_byte;
};

/// Where a curve over depth bends: more depth gives hardly more, and only adds latency.
struct knee {
  std::string op, path;
  std::optional<std::string> pages;
  std::string beside;
  uint64_t block_bytes = 0, depth = 0;
  double bytes_per_s = 0;
  number p50_ns;
};

/// How far apart the same loads were that were measured several times in a run: most over least,
/// less one.
struct spread {
  number read, write;
  uint64_t times = 0;
};

struct tier {
  std::string name, kind, place;  // kind: "host", "file", "device", "remote"; place: "where"
  number capacity_bytes;
  std::optional<summary> read, write;
  std::vector<point> curves;
  std::vector<knee> knees;
  std::optional<bool> steady;  // the first and the last part of the run agree
  std::optional<profile::spread> spread;
  number price_usd_per_byte, endurance_write_bytes;
  std::string origin, source;      // origin: "measured", "preset", "assumed"
  std::vector<std::string> notes;  // what could not be measured, and why

  /// In files, as a store over a network is, too; remote memory has no curves over reads in flight.
  [[nodiscard]] bool is_of_files() const {
    return kind == "file" || (kind == "remote" && !curves.empty());
  }
};

struct link {
  std::string from, to;  // names of tiers
  double bytes_per_s = 0;
  number latency_ns;
  std::string origin, source;
};

struct compute {
  std::string place;               // "cpu", or a device's name: "where"
  double product_bytes_per_s = 0;  // bytes of weights that matrix-vector products read
  number flop_per_s, watt, price_usd;
  std::string origin, source;
  number one_thread_product_bytes_per_s;
  uint64_t threads = 0;  // that product_bytes_per_s was measured with
};

struct machine {
  std::string host, cpu;
  uint64_t processors = 0, numa_nodes = 0;
  number memory_bytes;
  ordered_json topology = ordered_json::array();
};

struct making {
  std::string by, at;  // at: UTC, "2026-11-29T14:00:00Z"
  bool quick = false;
  number seconds;
};

struct machine_profile {
  making made;
  profile::machine machine;
  std::vector<tier> tiers;
  std::vector<link> links;
  std::optional<profile::compute> compute;
  number digest_bytes_per_s;  // "verify"
  number price_usd, watt;     // of the machine
  std::vector<std::string> notes;

  [[nodiscard]] const tier *find(const std::string &name) const;
};

ordered_json to_json(const machine_profile &of);
/// What is wrong is named by its place in the file ("tiers[1].read.bytes_per_s"); `path` is for the
/// sentence. Unknown fields are ignored.
outcome<machine_profile> from_json(const nlohmann::json &file, const std::string &path);

/// Is a file that begins so one of ours?
bool is_profile(std::string_view begin, uint64_t bytes);
done save(const machine_profile &what, const std::string &path);
outcome<machine_profile> load(const std::string &path);

}  // namespace cubby_cli::profile
