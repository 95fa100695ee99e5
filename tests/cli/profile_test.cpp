// The file of a machine's figures: what is written is read back, and what is wrong is named.
#include "cli/profile/profile.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/folder.hpp"

namespace profile_test {

namespace {
using namespace cubby_cli::profile;
using nlohmann::json;

machine_profile example() {
  machine_profile made;
  made.made = {"cubby 0.1.0", "2026-11-29T14:00:00Z", true, 58.2};
  made.machine.host = "here";
  made.machine.cpu = "a processor";
  made.machine.processors = 2;
  made.machine.numa_nodes = 1;
  made.machine.memory_bytes = 16e9;
  made.machine.topology = ordered_json::array({{{"type", "node"}, {"number", 0}}});
  tier host;
  host.name = "host:0";
  host.kind = "host";
  host.place = "node 0";
  host.read = summary{20e9, 90, 1 << 20, 2, 1e-9};
  host.origin = "measured";
  tier disk = host;
  disk.name = "file:/d";
  disk.kind = "file";
  disk.steady = false;
  disk.spread = spread{0.25, std::nullopt, 4};
  disk.write = summary{1e9, 30e3, 1 << 20, 8, std::nullopt};
  disk.read->joules_per_byte.reset();
  disk.notes = {"no energy counters"};
  point one;
  one.op = "mix70";
  one.path = "cubby";
  one.beside = "write-back";
  one.block_bytes = 4096;
  one.depth = 64;
  one.bytes_per_s = 123456789.25;
  one.p50_ns = 1.5e5;
  disk.curves = {one};
  disk.knees = {{"read", "bare", std::nullopt, "nothing", 4096, 16, 1e8, 2e4}};
  made.tiers = {host, disk};
  made.links = {{"file:/d", "host:0", 1e9, 8e4, "measured", "cubby characterize"}};
  made.compute = compute{"cpu", 9e9, {}, {}, {}, "measured", "avx2", 5e9, 2};
  made.digest_bytes_per_s = 5e9;
  made.notes = {"quick"};
  return made;
}

json as_read(const ordered_json &written) { return json::parse(written.dump()); }

/// What is said of the example after a change at a place of it.
std::string refusal(const std::string &place, const json &value) {
  json file = as_read(to_json(example()));
  file[json::json_pointer(place)] = value;
  const auto read = from_json(file, "p.json");
  if (read) return "read";
  CHECK(read.failure().exit_status == cubby_cli::exit_usage);
  return read.failure().text;
}

bool mentions(const std::string &text, const std::string &part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("A profile that is saved is read back, to the field") {
  const process::folder here;
  const machine_profile made = example();
  REQUIRE(save(made, here.at("p.json")));
  const auto read = load(here.at("p.json"));
  REQUIRE(read);
  CHECK(as_read(to_json(*read)) == as_read(to_json(made)));
  REQUIRE(read->find("file:/d") != nullptr);
  CHECK(read->find("file:/d")->curves.at(0).bytes_per_s == 123456789.25);
  CHECK(read->find("file:/d")->steady == false);
  CHECK_FALSE(read->find("host:0")->steady.has_value());
  CHECK(read->find("file:/d")->spread->read == 0.25);
  CHECK_FALSE(read->find("host:0")->spread);
  CHECK(read->find("nvme:9") == nullptr);
  CHECK(save(made, here.at("p.json")));  // one of ours is replaced
}

TEST_CASE("A profile replaces nothing but a profile") {
  const process::folder here;
  const std::string path = here.write("notes.txt", "{\"format\":\"other\"}");
  const auto saved = save(example(), path);
  REQUIRE_FALSE(saved);
  CHECK(saved.failure().exit_status == cubby_cli::exit_usage);
  std::stringstream left;
  left << std::ifstream(path).rdbuf();
  CHECK(left.str() == "{\"format\":\"other\"}");
  CHECK(is_profile("{ \"format\" : \"cubby-profile\", \"version\": 1}", 50));
  CHECK_FALSE(is_profile("", 0));
}

TEST_CASE("Unknown fields are ignored, optional ones may be null or missing") {
  json file = as_read(to_json(example()));
  file["later"] = {{"x", 1}};
  file["tiers"][0]["colour"] = "blue";
  file["tiers"][0]["read"] = nullptr;
  file["tiers"][1].erase("curves");
  file.erase("compute");
  file["verify"]["digest_bytes_per_s"] = nullptr;
  const auto read = from_json(file, "p.json");
  REQUIRE(read);
  CHECK_FALSE(read->tiers[0].read.has_value());
  CHECK(read->tiers[1].curves.empty());
  CHECK_FALSE(read->compute.has_value());
  CHECK_FALSE(read->digest_bytes_per_s.has_value());
}

TEST_CASE("What is wrong in a profile is named by its place") {
  CHECK(mentions(refusal("/version", 2), "version 2"));
  CHECK(mentions(refusal("/format", "other"), "no profile"));
  CHECK(mentions(refusal("/tiers/1/write/bytes_per_s", "fast"), "tiers[1].write.bytes_per_s"));
  CHECK(mentions(refusal("/tiers/1/write/bytes_per_s", -1), "tiers[1].write.bytes_per_s"));
  CHECK(mentions(refusal("/tiers/0/kind", "tape"), "tiers[0].kind is \"tape\""));
  CHECK(mentions(refusal("/tiers/1/curves/0/depth", 0), "tiers[1].curves[0].depth"));
  CHECK(mentions(refusal("/tiers/1/curves/0/depth", 1.5), "tiers[1].curves[0].depth"));
  CHECK(mentions(refusal("/tiers/1/curves/0", 7), "tiers[1].curves[0] is no object"));
  CHECK(mentions(refusal("/tiers/1/name", "host:0"), "two of the name host:0"));
  CHECK(mentions(refusal("/links/0/to", "device:3"), "names device:3"));
  CHECK(mentions(refusal("/tiers", json::array()), "tiers is missing"));
  CHECK(mentions(refusal("/tiers", 5), "tiers is no list"));
  CHECK(mentions(refusal("/compute/product_bytes_per_s", nullptr), "compute.product_bytes_per_s"));
  CHECK(mentions(refusal("/made/quick", "yes"), "made.quick"));
  CHECK(mentions(refusal("/price_usd", -7800000), "price_usd"));
}

TEST_CASE("A file that is no profile is refused with what to do") {
  const process::folder here;
  const auto text = [&](const std::string &path) {
    const auto read = load(path);
    REQUIRE_FALSE(read);
    CHECK(read.failure().exit_status == cubby_cli::exit_usage);
    return read.failure().text;
  };
  CHECK(mentions(text(here.at("none.json")), "cubby characterize --save"));
  CHECK(mentions(text(here.write("cut.json", "{\"format\":\"cubby-pro")), "no JSON from byte"));
  CHECK(mentions(text(here.write("list.json", "[1,2]")), "no profile"));
  CHECK(mentions(text(here.path.string()), "is a folder"));
  CHECK(mentions(text("/dev/zero"), "no regular file"));
  std::filesystem::resize_file(here.write("big.json", "{"), (uint64_t{64} << 20) + 1);
  CHECK(mentions(text(here.at("big.json")), "more than 64 MiB"));
  // As deep as would overflow the stack.
  const std::string begin =
      "{\"format\":\"cubby-profile\",\"version\":1,\"machine\":{\"topology\":";
  constexpr size_t levels = 1000000;
  const std::string deep = begin + std::string(levels, '[') + std::string(levels, ']') + "}}";
  CHECK(mentions(text(here.write("deep.json", deep)), "nested deeper"));
}

}  // namespace profile_test
