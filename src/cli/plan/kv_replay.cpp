#include "cli/plan/kv_replay.hpp"

#include <algorithm>
#include <map>

namespace cubby_cli::plan {
namespace {

using profile::point;
using profile::tier;

/// Of a lone put, written once its block is (docs/format.md).
constexpr double journal_page_bytes = 4096;

/// By block size, the fastest of what was measured alone (of memory on small and huge pages). Times
/// of many blocks add up to as many means: a disk's slow ones count.
std::map<double, double> lone_means(const tier &of, const std::string &op,
                                    const std::string &path) {
  std::map<double, double> found;
  for (const point &one : of.curves) {
    if (one.op != op || one.path != path || one.beside != "nothing" || one.depth != 1) continue;
    if (one.bytes_per_s <= 0 || one.block_bytes == 0) continue;
    const auto bytes = static_cast<double>(one.block_bytes);
    const auto [at, fresh] = found.try_emplace(bytes, bytes / one.bytes_per_s);
    if (!fresh) at->second = std::min(at->second, bytes / one.bytes_per_s);
  }
  return found;
}

const tier *first_host(const profile::machine_profile &in) {
  for (const tier &one : in.tiers)
    if (one.kind == "host") return &one;
  return nullptr;
}

}  // namespace

outcome<double> lone_block_s(const tier &of, const std::string &op, const std::string &path,
                             double block_bytes) {
  const std::map<double, double> known = lone_means(of, op, path);
  if (known.empty())
    return usage_trouble("the profile has no " + op + " of " + of.name + " at depth 1 by the " +
                         (path == "cubby" ? "library" : "bare loop") +
                         "; measure again with `cubby characterize --save`");
  auto after = known.lower_bound(block_bytes);
  if (after == known.begin()) return after->second;
  // Beyond the largest block each byte takes what it takes there.
  const auto before = std::prev(after);
  if (after == known.end()) return before->second * block_bytes / before->first;
  return before->second + (after->second - before->second) * (block_bytes - before->first) /
                              (after->first - before->first);
}

outcome<kv_times> time_kv(const profile::machine_profile &machine, const std::string &file,
                          const kv_counts &counts, double own_s) {
  const tier *host = first_host(machine), *disk = machine.find(file);
  if (host == nullptr || disk == nullptr || !disk->is_of_files())
    return usage_trouble("the profile has no " +
                         (host == nullptr ? std::string("host memory") : "file tier " + file) +
                         "; measure it with `cubby characterize --dir DIR --save`");
  const auto memory = lone_block_s(*host, "copy", "cubby", counts.block_bytes);
  if (!memory) return memory.failure();
  const auto read = lone_block_s(*disk, "read", "cubby", counts.block_bytes);
  if (!read) return read.failure();
  // What is new to a store goes to space that was never written, as its record does.
  const auto first = lone_block_s(*disk, "first_write", "bare", counts.block_bytes);
  const std::string put = first ? "first_write" : "write";
  const auto write = lone_block_s(*disk, put, "bare", counts.block_bytes);
  if (!write) return write.failure();
  const auto record = lone_block_s(*disk, put, "bare", journal_page_bytes);
  if (!record) return record.failure();
  kv_times made;
  made.memory_s = counts.memory * *memory;
  made.disk_s = counts.disk * (*read + *memory);
  made.put_s = counts.put * (*write + *record + *memory);
  made.own_s = counts.uses() * own_s;
  return made;
}

}  // namespace cubby_cli::plan
