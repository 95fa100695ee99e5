// cubby bench decode (cubby demo): a decode loop with the experts of a model larger than its
// memory, beside three other ways of doing the same under the same limit of memory; with --device
// on a GPU, with a part of the experts in its memory.
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>

#include "cli/bench/reader.hpp"
#include "cli/commands.hpp"
#include "cli/demo/bare_loop.hpp"
#include "cli/demo/cubby_source.hpp"
#include "cli/demo/decoder.hpp"
#include "cli/demo/device_decode.hpp"
#include "cli/demo/isolated_run.hpp"
#include "cli/demo/kernels.hpp"
#include "cli/model/make_model.hpp"
#include "cli/printable.hpp"
#include "cli/replay/policies.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;

/// What a run may use beside the experts it keeps: code, tables, staging, output, the kernel's own.
constexpr uint64_t allowance_bytes = uint64_t{192} << 20;

struct options {
  std::string command;  // as it was called
  std::string model, routes, record, policy = "auto", pump = "thread";
  std::string device;  // "cuda:0"; empty = on the processor
  std::string device_budget = "20%", host_budget = "30%";
  uint32_t tokens = 100, lookahead = 1;
  std::optional<uint32_t> forecast_right;        // of layers farther than the next; usually 100
  std::optional<uint32_t> rounds, check_tokens;  // on a device; usually 3 and 2
  uint64_t seed = 1;
  bool json = false, baselines = true;
};

int fail(const options &chosen, const trouble &failed) {
  return report_trouble(chosen.command, failed, chosen.json);
}

/// "30%" of the experts, or bytes with an optional k, m or g.
outcome<uint64_t> budget_of(const std::string &text, uint64_t expert_bytes) {
  const bool share = !text.empty() && text.back() == '%';
  const auto number = byte_count(share ? text.substr(0, text.size() - 1) : text);
  if (!number) {
    return usage_trouble("a budget is a percentage of the experts or bytes (20%, 512m, 2g), not " +
                         text);
  }
  const double bytes = share ? *number / 100 * static_cast<double>(expert_bytes) : *number;
  // Whole huge pages where that hardly changes it; a small budget must not be rounded to none.
  const auto whole = static_cast<uint64_t>(bytes);
  const uint64_t unit_bytes = whole < (uint64_t{64} << 20) ? 4096 : 2 << 20;
  return whole / unit_bytes * unit_bytes;
}

/// A runtime is opened with it, so that an unusable library is reported before a model is made.
done usable_library(const std::string &path) {
  const auto opened = cubby::runtime::open({.pump = cubby::pump::caller, .policy = path.c_str()});
  return opened ? done(nothing{}) : usage_trouble(opened.why().text());
}

/// Trouble that lists the policies when there is none of that name.
done known_policy(const std::string &name) {
  if (replay::names_library(name)) return usable_library(name);
  const char *names[64];
  const uint32_t count = std::min(cubby_policy_list(names, 64), 64u);
  std::string all;
  for (uint32_t i = 0; i < count; i++) all += (i == 0 ? "" : ", ") + std::string(names[i]);
  if (std::find(names, names + count, name) != names + count) return nothing{};
  return usage_trouble("there is no policy " + name + "; there are " + all);
}

/// The model to run: as named, or the default one, made once and reused.
outcome<std::string> model_path(const options &chosen) {
  if (!chosen.model.empty()) return chosen.model;
  const char *cache = std::getenv("XDG_CACHE_HOME");
  const char *home = std::getenv("HOME");
  std::string folder = cache != nullptr && cache[0] != '\0' ? std::string(cache)
                       : home != nullptr                    ? std::string(home) + "/.cache"
                                                            : std::string("/tmp");
  folder += "/cubby";
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return system_trouble(folder + " could not be made", failed.value());
  model::geometry shape;
  shape.ffn = 1024;  // about 2.5 GB
  const std::string path = folder + "/demo-24x32-1024-q8_0.gguf";
  struct stat seen {};
  if (::stat(path.c_str(), &seen) == 0 &&
      static_cast<uint64_t>(seen.st_size) == model::file_bytes(shape)) {
    return path;
  }
  std::cerr << "cubby " << chosen.command << ": making the model " << printable(path)
            << " (once)\n";
  auto made = model::make_model(shape, path, chosen.json);
  if (!made) return made.failure();
  return path;
}

