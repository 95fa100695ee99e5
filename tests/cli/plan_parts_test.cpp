// The pieces of the plan by themselves: formulas, curves, layouts, break-evens.
#include <algorithm>
#include <cmath>

#include "cli/plan/answer.hpp"
#include "cli/plan/formulas.hpp"
#include "cli/plan/kv_replay.hpp"
#include "cli/plan/layer_walk.hpp"
#include "cli/plan/read_tail.hpp"
#include "support/catch.hpp"

namespace plan_parts_test {

namespace {
using namespace cubby_cli::plan;

bool near(double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), 1.0); }

quantity given(double value) { return {value, origin::given, "test"}; }

/// A model that is small enough to do sums by head: 4 layers of 8 experts of 3 MB each.
model_shape small_model() {
  model_shape made;
  made.name = made.title = "small";
  made.source = "test";
  made.layers = made.moe_layers = 4;
  made.hidden = 1000;
  made.vocab = 1000;
  made.routed_experts = 8;
  made.top_k = 2;
  made.moe_intermediate = 500;
  made.q_heads = 10;
  made.kv_heads = 2;
  made.head_dim = 100;
  made.groups = {{4}};
  made.context_max = 10000;
  return made;
}

constexpr double mega = 1e6;

/// Device memory of 100 MB at 1 GB/s, host memory of 1 GB over a link of 100 MB/s.
question small_question() {
  question made;
  made.model = small_model();
  made.machine_name = "small";
  cubby_cli::profile::tier device;
  device.name = "device:0";
  device.kind = "device";
  device.capacity_bytes = 100 * mega;
  device.read = cubby_cli::profile::summary{2e9, 0, 0, 0, 1e-11};
  device.origin = "measured";
  device.source = "test";
  cubby_cli::profile::tier host = device;
  host.name = "host:0";
  host.kind = "host";
  host.capacity_bytes = 1000 * mega;
  host.price_usd_per_byte = 1e-9;
  made.machine.tiers = {host, device};
  made.machine.links = {{"host:0", "device:0", 100 * mega, 1000, "measured", "test"}};
  auto &compute = made.machine.compute.emplace();
  compute.place = "chip";
  compute.product_bytes_per_s = 1e9;
  compute.flop_per_s = 1e13;
  compute.price_usd = 1000;
  compute.watt = 100;
  compute.source = "test";
  made.budget_bytes = {{"device:0", 60 * mega}};
  made.context = given(1000);
  made.users = made.sessions = given(1);
  made.output_tokens = given(100);
  made.reuse = made.overlap = given(0);
  made.years = given(4);
  made.usd_per_kwh = given(0.1);
  made.background_watt = given(10);
  made.curve = uniform_hits();
  return made;
}

answer ask(const question &of) {
  auto found = answer_to(of);
  if (!found) FAIL(found.failure().text);
  return std::move(*found);
}

}  // namespace

TEST_CASE("A hit curve begins at nothing, ends at all, and is straight between its points") {
  const hit_curve curve = {{{0.2, 0.6}, {0.5, 0.9}}, origin::measured, "test"};
  CHECK(curve.at(0) == 0);
  CHECK(near(curve.at(0.1), 0.3));
  CHECK(near(curve.at(0.35), 0.75));
  CHECK(near(curve.at(0.75), 0.95));
  CHECK(curve.at(1) == 1);
  CHECK(near(uniform_hits().at(0.3), 0.3));
  const hit_curve zipf = zipf_hits(64, 1);
  CHECK(zipf.at(0.25) > 0.6);
  CHECK(zipf.at(0.5) > zipf.at(0.25));
  CHECK(near(zipf_hits(64, 0).at(0.25), 0.25));
  for (double share = 0; share <= 1; share += 0.1) CHECK(recorded_hits().at(share) >= share);
}

TEST_CASE("Users share experts, the more the more there are") {
  CHECK(near(distinct_experts(64, 6, 1), 6));
  CHECK(distinct_experts(64, 6, 2) < 12);
  CHECK(distinct_experts(64, 6, 1000) > 63.9);
  CHECK(distinct_experts(0, 0, 3) == 0);
}

