// cubby inspect, seal and verify on real files: what they say, and that one flipped byte is found
// where it is and nowhere else.
#include "support/catch.hpp"

#include <set>

#include "cli/process.hpp"
#include "unit/store/scratch.hpp"

namespace store_commands_test {

using nlohmann::json;

namespace {

using process::outcome;

outcome run(const std::string &arguments) { return process::shell(CUBBY_COMMAND " " + arguments); }

constexpr uint32_t layers = 3, experts = 8;
constexpr uint64_t part_blocks = 20000;  // 680,000 bytes in Q8_0: several chunks, none aligned

/// Lockers of three parts, in rows of two sizes.
std::string write_model(const scratch::folder &folder) {
  scratch::gguf file;
  file.pair("qwen3moe.expert_used_count", 2).floats("token_embd.weight", {32, 7});
  for (uint32_t layer = 0; layer < layers; layer++)
    for (const char *part : {"gate", "up", "down"}) {
      const bool small = layer == 1 && std::string(part) == "down";
      file.tensor("blk." + std::to_string(layer) + ".ffn_" + std::string(part) + "_exps.weight",
                  small ? 2 : 8, {32, part_blocks, experts},
                  part_blocks * (small ? 18 : 34) * experts);
    }
  return folder.write("m.gguf", file.bytes());
}

void flip_byte(const std::string &path, uint64_t at) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 0x10));
  REQUIRE(file.good());
}

/// Where part `part` of the locker begins: parts of a layer follow each other, each by column.
uint64_t part_offset(const std::string &path, uint64_t number, uint32_t part) {
  uint64_t end = std::filesystem::file_size(path);
  for (uint32_t layer = layers; layer-- > 0;)
    for (uint32_t p = 3; p-- > 0;) {
      const uint64_t bytes = part_blocks * (layer == 1 && p == 2 ? 18 : 34);
      end -= bytes * experts;
      if (layer == number / experts && p == part) return end + number % experts * bytes;
    }
  return 0;
}

const uint64_t all_bytes = (8 * 34 + 18) * part_blocks * experts;

}  // namespace

TEST_CASE("inspect says banks, rows of two sizes, parts and identity") {
  const scratch::folder folder;
  const std::string path = write_model(folder);
  const json model = process::command_json("inspect " + path, 0);
  REQUIRE(model["banks"].size() == 1);
  const json &bank = model["banks"][0];
  CHECK(bank["name"] == "experts");
  CHECK(bank["kind"] == "experts");
  CHECK(bank["rows"] == layers);
  CHECK(bank["columns"] == experts);
  CHECK(bank["row_bytes"] == json({102 * part_blocks, 86 * part_blocks, 102 * part_blocks}));
  REQUIRE(bank["parts"].size() == 3);
  CHECK(bank["parts"][0]["name"] == "gate");
  CHECK(bank["parts"][2]["row_types"] == json({"Q8_0", "Q4_0", "Q8_0"}));
  CHECK(bank["align_bytes"].get<uint64_t>() >= 32);
  CHECK(bank["sealed"] == false);
  const json &file = model["identity"]["files"].at(0);
  CHECK(file["path"] == path);
  CHECK(file["bytes"] == std::filesystem::file_size(path));
  CHECK(file["header_digest"].get<std::string>().size() == 16);
  CHECK(run("inspect " + path).text.find("Q4_0") != std::string::npos);
}

TEST_CASE("verify without a seal reads all, calls it unverified and is no failure") {
  const scratch::folder folder;
  const std::string path = write_model(folder);
  const json found = process::command_json("verify " + path, 0);
  CHECK(found["lockers"] == layers * experts);
  CHECK(found["bytes"] == all_bytes);
  CHECK(found["unverified"] == all_bytes);
  CHECK(found["bad"].empty());
  CHECK(found["gb_per_s"].get<double>() > 0);
  CHECK(run("verify " + path).text.find("NOT VERIFIED") != std::string::npos);
}