json decoded_json(const demo::decoded &done) {
  return {{"tokens", done.tokens},
          {"tokens_per_s", done.tokens / done.seconds},
          {"seconds", done.seconds},
          {"output_digest", done.output_digest},
          {"compute_ns", done.compute_ns},
          {"compute_cpu_ns", done.compute_cpu_ns},
          {"decoding_cpu_ns", done.cpu_ns},
          {"compute_gb_per_s",
           static_cast<double>(done.computed_bytes) / static_cast<double>(done.compute_ns)}};
}

json recorded_json(const options &chosen, const demo::recording &record) {
  return {{"file", chosen.record}, {"visits", record.visits()}, {"lost", record.lost()}};
}

void print_recorded(const json &result) {
  if (!result.contains("recorded")) return;
  std::cout << count_text(result["recorded"]["visits"]) << " visits are in "
            << printable(result["recorded"]["file"].get<std::string>()) << ", "
            << count_text(result["recorded"]["lost"]) << " were lost\n";
}

struct setup {
  const options &chosen;
  const demo::expert_file &file;
  const demo::routes &routes;
  demo::cubby_options settings;
};

outcome<json> run_cubby(const setup &h) {
  const double bare_before = demo::bare_bytes_per_s(h.file.path, h.file.file_bytes, 256u << 20);
  demo::cubby_source source(h.file, h.settings);
  json warnings = json::array();
  const auto pass_on = [&] {
    for (const std::string &line : source.warnings()) {
      std::cerr << "cubby " << h.chosen.command << ": " << printable(line) << "\n";
      warnings.push_back(line);
    }
  };
  pass_on();
  progress_line progress(h.chosen.json);
  const uint64_t all_before = bench::starved_ns(), here_before = bench::starved_here_ns();
  const auto show = [&](uint32_t token) {
    if (!progress.due()) return;
    progress.show("token " + std::to_string(token) + "/" + std::to_string(h.routes.tokens) +
                  source.live());
  };
  auto done = demo::decode(h.file, h.routes, source, show, {.ahead = h.settings.ahead});
  const uint64_t here = bench::starved_here_ns() - here_before;
  const uint64_t others = bench::starved_ns() - all_before - here;
  pass_on();  // a policy may have been replaced on the way
  if (!done) return done.failure();
  json result = decoded_json(*done);
  result.update(source.report());
  result["warnings"] = warnings;
  result["lookahead"] = {{"layers", h.settings.ahead.layers},
                         {"right_percent", h.settings.ahead.right_percent}};
  result["starved_ns"] = {{"decoding", here}, {"runtime", others}};
  if (h.settings.record != nullptr) {
    if (auto good = source.finish_recording(); !good) return good.failure();
    result["recorded"] = recorded_json(h.chosen, *h.settings.record);
  }
  const double bare_after = demo::bare_bytes_per_s(h.file.path, h.file.file_bytes, 256u << 20);
  const double bare = (bare_before + bare_after) / 2;
  const double per_token = static_cast<double>(result["read_bytes"].get<uint64_t>()) / done->tokens;
  const double compute_s = static_cast<double>(done->compute_ns) / 1e9 / done->tokens;
  const double load_s = bare > 0 ? per_token / bare : 0;
  result["bound_tokens_per_s"] = 1 / std::max(compute_s, load_s);
  result["bare_gb_per_s"] = bare / 1e9;
  result["read_bytes_per_token"] = per_token;
  result["stall"]["waited_ns"] = source.waited_ns();
  result["stall"]["share"] = static_cast<double>(source.waited_ns()) / 1e9 / done->seconds;
  return result;
}