TEST_CASE("Compute hides what is known beforehand, and of the rest only what overlaps") {
  CHECK(stall_s(10, 4, 0, 0) == 0);
  CHECK(stall_s(10, 14, 0, 0) == 4);
  CHECK(stall_s(10, 0, 4, 0) == 4);
  CHECK(stall_s(10, 0, 4, 0.5) == 0);
  CHECK(stall_s(10, 4, 9, 1) == 3);
  CHECK(product_s(100, 10, 50, 1.0) == 50);
  CHECK(product_s(100, 10, 50, std::nullopt) == 10);
  CHECK(move_s(0, 10, 5, 1) == 0);
  CHECK(move_s(100, 10, 5, 1) == 15);
}

TEST_CASE("Money, joules and years are what they are by hand") {
  CHECK(near(usd_per_s(seconds_per_year, 1, 0, 0), 1));
  CHECK(near(usd_per_s(0, 1, 1000, 0.36), 1e-4));
  CHECK(near(usd_per_million(2, 4), 5e5));
  CHECK(near(years_of_writes(seconds_per_year * 100, 10), 10));
  CHECK(near(move_joules(10, 2, 3), 50));
  CHECK(near(joules({0, 0, 7, 0, 10, 2}), 27));
  CHECK(near(layers_with_misses(10, 2, 0.5), 7.5));
}

TEST_CASE("The first place where something holds is found") {
  const auto found = first_that(0, 100, [](double x) { return x * x >= 50; });
  REQUIRE(found);
  CHECK(std::abs(*found - std::sqrt(50.0)) < 1e-6);
  CHECK_FALSE(first_that(0, 1, [](double) { return false; }));
  CHECK(first_that(3, 5, [](double) { return true; }) == 3.0);
}

TEST_CASE("A window keeps no more than itself, and fp8 keeps scales") {
  model_shape windows = small_model();
  windows.groups = {{2}, {2, false, 128}};
  const double entry = kv_entry_bytes(windows, kv_format::bf16);
  CHECK(entry == 2 * 2 * 100 * 2);
  CHECK(near(kv_bytes(windows, kv_format::bf16, 100), 4 * 100 * entry));
  CHECK(near(kv_bytes(windows, kv_format::bf16, 1000), 2 * (1000 + 128) * entry));
  CHECK(near(kv_bytes_per_token(windows, kv_format::bf16), 2 * entry));
  const model_shape *latent = find_model("deepseek-v3");
  CHECK(kv_entry_bytes(*latent, kv_format::fp8) == 656);
  CHECK(kv_entry_bytes(*find_model("deepseek-v4-pro"), kv_format::fp8) == 584);
  CHECK(near(kv_bytes_per_token(*find_model("deepseek-v3.2"), kv_format::fp8), 48068));
  CHECK(near(kv_bytes_per_token(*find_model("deepseek-v4-flash"), kv_format::bf16), 6880));
  // An indexer reads all of its keys, and few entries.
  const model_shape *sparse = find_model("deepseek-v3.2");
  CHECK(near(kv_read_bytes(*sparse, kv_format::fp8, 100000), 61 * (100000 * 132 + 2048 * 656.0)));
}

TEST_CASE("The hottest lies in the fastest memory, the rest below, and nothing is lost") {
  const answer found = ask(small_question());
  const outlook &here = found.offload;
  REQUIRE(here.fits());
  CHECK(here.places.front().name == "device:0");
  const part *dense = here.parts.find(part_kind::dense);
  const part *experts = here.parts.find(part_kind::experts);
  REQUIRE((dense != nullptr && experts != nullptr));
  CHECK(experts->bytes == 4 * 8 * 3 * mega);
  CHECK(dense->placed[0] == dense->bytes);
  CHECK(experts->placed[1] > 0);
  CHECK(near(experts->placed[0] + experts->placed[1], experts->bytes));
  CHECK(near(here.parts.used_bytes[0], 60 * mega));
  // By hand: of 8 experts a step uses, the share that is not in the device comes over the link, and
  // a row of the input's embeddings.
  const double moved = experts->share_in(1) * 8 * 3 * mega;
  CHECK(near(here.step.moved_bytes[1], moved + 2000));
  CHECK(here.step.late_move_s >= moved / (100 * mega));
  CHECK(near(here.step.step_s(), here.step.compute_s + here.step.late_move_s));
}

