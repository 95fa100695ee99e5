#include "cli/replay/io.hpp"

#include <cubby/cubby.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <span>

#include "cli/bench/blocks.hpp"
#include "cli/bench/reader.hpp"
#include "cli/replay/policies.hpp"

namespace cubby_cli::replay {
namespace {

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t locker_bytes_max = uint64_t{256} << 20;

trouble from_library(const cubby::error &why) { return {why.text()}; }

std::vector<std::string> split(const std::string &text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == at) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::optional<uint32_t> whole_number(const std::string &text) {
  uint32_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

uint64_t pages_of(uint64_t bytes) { return (bytes + page_bytes - 1) / page_bytes * page_bytes; }

done read_geometry(const std::string &text, const expert_schedule &of, io_place &to) {
  if (text.empty())
    return usage_trouble("--io needs --geometry LAYERSxEXPERTSxBYTES, as 24x32x3MiB");
  const auto parts = split(text, 'x');
  if (parts.size() != 3)
    return usage_trouble("geometry \"" + text + "\" is not LAYERSxEXPERTSxBYTES, as 24x32x3MiB");
  const auto rows = whole_number(parts[0]), columns = whole_number(parts[1]);
  const double bytes = byte_count(parts[2]).value_or(0);
  if (rows != of.rows || columns != of.columns)
    return usage_trouble("geometry " + text + " is not the trace's, which has " +
                         std::to_string(of.rows) + " layers of " + std::to_string(of.columns) +
                         " experts");
  if (!(bytes >= 1 && bytes <= static_cast<double>(locker_bytes_max)))
    return usage_trouble("geometry " + text + ": a locker has from 1 byte to 256 MiB");
  to.rows = *rows;
  to.columns = *columns;
  to.locker_bytes = static_cast<uint64_t>(bytes);
  return nothing{};
}

done read_tiers(const std::string &text, io_place &to) {
  std::error_code failed;
  if (text.empty()) return usage_trouble("--io needs tiers: --tiers host:SIZE,file:DIR");
  for (const std::string &one : split(text, ',')) {
    const std::string value = one.substr(std::min(one.find(':'), one.size() - 1) + 1);
    if (one.starts_with("host:") && byte_count(value).value_or(0) >= page_bytes) {
      to.host_bytes = static_cast<uint64_t>(*byte_count(value));
    } else if (one.starts_with("file:") && !value.empty()) {
      to.folder = value;
    } else {
      return usage_trouble("tier \"" + one + "\" is neither host:SIZE, as host:1GiB, nor file:DIR");
    }
  }
  if (to.host_bytes == 0 || to.folder.empty())
    return usage_trouble("--io needs both tiers: --tiers host:SIZE,file:DIR");
  if (!std::filesystem::is_directory(to.folder, failed))
    return usage_trouble("tier file:" + to.folder +
                         " is no folder; make it first, or name another");
  return nothing{};
}

}  // namespace

outcome<io_place> read_place(const io_options &chosen, const expert_schedule &of) {
  io_place made;
  if (auto good = read_geometry(chosen.geometry, of, made); !good) return good.failure();
  if (auto good = read_tiers(chosen.tiers, made); !good) return good.failure();
  return made;
}

/// A runtime with one memory tier over the file, advanced by this thread.
class io_replayer::pinning_runtime {
 public:
  done open(const io_replayer &by, const std::string &policy, uint64_t budget_bytes);
  done visit(const expert_schedule &of, const visit_record &one);
  done pin_first();
  [[nodiscard]] cubby_tier_stats stats() const;

 private:
  done map(const io_replayer &by);
  done record_visit(const expert_schedule &of, const visit_record &one);
  done use(std::span<const uint64_t> numbers, const cubby::how &how);

