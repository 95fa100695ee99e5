#include "cli/plan/read/words.hpp"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "cli/plan/read/given_options.hpp"
#include "cli/plan/read/model_facts.hpp"
#include "cli/plan/read/sockets.hpp"

namespace cubby_cli::plan {
namespace {

constexpr double usd_max = 1e12;

template <class List>
std::string names_of(const List &all) {
  std::string names;
  for (const auto &one : all) names += (names.empty() ? "" : ", ") + one.name;
  return names;
}

std::string small_letters(std::string text) {
  for (char &one : text)
    if (one >= 'A' && one <= 'Z') one = static_cast<char>(one - 'A' + 'a');
  return text;
}

outcome<double> read_share(const std::string &option, const std::string &text) {
  const std::string digits = text.ends_with('%') ? text.substr(0, text.size() - 1) : text;
  auto percent = read_number(option + " (percent)", digits, 0, 100);
  if (!percent) return percent;
  return *percent / 100;
}

/// "host:0=64GiB" and the like, into `to` by the tier's name.
template <class Read>
done read_by_tier(const std::string &option, const std::vector<std::string> &words,
                  const std::string &example, const Read &read, std::map<std::string, double> &to) {
  for (const std::string &word : words) {
    const size_t equals = word.rfind('=');
    if (equals == std::string::npos || equals == 0)
      return usage_trouble(option + ": \"" + word + "\" is not TIER=VALUE, as in " + example);
    auto value = read(word.substr(equals + 1));
    if (!value) return value.failure();
    const std::string tier = word.substr(0, equals);
    if (!to.emplace(tier, *value).second)
      return usage_trouble(option + " names " + tier + " twice; say it once");
  }
  return nothing{};
}

outcome<double> read_budget(const std::string &text) {
  for (const auto &[unit, scale] :
       {std::pair{"GB", 1e9}, std::pair{"TB", 1e12}, std::pair{"MB", 1e6}}) {
    if (!text.ends_with(unit)) continue;
    auto number = read_number("--budget", text.substr(0, text.size() - 2), 0, 1e9);
    if (!number) return number;
    return *number * scale;
  }
  const auto bytes = byte_count(text);
  if (!bytes)
    return usage_trouble("--budget: \"" + text +
                         "\" is no size; write it as 20GB, 20GiB or 512MiB, below 1 PB");
  return *bytes;
}

done read_tiers(const plan_words &words, question &to) {
  auto good =
      read_by_tier("--budget", words.budgets, "device:0=20GiB", read_budget, to.budget_bytes);
  if (!good) return good;
  for (const auto &[name, bytes] : to.budget_bytes)
    if (bytes < 1e6)
      return usage_trouble("--budget " + name + " is " + short_number(bytes) +
                           " bytes, in which no part of a model has a place; give at least 1MB, "
                           "with its unit");
  const auto price = [](const std::string &text) -> outcome<double> {
    auto usd = read_number("--price (dollars a GB)", text, 0, 1e6);
    if (!usd) return usd;
    return *usd / 1e9;
  };
  good = read_by_tier("--price", words.prices, "nvme:0=0.4", price, to.price_usd_per_byte);
  if (!good) return good;
  const auto written = [](const std::string &text) -> outcome<double> {
    auto terabytes = read_number("--endurance (terabytes written)", text, 1e-3, 1e9);
    if (!terabytes) return terabytes;
    return *terabytes * 1e12;
  };
  good = read_by_tier("--endurance", words.endurances, "nvme:0=1200", written, to.endurance_bytes);
  if (!good) return good;
  for (const auto &[name, bytes] : to.endurance_bytes)
    if (const profile::tier *one = to.machine.find(name); one != nullptr && !one->is_of_files())
      return usage_trouble("--endurance " + name + " is " + one->kind +
                           " memory, which does not wear out; name a drive");
  return nothing{};
}

done read_optional(const std::string &option, const std::string &text,
                   std::optional<quantity> &to) {
  if (text.empty()) return nothing{};
  auto value = read_number(option, text, 0, usd_max);
  if (!value) return value.failure();
  to = quantity{*value, origin::given, option};
  return nothing{};
}

done read_money(const plan_words &words, question &to) {
  for (const auto &[option, text, into] :
       {std::tuple{"--usd-per-hour", &words.usd_per_hour, &to.usd_per_hour},
        std::tuple{"--price-usd", &words.price_usd, &to.price_usd},
        std::tuple{"--background-watt", &words.background_watt, &to.background_watt}})
    if (auto good = read_optional(option, *text, *into); !good) return good;
  if (!words.price_usd.empty()) to.usd_per_hour.reset();
  if (!words.watt.empty()) {
    auto watt = read_number("--watt", words.watt, 0, 1e9);
    if (!watt) return watt.failure();
    to.machine.watt = *watt;
  }
  auto years = read_number("--years", words.years, 0.01, 100);
  if (!years) return years.failure();
  auto electricity = read_number("--usd-per-kwh", words.usd_per_kwh, 0, 1000);
  if (!electricity) return electricity.failure();
  to.years = {*years, words.years == "4" ? origin::assumed : origin::given, "--years"};
  to.usd_per_kwh = {*electricity, words.usd_per_kwh == "0.10" ? origin::assumed : origin::given,
                    "--usd-per-kwh"};
  return nothing{};
}

/// A preset, or the file of this or another machine.
done read_machine(const plan_words &words, question &to) {
  auto machine = read_machine_named(words.profile);
  if (!machine) return machine.failure();
  to.machine = std::move(*machine);
  to.machine_name = words.profile;
  if (const machine_preset *preset = find_machine(words.profile)) {
    to.machine_name = preset->name;
    to.usd_per_hour = preset->usd_per_hour;
    to.background_watt = preset->background_watt;
  }
  return nothing{};
}

/// "500:50": milliseconds to the first token, and for each further one.
done read_class(const std::string &text, question &to) {
  if (text.empty()) return nothing{};
  if (const latency_class *known = find_latency_class(text)) {
    to.wanted = *known;
    return nothing{};
  }
  const size_t colon = text.find(':');
  if (colon == std::string::npos)
    return usage_trouble("--slo: there is no class \"" + text + "\"; there are " +
                         names_of(latency_classes()) +
                         ", or FIRST:TOKEN in milliseconds, as in 500:50");
  auto first = read_number("--slo", text.substr(0, colon), 0.001, 1e9);
  if (!first) return first.failure();
  auto token = read_number("--slo", text.substr(colon + 1), 0.001, 1e9);
  if (!token) return token.failure();
  to.wanted = latency_class{text, *first / 1e3, *token / 1e3, true, origin::given, "--slo"};
  return nothing{};
}

done read_seller(const std::string &text, question &to) {
  if (text.empty()) return nothing{};
  if (const input_price *known = find_input_price(text)) {
    to.sells = *known;
    return nothing{};
  }
  const size_t colon = text.find(':');
  if (colon == std::string::npos)
    return usage_trouble("--input-price: there is no price list \"" + text + "\"; there are " +
                         names_of(input_prices()) +
                         ", or HIT:MISS in dollars a million tokens, as in 0.05:0.50");
  auto hit = read_number("--input-price", text.substr(0, colon), 0, 1e6);
  if (!hit) return hit.failure();
  auto miss = read_number("--input-price", text.substr(colon + 1), 0, 1e6);
  if (!miss) return miss.failure();
  to.sells = input_price{text, *hit, *miss, "--input-price"};
  return nothing{};
}

/// Products in fewer threads than were measured: each as fast as one alone, until memory bounds
/// them all.
done read_threads(const plan_words &words, question &to) {
  if (words.threads == 0) return nothing{};
  auto &compute = to.machine.compute;
  if (!compute || !compute->one_thread_product_bytes_per_s || compute->threads == 0)
    return usage_trouble("--threads: the profile " + to.machine_name +
                         " does not say how fast products are in one thread; measure again with "
                         "`cubby characterize --save`, or leave it out");
  if (words.threads > compute->threads)
    return usage_trouble("--threads " + std::to_string(words.threads) + ": the profile " +
                         to.machine_name + " was measured with " +
                         std::to_string(compute->threads) + "; give at most as many");
  compute->product_bytes_per_s = std::min(compute->product_bytes_per_s,
                                          words.threads * *compute->one_thread_product_bytes_per_s);
  compute->threads = words.threads;
  compute->source += "; by " + std::to_string(words.threads) + " of the threads (--threads)";
  return nothing{};
}

done read_types(const plan_words &words, model_shape &to) {
  // What a config says of its weights counts where no tensors tell their bytes.
  const bool dense = to.dense_bytes || weight_bytes_of(to.dense_type);
  const bool experts = !to.has_experts() || to.expert_bytes || weight_bytes_of(to.expert_type);
  if ((!dense && words.dense_type.empty()) || (!experts && words.expert_type.empty()))
    return usage_trouble(to.name + " holds weights of " + (dense ? to.expert_type : to.dense_type) +
                         ", whose size is not known here; say their types: --dense-type TYPE" +
                         (to.has_experts() ? " --expert-type TYPE" : "") + ", of " +
                         weight_type_names());
  for (const auto &[option, type, name, bytes, total] :
       {std::tuple{"--expert-type", &words.expert_type, &to.expert_type, &to.expert_weight_bytes,
                   &to.expert_bytes},
        std::tuple{"--dense-type", &words.dense_type, &to.dense_type, &to.dense_weight_bytes,
                   &to.dense_bytes}}) {
    if (type->empty()) continue;
    const auto known = weight_bytes_of(small_letters(*type));
    if (!known)
      return usage_trouble(std::string(option) + ": there is no type \"" + *type +
                           "\"; there are " + weight_type_names());
    *name = small_letters(*type);
    *bytes = *known;
    total->reset();
    if (total == &to.dense_bytes) to.input_embedding_bytes.reset();
  }
  return nothing{};
}

done read_routing(const plan_words &words, question &to) {
  constexpr const char *zipf = "zipf:";
  if (!words.hits.empty()) {
    auto share = read_share("--hit", words.hits);
    if (!share) return share.failure();
    to.hits = *share;
  }
  if (words.routing == "recorded") {
    to.curve = recorded_hits();
  } else if (words.routing == "uniform") {
    to.curve = uniform_hits();
  } else if (words.routing.starts_with(zipf)) {
    auto exponent = read_number("--routing zipf", words.routing.substr(5), 0, 10);
    if (!exponent) return exponent.failure();
    to.curve = zipf_hits(to.model.routed_experts, *exponent);
  } else {
    return usage_trouble("--routing: \"" + words.routing +
                         "\" is none of recorded, uniform, zipf:EXPONENT; --trace takes a "
                         "recording of your own");
  }
  return nothing{};
}

done read_load(const plan_words &words, question &to) {
  const auto most = static_cast<double>(to.model.context_max);
  const auto given = [](uint64_t value, const char *option) {
    return quantity{static_cast<double>(value), origin::given, option};
  };
  if (words.context) {
    if (most > 0 && static_cast<double>(*words.context) > most)
      return usage_trouble("--context " + std::to_string(*words.context) + " is beyond the " +
                           std::to_string(to.model.context_max) + " tokens of " + to.model.name +
                           "; give less, or another model");
    to.context = given(*words.context, "--context");
  } else {
    const double usual = most > 0 ? std::min(8192.0, most) : 8192;
    to.context = {usual, origin::assumed, "8,192 tokens, or the model's most; --context"};
  }
  const plan_words usual;
  to.users = given(words.users, "--users");
  to.output_tokens = given(words.output, "--output");
  if (words.users == usual.users) to.users.from = origin::assumed;
  if (words.output == usual.output) to.output_tokens.from = origin::assumed;
  auto reuse = read_share("--reuse", words.reuse);
  if (!reuse) return reuse.failure();
  auto overlap = read_share("--overlap", words.overlap);
  if (!overlap) return overlap.failure();
  to.reuse = {*reuse, words.reuse == "0" ? origin::assumed : origin::given,
              "none unless --reuse says so"};
  to.lookahead = words.lookahead;
  to.experts_alone = words.experts_alone;
  to.overlap = {*overlap, words.overlap == "0" ? origin::assumed : origin::given,
                "--overlap; 0: nobody foresees the route"};
  constexpr double idle_sessions = 10;  // for an active one, where prompts are found again
  if (words.sessions) {
    if (*words.sessions < words.users)
      return usage_trouble("--sessions " + std::to_string(*words.sessions) + " is below --users " +
                           std::to_string(words.users) +
                           ", who are sessions too; give at least as many");
    to.sessions = given(*words.sessions, "--sessions");
  } else {
    to.sessions = {to.users.value * (*reuse > 0 ? idle_sessions : 1), origin::assumed,
                   "users; ten for each where prompts are found again; --sessions"};
  }
  return nothing{};
}

}  // namespace

outcome<double> read_number(const std::string &option, const std::string &text, double least,
                            double most) {
  char *end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != 0 || !std::isfinite(value))
    return usage_trouble(option + ": \"" + text + "\" is no number; give one from " +
                         short_number(least) + " to " + short_number(most));
  if (value < 0 && least >= 0)
    return usage_trouble(option + ": " + text + " is below 0; give one from " +
                         short_number(least) + " on");
  if (value < least || value > most)
    return usage_trouble(option + ": " + text + " is out of bounds; give one from " +
                         short_number(least) + " to " + short_number(most));
  return value;
}