TEST_CASE("More fast memory is never slower, and enough of it has no stall") {
  double before = 1e9;
  for (double megabytes = 20; megabytes <= 100; megabytes += 10) {
    question asked = small_question();
    asked.budget_bytes["device:0"] = megabytes * mega;
    const double now = ask(asked).offload.step.step_s();
    CHECK(now <= before);
    before = now;
  }
  const answer enough = ask(with_devices(small_question(), 4));
  CHECK(enough.offload.parts.all_local());
  CHECK(enough.offload.step.stall_s == 0);
  CHECK(enough.overall.which == verdict::kind::does_not_pay);
  CHECK(enough.overall.reason.find("nothing to gain") != std::string::npos);
}

TEST_CASE("What finds no room is said, and pays nothing") {
  question asked = small_question();
  asked.budget_bytes["host:0"] = 5 * mega;
  const answer found = ask(asked);
  CHECK_FALSE(found.offload.fits());
  CHECK(found.overall.which == verdict::kind::does_not_pay);
  CHECK(found.overall.reason.find("find no place") != std::string::npos);
}

TEST_CASE("A class of latency shuts out a tier that is too slow for it") {
  question asked = small_question();
  asked.wanted = latency_class{"quick", 1, 0.1, true, origin::given, "test"};
  const answer slow = ask(asked);  // 3 MB over 100 MB/s in 4 layers: 120 ms
  CHECK_FALSE(slow.offload.fits());
  REQUIRE_FALSE(slow.notes.empty());
  CHECK(slow.notes.front().find("host:0 serves no step") == 0);
  asked.wanted->token_s = 0.5;
  const answer good = ask(asked);
  CHECK(good.offload.fits());
  for (const verdict &one : good.verdicts)
    if (one.respect == "time") CHECK(one.which == verdict::kind::pays);
}

TEST_CASE("Offload begins to pay in money where the sums say so") {
  const answer found = ask(small_question());
  for (const break_even &one : found.break_evens) {
    INFO(one.name);
    CHECK((one.at || !one.otherwise.empty()));
    if (one.name != "hits_money" || !one.at) continue;
    // Just above it is cheaper than two devices, just below it is not.
    question asked = small_question();
    const auto cheaper = [&](double hits) {
      asked.hits = hits;
      const answer then = ask(asked);
      return *then.offload.usd_per_million_tokens < *then.resident->usd_per_million_tokens;
    };
    CHECK(cheaper(std::min(1.0, *one.at + 1e-3)));
    if (*one.at > 1e-3) CHECK_FALSE(cheaper(*one.at - 1e-3));
  }
  double hot = 0;
  for (const part &one : found.offload.parts.parts) hot += one.every_step ? one.bytes : 0;
  CHECK(found.resident_devices == std::ceil(hot / (60 * mega)));
}

TEST_CASE("A prefix is loaded sooner than computed only from the length that is said") {
  question asked = small_question();
  asked.machine.compute->flop_per_s = 1e11;
  const answer found = ask(asked);
  for (const break_even &one : found.break_evens) {
    if (one.name != "context") continue;
    REQUIRE(one.at);
    const place &host = found.offload.places[1];
    CHECK(load_kv_s(asked, host, *one.at) < recompute_kv_s(asked, *one.at));
    if (*one.at > 1)
      CHECK(load_kv_s(asked, host, *one.at - 1) >= recompute_kv_s(asked, *one.at - 1));
  }
}

TEST_CASE("Every number of the chain says where it is from") {
  const answer found = ask(small_question());
  CHECK(found.steps.steps().size() > 30);
  for (const step &one : found.steps.steps()) {
    INFO(one.name);
    CHECK_FALSE(one.source.empty());
    CHECK(std::isfinite(one.value));
    if (one.from == origin::derived && one.name != "arithmetic of prompts")
      CHECK_FALSE(one.formula.empty());
  }
  for (const model_shape &one : model_presets()) CHECK_FALSE(one.source.empty());
  for (const machine_preset &one : machine_presets())
    for (const auto &tier : one.what.tiers) CHECK_FALSE(tier.source.empty());
}