outcome<json> run_baseline(const setup &h, const std::string &name) {
  const uint64_t cache = h.settings.device_bytes + h.settings.host_bytes;
  const auto source = name == "resident" ? demo::make_resident(h.file)
                      : name == "mmap"   ? demo::make_mapped(h.file)
                                         : demo::make_pread(h.file, cache);
  if (!source->failure().empty()) return trouble{source->failure()};
  progress_line progress(h.chosen.json);
  auto done = demo::decode(h.file, h.routes, *source, [&](uint32_t token) {
    if (!progress.due()) return;
    progress.show(name + ": token " + std::to_string(token) + "/" +
                  std::to_string(h.routes.tokens));
  });
  if (!done) return done.failure();
  return decoded_json(*done);
}

void print_result(const setup &h, const json &result) {
  std::vector<std::vector<std::string>> table = {
      {"way", "tokens/s", "CPU s", "peak memory", "limit", "output"}};
  const auto line = [&](const std::string &name, const json &one, const json &limit) {
    table.push_back({name, fixed_text(one["tokens_per_s"]), fixed_text(one["cpu_s"]),
                     bytes_text(one["peak_rss_bytes"]), limit,
                     one["output_digest"].get<std::string>()});
  };
  const std::string by = result["limit_enforced_by"];
  const std::string limit = by == "none" ? "none" : bytes_text(result["limit_bytes"]) + " " + by;
  line("cubby", result, limit);
  for (const json &one : result["baselines"]) {
    const std::string of = one["limit_enforced_by"];
    line(one["name"], one, of == "none" ? "none" : bytes_text(one["limit_bytes"]) + " " + of);
  }
  std::cout << printable(h.file.path) << ": " << bytes_text(h.file.expert_bytes)
            << " of experts, routes " << printable(h.routes.origin) << ", " << h.routes.tokens
            << " tokens\n";
  print_table(table);
  if (by == "none")
    std::cout << "no limit of memory: " << printable(result["limit_trouble"].get<std::string>())
              << "\n";
  std::cout << "bound " << fixed_text(result["bound_tokens_per_s"]) << " tokens/s (bare reads "
            << fixed_text(result["bare_gb_per_s"]) << " GB/s, products "
            << fixed_text(result["compute_gb_per_s"]) << " GB/s by " << demo::kernel_name()
            << "); waited " << fixed_text(result["stall"]["share"].get<double>() * 100)
            << "% of the time\n";
  const json &loaded = result["loaded_first"];
  if (loaded["bytes"] != 0) {
    std::cout << "all of it fits and was loaded before the first token: "
              << bytes_text(loaded["bytes"]) << " in " << fixed_text(loaded["seconds"]) << " s\n";
  }
  std::vector<std::vector<std::string>> tiers = {
      {"tier", "budget", "peak", "hits", "misses", "in", "out"}};
  for (const json &tier : result["tiers"]) {
    tiers.push_back({tier["name"], bytes_text(tier["budget_bytes"]), bytes_text(tier["peak_bytes"]),
                     count_text(tier["hits"]), count_text(tier["misses"]),
                     bytes_text(tier["bytes_in"]), bytes_text(tier["bytes_out"])});
  }
  print_table(tiers);
  print_recorded(result);
  std::cout << (result["identical"] ? "all outputs are identical\n" : "OUTPUTS DIFFER\n");
}

/// The model, the routes and what the runtime is to be like.
struct prepared {
  demo::expert_file file;
  demo::routes routes;
  demo::cubby_options settings;
};

outcome<prepared> prepare(const options &chosen) {
  if (auto known = known_policy(chosen.policy); !known) return known.failure();
  auto path = model_path(chosen);
  if (!path) return path.failure();
  auto file = demo::look_at_model(*path, !chosen.device.empty());
  if (!file) return file.failure();
  auto routes = chosen.routes.empty()
                    ? outcome<demo::routes>(demo::make_routes(
                          file->layers, file->experts, file->top_k, chosen.tokens, chosen.seed))
                    : demo::read_routes(chosen.routes, file->layers, file->experts, file->top_k,
                                        chosen.tokens);
  if (!routes) return routes.failure();
  const auto device = budget_of(chosen.device_budget, file->expert_bytes);
  const auto host = budget_of(chosen.host_budget, file->expert_bytes);
  if (!device) return device.failure();
  if (!host) return host.failure();
  if (*device + *host == 0)
    return usage_trouble("--device-budget " + chosen.device_budget + " and --host-budget " +
                         chosen.host_budget +
                         " are both less than one page (4 KiB): no expert fits; "
                         "give one of them a share (20%) or a size (64m)");
  prepared made{std::move(*file), std::move(*routes), {}};
  made.settings.device_bytes = *device;
  made.settings.host_bytes = *host;
  made.settings.policy = chosen.policy;
  made.settings.ahead = {chosen.lookahead, chosen.forecast_right.value_or(100), chosen.seed};
  made.settings.pump = chosen.pump == "caller" ? cubby::pump::caller : cubby::pump::thread;
  return made;
}