outcome<profile::machine_profile> read_machine_named(const std::string &name) {
  std::error_code failed;
  if (const machine_preset *preset = find_machine(name)) return preset->what;
  if (!std::filesystem::exists(name, failed))
    return usage_trouble("there is no profile \"" + name + "\": neither a file nor one of " +
                         names_of(machine_presets()) +
                         "; measure this machine with `cubby characterize --save FILE`");
  auto read = profile::load(name);
  if (!read) return read.failure();
  return with_one_memory(std::move(*read));
}

outcome<question> read_question(const plan_words &words) {
  if (auto good = check_words(words); !good) return good.failure();
  question made;
  const auto geometry = read_geometry(words.geometry);
  if (!geometry) return geometry.failure();
  auto model = read_model(words.model, *geometry);
  if (!model) return model.failure();
  made.model = std::move(*model);
  if (words.attention == "standard") made.model = with_standard_attention(std::move(made.model));
  const auto kv = kv_format_named(words.kv);
  if (!kv)
    return usage_trouble("--kv: there is no format \"" + words.kv +
                         "\"; there are bf16, fp8, 6bit, fp4");
  made.kv = *kv;
  if (auto good = check_experts(words, made.model); !good) return good.failure();
  if (auto good = read_types(words, made.model); !good) return good.failure();
  if (auto good = read_machine(words, made); !good) return good.failure();
  if (auto good = read_threads(words, made); !good) return good.failure();
  if (auto good = read_money(words, made); !good) return good.failure();
  if (auto good = read_tiers(words, made); !good) return good.failure();
  if (auto good = read_class(words.slo, made); !good) return good.failure();
  if (auto good = read_seller(words.input_price, made); !good) return good.failure();
  if (auto good = read_routing(words, made); !good) return good.failure();
  if (auto good = read_load(words, made); !good) return good.failure();
  return made;
}

}  // namespace cubby_cli::plan