TEST_CASE("one flipped byte: exactly that locker, part and chunk is bad") {
  const scratch::folder folder;
  const std::string path = write_model(folder);
  const json sealed = process::command_json("seal " + path, 0);
  CHECK(sealed["bytes"] == all_bytes);
  CHECK(process::command_json("inspect " + path, 0)["banks"][0]["sealed"] == true);
  const json good = process::command_json("verify " + path, 0);
  CHECK(good["unverified"] == 0);
  CHECK(good["bad"].empty());
  const std::string text = run("verify " + path).text;
  CHECK(text.find("all bytes are those that were sealed") != std::string::npos);

  const struct {
    uint64_t number, at;
    uint32_t part;
  } places[] = {{0, 0, 0}, {13, 299999, 1}, {11, 359999, 2}, {23, 679999, 2}};
  for (const auto &place : places) {
    const uint64_t begin = part_offset(path, place.number, place.part);
    flip_byte(path, begin + place.at);
    const json found = process::command_json("verify " + path, 1);
    flip_byte(path, begin + place.at);
    REQUIRE(found["bad"].size() == 1);
    const json &bad = found["bad"][0];
    CHECK(bad["bank"] == "experts");
    CHECK(bad["number"] == place.number);
    CHECK(bad["part"] == place.part);
    const uint64_t offset = bad["offset_bytes"].get<uint64_t>();
    CHECK(offset >= begin);
    CHECK(offset <= begin + place.at);
    CHECK(begin + place.at - offset < (256u << 10));
    CHECK(found["lockers"] == layers * experts);
  }
  CHECK(process::command_json("verify " + path, 0)["bad"].empty());

  // A change that is meant: sealing again takes all digests anew, where nothing changed it takes
  // none.
  flip_byte(path, part_offset(path, 5, 1));
  CHECK(process::command_json("seal " + path, 0)["bytes"] == all_bytes);
  CHECK(process::command_json("verify " + path, 0)["bad"].empty());
  CHECK(process::command_json("seal " + path, 0)["bytes"] == 0);
}

TEST_CASE("two swapped experts and a stale block are found where they are") {
  const scratch::folder folder;
  const std::string path = write_model(folder);
  REQUIRE(run("seal " + path).exit_status == 0);
  std::string bytes = scratch::read(path);
  const uint64_t one = part_offset(path, 2, 0), other = part_offset(path, 5, 0);
  for (uint64_t i = 0; i < 4096; i++) std::swap(bytes[one + i], bytes[other + i]);
  folder.write("m.gguf", bytes);
  const json found = process::command_json("verify " + path, 1);
  std::set<uint64_t> numbers;
  for (const json &bad : found["bad"]) numbers.insert(bad["number"].get<uint64_t>());
  CHECK(numbers == std::set<uint64_t>{2, 5});
}

TEST_CASE("a seal elsewhere is used where it is named, and a model of another size is refused") {
  const scratch::folder folder;
  const std::string path = write_model(folder);
  const std::string seal = " --seal-path " + folder.path("elsewhere.seal");
  REQUIRE(run("seal " + path + seal).exit_status == 0);
  CHECK(std::filesystem::exists(folder.path("elsewhere.seal")));
  CHECK_FALSE(std::filesystem::exists(path + ".cubby-seal"));
  CHECK(process::command_json("verify " + path + seal, 0)["unverified"] == 0);
  CHECK(process::command_json("verify " + path, 0)["unverified"] == all_bytes);
  std::ofstream(path, std::ios::binary | std::ios::app) << "more";
  const json refused = process::command_json("verify " + path + seal + " 2>/dev/null", 1);
  CHECK(refused["error"]["text"].get<std::string>().find("size differs") != std::string::npos);
  CHECK(run("seal " + path + seal).exit_status == 0);
  CHECK(run("verify " + path + seal).exit_status == 0);
}

TEST_CASE("sealing replaces no model, whatever the option says") {
  const scratch::folder folder;
  const std::string path = write_model(folder), before = scratch::read(path);
  for (const std::string &place : {path, folder.write("notes.txt", "notes")}) {
    const auto ran = run("seal --seal-path " + place + " " + path + " 2>&1");
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find("holds something other than a seal") != std::string::npos);
  }
  CHECK(scratch::read(path) == before);
  CHECK(scratch::read(folder.path("notes.txt")) == "notes");
}

