// cubby plan: what a model would gain of a machine's tiers, reckoned.
#include <memory>

#include "cli/commands.hpp"
#include "cli/model/new_file.hpp"
#include "cli/plan/print/kv_print.hpp"
#include "cli/plan/print/print.hpp"
#include "cli/plan/read/model_facts.hpp"
#include "cli/plan/read/words.hpp"
#include "cli/replay/formats/save.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

using namespace plan;

struct options {
  plan_words words;
  std::string html;
  bool as_json = false, explain = false, list = false;
};

done save_page_of(const std::string &path, const answer &of) {
  model::new_file file(plan::is_page);
  if (auto good = file.open(path, 0); !good) return usage_trouble(good.failure().text);
  const std::string text = page_of(of);
  if (auto good = file.write(std::as_bytes(std::span(text))); !good) return good;
  return file.publish();
}

outcome<answer> plan_of(const options &chosen) {
  const plan_words &words = chosen.words;
  if (words.model.empty() || words.profile.empty())
    return usage_trouble(
        "say which model and which machine: --model NAME|FILE --profile NAME|FILE; --list shows "
        "the names");
  if (!chosen.html.empty())
    if (auto good = replay::check_place({"--html", chosen.html, plan::is_page}); !good)
      return good.failure();
  auto asked = read_question(words);
  if (!asked) return asked.failure();
  if (words.devices > 1) {
    if (!asked->machine.compute)
      return usage_trouble("--devices needs a profile that says how fast products are");
    asked = with_devices(std::move(*asked), words.devices);
  }
  if (!words.trace.empty())
    if (auto good = add_recorded_hits(words, *asked); !good) return good.failure();
  return answer_to(*asked);
}

outcome<kv_question> kv_plan_of(const options &chosen, kv_times &found) {
  if (!chosen.words.model.empty() || !chosen.html.empty() || chosen.explain)
    return usage_trouble(
        "--kv-trace times a store by itself: leave --model, --html and --explain out, or plan for "
        "a model with --reuse");
  if (chosen.words.profile.empty())
    return usage_trouble("say which machine: --profile FILE of `cubby characterize --save`");
  auto asked = read_kv_question(chosen.words);
  if (!asked) return asked.failure();
  auto times = time_kv(asked->machine, asked->file, asked->counts, asked->own_s);
  if (!times) return times.failure();
  found = *times;
  return asked;
}

int run_kv(const options &chosen) {
  kv_times found;
  const auto asked = kv_plan_of(chosen, found);
  if (!asked) return report_trouble("plan", asked.failure(), chosen.as_json);
  if (chosen.as_json)
    print_json(json_of(*asked, found));
  else
    print_kv(*asked, found);
  return exit_good;
}

int run(const options &chosen) {
  if (chosen.list) {
    print_presets();
    return exit_good;
  }
  if (!chosen.words.kv_trace.empty()) return run_kv(chosen);
  const auto found = plan_of(chosen);
  if (!found) return report_trouble("plan", found.failure(), chosen.as_json);
  if (!chosen.html.empty())
    if (const auto saved = save_page_of(chosen.html, *found); !saved)
      return report_trouble("plan", saved.failure(), chosen.as_json);
  if (chosen.as_json)
    print_json(json_of(*found));
  else
    print_answer(*found, chosen.explain);
  return exit_good;
}

void add_model_options(command &one, plan_words &words) {
  one.option("--model", words.model,
             "A preset's name, a GGUF, a folder of safetensors, a config.json")
      .not_empty();
  one.words("--geometry", words.geometry,
            "NAME=N, what the model's file does not say; alone with --model by-hand");
  one.option("--kv", words.kv, "How KV is stored: bf16, fp8, 6bit or fp4 (bf16)");
  one.option("--attention", words.attention,
             "standard: as if every query head had keys and values of its own (as-made)")
      .one_of({"as-made", "standard"});
  one.option("--expert-type", words.expert_type, "Type of the experts' weights (the model's)");
  one.option("--dense-type", words.dense_type, "Type of all other weights (the model's)");
}