TEST_CASE("Two devices are twice one") {
  const question one = small_question(), two = with_devices(small_question(), 2);
  CHECK(two.machine.compute->product_bytes_per_s == 2 * one.machine.compute->product_bytes_per_s);
  CHECK(two.machine.find("device:0")->capacity_bytes == 200 * mega);
  CHECK(two.machine.find("host:0")->capacity_bytes == 1000 * mega);
  CHECK(two.machine.links[0].bytes_per_s == 200 * mega);
  CHECK(two.budget_bytes.at("device:0") == 120 * mega);
  question watts = small_question();
  watts.machine.watt = 500;
  CHECK(with_devices(watts, 2).machine.watt == 1000.0);
}

TEST_CASE("Prompts take the machine one after the other, and cost money, joules and writes") {
  // By hand: 10 users, prompts of 2 s, 100 tokens of 0.1 s: 10 requests in 30 s.
  CHECK(near(sustained_per_s(10, 2, 100, 0.1), 10.0 / 30));
  question asked = small_question();
  asked.machine.compute->flop_per_s = 1e11;  // so that prompts take long
  asked.users = asked.sessions = given(8);
  asked.usd_per_hour = given(3600);
  const answer found = ask(asked);
  const outlook &here = found.offload;
  const double one_s = 8 * here.first.prompt_s() + 100 * here.step.step_s();
  CHECK(near(here.first.prompt_s() + here.step.step_s(), here.first.all_s()));
  CHECK(near(here.sustained_tokens_per_s(asked), 8 * 100 / one_s));
  CHECK(near(*here.usd_per_million_tokens, 1e6 * one_s / 800));
  CHECK(near(here.energy.background_joules, 10 * one_s / 800));
  question half = asked;
  half.reuse = given(0.5);
  half.sessions = given(16);
  const outlook less = ask(half).offload;
  CHECK(*less.usd_per_million_tokens < *here.usd_per_million_tokens);
  CHECK(*less.energy.joules < *here.energy.joules);
}

TEST_CASE("A first token waits for the dense weights that lie in a slower tier") {
  question asked = small_question();
  asked.budget_bytes["device:0"] = 5 * mega;
  asked.machine.compute->flop_per_s = 1e18;
  const outlook here = ask(asked).offload;
  REQUIRE(here.fits());
  const part *dense = here.parts.find(part_kind::dense);
  const part *experts = here.parts.find(part_kind::experts);
  REQUIRE(dense->placed[1] > 0);
  const double used = distinct_experts(8, 2, 1000) / 8;
  const double bytes = dense->placed[1] + used * experts->placed[1];
  // One chunk, each layer's dense weights and experts waited for once.
  CHECK(near(here.first.move_s, bytes / (100 * mega) + (4 + 4) * 1e-6));
  CHECK(near(here.first.moved_bytes[1], bytes));
}

TEST_CASE("Prompts of MLA make keys and values of latents, answers and indexed prompts do not") {
  const model_shape *v3 = find_model("deepseek-v3"), *sparse = find_model("deepseek-v3.2");
  REQUIRE((v3 != nullptr && sparse != nullptr));
  const double tokens = 65536, weights = 2 * (active_parameters(*v3) - embedding_parameters(*v3));
  const double each = prefill_flops(*v3, 0, tokens) / tokens - weights;
  CHECK(near(each, 61 * 2 * 128.0 * (128 + 64 + 128) * tokens / 2));
  CHECK(near(attention_flops(*v3, tokens), 61 * 2 * 128.0 * (2 * 512 + 64) * tokens));
  const double indexed = prefill_flops(*sparse, 0, tokens) / tokens -
                         2 * (active_parameters(*sparse) - embedding_parameters(*sparse));
  CHECK(near(indexed, attention_flops(*sparse, tokens / 2)));
}

TEST_CASE("Where nobody says the longest context, break-evens are looked for all the same") {
  question asked = small_question();
  asked.model.context_max = 0;
  asked.machine.compute->flop_per_s = 1e11;
  for (const break_even &one : ask(asked).break_evens)
    if (one.name == "context") CHECK(one.at);
  asked.context = given(3e6);
  CHECK(longest_context(asked) == 3e6);
}

