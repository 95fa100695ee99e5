// The queue of a channel, held against a sorted set that is served and taken from in the same way.
#include "transfer/job_queue.hpp"

#include <set>

#include "base/prng.hpp"
#include "support/catch.hpp"
#include "support/failing_new.hpp"

namespace job_queue_test {

using cubby::transfer::job_queue;
using cubby::transfer::urgency;

namespace {

constexpr uint32_t kinds[] = {0, 1u << 29, 1u << 30, 1u << 31};

urgency any_urgency(cubby::base::prng &random) {
  return {static_cast<uint32_t>(random.below(3)), random.below(4), random.below(8)};
}

}  // namespace

TEST_CASE("jobs come in the order of a sorted set, whichever are taken out between") {
  cubby::base::prng random(7);
  job_queue queue;
  std::set<job_queue::entry> wanted;
  for (uint32_t round = 0; round < 20'000; ++round) {
    const uint32_t job = kinds[random.below(4)] | static_cast<uint32_t>(random.below(40));
    const auto here = std::find_if(wanted.begin(), wanted.end(),
                                   [&](const job_queue::entry &one) { return one.job == job; });
    if (here != wanted.end()) {
      queue.remove(job);
      wanted.erase(here);
    } else if (random.below(3) == 0) {
      queue.remove(job);  // it is not there
    } else {
      const urgency how = any_urgency(random);
      queue.push(how, job);
      wanted.insert({how, job});
    }
    REQUIRE(queue.size() == wanted.size());
    REQUIRE(queue.empty() == wanted.empty());
    if (!wanted.empty()) REQUIRE(queue.first() == *wanted.begin());
  }
  while (!wanted.empty()) {
    REQUIRE(queue.first() == *wanted.begin());
    queue.remove(queue.first().job);
    wanted.erase(wanted.begin());
  }
  CHECK(queue.empty());
}

TEST_CASE("jobs that there is room for take no memory") {
  job_queue queue;
  queue.make_room(100);
  CHECK(queue.roomy_for_jobs() == 100);
  const cubby_test::allocation_failure failing(0);
  for (uint32_t i = 0; i < 100; ++i) queue.push({0, 0, 100 - i}, kinds[i % 4] | i);
  for (uint32_t i = 100; i-- > 0;) {
    REQUIRE(queue.first().job == (kinds[i % 4] | i));
    queue.remove(queue.first().job);
  }
  CHECK_FALSE(failing.happened());
}

}  // namespace job_queue_test
