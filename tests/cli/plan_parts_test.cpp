// The pieces of the plan by themselves: formulas, curves, layouts, break-evens.
#include <cmath>

#include "cli/plan/answer.hpp"
#include "cli/plan/formulas.hpp"
#include "support/catch.hpp"

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
}
