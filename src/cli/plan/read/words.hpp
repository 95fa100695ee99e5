// What the words of `cubby plan` ask for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/plan/question.hpp"
#include "cli/plan/read/header.hpp"

namespace cubby_cli::plan {

struct plan_words {
  std::string model, profile;
  std::optional<uint64_t> context, sessions;
  std::optional<uint32_t> lookahead;
  uint32_t threads = 0;  // that products run in; 0 = all that were measured
  bool experts_alone = false;
  uint64_t users = 1, output = 500;
  uint32_t devices = 1;
  std::string reuse = "0", overlap = "0", hits, slo, kv = "bf16", attention = "as-made";
  std::string expert_type, dense_type, routing = "recorded";
  std::string usd_per_hour, price_usd, watt, background_watt, years = "4", usd_per_kwh = "0.10";
  std::string input_price;
  std::vector<std::string> geometry, budgets, prices, endurances;
  std::string trace, policy = "auto";
  // Of a recording of KV blocks.
  std::string kv_trace, kv_memory = "25%", kv_block_bytes = "4096", kv_store;
  std::optional<uint64_t> kv_limit;
  uint64_t kv_own_ns = 0;
};

/// A number in [least, most]; trouble names the option, and says what is wrong and what to give.
outcome<double> read_number(const std::string &option, const std::string &text, double least,
                            double most);

/// A file's profile, or a preset's.
outcome<profile::machine_profile> read_machine_named(const std::string &name);

outcome<question> read_question(const plan_words &words);

/// Takes the hit ratios of a recording through a policy as the question's curve, also at the share
/// that the first tier will hold.
done add_recorded_hits(const plan_words &words, question &to);

}  // namespace cubby_cli::plan