int run_here(const options &chosen, const prepared &with, demo::recording *record) {
  setup h{chosen, with.file, with.routes, with.settings};
  h.settings.record = record;
  const demo::memory_limit limit(h.settings.device_bytes + h.settings.host_bytes + allowance_bytes);
  auto result = demo::run_isolated(&limit, [&] { return run_cubby(h); });
  if (!result) return fail(chosen, result.failure());
  json &all = *result;
  all["limit_bytes"] = limit.bytes();
  all["limit_enforced_by"] = limit.by();
  all["limit_trouble"] = limit.trouble();
  all["baselines"] = json::array();
  all["identical"] = true;
  for (const char *name : {"resident", "mmap", "pread"}) {
    if (!chosen.baselines) break;
    const bool limited = std::string(name) != "resident";
    auto one =
        demo::run_isolated(limited ? &limit : nullptr, [&] { return run_baseline(h, name); });
    if (!one) return fail(chosen, {std::string(name) + ": " + one.failure().text, exit_bad});
    (*one)["name"] = name;
    (*one)["limit_bytes"] = limited ? limit.bytes() : 0;
    (*one)["limit_enforced_by"] = limited ? limit.by() : "none";
    if ((*one)["output_digest"] != all["output_digest"]) all["identical"] = false;
    all["baselines"].push_back(*one);
  }
  if (chosen.json) {
    print_json(all);
  } else {
    print_result(h, all);
  }
  return all["identical"] ? exit_good : exit_bad;
}

/// "cuda:1" is 1.
outcome<int32_t> ordinal_of(const std::string &device) {
  constexpr std::string_view kind = "cuda:";
  int32_t ordinal = -1;
  const char *const end = device.data() + device.size();
  if (device.starts_with(kind)) {
    const auto read = std::from_chars(device.data() + kind.size(), end, ordinal);
    if (read.ec == std::errc{} && read.ptr == end && ordinal >= 0) return ordinal;
  }
  return usage_trouble("a device is cuda:0, cuda:1 and so on, not " + device);
}

int run_on_device(const options &chosen, const demo::device_choice &device, const prepared &with,
                  demo::recording *record) {
  if (with.settings.device_bytes == 0) {
    return fail(chosen, usage_trouble("--device " + chosen.device + " with --device-budget " +
                                      chosen.device_budget +
                                      ": no expert fits there; give it a share (50%) or a size"));
  }
  demo::device_run how;
  how.settings = with.settings;
  how.settings.record = record;
  how.rounds = chosen.rounds.value_or(how.rounds);
  how.check_tokens = chosen.check_tokens.value_or(how.check_tokens);
  how.baselines = chosen.baselines;
  how.quiet = chosen.json;
  auto result = demo::decode_on_device(device, with.file, with.routes, how);
  if (!result) {
    return fail(chosen, {"--device " + chosen.device + ": " + result.failure().text,
                         result.failure().exit_status});
  }
  for (const json &line : (*result)["warnings"]) {
    std::cerr << "cubby " << chosen.command << ": " << printable(line.get<std::string>()) << "\n";
  }
  if (record != nullptr) (*result)["recorded"] = recorded_json(chosen, *record);
  if (chosen.json) {
    print_json(*result);
  } else {
    demo::print_device_result(with.file, with.routes, *result);
    print_recorded(*result);
  }
  const bool agrees = !result->contains("processor") || (*result)["processor"]["agrees"];
  return (*result)["identical"] && agrees ? exit_good : exit_bad;
}