TEST_CASE("Windows are written to a drive until they are full") {
  question asked = small_question();
  asked.model.groups = {{4, false, 128}};
  asked.machine.tiers[0].kind = "file";  // the tier below
  asked.machine.tiers[0].endurance_write_bytes = 1e15;
  asked.sessions = given(100);
  asked.budget_bytes["device:0"] = 5 * mega;
  const outlook here = ask(asked).offload;
  REQUIRE(here.life);
  const double each = kv_bytes(asked.model, asked.kv, 1100);
  CHECK(each == 4 * 128 * kv_entry_bytes(asked.model, asked.kv));
  const double share = here.parts.find(part_kind::stored_kv)->share_in(1);
  CHECK(near(here.life->write_bytes_per_s,
             requests_per_s(asked, here.step, here.first) * each * share));
}

TEST_CASE("What limits a speed says where the speed is from") {
  question asked = small_question();
  asked.machine.links[0].origin = "assumed";
  asked.machine.links[0].source = "a guess";
  const auto found = places_of(asked);
  REQUIRE(found);
  CHECK(found->at(1).speed_from == origin::assumed);
  CHECK(found->at(1).speed_source == "a guess");
  for (const char *name : {"h100", "h200"}) {
    const machine_preset *preset = find_machine(name);
    REQUIRE(preset != nullptr);
    CHECK(preset->what.links.at(0).origin == "assumed");
  }
}

TEST_CASE("Input embeddings of a file have the bytes of their tensor") {
  question asked = small_question();
  asked.model.dense_bytes = 20 * mega;
  asked.model.input_embedding_bytes = 3 * mega;
  for (const part &one : parts_of(asked)) {
    if (one.kind == part_kind::input) CHECK((one.bytes == 3 * mega && one.read_bytes == 3000));
    if (one.kind == part_kind::dense) CHECK(one.bytes == 17 * mega);
  }
}

TEST_CASE("binomial misses sum to one and have the mean they were asked for") {
  const auto likely = binomial_misses(4, 0.3);
  REQUIRE(likely.size() == 5);
  double sum = 0, mean = 0;
  for (size_t k = 0; k < likely.size(); k++) {
    sum += likely[k];
    mean += static_cast<double>(k) * likely[k];
  }
  CHECK(near(sum, 1));
  CHECK(near(mean, 1.2));
  CHECK(near(likely[0], std::pow(0.7, 4)));
  CHECK(binomial_misses(3, 0) == std::vector<double>{1, 0, 0, 0});
  CHECK(binomial_misses(3, 1) == std::vector<double>{0, 0, 0, 1});
}

TEST_CASE("where every layer misses alike a walk is a sum that one can do by head") {
  layer_walk of;
  of.layers = 4;
  of.experts = 2;
  of.compute_s = 10;
  of.ways = {{{0, 0, 1}, {{0, {6}, {}, 1}}}};  // both are missing, 6 s each
  // Nothing to compute until the first is there at 7; the second comes at 13, 5 s of products
  // follow: 18 s a layer, and what comes late is not hidden by the layers before.
  CHECK(near(walk_stall_s(of), 4 * 8.0));
  of.ahead = true;
  // The link never rests but between tokens: 12 s a layer. In each token the first layer waits as
  // before.
  CHECK(walk_stall_s(of) < 4 * 8.0);
  CHECK(walk_stall_s(of) > 4 * 2.0);
  of.ways[0].over = {{0, {2}, {}, 0}};  // all of it hides, but in the first layer of a token
  CHECK(near(walk_stall_s(of), 2.0));
  of.ways[0].missing = {1};
  CHECK(near(walk_stall_s(of), 0));
}

TEST_CASE("what a farther place brings is not brought by the nearer one, too") {
  layer_walk of;
  of.layers = 1;
  of.experts = 2;
  of.compute_s = 0;
  of.ways = {{{0, 0, 1}, {{0, {1}, {}, 0}}},
             {{0, 1}, {{1, {100}, {}, 0}}}};  // two are missing, one of them everywhere
  CHECK(near(walk_stall_s(of), 100));
  of.ways[1].missing = {1};
  CHECK(near(walk_stall_s(of), 2));
}

