#include "cli/plan/read/kv_recorded.hpp"

#include <utility>

#include "cli/plan/read/given_options.hpp"
#include "cli/replay/policies.hpp"
#include "cli/replay/walk/jobs.hpp"

namespace cubby_cli::plan {
namespace {

/// Where each block of a request is as it is used. A store keeps every block it once got.
class place_counts final : public replay::reporter {
 public:
  explicit place_counts(uint64_t blocks) : at_(blocks) {}
  void used(uint64_t, std::span<const cubby_object> used, std::span<const cubby_object>) override {
    request_ = used;
    for (const cubby_object block : used) {
      place &of = at_[block];
      (of.in_memory ? memory_ : of.seen ? disk_ : put_)++;
      of.counted_in_memory = of.in_memory;
      of.seen = true;
    }
  }
  void came(cubby_object block) override {
    place &of = at_[block];
    of.in_memory = true;
    // It was there as the request began, and had gone for another of the request's.
    if (!std::exchange(of.counted_in_memory, false)) return;
    --memory_;
    ++disk_;
  }
  void left(cubby_object block) override { at_[block].in_memory = false; }
  void ended() override {
    for (const cubby_object block : request_) at_[block].counted_in_memory = false;
  }
  [[nodiscard]] nlohmann::json report() override {
    return {{"memory", memory_}, {"disk", disk_}, {"put", put_}};
  }

 private:
  struct place {
    bool in_memory = false, seen = false;
    bool counted_in_memory = false;  // of the request that is played
  };
  std::vector<place> at_;
  std::span<const cubby_object> request_;
  double memory_ = 0, disk_ = 0, put_ = 0;
};

done count_places(const plan_words &words, kv_question &to) {
  const uint64_t limit = words.kv_limit ? *words.kv_limit : replay::no_limit;
  auto of = replay::read_workload({words.kv_trace, "", 1, limit, {}});
  if (!of) return of.failure();
  if (of->of_experts() || of->is_mixed())
    return usage_trouble("--kv-trace " + words.kv_trace +
                         " is not of KV blocks alone; a recording of experts is for --trace");
  if (auto good = replay::check_policies({words.policy}); !good) return good;
  auto policies = replay::find_policies({words.policy}, of->kind());
  if (!policies) return policies.failure();
  const auto capacity = replay::read_capacity(words.kv_memory, *of, replay::least_capacity(*of));
  if (!capacity) return capacity.failure();
  replay::job one;
  one.how.policy = policies->policies.front().ops;
  one.how.name = to.policy = policies->policies.front().name;
  one.how.capacity = to.memory_blocks = capacity->units;
  one.details = [&of] { return std::make_unique<place_counts>(of->units()); };
  if (auto good = replay::run_jobs(*of, {&one}, 1, true); !good) return good;
  if (!one.found) return trouble{one.broken};
  const nlohmann::json &found = one.details_report;
  to.counts.memory = found["memory"];
  to.counts.disk = found["disk"];
  to.counts.put = found["put"];
  return nothing{};
}

}  // namespace

outcome<kv_question> read_kv_question(const plan_words &words) {
  if (auto good = check_kv_words(words); !good) return good.failure();
  kv_question made;
  auto machine = read_machine_named(words.profile);
  if (!machine) return machine.failure();
  made.machine = std::move(*machine);
  made.machine_name = words.profile;
  made.trace = words.kv_trace;
  made.file = words.kv_store;
  for (const profile::tier &one : made.machine.tiers)
    if (made.file.empty() && one.is_of_files()) made.file = one.name;
  const auto bytes = byte_count(words.kv_block_bytes);
  if (!bytes || *bytes < 1)
    return usage_trouble("--kv-block-bytes " + words.kv_block_bytes + " is no size, as 64KiB");
  made.counts.block_bytes = *bytes;
  made.own_s = static_cast<double>(words.kv_own_ns) / 1e9;
  if (auto good = count_places(words, made); !good) return good.failure();
  return made;
}

}  // namespace cubby_cli::plan
