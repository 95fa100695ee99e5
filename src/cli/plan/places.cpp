#include "cli/plan/places.hpp"

#include <algorithm>
#include <cmath>

namespace cubby_cli::plan {
namespace {

using profile::machine_profile;
using profile::tier;

constexpr double usual_share = 0.9;  // of a tier's capacity; the rest is for everything else

const tier *of_kind(const machine_profile &in, const std::string &kind) {
  for (const tier &one : in.tiers)
    if (one.kind == kind) return &one;
  return nullptr;
}

/// Where products read their weights: the device's memory where there is one.
const tier *local_tier(const machine_profile &in) {
  const tier *device = of_kind(in, "device");
  const bool on_host = in.compute && in.compute->place == "cpu";
  return device != nullptr && !on_host ? device : of_kind(in, "host");
}

const profile::link *link_between(const machine_profile &in, const std::string &from,
                                  const std::string &to) {
  for (const profile::link &one : in.links)
    if (one.from == from && one.to == to) return &one;
  return nullptr;
}

void add_to_way(const std::string &what, place &made) {
  made.way += (made.way.empty() ? "" : ", ") + what;
}

/// A link that begins at files was measured with the reading of them in it. Other memory is read by
/// what the link carries it away with; what is carried on from there is another passage.
void cross(const profile::link &over, place &made) {
  const double latency_s = over.latency_ns.value_or(0) / 1e9;
  const std::string name = over.from + " to " + over.to;
  if (over.from == made.name) {
    passage &read = made.passages.front();
    const bool with_reading = made.of_files;
    read.name = name;
    read.bytes_per_s = std::min(read.bytes_per_s, over.bytes_per_s);
    read.latency_s =
        with_reading ? std::max(read.latency_s, latency_s) : read.latency_s + latency_s;
  } else {
    made.passages.push_back({name, over.bytes_per_s, latency_s});
  }
  if (over.bytes_per_s < made.bytes_per_s) {
    made.bytes_per_s = over.bytes_per_s;
    made.speed_from = origin_named(over.origin);
    made.speed_source = over.source;
  }
  if (made.of_files && over.from == made.name)
    made.latency_s = std::max(made.latency_s, latency_s);
  else
    made.latency_s += latency_s;
  add_to_way(name, made);
}

bool is_lone_read(const profile::point &one, const std::string &path) {
  return one.op == "read" && one.path == path && one.beside == "nothing";
}

/// The fastest measured point for reads of such blocks: of the library's own path where that was
/// measured, and with nothing beside.
const profile::point *point_for(const tier &from, double block_bytes) {
  constexpr double piece_max = 1 << 20;  // the runtime reads in pieces
  const double wanted = std::clamp(block_bytes, 4096.0, piece_max);
  const profile::point *best = nullptr;
  const auto off = [&](const profile::point &one) {
    return std::abs(std::log2(static_cast<double>(one.block_bytes) / wanted));
  };
  for (const char *path : {"cubby", "bare"}) {
    for (const profile::point &one : from.curves) {
      if (!is_lone_read(one, path) || one.block_bytes == 0) continue;
      const bool nearer = best == nullptr || off(one) < off(*best);
      const bool faster = best != nullptr && one.block_bytes == best->block_bytes &&
                          one.bytes_per_s > best->bytes_per_s;
      if (nearer || faster) best = &one;
    }
    if (best != nullptr) break;
  }
  return best;
}

/// Where the depth is that of reads in flight; of memory it is threads, and nothing of how many
/// pieces are asked for.
void add_depths(const tier &from, const profile::point &as, place &made) {
  if (!from.is_of_files()) return;
  for (const profile::point &one : from.curves) {
    if (!is_lone_read(one, as.path) || one.block_bytes != as.block_bytes) continue;
    const auto depth = static_cast<double>(one.depth);
    made.speed_in_flight[depth] = one.bytes_per_s;
    if (one.p50_ns && one.p99_ns && one.p999_ns)
      made.tail_in_flight[depth] = {*one.p50_ns / 1e9, *one.p99_ns / 1e9, *one.p999_ns / 1e9};
  }
}

/// How fast it reads by itself.
void start_way(const question &of, const tier &from, place &made) {
  made.bytes_per_s = from.read->bytes_per_s;
  made.latency_s = from.read->latency_ns / 1e9;
  const double piece = of.model.has_experts() ? expert_bytes_each(of.model) / of.model.ffn_matrices
                                              : kv_bytes(of.model, of.kv, 64);
  const profile::point *measured = point_for(from, piece);
  if (measured == nullptr || !(measured->bytes_per_s > 0)) return;
  made.bytes_per_s = measured->bytes_per_s;
  made.piece_bytes = static_cast<double>(measured->block_bytes);
  made.digests_in_reads = measured->path == "cubby";
  add_depths(from, *measured, made);
  made.way = measured->path + " reads of " + std::to_string(measured->block_bytes) + " B, " +
             std::to_string(measured->depth) + " at a time";
}

/// From a tier to where products read: over a link of its own, or by way of host memory.
done add_way(const question &of, const tier &from, const tier &local, place &made) {
  const machine_profile &in = of.machine;
  start_way(of, from, made);
  made.passages = {{"reads of " + from.name, made.bytes_per_s, made.latency_s}};
  if (const profile::link *direct = link_between(in, from.name, local.name)) {
    cross(*direct, made);
  } else if (local.kind == "host") {
    add_to_way(from.name + " to " + local.name + " by its own reads", made);
  } else {
    const tier *host = of_kind(in, "host");
    const profile::link *up = host == nullptr ? nullptr : link_between(in, host->name, local.name);
    if (up == nullptr)
      return usage_trouble("the profile " + of.machine_name + " has no link from " + from.name +
                           " to " + local.name +
                           "; add one to its \"links\", or measure again where the device is");
    if (const profile::link *there = link_between(in, from.name, host->name))
      cross(*there, made);
    else
      add_to_way(from.name + " to " + host->name + " by its own reads", made);
    cross(*up, made);
  }
  // What comes is held against its digest before it is used.
  if (in.digest_bytes_per_s && *in.digest_bytes_per_s < made.bytes_per_s) {
    made.bytes_per_s = *in.digest_bytes_per_s;
    add_to_way("digests", made);
  }
  return nothing{};
}

outcome<double> budget_of(const question &of, const tier &which, bool is_local) {
  const auto given = of.budget_bytes.find(which.name);
  const double scaled = which.capacity_bytes.value_or(0);
  if (given == of.budget_bytes.end()) return usual_share * scaled;
  if (!which.capacity_bytes || given->second <= scaled) return given->second;
  const double giga = 1e9 * (is_local ? of.devices : 1);
  return usage_trouble("--budget " + which.name + " is " + short_number(given->second / giga) +
                       " GB, but the tier has " + short_number(scaled / giga) + " GB; give less" +
                       (is_local ? ": it is of one device, and --devices N takes N of them" : ""));
}

/// Empty where the plan uses it.
std::string why_left_out(const question &of, const tier &one, const tier &local) {
  if (&one == &local) return {};
  if (one.kind == "device" && local.kind == "host")
    return "products read in " + local.name +
           "; to plan for products on the device, name it in compute.where of " + of.machine_name +
           ", with compute.product_bytes_per_s, compute.flop_per_s, capacity_bytes of " + one.name +
           " and links to it";
  if (!one.read || !(one.read->bytes_per_s > 0))
    return "how fast it reads (read.bytes_per_s) was not measured";
  return {};
}

/// All fields without which there is no plan at all.
std::string missing_in(const question &of, const tier *local) {
  std::string names;
  const auto need = [&](bool there, const std::string &name) {
    if (!there) names += (names.empty() ? "" : ", ") + name;
  };
  const auto &compute = of.machine.compute;
  need(local != nullptr,
       "a tier of kind \"host\", or of kind \"device\" with compute.where its name");
  need(compute && !compute->place.empty(), "compute.where (in whose memory products read)");
  need(compute && compute->product_bytes_per_s > 0,
       "compute.product_bytes_per_s (how fast products read it)");
  if (local != nullptr)
    need(local->capacity_bytes || of.budget_bytes.count(local->name) != 0,
         "capacity_bytes of " + local->name + " (or --budget " + local->name + "=SIZE)");
  return names;
}

template <class Map>
profile::number given_or(const Map &given, const std::string &name, profile::number known) {
  const auto found = given.find(name);
  return found == given.end() ? known : profile::number(found->second);
}

outcome<place> place_of(const question &of, const tier &from, const tier &local) {
  place made;
  made.name = from.name;
  made.kind = from.kind;
  made.of_files = from.is_of_files();
  made.title = from.place;
  made.source = from.source;
  made.from = made.speed_from = origin_named(from.origin);
  made.speed_source = from.source;
  if (!from.capacity_bytes && of.budget_bytes.count(from.name) == 0)
    return usage_trouble("the profile " + of.machine_name + " does not say how large " + from.name +
                         " is; give --budget " + from.name + "=SIZE");
  auto budget = budget_of(of, from, &from == &local);
  if (!budget) return budget.failure();
  made.budget_bytes = *budget;
  made.capacity_bytes = from.capacity_bytes.value_or(*budget);
  if (from.write) made.write_bytes_per_s = from.write->bytes_per_s;
  if (from.read) made.joules_per_byte = from.read->joules_per_byte;
  made.price_usd_per_byte = given_or(of.price_usd_per_byte, from.name, from.price_usd_per_byte);
  made.endurance_bytes = given_or(of.endurance_bytes, from.name, from.endurance_write_bytes);
  if (&from == &local) {
    made.bytes_per_s = of.machine.compute->product_bytes_per_s;
    made.way = "products read here";
    made.speed_from = origin_named(of.machine.compute->origin);
    made.speed_source = of.machine.compute->source;
    return made;
  }
  if (auto good = add_way(of, from, local, made); !good) return good.failure();
  return made;
}

/// Between two depths along a line over the logarithm, as depths are measured in powers of two;
/// beyond the deepest, as there. Nothing where none was measured.
template <class Curve, class Value>
std::optional<double> at_depth(const Curve &of, double in_flight, const Value &value) {
  if (of.empty()) return std::nullopt;
  const auto after = of.lower_bound(in_flight);
  if (after == of.end()) return value(of.rbegin()->second);
  if (after == of.begin()) return value(after->second);
  const auto before = std::prev(after);
  const double part =
      std::log2(in_flight / before->first) / std::log2(after->first / before->first);
  return value(before->second) + part * (value(after->second) - value(before->second));
}

done known_tiers(const question &of) {
  std::string names;
  for (const tier &one : of.machine.tiers) names += (names.empty() ? "" : ", ") + one.name;
  for (const auto *map : {&of.budget_bytes, &of.price_usd_per_byte, &of.endurance_bytes})
    for (const auto &[name, value] : *map)
      if (of.machine.find(name) == nullptr)
        return usage_trouble("there is no tier \"" + name + "\" in the profile " + of.machine_name +
                             "; there are " + names);
  return nothing{};
}

}  // namespace

double place::speed_with(double asked_bytes) const {
  return std::min(bytes_per_s, reads_with(asked_bytes));
}

double place::reads_with(double asked_bytes) const {
  const double most = passages.empty() ? bytes_per_s : passages.front().bytes_per_s;
  if (piece_bytes <= 0) return most;
  const auto speed = at_depth(speed_in_flight, std::max(1.0, asked_bytes / piece_bytes),
                              [](double each) { return each; });
  return speed ? std::min(most, *speed) : most;
}

double place::last_behind_s(double asked_bytes) const {
  if (piece_bytes <= 0) return 0;
  const double in_flight = std::max(1.0, asked_bytes / piece_bytes);
  const auto reads = static_cast<uint32_t>(std::lround(in_flight));
  return at_depth(tail_in_flight, in_flight,
                  [&](const read_tail &one) { return plan::last_behind_s(one, reads); })
      .value_or(0);
}

outcome<std::vector<place>> places_of(const question &of) {
  if (auto good = known_tiers(of); !good) return good.failure();
  const tier *local = local_tier(of.machine);
  if (const std::string missing = missing_in(of, local); !missing.empty())
    return usage_trouble("the profile " + of.machine_name +
                         " lacks what every plan needs: " + missing +
                         "; measure again with `cubby characterize --save`, write it into "
                         "the file (docs/profile.md tells every field), or take a preset");
  std::vector<place> all;
  for (const tier &one : of.machine.tiers) {
    if (!why_left_out(of, one, *local).empty()) continue;
    auto made = place_of(of, one, *local);
    if (!made) return made.failure();
    all.push_back(std::move(*made));
  }
  const std::string first = local->name;
  std::stable_sort(all.begin(), all.end(), [&](const place &a, const place &b) {
    if ((a.name == first) != (b.name == first)) return a.name == first;
    return a.bytes_per_s > b.bytes_per_s;
  });
  return all;
}

std::vector<std::string> left_out_of(const question &of) {
  std::vector<std::string> notes;
  const tier *local = local_tier(of.machine);
  for (const tier &one : of.machine.tiers)
    if (const std::string why = local == nullptr ? "" : why_left_out(of, one, *local); !why.empty())
      notes.push_back(one.name + " is left out: " + why);
  return notes;
}

question with_devices(question of, double n) {
  of.devices *= n;
  const tier *local = local_tier(of.machine);
  if (local == nullptr || n == 1) return of;
  const std::string name = local->name;
  for (tier &one : of.machine.tiers) {
    if (one.name != name) continue;
    if (one.capacity_bytes) *one.capacity_bytes *= n;
    if (one.read) one.read->bytes_per_s *= n;
  }
  if (const auto given = of.budget_bytes.find(name); given != of.budget_bytes.end())
    given->second *= n;
  for (profile::link &one : of.machine.links)
    if (one.to == name || one.from == name) one.bytes_per_s *= n;
  profile::compute &compute = *of.machine.compute;
  compute.product_bytes_per_s *= n;
  for (profile::number *each : {&compute.flop_per_s, &compute.watt, &compute.price_usd})
    if (*each) **each *= n;
  if (of.usd_per_hour) of.usd_per_hour->value *= n;
  if (of.price_usd) of.price_usd->value *= n;
  for (profile::number *each : {&of.machine.price_usd, &of.machine.watt})
    if (*each) **each *= n;
  if (of.background_watt) of.background_watt->value *= n;
  return of;
}

}  // namespace cubby_cli::plan