TEST_CASE("what several pass one after the other takes each its time, whatever way they come") {
  layer_walk of;
  of.layers = 1;
  of.experts = 2;
  of.ways = {{{0, 0, 1}, {{0, {5}, {}, 0}}}, {{0, 1}, {{1, {3}, {}, 0}, {0, {5}, {}, 0}}}};
  // One by the link alone, one read in 3 s and then over the link, which is busy until 5.
  CHECK(near(walk_stall_s(of), 10));
  of.ways[1].over[1].server = 2;  // a link of its own
  CHECK(near(walk_stall_s(of), 8));
}

TEST_CASE("the last of a layer's reads holds it up, and how fast they come depends on how many") {
  layer_walk of;
  of.layers = 1;
  of.experts = 4;
  of.ways = {{{0, 0, 0, 1}, {{0, {9, 4, 2}, {9, 1, 0.5}, 0}}}};
  CHECK(near(walk_stall_s(of), 3 * 2 + 0.5));
  of.ways[0].missing = {0, 0, 0, 0, 1};  // more than were listed: as the last
  CHECK(near(walk_stall_s(of), 4 * 2 + 0.5));
  of.ways[0].missing = {0, 1};
  CHECK(near(walk_stall_s(of), 9 + 9));
}

TEST_CASE("the longest of several reads follows from the percentiles of one") {
  const double scale = 2;  // an exponential tail behind the median has that of all reads
  const read_tail of{1, 1 + scale * std::log(50.0), 1 + scale * std::log(500.0)};
  CHECK(last_of_s(of, 0) == 0);
  // The median, and half of the reads the exponential's mean later.
  CHECK(near(last_of_s(of, 1), 1 + scale / 2));
  // P(max > 1 + t) = 1 - (1 - exp(-t / scale) / 2)^2, whose integral is scale (1 - 1/8).
  CHECK(near(last_of_s(of, 2), 1 + scale * (1 - 1.0 / 8)));
  CHECK(last_behind_s(of, 1) == 0);
  CHECK(near(last_behind_s(of, 2), scale * 3 / 8));
  for (uint32_t reads = 1; reads < 64; reads++)
    CHECK(last_of_s(of, reads + 1) > last_of_s(of, reads));
  // Against the sum itself, with a heavier end, by the middle of many even steps.
  const read_tail heavy{1, 3, 30};
  double sum = 0;
  constexpr int steps = 1'000'000;
  for (int i = 0; i < steps; i++) {
    const double longer = 1 - std::pow((i + 0.5) / steps, 1.0 / 8);  // of the longest of eight
    double read = 1;
    if (longer < 0.5) read += 2 * std::log(0.5 / std::max(longer, 0.01)) / std::log(50.0);
    if (longer < 0.01) read += 27 * std::log(0.01 / longer) / std::log(10.0);
    sum += read;
  }
  CHECK(std::abs(last_of_s(heavy, 8) / (sum / steps) - 1) < 1e-3);
  // All alike, and percentiles out of order: no read is quicker than the median.
  CHECK(near(last_of_s({4, 4, 4}, 9), 4));
  CHECK(near(last_of_s({4, 3, 2}, 9), 4));
}

TEST_CASE("a bursty miss costs more than as many that are spread") {
  layer_walk of;
  of.layers = 100;
  of.experts = 4;
  of.compute_s = 1;
  of.ahead = true;
  of.ways = {{{0, 1}, {{0, {0.9}, {}, 0}}}};  // one in each layer: it hides
  const double spread = walk_stall_s(of);
  of.ways = {{{0.75, 0, 0, 0, 0.25}, {{0, {0.9}, {}, 0}}}};  // four in every fourth layer
  CHECK(walk_stall_s(of) > 10 * spread);
}

TEST_CASE("a route that is known a layer ahead waits less, and no less than all moves together") {
  question of = small_question();
  of.lookahead = 0;
  const double late = ask(of).offload.step.stall_s;
  of.lookahead = 1;
  const step_times ahead = ask(of).offload.step;
  CHECK(ahead.stall_s < late);
  CHECK(ahead.stall_s >= 0.98 * (ahead.late_move_s - ahead.compute_s));
}

