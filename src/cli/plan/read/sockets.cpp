#include "cli/plan/read/sockets.hpp"

#include <algorithm>
#include <string>

namespace cubby_cli::plan {
namespace {

using profile::link;
using profile::machine_profile;
using profile::tier;

/// Has "host:1" processors? A node of which the profile says nothing is taken to have some.
bool has_processors(const machine_profile &of, const tier &one) {
  for (const auto &object : of.machine.topology) {
    if (!object.is_object() || object.value("type", profile::ordered_json()) != "numa_node")
      continue;
    const auto number = object.find("number"), processors = object.find("processors");
    if (number == object.end() || !number->is_number_unsigned()) continue;
    if (one.name != "host:" + std::to_string(number->get<uint64_t>())) continue;
    return processors == object.end() || !processors->is_array() || !processors->empty();
  }
  return true;
}

void add(std::optional<profile::summary> &to, const std::optional<profile::summary> &from) {
  if (to && from) to->bytes_per_s += from->bytes_per_s;
}

/// Its curves were measured of one node, and say nothing of all.
void join(const tier &other, tier &first) {
  if (first.capacity_bytes && other.capacity_bytes) *first.capacity_bytes += *other.capacity_bytes;
  if (!other.capacity_bytes) first.capacity_bytes.reset();
  add(first.read, other.read);
  add(first.write, other.write);
  first.place += " and " + other.place;
  first.curves.clear();
  first.knees.clear();
}

/// Links of `other` become those of `first`; of two between the same tiers the faster counts.
void move_links(std::vector<link> &all, const std::string &other, const std::string &first) {
  std::vector<link> found;
  for (link &one : all) {
    for (std::string *end : {&one.from, &one.to})
      if (*end == other) *end = first;
    if (one.from == one.to) continue;
    const auto same = std::find_if(found.begin(), found.end(), [&](const link &that) {
      return that.from == one.from && that.to == one.to;
    });
    if (same == found.end())
      found.push_back(std::move(one));
    else if (one.bytes_per_s > same->bytes_per_s)
      *same = std::move(one);
  }
  all = std::move(found);
}

}  // namespace

machine_profile with_one_memory(machine_profile of) {
  if (!of.compute || of.compute->place != "cpu") return of;
  std::vector<tier> found;
  size_t first = SIZE_MAX;
  for (tier &one : of.tiers) {
    const bool joins = one.kind == "host" && has_processors(of, one);
    if (!joins || first == SIZE_MAX) {
      if (joins) first = found.size();
      found.push_back(std::move(one));
      continue;
    }
    join(one, found[first]);
    move_links(of.links, one.name, found[first].name);
    of.notes.push_back(one.name + " is counted in " + found[first].name +
                       ": products run on the processors beside both");
  }
  of.tiers = std::move(found);
  return of;
}

}  // namespace cubby_cli::plan
