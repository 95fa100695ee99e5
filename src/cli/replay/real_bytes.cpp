#include "cli/replay/real_bytes.hpp"

#include <algorithm>

#include "cli/replay/io.hpp"
#include "cli/replay/stored/stored_io.hpp"

namespace cubby_cli::replay {
namespace {

done needs_no_store(const io_options &chosen) {
  if (chosen.store.empty() && chosen.store_bytes.empty()) return nothing{};
  return usage_trouble(
      "--store and --store-bytes are for traces of KV blocks; experts are read from a file: "
      "--tiers host:SIZE,file:DIR");
}

done needs_no_file(const io_options &chosen) {
  if (chosen.geometry.empty() && chosen.tiers.empty()) return nothing{};
  return usage_trouble(
      "--geometry and --tiers are for traces of experts; KV blocks need --store DIR, and "
      "--object-bytes says how large they are");
}

}  // namespace

outcome<std::unique_ptr<real_bytes>> make_real_bytes(const io_options &chosen, const workload &of,
                                                     uint64_t seed, bool quiet) {
  if (of.is_mixed())
    return usage_trouble("--io is for traces of one kind; " + of.path +
                         " is replayed with KV blocks and experts together: --timing models the "
                         "time they take");
  if (of.of_experts()) {
    if (auto good = needs_no_store(chosen); !good) return good.failure();
    const auto place = read_place(chosen, of.schedule);
    if (!place) return place.failure();
    return std::unique_ptr<real_bytes>(
        std::make_unique<io_replayer>(*place, of.schedule, seed, quiet));
  }
  if (auto good = needs_no_file(chosen); !good) return good.failure();
  const auto plan = read_plan(chosen, of);
  if (!plan) return plan.failure();
  return std::unique_ptr<real_bytes>(std::make_unique<stored_io>(*plan, of, seed, quiet));
}

done needs_io(const io_options &chosen) {
  if (chosen.on) return nothing{};
  if (!(chosen.geometry.empty() && chosen.tiers.empty()))
    return usage_trouble("--geometry and --tiers are for --io: add it, or leave them out");
  if (!(chosen.store.empty() && chosen.store_bytes.empty()))
    return usage_trouble("--store and --store-bytes are for --io: add it, or leave them out");
  return nothing{};
}

bool good_bytes(const nlohmann::json &report) {
  const auto right = [](const nlohmann::json &of, const char *name) {
    const auto at = of.find(name);
    return at == of.end() || (at->value("wrong_bytes", 0) == 0 && at->value("damaged", 0) == 0);
  };
  if (!right(report, "store")) return false;
  const auto results = report.find("results");
  if (results == report.end()) return true;
  return std::all_of(results->begin(), results->end(), [&](const nlohmann::json &one) {
    return right(one, "io") && (one.value("equal", true) || one.contains("may_differ"));
  });
}

}  // namespace cubby_cli::replay
