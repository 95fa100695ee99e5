#include "cli/demo/device_decode.hpp"

#include <algorithm>
#include <cmath>
#include <iostream>

#include "base/digest.hpp"
#include "cli/bench/blocks.hpp"
#include "cli/demo/decoder.hpp"
#include "cli/demo/device_places.hpp"
#include "cli/printable.hpp"
#include "cli/support.hpp"

namespace cubby_cli::demo {
namespace {

using nlohmann::json;

/// The host puts work into the stream a stretch at a time, so many layers of one token at most, and
/// so many stretches before the device is done with the first of them. A stream that has about a
/// thousand launches to do holds up who launches more, and other callers of the driver with it: for
/// good, where it waits for an expert that one of them is to bring. A layer is 8 launches at most,
/// so these are below 530.
constexpr uint32_t stretch_layers = 32;
constexpr uint32_t stretches_ahead = 2;

/// One way, and what came of its rounds.
struct competitor {
  std::string name;
  std::unique_ptr<device_place> place;
  std::vector<double> tokens_per_s;
  uint64_t host_waits = 0;
  double seconds = 0;
  std::string digest;
  bool same_each_round = true;
  device_place::counts seen;
};

std::string digest_of(const std::vector<float> &states, uint32_t hidden) {
  cubby::base::digest_stream digest;
  for (size_t at = 0; at < states.size(); at += hidden) {
    digest.add(&states[at], hidden * sizeof(float));
  }
  return hex_text(digest.value());
}

class device_loop {
 public:
  device_loop(device_here &on, const expert_file &file, const routes &chosen)
      : on_(on), file_(file), chosen_(chosen), layers_(on, file, chosen) {}

  /// All tokens; the states are left in states().
  done run(competitor &one, progress_line &progress) {
    one.place->begin_run();
    const done came = timed(one, progress);
    one.place->end_run();
    if (!came) return came;
    one.seen = one.place->seen();
    if (auto good = one.place->check(); !good) {
      return trouble{one.name + ": " + good.failure().text};
    }
    states_ = layers_.states();
    const std::string digest = digest_of(states_, file_.hidden);
    if (!one.digest.empty() && digest != one.digest) one.same_each_round = false;
    one.digest = digest;
    return on_.so_far();
  }
  /// [token][hidden], of the last run.
  [[nodiscard]] const std::vector<float> &states() const { return states_; }

 private:
  done timed(competitor &one, progress_line &progress) {
    const uint64_t waits_before = device_here::host_waits(), start = clock_ns();
    given_ = over_ = 0;
    for (uint32_t token = 0; token < chosen_.tokens; ++token) {
      if (progress.due()) {
        progress.show(one.name + ": token " + std::to_string(token) + "/" +
                      std::to_string(chosen_.tokens));
      }
      for (uint32_t first = 0; first < chosen_.layers; first += stretch_layers) {
        if (given_ >= stretches_ahead) wait_until(given_ - stretches_ahead + 1, *one.place);
        enqueue(token, first, *one.place);
        if (!on_.failure().empty()) return on_.so_far();
      }
    }
    wait_until(given_, *one.place);
    const double seconds = static_cast<double>(clock_ns() - start) / 1e9;
    one.host_waits += device_here::host_waits() - waits_before;
    one.seconds += seconds;
    one.tokens_per_s.push_back(chosen_.tokens / seconds);
    return on_.so_far();
  }
  /// A stretch of a token, from this layer on.
  void enqueue(uint32_t token, uint32_t first, device_place &place) {
    if (first == 0) layers_.begin(token);
    const uint32_t end = std::min(first + stretch_layers, chosen_.layers);
    for (uint32_t layer = first; layer < end; ++layer) {
      layers_.run(token, layer, place.bring(token, layer));
      place.let_go();
    }
    const uint32_t at = given_++ % stretches_ahead;
    if (marks_.size() == at) {
      marks_.push_back(on_.mark());
    } else {
      on_.mark_again(marks_[at]);
    }
  }
  /// Until so many stretches are over. The host looks, and looks again; no call of the driver
  /// waits.
  void wait_until(uint32_t count, device_place &place) {
    const uint32_t each = (chosen_.layers + stretch_layers - 1) / stretch_layers;  // of a token
    while (over_ < count) {
      while (!on_.passed(marks_[over_ % stretches_ahead])) place.rest();
      if (++over_ % each == 0) place.token_over(over_ / each - 1);
    }
  }

