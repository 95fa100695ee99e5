#include <algorithm>

#include "cli/plan/outlook.hpp"
#include "cli/plan/read/words.hpp"
#include "cli/replay/policies.hpp"
#include "cli/replay/walk/jobs.hpp"

namespace cubby_cli::plan {
namespace {

constexpr double usual_shares[] = {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};
constexpr uint64_t tokens_max = 20000;
constexpr uint32_t batch_max = 1024;

/// The shares of all experts that the first tier, the first two … hold by the question as it
/// stands.
outcome<std::vector<double>> shares_held(const question &of) {
  const auto here = look_ahead(of);
  if (!here) return here.failure();
  const part *experts = here->parts.find(part_kind::experts);
  std::vector<double> shares;
  double held = 0;
  for (size_t at = 0; experts != nullptr && at < experts->placed.size(); at++)
    shares.push_back(held += experts->share_in(at));
  return shares;
}

/// Counts the visits in which so many experts are missing.
class miss_counts final : public replay::reporter {
 public:
  void used(uint64_t, std::span<const cubby_object>,
            std::span<const cubby_object> missing) override {
    if (missing.size() >= visits_.size()) visits_.resize(missing.size() + 1);
    visits_[missing.size()]++;
    all_++;
  }
  void came(cubby_object) override {}
  void left(cubby_object) override {}
  void ended() override {}
  [[nodiscard]] nlohmann::json report() override {
    for (double &one : visits_) one /= std::max(1.0, all_);
    return visits_;
  }

 private:
  std::vector<double> visits_;
  double all_ = 0;
};

done same_model(const replay::workload &of, const question &with) {
  if (!of.of_experts())
    return usage_trouble("--trace " + of.path + " is of " + replay::words_for(of.kind()) +
                         "; give a recording of experts");
  const model_shape &model = with.model;
  if (of.schedule.rows == model.moe_layers && of.schedule.columns == model.routed_experts)
    return nothing{};
  return usage_trouble("--trace " + of.path + " is of " + std::to_string(of.schedule.rows) +
                       " layers of " + std::to_string(of.schedule.columns) + " experts, " +
                       model.name + " has " + std::to_string(model.moe_layers) + " of " +
                       std::to_string(model.routed_experts) + "; record the model itself");
}

std::vector<replay::job> jobs_at(const std::vector<double> &shares, const replay::workload &of,
                                 const replay::replayed_policy &policy) {
  std::vector<replay::job> jobs;
  const uint64_t least = replay::least_capacity(of);
  for (const double share : shares) {
    replay::job one;
    one.how.policy = policy.ops;
    one.how.name = policy.name;
    one.how.capacity = static_cast<uint64_t>(share * static_cast<double>(of.units()));
    one.details = [] { return std::make_unique<miss_counts>(); };
    if (one.how.capacity >= least && one.how.capacity < of.units()) jobs.push_back(std::move(one));
  }
  return jobs;
}

}  // namespace

done add_recorded_hits(const plan_words &words, question &to) {
  if (!to.model.has_experts())
    return usage_trouble("--trace is of experts, and " + to.model.name + " has none; leave it out");
  const auto batch = static_cast<uint32_t>(std::min<uint64_t>(words.users, batch_max));
  auto of = replay::read_workload({words.trace, "", batch, tokens_max, {}});
  if (!of) return of.failure();
  if (auto good = same_model(*of, to); !good) return good;
  // With more users than sequences all of the recording's are decoded side by side.
  const bool fewer = of->schedule.batch < batch;
  const uint32_t decoded = of->schedule.batch;
  if (auto good = replay::check_policies({words.policy}); !good) return good;
  auto policies = replay::find_policies({words.policy}, of->kind());
  if (!policies) return policies.failure();
  const auto held = shares_held(to);
  if (!held) return held.failure();
  std::vector<double> shares(std::begin(usual_shares), std::end(usual_shares));
  shares.insert(shares.end(), held->begin(), held->end());
  std::sort(shares.begin(), shares.end());
  shares.erase(std::unique(shares.begin(), shares.end()), shares.end());
  std::vector<replay::job> jobs = jobs_at(shares, *of, policies->policies.front());
  std::vector<replay::job *> all;
  for (replay::job &one : jobs) all.push_back(&one);
  if (auto good = replay::run_jobs(*of, all, 1, true); !good) return good;
  hit_curve made = {{},
                    origin::measured,
                    "replay of " + words.trace + " through policy " +
                        policies->policies.front().name + ", batch " + std::to_string(decoded) +
                        (fewer ? ", fewer than there are users: the recording has no more "
                                 "sequences side by side"
                               : "")};
  for (const replay::job &one : jobs) {
    if (!one.found) return trouble{one.broken};
    made.points.push_back(
        {static_cast<double>(one.how.capacity) / static_cast<double>(of->units()),
         static_cast<double>(one.found->hits) / static_cast<double>(one.found->accesses),
         one.details_report.get<std::vector<double>>()});
  }
  to.curve = std::move(made);
  return nothing{};
}

}  // namespace cubby_cli::plan