  std::optional<cubby::runtime> rt_;
  cubby::tier tier_;
  cubby::bank bank_;
  std::vector<uint64_t> numbers_;
  std::vector<uint16_t> columns_;
  std::vector<cubby_routed> routed_;
};

done io_replayer::pinning_runtime::open(const io_replayer &by, const std::string &policy,
                                        uint64_t budget_bytes) {
  auto opened = cubby::runtime::open(
      {.pump = cubby::pump::caller, .policy = policy.c_str(), .seed = by.seed_});
  if (!opened) return from_library(opened.why());
  rt_ = std::move(*opened);
  if (auto mapped = map(by); !mapped) return mapped;
  const auto added = rt_->add_tier({.name = "host:0", .budget_bytes = budget_bytes});
  if (!added) return from_library(added.why());
  tier_ = *added;
  return nothing{};
}

done io_replayer::pinning_runtime::map(const io_replayer &by) {
  const io_place &place = by.place_;
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_EXPERTS;
  desc.name = "experts";
  desc.rows = place.rows;
  desc.columns = place.columns;
  desc.routed_count = by.of_.top_k;
  desc.locker_bytes = place.locker_bytes;
  const auto added = rt_->add_bank(desc);
  if (!added) return from_library(added.why());
  bank_ = *added;
  std::vector<cubby_extent> extents;
  const uint64_t stride_bytes = pages_of(place.locker_bytes);
  for (uint64_t i = 0; i < bank_.locker_count(); ++i)
    extents.push_back({bank_.id(i), 0, 0, i * stride_bytes, place.locker_bytes});
  const char *path = by.path_.c_str();
  const auto mapped = rt_->map(bank_, {&path, 1}, extents);
  return mapped ? done(nothing{}) : from_library(mapped.why());
}

/// Which sequence of the batch chose what.
done io_replayer::pinning_runtime::record_visit(const expert_schedule &of,
                                                const visit_record &one) {
  columns_.clear();
  for (uint32_t i = 0; i < one.route_count; ++i) {
    const cubby_policy_route &route = of.routes[one.first_route + i];
    for (uint32_t k = 0; k < route.count; ++k)
      columns_.push_back(static_cast<uint16_t>(route.objects[k] % of.columns));
  }
  routed_.clear();
  const uint16_t *at = columns_.data();
  for (uint32_t i = 0; i < one.route_count; ++i) {
    const cubby_policy_route &route = of.routes[one.first_route + i];
    routed_.push_back({route.slot, one.row, route.count, at, nullptr});
    at += route.count;
  }
  const auto visited = rt_->visit(bank_, routed_);
  return visited ? done(nothing{}) : from_library(visited.why());
}

done io_replayer::pinning_runtime::visit(const expert_schedule &of, const visit_record &one) {
  if (auto visited = record_visit(of, one); !visited) return visited;
  const cubby_object *used = of.used.data() + one.first_used;
  numbers_.assign(used, used + one.used_count);
  return use(numbers_, {.no_visit = true});
}

/// One locker, to see what it takes.
done io_replayer::pinning_runtime::pin_first() {
  constexpr uint64_t first = 0;
  return use({&first, 1}, {});
}

done io_replayer::pinning_runtime::use(std::span<const uint64_t> numbers, const cubby::how &how) {
  auto held = rt_->pin(bank_, numbers, tier_, how);
  if (!held) return from_library(held.why());
  if (const auto came = held->wait(); !came) return from_library(came.why());
  held->release();
  // What came for this visit stays or goes before the next one begins.
  const auto polled = rt_->poll();
  return polled ? done(nothing{}) : from_library(polled.why());
}

cubby_tier_stats io_replayer::pinning_runtime::stats() const {
  cubby_tier_stats tiers[2] = {};
  (void)rt_->stats(tiers);
  return tiers[0].tier == tier_.handle() ? tiers[0] : tiers[1];
}

done io_replayer::prepare() {
  const uint64_t stride_bytes = pages_of(place_.locker_bytes);
  auto file = bench::blocks_file(place_.folder,
                                 uint64_t{place_.rows} * place_.columns * stride_bytes, quiet_);
  if (!file) return file.failure();
  path_ = *file;
  pinning_runtime one;
  const uint64_t room_bytes = 2 * (stride_bytes + page_bytes);
  if (auto opened = one.open(*this, "lru", room_bytes); !opened) return opened;
  if (auto pinned = one.pin_first(); !pinned) return pinned;
  frame_bytes_ = one.stats().used_bytes;
  return nothing{};
}

/// A policy with admit() has room for probation beside: for the objects of one layer, and at most
/// a quarter of the tier (cubby.h: cubby_tier_desc.budget_bytes is what frames take together).
uint64_t io_replayer::budget_for(const cubby_policy_ops &policy, uint64_t capacity) const {
  const uint64_t admitted_bytes = capacity * frame_bytes_;
  if (policy.admit == nullptr) return admitted_bytes;
  return std::min(admitted_bytes + used_at_once() * frame_bytes_,
                  pages_of((admitted_bytes * 4 + 2) / 3));
}

uint32_t io_replayer::capacity_for(const cubby_policy_ops &policy) const {
  const uint64_t all = uint64_t{place_.rows} * place_.columns;
  uint64_t capacity = std::min(place_.host_bytes / frame_bytes_, all);
  while (capacity != 0 && budget_for(policy, capacity) > place_.host_bytes) --capacity;
  return static_cast<uint32_t>(capacity);
}

outcome<link_speed> io_replayer::measure_link() const {
  constexpr uint64_t sample_bytes = uint64_t{128} << 20;
  const uint64_t bytes = pages_of(place_.locker_bytes);
  const bench::layout layout{path_, uint64_t{place_.rows} * place_.columns * bytes, bytes, bytes,
                             0};
  const auto blocks =
      bench::random_blocks(layout.count(), std::max<uint64_t>(of_.top_k, sample_bytes / bytes), 1);
  link_speed found{"nvme", 0, 0};
  for (const uint32_t depth : {1U, std::max(of_.top_k, 2U)}) {
    auto by = bench::make_pread(layout, depth);
    if (!by) return by.failure();
    auto took = (*by)->run(blocks);
    if (!took) return took.failure();
    const double each_ns = took->seconds * 1e9 / static_cast<double>(blocks.size());
    const double speed = static_cast<double>(took->bytes) / took->seconds;
    if (depth == 1) {
      found.latency_ns = static_cast<uint64_t>(each_ns);
      continue;
    }
    // What a lone read takes beyond its bytes at full speed.
    const double moving_ns = static_cast<double>(bytes) * 1e9 / speed;
    found.bytes_per_s = speed;
    found.latency_ns -=
        static_cast<uint64_t>(std::min(static_cast<double>(found.latency_ns), moving_ns));
  }
  return found;
}

outcome<io_run> io_replayer::run(const cubby_policy_ops &policy, const std::string &name,
                                 uint32_t capacity) {
  const uint64_t budget_bytes = budget_for(policy, capacity);
  if (budget_bytes > place_.host_bytes)
    return usage_trouble("a capacity of " + std::to_string(capacity) + " lockers takes " +
                         std::to_string(budget_bytes) + " bytes of memory under policy " +
                         policy.name + "; raise host:SIZE of --tiers, which is " +
                         std::to_string(place_.host_bytes));
  pinning_runtime one;
  if (budget_bytes < used_at_once() * frame_bytes_)
    return usage_trouble("one layer of the batch uses " + std::to_string(used_at_once()) +
                         " lockers at once; a capacity of " + std::to_string(capacity) +
                         " cannot hold them, raise --capacity");
  if (auto opened = one.open(*this, name, budget_bytes); !opened) return opened.failure();
  const uint64_t started_ns = clock_ns();
  for (size_t v = 0; v < of_.visits.size(); ++v) {
    const visit_record &visit = of_.visits[v];
    auto visited = one.visit(of_, visit);
    if (!visited) return visited.failure();
    if (progress_.due())
      progress_.show(name + " with real bytes, " + std::to_string(capacity) +
                     " lockers: " + std::to_string(100 * v / of_.visits.size()) + " %");
  }
  const cubby_tier_stats seen = one.stats();
  io_run found;
  found.seconds = seconds_since(started_ns);
  found.hits = seen.hit_count;
  found.accesses = of_.used.size();
  found.evictions = seen.evict_count;
  found.bytes = seen.bytes_in;
  return found;
}

/// As many as the memory keeps for each of them.
std::string io_replayer::usual_capacity(const std::vector<replayed_policy> &policies) const {
  uint32_t fitting = place_.rows * place_.columns;
  for (const replayed_policy &one : policies) fitting = std::min(fitting, capacity_for(*one.ops));
  return std::to_string(fitting);
}

done io_replayer::add(replayer &by, const workload &of, const replayed_policy &which,
                      const asked_capacity &capacity, nlohmann::json &line) {
  if (which.needs_future())
    return usage_trouble("policy " + which.name +
                         " needs the future; --io asks the runtime, which has none");
  const auto link = measure_link();
  if (!link) return link.failure();
  const auto found = run(*which.ops, which.asked, static_cast<uint32_t>(capacity.units));
  if (!found) return found.failure();
  timing_rules rules;
  rules.host = {"host", 1e15, 0};  // what is read is where it is used
  rules.nvme = *link;
  rules.object_bytes = locker_bytes();
  rules.host_has_all = false;
  timing clock(of.schedule, rules);
  if (const auto watched = by.watch(which, capacity.units, clock); !watched)
    return watched.failure();
  const double tokens =
      static_cast<double>(of.schedule.visits.size()) / std::max(1U, of.schedule.rows);
  line["simulated_hits"] = line["hits"];
  line["equal"] = line["hits"] == found->hits;
  line["hits"] = found->hits;
  line["hit_ratio"] = static_cast<double>(found->hits) / static_cast<double>(found->accesses);
  line["io"] = {{"tokens_per_s", tokens / found->seconds},
                {"predicted_tokens_per_s", clock.report()["tokens_per_s"]},
                {"link_bytes_per_s", link->bytes_per_s},
                {"link_latency_ns", link->latency_ns},
                {"read_bytes", found->bytes},
                {"evictions", found->evictions}};
  return nothing{};
}

}  // namespace cubby_cli::replay
