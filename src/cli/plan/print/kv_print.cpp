#include <iostream>

#include "cli/plan/print/kv_print.hpp"
#include "cli/printable.hpp"
#include "cli/support.hpp"

namespace cubby_cli::plan {

nlohmann::json json_of(const kv_question &asked, const kv_times &found) {
  const kv_counts &counts = asked.counts;
  return {{"profile", asked.machine_name},
          {"trace", asked.trace},
          {"policy", asked.policy},
          {"memory_blocks", asked.memory_blocks},
          {"block_bytes", counts.block_bytes},
          {"store", asked.file},
          {"uses", {{"memory", counts.memory}, {"disk", counts.disk}, {"put", counts.put}}},
          {"terms",
           {{"memory_s", found.memory_s},
            {"disk_s", found.disk_s},
            {"put_s", found.put_s},
            {"own_s", found.own_s}}},
          {"seconds", found.all_s()},
          {"blocks_per_s", found.all_s() > 0 ? counts.uses() / found.all_s() : 0},
          {"stall_share", found.stall_share()}};
}

void print_kv(const kv_question &asked, const kv_times &found) {
  const kv_counts &counts = asked.counts;
  const auto row = [&](const char *name, double count, double seconds) {
    return std::vector<std::string>{name, count_text(static_cast<uint64_t>(count)),
                                    fixed_text(seconds) + " s",
                                    percent_text(seconds / found.all_s())};
  };
  std::cout << printable(asked.trace) << ", policy " << asked.policy << ", "
            << count_text(asked.memory_blocks) << " blocks in memory, the others in "
            << printable(asked.file) << "\n";
  print_table({{"blocks", "uses", "time", "share"},
               row("got from memory", counts.memory, found.memory_s),
               row("got from the store", counts.disk, found.disk_s),
               row("put", counts.put, found.put_s),
               row("used", counts.uses(), found.own_s)});
  std::cout << count_text(static_cast<uint64_t>(counts.uses() / found.all_s()))
            << " blocks a second, the disk is waited for " << percent_text(found.stall_share())
            << " of the time\n";
}

}  // namespace cubby_cli::plan