/// Options that have no effect beside others are refused.
done usable_together(const options &chosen) {
  if (chosen.device.empty() && (chosen.rounds || chosen.check_tokens)) {
    return usage_trouble(std::string(chosen.rounds ? "--rounds" : "--check-tokens") +
                         " is for a run on a GPU; add --device cuda:0, or leave it out");
  }
  if (!chosen.device.empty() && chosen.lookahead > 1) {
    return usage_trouble("--lookahead " + std::to_string(chosen.lookahead) +
                         " is for a run on the processor; with --device kernels ask one layer "
                         "ahead: --lookahead 1");
  }
  if (chosen.forecast_right && chosen.lookahead < 2) {
    return usage_trouble(
        "--forecast-right says how good forecasts of layers farther than the next are: add "
        "--lookahead 2, or leave it out");
  }
  return nothing{};
}

int run(const options &chosen) {
  demo::device_choice device;
  if (auto good = usable_together(chosen); !good) return fail(chosen, good.failure());
  if (!chosen.device.empty()) {  // before a model is made
    const auto ordinal = ordinal_of(chosen.device);
    if (!ordinal) return fail(chosen, ordinal.failure());
    const auto machine = demo::machine_device(*ordinal);
    if (!machine) {
      return fail(chosen, trouble{"--device " + chosen.device + ": " + machine.failure().text});
    }
    device = *machine;
  }
  const auto with = prepare(chosen);
  if (!with) return fail(chosen, with.failure());
  // Opened here: when the run ends badly, what it has written goes with this process.
  demo::recording record;
  if (!chosen.record.empty()) {
    if (auto good = record.open(chosen.record); !good) return fail(chosen, good.failure());
  }
  demo::recording *const records = chosen.record.empty() ? nullptr : &record;
  return chosen.device.empty() ? run_here(chosen, *with, records)
                               : run_on_device(chosen, device, *with, records);
}

void add_decode(command &to, const std::string &name, const std::string &called) {
  command one = to.subcommand(
      name, "Decode with a model larger than memory, beside mmap, pread and everything resident");
  auto chosen = std::make_shared<options>();
  chosen->command = called;
  one.option("--model", chosen->model,
             "A GGUF of q8_0 or q4_0 experts (default: one is made and reused)");
  one.option("--device", chosen->device,
             "Decode on a GPU (cuda:0), beside everything resident there and a copy at each miss; "
             "experts also of MXFP4 and BF16");
  one.option("--routes", chosen->routes, "routed_experts as JSONL or JSONL.xz (default: made up)");
  one.option("--tokens", chosen->tokens, "Tokens to decode").between(1, 1u << 20).show_default();
  one.option("--device-budget", chosen->device_budget,
             "Of the experts in %, or bytes; 0 = no such tier")
      .show_default();
  one.option("--host-budget", chosen->host_budget,
             "Of the experts in %, or bytes; 0 = no such tier")
      .show_default();
  one.option("--policy", chosen->policy, "Who leaves a tier").show_default();
  one.option("--lookahead", chosen->lookahead, "Fetch the experts of so many layers ahead")
      .between(0, 8)
      .show_default();
  one.option("--forecast-right", chosen->forecast_right,
             "With --lookahead 2 and more: of the experts of layers farther than the next, so many "
             "% are named right, the others at random (100)")
      .between(0, 100);
  one.option("--pump", chosen->pump, "Who advances the runtime")
      .one_of({"thread", "caller"})
      .show_default();
  one.option("--record", chosen->record, "Write what was used as a trace for cubby replay");
  one.option("--seed", chosen->seed, "Of made-up routes").show_default();
  one.option("--rounds", chosen->rounds, "Rounds of each way, with --device (default 3)")
      .between(1, 1000);
  one.option("--check-tokens", chosen->check_tokens,
             "Tokens that the processor computes, too, with --device (default 2)")
      .between(0, 1u << 20);
  one.flag("!--no-baselines", chosen->baselines, "Only cubby's own run");
  one.flag("--json", chosen->json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace

void add_bench_decode(command &bench) { add_decode(bench, "decode", "bench decode"); }
void add_demo(command &program) { add_decode(program, "demo", "demo"); }

}  // namespace cubby_cli