TEST_CASE("experts alone leave everything else out of a step") {
  question of = small_question();
  of.experts_alone = true;
  const outlook made = ask(of).offload;
  for (const part &one : made.parts.parts)
    if (one.kind != part_kind::experts) CHECK(one.bytes == 0);
  CHECK(near(made.step.local_bytes,
             of.model.moe_layers * of.model.top_k * expert_bytes_each(of.model)));
}

TEST_CASE("few reads at once are slower than many, as the curve over depth was measured") {
  place of;
  of.bytes_per_s = 3e9;
  CHECK(near(of.speed_with(1e6), 3e9));  // nothing is known of depths
  of.piece_bytes = 1e6;
  of.speed_in_flight = {{1, 1e9}, {4, 2e9}, {16, 4e9}};
  CHECK(near(of.speed_with(1), 1e9));
  CHECK(near(of.speed_with(2e6), 1.5e9));
  CHECK(near(of.speed_with(4e6), 2e9));
  CHECK(near(of.speed_with(8e6), 3e9));
  CHECK(near(of.speed_with(16e6), 3e9));  // no faster than the way as a whole
  CHECK(near(of.speed_with(1e9), 3e9));
}

TEST_CASE("reads in flight are those of files: the depth of memory is threads") {
  question of = small_question();
  cubby_cli::profile::point one;
  one.op = "read";
  one.path = "bare";
  one.block_bytes = 1 << 20;
  auto &host = of.machine.tiers[0];
  for (const uint64_t depth : {uint64_t{1}, uint64_t{4}}) {
    one.depth = depth;
    one.bytes_per_s = 1e9 * static_cast<double>(depth);
    host.curves.push_back(one);
  }
  cubby_cli::profile::tier file = host;
  file.name = "file:/d";
  file.kind = "file";
  of.machine.tiers.push_back(file);
  const auto places = places_of(of);
  REQUIRE(places);
  for (const place &each : *places) {
    INFO(each.name);
    CHECK(each.speed_in_flight.size() == (each.kind == "file" ? 2u : 0u));
  }
  // A store over a network is read as a disk is; remote memory has no such curve.
  of.machine.tiers.back().kind = "remote";
  CHECK(of.machine.tiers.back().is_of_files());
  const auto remote = places_of(of);
  REQUIRE(remote);
  CHECK(remote->back().speed_in_flight.size() == 2);
  of.machine.tiers.back().curves.clear();
  CHECK_FALSE(of.machine.tiers.back().is_of_files());
}

TEST_CASE(
    "a plan says how much later the last of a layer's reads is, and what reads verify themselves") {
  question of = small_question();
  cubby_cli::profile::tier file = of.machine.tiers[0];
  file.name = "file:/d";
  file.kind = "file";
  file.curves.clear();
  const auto add = [&](const char *path, uint64_t depth, double p50_ns) {
    cubby_cli::profile::point one;
    one.op = "read";
    one.path = path;
    one.block_bytes = 1 << 20;
    one.depth = depth;
    one.bytes_per_s = 1e9 * static_cast<double>(depth);
    one.p50_ns = p50_ns;
    one.p99_ns = 2 * p50_ns;
    one.p999_ns = 3 * p50_ns;
    file.curves.push_back(one);
  };
  const auto placed = [&] {
    question with = of;
    with.machine.tiers.push_back(file);
    const auto places = places_of(with);
    REQUIRE(places);
    return *std::find_if(places->begin(), places->end(),
                         [](const place &one) { return one.kind == "file"; });
  };
  for (const uint64_t depth : {uint64_t{1}, uint64_t{4}}) add("bare", depth, 1e6);
  const place bare = placed();
  CHECK_FALSE(bare.digests_in_reads);
  CHECK(bare.last_behind_s(1 << 20) == 0);
  CHECK(near(bare.last_behind_s(4 << 20), last_behind_s({1e-3, 2e-3, 3e-3}, 4)));
  CHECK(near(bare.last_behind_s(64 << 20), last_behind_s({1e-3, 2e-3, 3e-3}, 64)));
  CHECK(bare.way ==
        "bare reads of 1048576 B, 4 at a time, file:/d to host:0 by its own reads, host:0 to "
        "device:0");
  REQUIRE(bare.passages.size() == 2);
  CHECK(bare.passages[1].name == "host:0 to device:0");
  add("cubby", 1, 5e6);
  const place by_library = placed();
  CHECK(by_library.digests_in_reads);
  CHECK(near(by_library.last_behind_s(2 << 20), last_behind_s({5e-3, 10e-3, 15e-3}, 2)));
  CHECK(by_library.reads_with(1e9) == 1e9);

  of.machine.tiers.push_back(file);
  of.machine.digest_bytes_per_s = 1e9;
  of.budget_bytes["host:0"] = 20 * mega;
  of.lookahead = 1;
  const answer found = ask(of);
  const auto explained = [&](const std::string &name) {
    const auto &steps = found.steps.steps();
    return std::any_of(steps.begin(), steps.end(),
                       [&](const auto &one) { return one.name == name && one.value > 0; });
  };
  CHECK(explained("last read of a layer from file:/d"));
  CHECK(explained("an expert over host:0 to device:0"));
  CHECK(explained("digest of an expert from host:0"));
  CHECK_FALSE(explained("digest of an expert from file:/d"));
}