TEST_CASE("verify takes memory for the lockers there are") {
  const scratch::folder folder;
  const json found = process::command_json("verify " + write_model(folder), 0);
  CHECK(found["budget_bytes"].get<uint64_t>() > 0);
  CHECK(found["budget_bytes"].get<uint64_t>() < 2 * all_bytes);
}

TEST_CASE("names with control characters are shown escaped") {
  const scratch::folder folder;
  const std::string path = write_model(folder);
  std::filesystem::rename(path, folder.path("a\x1b[31m\nb\xff.gguf"));
  const std::string odd = "'" + folder.path("a\x1b[31m\nb\xff.gguf") + "'";
  for (const char *command : {"inspect ", "seal ", "inspect --tensors none "}) {
    const std::string text = run(command + odd + " 2>&1").text;
    INFO(text);
    CHECK(text.find("a\\x1b[31m\\x0ab\\xff.gguf") != std::string::npos);
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(text.find('\xff') == std::string::npos);
  }
}

TEST_CASE("hostile, missing and unwritable files are reported in a sentence") {
  const scratch::folder folder;
  const std::string path = write_model(folder);
  const json cut = process::command_json(
      "inspect " + folder.write("cut.gguf", scratch::read(path).substr(0, 100)) + " 2>/dev/null",
      1);
  CHECK(cut["error"]["status"].get<std::string>().find("FORMAT") != std::string::npos);
  CHECK(cut["error"]["text"].get<std::string>().find("cut.gguf, at byte") != std::string::npos);
  CHECK(run("inspect " + folder.path("none.gguf") + " 2>/dev/null").exit_status == 2);
  CHECK(run("verify 2>/dev/null").exit_status == 2);
  CHECK(run("verify --help").text.find("what else is in the file is not sealed") !=
        std::string::npos);
  CHECK(run("seal " + path + " --seal-path " + folder.path("no/such/place") + " 2>/dev/null")
            .exit_status != 0);
}

TEST_CASE("a layer that lacks parts is sealed and verified, and inspect tells what it leaves out") {
  const scratch::folder folder;
  scratch::gguf file;
  file.floats("blk.0.ffn_up_shexp.weight", {32});
  for (uint32_t layer = 0; layer < 3; layer++)
    for (const char *part : {"gate", "up", "down"}) {
      const std::string at = "blk." + std::to_string(layer) + ".ffn_" + std::string(part);
      file.tensor(at + "_exps.weight", 8, {32, 500, experts}, 500 * 34 * experts);
      if (layer != 1) file.floats(at + "_exps.scale", {experts});
    }
  const std::string path = folder.write("m.gguf", file.bytes());
  const json model = process::command_json("inspect " + path + " 2>/dev/null", 0);
  CHECK(model["banks"][0]["parts"][1]["row_bytes"] == json({4, 0, 4}));
  CHECK(model["banks"][0]["row_bytes"] == json({51012, 51000, 51012}));
  CHECK(model["notes"].dump().find("1 tensor of shared experts, 128 bytes") != std::string::npos);
  CHECK(run("inspect " + path + " 2>/dev/null").text.find("up_scale (in 2 of 3)") !=
        std::string::npos);
  const uint64_t bytes = (3 * 51000 + 2 * 12) * experts;
  CHECK(process::command_json("seal " + path, 0)["bytes"] == bytes);
  const json good = process::command_json("verify " + path, 0);
  CHECK(good["bytes"] == bytes);
  CHECK(good["unverified"] == 0);
  flip_byte(path, std::filesystem::file_size(path) - 1);  // of the last locker's down_scale
  const json bad = process::command_json("verify " + path, 1)["bad"];
  REQUIRE(bad.size() == 1);
  CHECK(bad[0]["number"] == 3 * experts - 1);
  CHECK(bad[0]["part"] == 5);
}

}  // namespace store_commands_test