void add_machine_options(command &one, plan_words &words) {
  one.option("--profile", words.profile,
             "A preset's name, or a file of `cubby characterize --save`")
      .not_empty();
  one.option("--devices", words.devices,
             "So many of the device in which products read (1); its --budget is of one")
      .between(1, 1 << 20);
  one.option("--threads", words.threads, "That products run in (all that were measured)")
      .between(1, 4096);
  one.words("--budget", words.budgets, "TIER=SIZE (nine tenths of the tier)");
  one.words("--price", words.prices, "TIER=DOLLARS a GB");
  one.words("--endurance", words.endurances, "TIER=TERABYTES written in the life of a drive");
  one.option("--price-usd", words.price_usd, "What the machine costs, with one device");
  one.option("--usd-per-hour", words.usd_per_hour, "What it costs to rent, with one device");
  one.option("--watt", words.watt, "What it takes under load, with one device");
  one.option("--background-watt", words.background_watt, "What it takes at rest, with one device");
  one.option("--years", words.years, "Years of its use (4)");
  one.option("--usd-per-kwh", words.usd_per_kwh, "Electricity (0.10)");
}

void add_load_options(command &one, plan_words &words) {
  one.option("--context", words.context, "Tokens behind each user (8192)").between(1, 1ull << 40);
  one.option("--users", words.users, "Who get a token in each step (1)").between(1, 1 << 24);
  one.option("--output", words.output, "Tokens of an answer (500)").between(1, 1 << 24);
  one.option("--sessions", words.sessions, "Whose KV is held (users; ten times them with --reuse)")
      .between(1, 1ull << 32);
  one.option("--reuse", words.reuse, "Percent of a prompt whose KV is found again (0)");
  one.option("--slo", words.slo,
             "batch, chat, interactive, translation, video, robotics, or FIRST:TOKEN in ms");
  one.option("--routing", words.routing,
             "Which experts tokens choose: recorded, uniform, zipf:EXPONENT (recorded)");
  one.option("--hit", words.hits, "Percent of the experts found in the first tier, instead");
  one.option("--trace", words.trace, "Recorded routing of the model, replayed instead").not_empty();
  one.option("--policy", words.policy, "Placement policy of that replay (auto)");
  one.option("--overlap", words.overlap,
             "Percent of compute behind which moves of experts hide (0)");
  one.option("--lookahead", words.lookahead,
             "Layers ahead that the route is known: moves hide layer by layer, not as a share")
      .between(0, 1);
  one.flag("--experts-alone", words.experts_alone,
           "A step is its routed experts, as in `cubby bench decode`");
  one.option("--input-price", words.input_price,
             "A price list's name, or HIT:MISS in dollars a million input tokens");
}

void add_kv_options(command &one, plan_words &words) {
  one.option("--kv-trace", words.kv_trace,
             "Instead of a model: a recording of KV blocks through memory and a store")
      .not_empty();
  one.option("--kv-memory", words.kv_memory, "Share of its blocks, or number, in memory (25%)");
  one.option("--kv-block-bytes", words.kv_block_bytes, "Size of a block (4096)");
  one.option("--kv-store", words.kv_store, "Tier of the profile that it lies in (the first file)");
  one.option("--kv-own-ns", words.kv_own_ns, "What whoever uses a block takes for it (0)");
  one.option("--kv-limit", words.kv_limit, "Requests that are read (all)").between(1, 1ull << 40);
}

}  // namespace

void add_plan(command &program) {
  command one = program.subcommand("plan", "Reckon what a model would gain of a machine's tiers");
  auto chosen = std::make_shared<options>();
  add_model_options(one, chosen->words);
  add_machine_options(one, chosen->words);
  add_load_options(one, chosen->words);
  add_kv_options(one, chosen->words);
  one.flag("--list", chosen->list, "Show the presets");
  one.flag("--explain", chosen->explain, "Show where each number is from");
  one.option("--html", chosen->html, "Write a page of tables and curves").not_empty();
  one.flag("--json", chosen->as_json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