TEST_CASE("lone blocks take what was measured, and between two sizes a part of both") {
  cubby_cli::profile::tier of;
  of.name = "file:/d";
  const auto add = [&](uint64_t bytes, uint64_t depth, double ns) {
    cubby_cli::profile::point one;
    one.op = "read";
    one.path = "cubby";
    one.block_bytes = bytes;
    one.depth = depth;
    one.bytes_per_s = static_cast<double>(bytes) * 1e9 / ns;
    of.curves.push_back(one);
  };
  add(4096, 1, 100e3);
  add(65536, 1, 160e3);
  add(65536, 16, 900e3);
  CHECK(near(*lone_block_s(of, "read", "cubby", 4096), 100e-6));
  CHECK(near(*lone_block_s(of, "read", "cubby", 65536), 160e-6));
  CHECK(near(*lone_block_s(of, "read", "cubby", 34816), 130e-6));
  CHECK(near(*lone_block_s(of, "read", "cubby", 512), 100e-6));
  CHECK(near(*lone_block_s(of, "read", "cubby", 131072), 320e-6));
  CHECK_FALSE(lone_block_s(of, "write", "bare", 4096));
}

TEST_CASE("a replay of KV blocks is the sum of its gets, its puts and what the caller takes") {
  question of = small_question();
  const auto curve = [](cubby_cli::profile::tier &to, const char *op, const char *path, double ns) {
    cubby_cli::profile::point one;
    one.op = op;
    one.path = path;
    one.block_bytes = 4096;
    one.depth = 1;
    one.bytes_per_s = 4096e9 / ns;
    to.curves.push_back(one);
  };
  cubby_cli::profile::tier file = of.machine.tiers[0];
  file.name = "file:/d";
  file.kind = "file";
  curve(of.machine.tiers[0], "copy", "cubby", 1000);
  curve(file, "read", "cubby", 100e3);
  curve(file, "write", "bare", 50e3);
  of.machine.tiers.push_back(file);
  const auto made = time_kv(of.machine, "file:/d", {10, 5, 2, 4096}, 2e-6);
  REQUIRE(made);
  CHECK(near(made->memory_s, 10e-6));
  CHECK(near(made->disk_s, 5 * 101e-6));
  CHECK(near(made->put_s, 2 * 101e-6));  // a page of the journal is as large as the block
  CHECK(near(made->own_s, 17 * 2e-6));
  CHECK(near(made->stall_share(), (made->disk_s + made->put_s) / made->all_s()));
  CHECK_FALSE(time_kv(of.machine, "file:/other", {10, 5, 2, 4096}, 0));
  // Space that was never written costs more, where that was measured.
  curve(of.machine.tiers.back(), "first_write", "bare", 150e3);
  const auto fresh = time_kv(of.machine, "file:/d", {10, 5, 2, 4096}, 2e-6);
  REQUIRE(fresh);
  CHECK(near(fresh->put_s, 2 * 301e-6));
  of.machine.tiers.back().kind = "remote";
  CHECK(time_kv(of.machine, "file:/d", {10, 5, 2, 4096}, 2e-6));
}

}  // namespace plan_parts_test
