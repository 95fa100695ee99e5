// Seals written beside the pump: one result a write, whatever becomes of it.
#include "engine/seal_writer.hpp"

#include <sys/stat.h>

#include "support/catch.hpp"
#include "support/failing_new.hpp"
#include "unit/store/scratch.hpp"

namespace seal_writer_test {

using namespace cubby;
using engine::seal_writer;

namespace {

store::seal some_seal(uint64_t digest) {
  store::seal made;
  made.chunk_bytes = 4096;
  made.files.push_back({"/models/weights.bin", 8192, 1, 2, 3, 4});
  made.banks = {{digest, 7, 9}};
  made.complete = true;
  return made;
}

/// Until the write has ended.
result<void> wait_for(seal_writer &writer) {
  for (;;) {
    if (auto written = writer.take()) return std::move(*written);
    std::this_thread::yield();
  }
}

uint64_t first_digest(const std::string &path) {
  const auto there = store::read_seal(path);
  REQUIRE(there.ok());
  return there->banks[0][0];
}

}  // namespace

TEST_CASE("a seal that is written here and now is there when begin() returns") {
  const scratch::folder in;
  seal_writer writer;
  CHECK_FALSE(writer.busy());
  CHECK_FALSE(writer.take().has_value());
  REQUIRE(writer.begin(in.path("seal"), some_seal(5), true).ok());
  CHECK(first_digest(in.path("seal")) == 5);
  CHECK(writer.busy());  // until its result is taken, once
  const auto written = writer.take();
  REQUIRE(written.has_value());
  CHECK(written->ok());
  CHECK_FALSE(writer.busy());
  CHECK_FALSE(writer.take().has_value());
}

TEST_CASE("on a thread of its own the result comes later, and the next write can begin then") {
  const scratch::folder in;
  seal_writer writer;
  for (const uint64_t digest : {7u, 8u}) {
    REQUIRE(writer.begin(in.path("seal"), some_seal(digest), false).ok());
    CHECK(writer.busy());
    CHECK(wait_for(writer).ok());
    CHECK_FALSE(writer.busy());
    CHECK(first_digest(in.path("seal")) == digest);
  }
}

TEST_CASE("a write that has begun is finished before its writer is gone") {
  const scratch::folder in;
  {
    seal_writer writer;
    REQUIRE(writer.begin(in.path("seal"), some_seal(3), false).ok());
  }
  CHECK(first_digest(in.path("seal")) == 3);
}

TEST_CASE("a write that fails says why, once, and is not said of the next one") {
  const scratch::folder in;
  for (const bool at_once : {true, false}) {
    seal_writer writer;
    REQUIRE(writer.begin(in.path("nowhere/seal"), some_seal(1), at_once).ok());
    const auto failed = wait_for(writer);
    REQUIRE_FALSE(failed.ok());
    CHECK(failed.failure().native == ENOENT);
    CHECK(failed.failure().text.find("nowhere/seal") != std::string::npos);
    REQUIRE(writer.begin(in.path("seal"), some_seal(2), at_once).ok());
    CHECK(wait_for(writer).ok());
  }
}

TEST_CASE("a write that finds no memory leaves a whole seal, and the next one succeeds") {
  const scratch::folder in;
  const std::string path = in.path("seal");
  seal_writer writer;
  REQUIRE(writer.begin(path, some_seal(1), true).ok());
  REQUIRE(wait_for(writer).ok());
  uint32_t failures = 0;
  for (int64_t allowed = 0;; ++allowed) {
    store::seal content = some_seal(2);
    bool happened = false;
    {
      const cubby_test::allocation_failure failing(allowed);
      static_cast<void>(writer.begin(path, std::move(content), true));
      happened = failing.happened();
    }
    const auto written = wait_for(writer);
    if (!happened) {
      CHECK(written.ok());
      CHECK(first_digest(path) == 2);
      break;
    }
    ++failures;
    if (!written.ok()) {
      REQUIRE(written.failure().status == CUBBY_ERR_NO_MEMORY);
      REQUIRE(first_digest(path) <=
              2);  // whole: the earlier one, or this one just before its flush
    }
    REQUIRE(writer.begin(path, some_seal(1), true).ok());
    const auto again = wait_for(writer);
    REQUIRE(again.ok());
  }
  CHECK(failures != 0);
}

}  // namespace seal_writer_test
