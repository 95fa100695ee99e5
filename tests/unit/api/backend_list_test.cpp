// Which backend a name opens.
#include "api/backend_list.hpp"

#include "platform/services.hpp"
#include "support/fake_backend.hpp"

namespace backend_list_test {

using namespace cubby;
using Catch::Matchers::Contains;

namespace {

tier::backend_kind fake_kind(cubby_test::fake_world &world, const char *name, bool in_process) {
  tier::backend_kind kind = cubby_test::fake_kind(world);
  kind.ops.name = name;
  kind.in_process = in_process;
  return kind;
}

}  // namespace

TEST_CASE("a backend that nobody has is named, with those there are") {
  platform::services services(nullptr, nullptr);
  const api::backend_list list(services.table());
  const auto missing = list.find("tape");
  REQUIRE(!missing.ok());
  CHECK(missing.failure().status == CUBBY_ERR_NOT_SUPPORTED);
  CHECK_THAT(missing.failure().text, Contains("\"tape\"") && Contains("cubby_backend_load"));
  CHECK(list.find("host").ok());
  CHECK(!list.open_files("tape", "nvme:0").ok());
}

TEST_CASE("a loaded backend is found before one of the library of the same name") {
  platform::services services(nullptr, nullptr);
  api::backend_list list(services.table());
  cubby_test::fake_world world;
  list.add(fake_kind(world, "host", false));
  const auto found = list.find("host");
  REQUIRE(found.ok());
  CHECK(found->user == &world);
}

TEST_CASE("files are opened by the program's own backend, else by one of the library") {
  platform::services services(nullptr, nullptr);
  api::backend_list list(services.table());
  cubby_test::fake_world loaded, own;
  list.add(fake_kind(loaded, "loaded", false));
  const auto by_library = list.open_files("file", "nvme:0");
  REQUIRE(by_library.ok());
  CHECK(std::string(by_library->backend->name()) != "loaded");
  own.queue_depth = 3;
  list.add(fake_kind(own, "own", true));
  const auto by_own = list.open_files("file", "nvme:0");
  REQUIRE(by_own.ok());
  CHECK(by_own->note.empty());
  CHECK(by_own->backend->info().queue_depth == 3);
}

}  // namespace backend_list_test
