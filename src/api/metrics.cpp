#include "api/metrics.hpp"

#include <cinttypes>
#include <cstdio>
#include <vector>

#include "base/printable.hpp"

namespace cubby::api {
namespace {

/// Lines of the text format, version 0.0.4.
class metrics_text {
 public:
  explicit metrics_text(std::string &out) : out_(out) { out_.clear(); }

  void family(const char *name, const char *type, const char *help) {
    name_ = name;
    out_ += "# HELP " + name_ + ' ' + help + "\n# TYPE " + name_ + ' ' + type + '\n';
  }
  /// `labels` without braces, or empty.
  void value(const std::string &labels, uint64_t value, const char *suffix = "") {
    add(suffix, labels, std::to_string(value));
  }
  void seconds(const std::string &labels, uint64_t ns, const char *suffix = "") {
    char text[32];
    std::snprintf(text, sizeof text, "%" PRIu64 ".%09" PRIu64, ns / 1'000'000'000,
                  ns % 1'000'000'000);
    add(suffix, labels, text);
  }
  void histogram(const std::string &labels, const engine::load_times &of) {
    uint64_t count = 0;
    for (size_t i = 0; i < of.bounds_ns.size(); ++i) {
      count += of.counts[i];
      char bound[32];
      std::snprintf(bound, sizeof bound, "%g", static_cast<double>(of.bounds_ns[i]) / 1e9);
      value(labels + ",le=\"" + bound + '"', count, "_bucket");
    }
    count += of.counts.back();
    value(labels + ",le=\"+Inf\"", count, "_bucket");
    seconds(labels, of.sum_ns, "_sum");
    value(labels, count, "_count");
  }

 private:
  void add(const char *suffix, const std::string &labels, const std::string &number) {
    out_ += name_;
    out_ += suffix;
    if (!labels.empty()) out_ += '{' + labels + '}';
    out_ += ' ' + number + '\n';
  }

  std::string &out_;
  std::string name_;
};

/// name="value", whatever bytes the value has.
std::string label(const char *name, const std::string &value) {
  std::string made = std::string(name) + "=\"";
  for (const char c : base::printable(value)) {
    if (c == '\\' || c == '"') made += '\\';
    made += c;
  }
  return made + '"';
}

struct tier_metric {
  const char *name, *type, *help;
  uint64_t cubby_tier_stats::*of;
};
constexpr tier_metric tier_metrics[] = {
    {"cubby_tier_budget_bytes", "gauge", "Bytes that the tier may use.",
     &cubby_tier_stats::budget_bytes},
    {"cubby_tier_used_bytes", "gauge", "Bytes in use.", &cubby_tier_stats::used_bytes},
    {"cubby_tier_pinned_bytes", "gauge", "Bytes in use that are pinned.",
     &cubby_tier_stats::pinned_bytes},
    {"cubby_tier_peak_bytes", "gauge", "Most bytes that ever were in use.",
     &cubby_tier_stats::peak_bytes},
    {"cubby_tier_padding_bytes", "gauge", "Bytes lost to alignment.",
     &cubby_tier_stats::padding_bytes},
    {"cubby_tier_hits_total", "counter", "Lockers that were found in the tier.",
     &cubby_tier_stats::hit_count},
    {"cubby_tier_misses_total", "counter", "Lockers that were not found in the tier.",
     &cubby_tier_stats::miss_count},
    {"cubby_tier_evictions_total", "counter", "Copies given up.", &cubby_tier_stats::evict_count},
    {"cubby_tier_received_bytes_total", "counter", "Bytes moved into the tier.",
     &cubby_tier_stats::bytes_in},
    {"cubby_tier_sent_bytes_total", "counter", "Bytes moved out of the tier.",
     &cubby_tier_stats::bytes_out},
    {"cubby_tier_demand_bytes_total", "counter", "Bytes brought in for demand.",
     &cubby_tier_stats::demand_bytes},
    {"cubby_tier_prefetch_used_bytes_total", "counter", "Prefetched bytes that were used.",
     &cubby_tier_stats::prefetch_used_bytes},
    {"cubby_tier_prefetch_wasted_bytes_total", "counter",
     "Prefetched bytes that left without a use.", &cubby_tier_stats::prefetch_wasted_bytes},
    {"cubby_tier_write_back_bytes_total", "counter", "Bytes written back.",
     &cubby_tier_stats::write_back_bytes},
    {"cubby_tier_reads_total", "counter", "Read operations.", &cubby_tier_stats::read_count},
    {"cubby_tier_writes_total", "counter", "Write operations.", &cubby_tier_stats::write_count},
    {"cubby_tier_errors_total", "counter", "Operations that failed.",
     &cubby_tier_stats::error_count},
    {"cubby_tier_corrupt_chunks_total", "counter", "Chunks whose bytes were not those put.",
     &cubby_tier_stats::corrupt_count},
    {"cubby_tier_late_requests_total", "counter", "Demand that was over after its deadline.",
     &cubby_tier_stats::late_count}};

struct runtime_metric {
  const char *name, *type, *help, *label;  // label: of one of several values; NULL = there is one
  uint64_t value;
  bool in_ns = false;
};

void write_runtime(const engine::parts &of, const cubby_stats_block &block, metrics_text &out) {
  const runtime_metric all[] = {
      {"cubby_table_bytes", "gauge", "Memory of the runtime's own tables.", "use=\"tables\"",
       block.table_bytes},
      {"cubby_table_bytes", "", "", "use=\"policies\"", block.policy_bytes},
      {"cubby_table_bytes", "", "", "use=\"digests\"", block.digest_bytes},
      {"cubby_requests_completed_total", "counter", "Requests with a ticket that are over.",
       nullptr, of.open.completed_count()},
      {"cubby_visits_total", "counter", "Visits that the policies were notified of.", nullptr,
       block.visit_count},
      {"cubby_visits_dropped_total", "counter", "Visits that found no room in a ring.", nullptr,
       block.visit_dropped_count},
      {"cubby_log_lines_dropped_total", "counter", "Lines of the log that were lost.", nullptr,
       block.log_dropped_count},
      {"cubby_unverified_bytes_total", "counter",
       "Bytes delivered without a digest to hold them "
       "against.",
       nullptr, block.unverified_bytes},
      {"cubby_stall_seconds_total", "counter", "Where demand for pins waited.", "cause=\"read\"",
       block.stall_read_ns, true},
      {"cubby_stall_seconds_total", "", "", "cause=\"join\"", block.stall_join_ns, true},
      {"cubby_stall_seconds_total", "", "", "cause=\"frame_wait\"", block.stall_frame_wait_ns,
       true},
      {"cubby_stall_seconds_total", "", "", "cause=\"copy\"", block.stall_copy_ns, true},
      {"cubby_stall_seconds_total", "", "", "cause=\"handoff\"", block.stall_handoff_ns, true}};
  for (const runtime_metric &one : all) {
    if (*one.type != 0) out.family(one.name, one.type, one.help);
    const std::string labels = one.label == nullptr ? "" : one.label;
    one.in_ns ? out.seconds(labels, one.value) : out.value(labels, one.value);
  }
}

}  // namespace

void write_metrics(engine::parts &of, uint64_t log_dropped_count, std::string &out) {
  cubby_stats_block block{};
  std::vector<cubby_tier_stats> tiers;
  of.numbers.report(block, tiers);
  block.log_dropped_count = log_dropped_count;
  metrics_text text(out);
  text.family("cubby_build_info", "gauge", "The library's version.");
  const uint32_t version = cubby_version();
  text.value(
      label("version", std::to_string(version >> 16) + '.' + std::to_string(version >> 8 & 0xFF) +
                           '.' + std::to_string(version & 0xFF)),
      1);
  write_runtime(of, block, text);
  std::vector<std::string> names, labels;
  for (uint32_t i = 0; i < tiers.size(); ++i) {
    const engine::tier_slot &slot = of.state.tiers[i];
    names.push_back(label("tier", slot.name));
    labels.push_back(names[i] + ',' + label("backend", slot.backend));
  }
  for (const tier_metric &one : tier_metrics) {
    text.family(one.name, one.type, one.help);
    for (uint32_t i = 0; i < tiers.size(); ++i) text.value(labels[i], tiers[i].*one.of);
  }
  text.family("cubby_tier_health", "gauge", "0 healthy, 1 degraded, 2 read-only, 3 bypassed.");
  for (uint32_t i = 0; i < tiers.size(); ++i) text.value(labels[i], tiers[i].health);
  text.family("cubby_tier_io_in_flight", "gauge", "Operations that the device has.");
  for (uint32_t i = 0; i < tiers.size(); ++i) {
    text.value(labels[i], of.state.tiers[i].path->in_flight_count());
  }
  text.family("cubby_tier_io_queued", "gauge", "Operations that wait for the device.");
  for (uint32_t i = 0; i < tiers.size(); ++i) {
    text.value(labels[i], of.state.tiers[i].path->queued_count());
  }
  text.family("cubby_tier_stood_aside_total", "counter",
              "Times that a tier began to be gone past: of memory, for files, of a store, for "
              "computing was quicker.");
  for (uint32_t i = 0; i < tiers.size(); ++i) {
    text.value(labels[i], of.state.tiers[i].stand_aside.begun_count());
  }
  text.family("cubby_tier_passed_lockers_total", "counter",
              "Lockers that were there and came from a file, for that was quicker; of a store, "
              "splits that took nothing from it.");
  for (uint32_t i = 0; i < tiers.size(); ++i) {
    text.value(labels[i], of.state.tiers[i].stand_aside.past_count());
  }
  text.family("cubby_load_seconds", "histogram",
              "From a pin or get of what was not there until it was.");
  for (uint32_t i = 0; i < tiers.size(); ++i) {
    if (of.state.tiers.is_memory(i)) text.histogram(names[i], of.state.tiers[i].loads);
  }
}

}  // namespace cubby::api
