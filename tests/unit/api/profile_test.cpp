// A profile of the machine: what a runtime takes from it, and what it refuses.
#include "store/machine_profile.hpp"

#include "platform/processor.hpp"

#include "unit/api/runtime_fixture.hpp"
#include "unit/store/scratch.hpp"

namespace profile_test {

using namespace api_test;
using Catch::Matchers::Contains;

namespace {

std::string profile_of(const std::string &directory, const std::string &read) {
  return R"({"format":"cubby-profile","version":1,"tiers":[{"name":"host:0","kind":"host"},)"
         R"({"name":"file:0","kind":"file",)"
         "\"where\":\"" +
         directory + R"(","read":)" + read + "}]}";
}

constexpr const char *one_gb = R"({"bytes_per_s":1e9,"latency_ns":100000})";

cubby_status open_with(const std::string &path, cubby_handle **rt) {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = CUBBY_PUMP_CALLER;
  config.profile = path.c_str();
  return cubby_open(&config, rt);
}

}  // namespace

TEST_CASE("before anything was read, a profile says how long a load would take") {
  const scratch::folder folder;
  const std::string here = folder.write("profile.json", profile_of(".", one_gb));
  cubby_handle *opened = nullptr;
  INFO(explain());
  REQUIRE(open_with(here, &opened) == CUBBY_OK);
  runtime_fixture with(opened);
  runtime_fixture without(CUBBY_PUMP_CALLER);
  weights w;
  uint64_t known_ns = 0, unknown_ns = 0;
  for (auto *one : {&with, &without}) {
    const cubby_tier host = one->tier("host:0", 0, 8 << 20);
    one->map(w);
    const auto wanted = one->items({0});
    REQUIRE(cubby_estimate(one->rt, wanted.data(), 1, host,
                           one == &with ? &known_ns : &unknown_ns) == CUBBY_OK);
  }
  CHECK(unknown_ns == ~uint64_t{0});
  const double expected_ns = 100'000 + static_cast<double>(w.row_bytes[0]);  // at 1 byte/ns
  CHECK(static_cast<double>(known_ns) > 0.9 * expected_ns);
  CHECK(static_cast<double>(known_ns) < 1.5 * expected_ns);
}

TEST_CASE("a profile of another machine is not used, and the log says so") {
  const scratch::folder folder;
  const auto made_on = [&](const std::string &cpu, double memory_bytes) {
    std::string text = profile_of(".", one_gb);
    text.insert(text.size() - 1, R"(,"machine":{"cpu":")" + cpu + R"(","memory_bytes":)" +
                                     std::to_string(memory_bytes) + "}");
    return folder.write("p.json", text);
  };
  const std::string cpu = cubby::platform::processor_name();
  const double memory_bytes = cubby::platform::memory_bytes();
  const auto loaded = [&](const std::string &path) {
    auto read = cubby::store::machine_profile::load(path);
    REQUIRE(read.ok());
    CHECK(read->other_machine().empty() == read->of_devices_below({"."}).has_value());
    return read->other_machine();
  };
  CHECK(loaded(made_on(cpu, memory_bytes * 1.05)).empty());
  CHECK(loaded(made_on("", memory_bytes)).empty());
  CHECK_THAT(loaded(made_on(cpu, memory_bytes * 2)), Contains("another machine"));
  const std::string other = made_on("Strange 9000", memory_bytes);
  CHECK_THAT(loaded(other), Contains("Strange 9000") && Contains("cubby characterize --save"));
  cubby_handle *rt = nullptr;
  REQUIRE(open_with(other, &rt) == CUBBY_OK);
  cubby_log_line line{};
  REQUIRE(cubby_log_take(rt, &line, 1) == 1);
  CHECK(line.level == 1);
  CHECK_THAT(line.text, Contains("Strange 9000") && Contains("--save"));
  CHECK(cubby_close(rt) == CUBBY_OK);
}

TEST_CASE("what is no profile is refused with the place and what to do") {
  const scratch::folder folder;
  const struct {
    std::string text;
    const char *words;
  } wrong[] = {
      {R"({"format":"other","version":1,"tiers":[]})", "no profile"},
      {R"({"format":"cubby-profile","version":2,"tiers":[]})", "version"},
      {R"({"format":"cubby-profile","version":1})", "list of tiers"},
      {R"({"format":"cubby-profile")", "malformed"},
      {profile_of(".", R"({"bytes_per_s":-1,"latency_ns":1})"), "tiers[1].read"},
      {profile_of(".", R"({"bytes_per_s":"fast","latency_ns":1})"), "tiers[1].read"},
      {profile_of(".", R"({"bytes_per_s":1e-300,"latency_ns":1})"), "tiers[1].read"},
      {profile_of(".", R"({"bytes_per_s":1e9,"latency_ns":1e300})"), "tiers[1].read"},
  };
  for (const auto &one : wrong) {
    cubby_handle *rt = nullptr;
    CHECK(open_with(folder.write("wrong.json", one.text), &rt) == CUBBY_ERR_FORMAT);
    CHECK(rt == nullptr);
    CHECK_THAT(explain(), Contains(one.words) && Contains("wrong.json"));
  }
  cubby_handle *rt = nullptr;
  CHECK(open_with("no/such/profile.json", &rt) < 0);
  CHECK_THAT(explain(), Contains("no/such/profile.json"));
}

TEST_CASE("a profile's speeds belong to devices: each counts once, unknown ones not at all") {
  const scratch::folder folder;
  const auto known =
      cubby::store::machine_profile::load(folder.write("p.json", profile_of(".", one_gb)));
  REQUIRE(known.ok());
  const auto speed = known->of_devices_below({".", "..", "no/such/folder"});
  REQUIRE(speed);
  CHECK(speed->bytes_per_s == 1e9);
  CHECK(speed->latency_ns == 100'000);
  std::string remote = profile_of(std::filesystem::absolute(".").string(), one_gb);
  remote.replace(remote.find(R"("kind":"file")"), 13, R"("kind":"remote")");
  const auto mounted = cubby::store::machine_profile::load(folder.write("r.json", remote));
  REQUIRE(mounted.ok());
  CHECK(mounted->of_devices_below({"."}));
  CHECK(!known->of_devices_below({"/proc"}));
  CHECK(!known->of_devices_below({}));
  const auto gone = cubby::store::machine_profile::load(
      folder.write("gone.json", profile_of("/no/such/folder", one_gb)));
  REQUIRE(gone.ok());
  CHECK(!gone->of_devices_below({"."}));
}

}  // namespace profile_test