  device_here &on_;
  const expert_file &file_;
  const routes &chosen_;
  device_layers layers_;
  std::vector<cubby_cuda::event> marks_;  // of stretch n in place n % stretches_ahead
  uint32_t given_ = 0, over_ = 0;         // stretches of this run
  std::vector<float> states_;
};

/// The same by the processor, of the first tokens.
outcome<json> held_against(const std::vector<float> &states, const expert_file &file,
                           const routes &taken, expert_source &from, uint32_t tokens) {
  routes first = taken;
  first.tokens = std::min(tokens, taken.tokens);
  const auto plain =
      decode(file, first, from, [](uint32_t) {}, {.by = products::plain, .ahead = {}});
  if (!plain) return plain.failure();
  double worst = 0;
  for (uint32_t token = 0; token < first.tokens; ++token) {
    double largest = 0, error = 0;
    for (size_t i = size_t{token} * file.hidden; i < (size_t{token} + 1) * file.hidden; ++i) {
      const auto right = static_cast<double>(plain->states[i]);
      const double off = std::fabs(static_cast<double>(states[i]) - right);
      largest = std::max(largest, std::fabs(right));
      error = std::isnan(off) ? INFINITY : std::max(error, off);
    }
    worst = std::max(worst, error / largest);
  }
  return json{{"tokens", first.tokens},
              {"error", std::isfinite(worst) ? json(worst) : json(nullptr)},
              {"tolerance", error_max},
              {"agrees", worst <= error_max},
              {"tokens_per_s", first.tokens / plain->seconds}};
}

json competitor_json(const competitor &one, uint32_t tokens) {
  const double all = static_cast<double>(tokens) * static_cast<double>(one.tokens_per_s.size());
  return {{"tokens_per_s", bench::median(one.tokens_per_s)},
          {"rounds", one.tokens_per_s},
          {"seconds", one.seconds},
          {"output_digest", one.digest},
          {"hits", one.seen.hits},
          {"misses", one.seen.misses},
          {"evictions", one.seen.evictions},
          {"host_waits_per_token", static_cast<double>(one.host_waits) / all}};
}

/// What cubby has of the tokens a second of another, each round by itself.
double ratio_to(const competitor &cubby, const competitor &other) {
  std::vector<double> ratios;
  for (size_t i = 0; i < cubby.tokens_per_s.size(); ++i) {
    ratios.push_back(cubby.tokens_per_s[i] / other.tokens_per_s[i]);
  }
  return bench::median(ratios);
}

json result_of(const std::vector<competitor> &ways, cubby_source &source, const device_here &on,
               uint32_t tokens) {
  const competitor &cubby = ways.front();
  json all = source.report();
  all.update(competitor_json(cubby, tokens));
  all["tokens"] = tokens;
  all["device"]["description"] = on.description();
  const auto waited_ns = static_cast<double>(cubby.seen.waited_ns);
  all["stall"]["waited_ns"] = cubby.seen.waited_ns;
  all["stall"]["share"] = waited_ns / 1e9 / cubby.seconds;
  all["warnings"] = source.warnings();
  all["baselines"] = json::array();
  all["identical"] = true;
  for (const competitor &one : ways) {
    if (one.digest != cubby.digest || !one.same_each_round) all["identical"] = false;
    if (&one == &cubby) continue;
    json other = competitor_json(one, tokens);
    other["name"] = one.name;
    other["ratio"] = ratio_to(cubby, one);
    all["baselines"].push_back(other);
  }
  return all;
}

/// In the order in which they are shown; the first is cubby's.
outcome<std::vector<competitor>> ways_of(device_here &on, const expert_file &file,
                                         const routes &taken, const device_run &how,
                                         expert_source &in_memory) {
  std::vector<competitor> ways;
  const auto add = [&ways](const char *name, std::unique_ptr<device_place> place) {
    ways.emplace_back();
    ways.back().name = name;
    ways.back().place = std::move(place);
  };
  cubby_options settings = how.settings;
  settings.driver = &on.driver();
  settings.ordinal = on.ordinal();
  auto lockers = std::make_unique<locker_place>(on, file, taken, settings);
  if (!lockers->failure().empty()) return trouble{lockers->failure()};
  add("cubby", std::move(lockers));
  if (!how.baselines) return ways;
  add("resident", make_resident_place(on, file, taken, in_memory));
  const uint64_t bytes = settings.device_bytes;
  add("copy on miss", make_copying_place(on, file, taken, in_memory, bytes, false));
  add("copy on miss, registered", make_copying_place(on, file, taken, in_memory, bytes, true));
  return ways;
}

}  // namespace

outcome<json> decode_on_device(const device_choice &chosen, const expert_file &file,
                               const routes &taken, const device_run &how) {
  device_here on(chosen);
  if (auto good = on.open(); !good) return good.failure();
  const auto here = on.enter();
  const auto in_memory = make_resident(file);
  if (!in_memory->failure().empty()) return trouble{in_memory->failure()};
  device_loop loop(on, file, taken);
  auto ways = ways_of(on, file, taken, how, *in_memory);
  if (!ways) return ways.failure();
  if (auto good = on.so_far(); !good) return good.failure();
  progress_line progress(how.quiet);
  for (uint32_t round = 0; round < how.rounds; ++round) {
    for (size_t i = 0; i < ways->size(); ++i) {  // each round begins with another
      competitor &one = (*ways)[(round + i) % ways->size()];
      if (auto good = loop.run(one, progress); !good) return good.failure();
    }
  }
  auto &source = static_cast<locker_place &>(*ways->front().place).source();
  json all = result_of(*ways, source, on, taken.tokens);
  if (how.check_tokens != 0) {
    auto held = held_against(loop.states(), file, taken, *in_memory, how.check_tokens);
    if (!held) return held.failure();
    all["processor"] = *held;
  }
  if (how.settings.record != nullptr) {
    if (auto good = source.finish_recording(); !good) return good.failure();
  }
  return all;
}

void print_device_result(const expert_file &file, const routes &taken, const json &result) {
  std::vector<std::vector<std::string>> table = {
      {"way", "tokens/s", "cubby to it", "hits", "misses", "host waits a token", "output"}};
  const auto line = [&](const std::string &name, const json &one, const std::string &ratio) {
    table.push_back({name, fixed_text(one["tokens_per_s"]), ratio, count_text(one["hits"]),
                     count_text(one["misses"]), fixed_text(one["host_waits_per_token"]),
                     one["output_digest"].get<std::string>()});
  };
  line("cubby", result, "");
  for (const json &one : result["baselines"]) line(one["name"], one, fixed_text(one["ratio"]));
  std::cout << printable(file.path) << ": " << bytes_text(file.expert_bytes)
            << " of experts, routes " << printable(taken.origin) << ", " << taken.tokens
            << " tokens, on " << printable(result["device"]["description"].get<std::string>())
            << "\n";
  print_table(table);
  const json &stall = result["stall"];
  std::cout << "waited for experts " << fixed_text(stall["share"].get<double>() * 100)
            << "% of the time; ms of what was asked for:";
  for (const auto &[cause, ns] : stall["by_cause_ns"].items()) {
    std::cout << " " << cause << " " << fixed_text(ns.get<double>() / 1e6);
  }
  std::cout << "\n";
  if (result.contains("processor")) {
    const json &held = result["processor"];
    std::cout << "the processor's " << held["tokens"] << " tokens differ by " << held["error"]
              << " of the largest number, " << held["tolerance"] << " is allowed"
              << (held["agrees"].get<bool>() ? "" : ": THEY DO NOT AGREE") << "\n";
  }
  std::cout << (result["identical"].get<bool>() ? "all outputs are identical\n"
                                                : "OUTPUTS DIFFER\n");
}

}  // namespace cubby_cli::demo
