// Power cuts of a simulated disk, after every write of a script, against what was acknowledged; and
// whether they find defects of the protocol, compiled in here alone.
#include "base/mutant.hpp"
#include "crash/store_world.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

namespace {

struct selected {
  explicit selected(cubby::base::mutant one) { cubby::base::selected_mutant = one; }
  ~selected() { cubby::base::selected_mutant = cubby::base::mutant::none; }
};

std::string first_violation(crash::options choice, bool killed = false) {
  for (choice.seed = 1; choice.seed <= 8; choice.seed++) {
    crash::world world(choice);
    world.run();
    if (killed && world.violation().empty()) {
      world.crash(store_disk::fate::killed);
      if (world.violation().empty()) world.run();
    }
    if (!world.violation().empty()) return world.violation();
  }
  return {};
}

}  // namespace

TEST_CASE("a power cut after every write loses nothing that was acknowledged") {
  const uint32_t files = GENERATE(1u, 2u);
  crash::options choice;
  choice.files = files;
  crash::world world(choice);
  world.run();
  INFO(world.cuts() << " power cuts, " << world.acknowledged() << " acknowledged, "
                    << world.checkpoints() << " checkpoints");
  CHECK(world.violation() == "");
  CHECK(world.cuts() > (cubby_test::sanitized ? 300 : 1500));
  CHECK(world.acknowledged() > 200);
  CHECK(world.checkpoints() >= 2);
}

TEST_CASE("a short write or a full disk is one failed put, and nothing of it is found") {
  crash::options choice;
  choice.failing_writes = 80;
  choice.check_every = 5;
  crash::world world(choice);
  world.run();
  CHECK(world.violation() == "");
  CHECK(world.acknowledged() > 150);
}

TEST_CASE("after a failed flush nothing is acknowledged that may be lost") {
  crash::options choice;
  choice.failing_flush = GENERATE(1u, 2u, 3u, 7u, 20u, 45u);
  choice.check_every = 7;
  crash::world world(choice);
  world.run();
  CHECK(world.violation() == "");
}

TEST_CASE("a store that became read-only takes blocks again, and nothing acknowledged is lost") {
  crash::options choice;
  choice.files = GENERATE(1u, 2u);
  choice.seed = 1 + choice.files;
  choice.restores = 3;
  choice.check_every = 10;
  SECTION("a flush failed") { choice.failing_flush = GENERATE(1u, 3u, 20u, 30u); }
  SECTION("a write of the journal or of a manifest failed") {
    choice.failing_own = GENERATE(1u, 2u, 9u, 30u);
  }
  crash::world world(choice);
  world.run();
  INFO(choice.seed << " failing flush " << choice.failing_flush << ", own write "
                   << choice.failing_own);
  CHECK(world.violation() == "");
  CHECK(world.restored() == 1);
  CHECK(world.acknowledged() > 150);
}

TEST_CASE("what a failed flush left in the page cache is on the device before it is believed") {
  const auto seed = static_cast<uint64_t>(GENERATE(range(1, 17)));
  crash::options choice;
  choice.seed = seed;
  choice.requests = 60;
  choice.files = 1 + static_cast<uint32_t>(seed % 2);
  SECTION("a flush failed") { choice.failing_flush = GENERATE(1u, 4u, 6u, 9u, 14u, 22u); }
  SECTION("and the first one of the next process fails, too") {
    choice.failing_flush = GENERATE(1u, 4u, 9u, 22u);
    choice.failing_opening = true;
    choice.restores = 2;
  }
  choice.check_every = 3;
  crash::world world(choice);
  world.run();
  CHECK(world.violation() == "");
  world.crash(store_disk::fate::killed);
  if (world.violation().empty()) world.run();
  INFO("failing flush " << choice.failing_flush);
  CHECK(world.violation() == "");
}

TEST_CASE("one power cut after another, and the store goes on") {
  const auto seed = static_cast<uint64_t>(GENERATE(range(1, 13)));
  crash::options choice;
  choice.seed = seed;
  choice.requests = 50;
  choice.until_idle = false;
  choice.check_every = 40;
  choice.files = 1 + static_cast<uint32_t>(seed % 2);
  crash::world world(choice);
  for (uint64_t i = 0; i < 15 && world.violation().empty(); i++) {
    world.run();
    if (world.violation().empty()) world.crash(static_cast<store_disk::fate>((i + seed) % 5));
  }
  CHECK(world.violation() == "");
}

TEST_CASE("defects of the protocol are found", "[mutants]") {
  using cubby::base::mutant;
  crash::options choice;
  SECTION("publish before payload") {
    const selected one(mutant::publish_before_payload);
    CHECK(first_violation(choice) != "");
  }
  SECTION("reuse pages before the record that frees them") {
    const selected one(mutant::reuse_before_record);
    CHECK(first_violation(choice) != "");
  }
  SECTION("believe a failed flush") {
    const selected one(mutant::believe_failed_flush);
    choice.failing_flush = 20;
    CHECK(first_violation(choice) != "");
  }
  SECTION("believe what the page cache alone may hold") {
    const selected one(mutant::believe_page_cache);
    choice.failing_flush = 9;
    choice.requests = 60;
    CHECK(first_violation(choice, true) != "");
  }
  SECTION("skip the flush") {
    const selected one(mutant::skip_flush);
    CHECK(first_violation(choice) != "");
  }
}
