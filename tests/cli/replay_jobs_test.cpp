// Many walks through one trace, shared by threads.
#include "cli/replay/walk/jobs.hpp"

#include <catch2/catch.hpp>

namespace replay_jobs_test {

namespace {
using namespace cubby_cli;
using namespace cubby_cli::replay;

workload some_experts() {
  workload made;
  made.read.kind = trace_kind::experts;
  expert_trace &of = made.read.experts;
  of.layers = 2;
  of.experts = 16;
  of.top_k = 1;
  for (uint16_t i = 0; i < 4000; ++i) of.chosen.push_back(static_cast<uint16_t>(i * 7 % 13));
  of.sequences.push_back({0, static_cast<uint32_t>(of.tokens()), 0});
  made.schedule = make_schedule(of, 1);
  return made;
}

/// LRU, but for the victims it names: objects that are not resident.
cubby_policy_ops liar(const char *name) {
  cubby_policy_ops made = *cubby_policy_find("lru");
  made.name = name;
  made.next_victim = [](cubby_policy *) -> cubby_object { return 31; };
  return made;
}

/// Counts the events that it gets, between visits that begin and end.
struct counter final : reporter {
  uint64_t uses = 0, misses = 0, inside = 0, moves = 0, numbers = 0;
  void used(uint64_t number, std::span<const cubby_object> all,
            std::span<const cubby_object> missing) override {
    CHECK(number == numbers++);
    CHECK(inside++ == 0);
    uses += all.size();
    misses += missing.size();
  }
  void came(cubby_object) override { moves += inside; }
  void left(cubby_object) override { moves += inside; }
  void ended() override { --inside; }
  nlohmann::json report() override { return {{"uses", uses}, {"misses", misses}}; }
};

}  // namespace

TEST_CASE("A policy that breaks the rules says so in its job alone, however many threads") {
  const workload of = some_experts();
  const cubby_policy_ops first = liar("first"), second = liar("second");
  for (const uint32_t threads : {1u, 2u, 7u}) {
    std::vector<job> jobs(9);
    std::vector<job *> all;
    for (job &one : jobs) {
      one.how.policy = cubby_policy_find("lfu");
      one.how.capacity = 4;
      all.push_back(&one);
    }
    jobs[3].how.policy = &first;
    jobs[3].how.name = "first";
    jobs[4].how.policy = &second;
    jobs[4].how.name = "second";
    REQUIRE(run_jobs(of, all, threads, true));
    for (size_t i = 0; i < jobs.size(); ++i) {
      const std::string name = i == 3 ? "first" : "second";
      const bool lies = i == 3 || i == 4;
      CHECK(jobs[i].found.has_value() != lies);
      CHECK(jobs[i].broken.starts_with("policy " + name +
                                       " broke the rules: next_victim() named object 31") == lies);
    }
  }
}

TEST_CASE("Who watches hears all of it, in order") {
  const workload of = some_experts();
  job one;
  one.how.policy = cubby_policy_find("moe");
  one.how.capacity = 6;
  one.clock = one.details = [] { return std::make_unique<counter>(); };
  REQUIRE(run_jobs(of, {&one}, 2, true));
  CHECK(one.found->hits > 0);
  CHECK(one.clock_report["uses"] == 4000);
  CHECK(one.clock_report["misses"] == 4000 - one.found->hits);
  CHECK(one.details_report == one.clock_report);
}

TEST_CASE("A lack of memory in a thread is trouble, not the end of the process") {
  const workload of = some_experts();
  std::vector<job> jobs(4);
  std::vector<job *> all;
  for (job &one : jobs) {
    one.how.policy = cubby_policy_find("lru");
    one.how.name = "lru";
    one.how.capacity = 4;
    one.clock = []() -> std::unique_ptr<reporter> { throw std::bad_alloc(); };
    all.push_back(&one);
  }
  for (const uint32_t threads : {1u, 3u}) {
    const done outcome = run_jobs(of, all, threads, true);
    REQUIRE_FALSE(outcome);
    CHECK(outcome.failure().text.find("no memory left for policy lru") != std::string::npos);
  }
}

}  // namespace replay_jobs_test
