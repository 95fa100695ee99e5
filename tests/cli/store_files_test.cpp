// cubby store info, verify and trim on stores that the runtime wrote, and the runtime on what they
// leave.
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <tuple>

#include "cli/process.hpp"
#include "store/durable/posix_store.hpp"
#include "unit/api/block_fixture.hpp"
#include "unit/store/scratch.hpp"

namespace store_files_test {

using namespace api_test;
using nlohmann::json;

namespace {

constexpr uint64_t store_bytes = 16 * mib;

block_tiers tiers_of(const scratch::folder &in) { return {in.path(""), store_bytes, 8 * mib}; }

std::string file_of(const scratch::folder &in) { return in.path("cubby.store"); }

/// Blocks `first` to `last`, each with one before as its parent, but for the first.
void put_range(const block_fixture &f, uint32_t first, uint32_t last,
               uint8_t keep = CUBBY_KEEP_RESTART) {
  for (uint32_t i = first; i <= last; ++i) {
    const cubby_status status =
        put(f, i, content_of(i), i == first ? std::string() : key_of(i - 1), 0, keep);
    INFO(i << ": " << explain());
    REQUIRE(status == CUBBY_OK);
  }
}

/// Blocks without parents.
void put_roots(const block_fixture &f, uint32_t first, uint32_t last,
               uint8_t keep = CUBBY_KEEP_RESTART) {
  for (uint32_t i = first; i <= last; ++i) put_range(f, i, i, keep);
}

std::vector<uint32_t> numbers(uint32_t first, uint32_t last) {
  std::vector<uint32_t> all;
  for (uint32_t i = first; i <= last; ++i) all.push_back(i);
  return all;
}

bool has_right_bytes(const block_fixture &f, uint32_t number) {
  std::string bytes(block_bytes, 'x');
  const cubby_status status = get(f, number, bytes);
  if (status == CUBBY_MISS) return false;
  INFO(number << ": " << explain());
  REQUIRE(status == CUBBY_OK);
  REQUIRE(bytes == content_of(number));
  return true;
}

/// One byte in the midst of a block's content, wherever in the file that is.
uint64_t flip_byte_of(const std::string &file, uint32_t number) {
  const std::string all = scratch::read(file);
  const size_t begin = all.find(content_of(number).substr(0, 64));
  REQUIRE(begin != std::string::npos);
  std::fstream out(file, std::ios::in | std::ios::out | std::ios::binary);
  out.seekp(static_cast<std::streamoff>(begin + 5000));
  out.put(static_cast<char>(all[begin + 5000] ^ 1));
  return begin;
}

std::set<std::string> keys_of(const json &blocks) {
  std::set<std::string> keys;
  for (const json &one : blocks) keys.insert(one["key"].get<std::string>());
  return keys;
}

/// A sentence with cause and remedy, as text and as the one object of --json.
std::string refusal(const std::string &arguments, int exit_status) {
  const auto said = process::command(arguments);
  INFO(arguments << " said: " << said.text);
  CHECK(said.exit_status == exit_status);
  CHECK(said.text.find("cubby store") != std::string::npos);
  CHECK(said.text.find("; ") != std::string::npos);
  const json object = process::command_json(arguments + " 2>/dev/null", exit_status);
  CHECK(object.contains("error"));
  return said.text;
}

/// What the runtime says of a tier with the store.
cubby_status runtime_refuses(const scratch::folder &in) {
  const runtime_fixture h(0, 0);
  cubby_tier tier = 0;
  const cubby_status made = add_store(h.rt, tiers_of(in), &tier);
  INFO(explain());
  CHECK(explain().find("cubby.store") != std::string::npos);
  return made;
}

/// A store over two directories, not of the runtime's making.
struct two_folders {
  scratch::folder first, second;
  [[nodiscard]] std::string paths() const { return first.path("") + " " + second.path(""); }
  /// A store over both with `count` blocks.
  explicit two_folders(uint32_t count) {
    using namespace cubby::store;
    auto made = posix_store::open({{first.path(""), second.path("")}, 8 * mib, 16384, 0});
    REQUIRE(made);
    const auto space = (*made)->store().add_space("model", std::string("\x01\xff", 2), 0);
    REQUIRE(space);
    for (uint32_t i = 0; i < count; ++i) {
      const std::string key = key_of(i), bytes = content_of(i, 20000);
      put_request request;
      request.space = *space;
      request.key = key;
      request.part_count = 2;
      request.part_bytes[0] = 8192;
      request.part_bytes[1] = 20000 - 8192;
      request.data = bytes.data();
      REQUIRE((*made)->store().put(request));
      (*made)->run();
    }
  }
};

}  // namespace

TEST_CASE("info says what the store was made with and what is in it") {
  const scratch::folder folder;
  {
    block_fixture f(0, 64, 3, tiers_of(folder));
    put_range(f, 1, 5);
    put_roots(f, 10, 12, CUBBY_KEEP_DURABLE);
    REQUIRE(put(f, 50, content_of(50)) == CUBBY_OK);  // of the session: gone with it
    const cubby_space other = f.add_space("model", std::string("\x02\xfe", 2));
    REQUIRE(put(f, 1, content_of(1), {}, other, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  const std::string before = scratch::read(file_of(folder));
  const json info = process::command_json("store info " + folder.path(""), 0);
  CHECK(scratch::read(file_of(folder)) == before);
  CHECK(info["version"] == 1);
  CHECK(info["store_id"].get<std::string>().size() == 16);
  CHECK(info["bytes"] == store_bytes);
  REQUIRE(info["files"].size() == 1);
  CHECK(std::filesystem::equivalent(info["files"][0]["path"].get<std::string>(), file_of(folder)));
  CHECK(info["files"][0]["bytes"] == store_bytes);
  CHECK(info["disk_bytes"].get<uint64_t>() >= store_bytes);
  CHECK(info["blocks"] == 9);
  CHECK(info["blocks_restart"] == 6);
  CHECK(info["blocks_durable"] == 3);
  CHECK(info["block_bytes"] == 9 * block_bytes);
  CHECK(info["block_page_bytes"] == 9 * block_bytes);
  CHECK(info["budget_bytes"].get<uint64_t>() - info["free_bytes"].get<uint64_t>() ==
        9 * block_bytes);
  CHECK(info["budget_bytes"].get<uint64_t>() < store_bytes);
  CHECK(info["index_memory_bytes"].get<uint64_t>() > 0);
  CHECK(info["journal_used_pages"].get<uint64_t>() <= info["journal_pages"].get<uint64_t>());
  CHECK(info["recovery"]["blocks"] == 9);
  CHECK(info["recovery"]["lost"] == 0);
  REQUIRE(info["spaces"].size() == 2);
  const json &first = info["spaces"][0], &second = info["spaces"][1];
  CHECK(first["fingerprint"] == "model");
  CHECK(first["domain"] == "tenant");
  CHECK(first["locker_bytes"] == block_bytes);
  CHECK(first["blocks"] == 8);
  CHECK(first["bytes"] == 8 * block_bytes);
  CHECK(second["domain"].is_null());
  CHECK(second["domain_hex"] == "02fe");
  CHECK(second["blocks"] == 1);
  const auto text = process::command("store info " + file_of(folder));
  INFO(text.text);
  CHECK(text.exit_status == 0);
  CHECK(text.text.find("9 blocks") != std::string::npos);
  CHECK(text.text.find("tenant") != std::string::npos);
  CHECK(text.text.find("x02fe") != std::string::npos);
}

TEST_CASE("verify of a good store reads all of it and changes nothing") {
  const scratch::folder folder;
  {
    block_fixture f(0, 64, 0, tiers_of(folder));
    put_range(f, 1, 20);
  }
  const std::string before = scratch::read(file_of(folder));
  const json good = process::command_json("store verify " + folder.path(""), 0);
  CHECK(good["blocks"] == 20);
  CHECK(good["bytes"] == 20 * block_bytes);
  CHECK(good["damaged"].empty());
  const auto text = process::command("store verify " + folder.path(""));
  CHECK(text.exit_status == 0);
  CHECK(text.text.find("all bytes are those that were put") != std::string::npos);
  CHECK(scratch::read(file_of(folder)) == before);
}

TEST_CASE("info and verify need a file that may be read, and leave its mode and times alone") {
  const scratch::folder folder;
  {
    block_fixture f(0, 64, 0, tiers_of(folder));
    put_range(f, 1, 7);
  }
  const std::string file = file_of(folder);
  const auto changed = [&] {
    struct stat seen = {};
    REQUIRE(stat(file.c_str(), &seen) == 0);
    return std::tuple(seen.st_mode, seen.st_ctim.tv_sec, seen.st_ctim.tv_nsec);
  };
  REQUIRE(chmod(file.c_str(), 0444) == 0);
  const auto before = changed();
  for (const char *command : {"info ", "verify "})
    CHECK(process::command_json(std::string("store ") + command + file, 0)["blocks"] == 7);
  CHECK(changed() == before);
  // Many may look, and that one looks keeps out those that would write.
  const auto looked =
      cubby::store::open_store({.directories = {folder.path("")}, .read_only = true});
  REQUIRE(looked);
  CHECK(process::command_json("store verify " + file, 0)["blocks"] == 7);
  CHECK(pwrite(looked->files[0].fd(), "x", 1, 0) == -1);
  const std::string text = refusal("store trim " + folder.path(""), 1);
  CHECK(text.find("IN_USE") != std::string::npos);
  CHECK(text.find(std::to_string(getpid())) != std::string::npos);
}

TEST_CASE("one flipped byte: verify names that block, and trim drops it") {
  const scratch::folder folder;
  {
    block_fixture f(0, 64, 0, tiers_of(folder));
    put_range(f, 1, 4);
    put_roots(f, 10, 14, CUBBY_KEEP_DURABLE);
  }
  const uint64_t begin = flip_byte_of(file_of(folder), 12);
  const json found = process::command_json("store verify " + folder.path(""), 1);
  CHECK(found["blocks"] == 9);
  REQUIRE(found["damaged"].size() == 1);
  const json &bad = found["damaged"][0];
  CHECK(bad["key"] == key_of(12));
  CHECK(bad["offset_bytes"] == begin);
  CHECK(bad["bytes"] == block_bytes);
  CHECK(bad["fingerprint"] == "model");
  CHECK(bad["domain"] == "tenant");
  CHECK(std::filesystem::equivalent(bad["file"].get<std::string>(), file_of(folder)));
  const auto text = process::command("store verify " + folder.path(""));
  CHECK(text.exit_status == 1);
  CHECK(text.text.find(key_of(12)) != std::string::npos);

  const json trimmed = process::command_json("store trim " + folder.path(""), 0);
  CHECK(keys_of(trimmed["damaged"]) == std::set{key_of(12)});
  CHECK(trimmed["freed_bytes"] == block_bytes);
  CHECK(trimmed["blocks"] == 8);
  CHECK(process::command_json("store verify " + folder.path(""), 0)["blocks"] == 8);
  CHECK(process::command_json("store trim " + folder.path(""), 0)["freed_bytes"] == 0);
  block_fixture f(0, 64, 0, tiers_of(folder));
  CHECK(match(f, numbers(1, 4)) == 4);
  for (const uint32_t number : {1u, 2u, 3u, 4u, 10u, 11u, 13u, 14u})
    CHECK(has_right_bytes(f, number));
  CHECK_FALSE(has_right_bytes(f, 12));
}

TEST_CASE("a record that is lost is no good store either") {
  const scratch::folder folder;
  {
    block_fixture f(0, 64, 0, tiers_of(folder));
    put_roots(f, 1, 3, CUBBY_KEEP_DURABLE);
  }
  // The first place with the key is its record in the journal, which the later ones know flushed.
  std::string all = scratch::read(file_of(folder));
  const size_t at = all.find(key_of(1));
  REQUIRE(at != std::string::npos);
  all[at] ^= 1;
  folder.write("cubby.store", all);
  const json found = process::command_json("store verify " + folder.path(""), 1);
  CHECK(found["damaged"].empty());
  CHECK(found["blocks"] == 2);
  CHECK(found["recovery"]["lost"] == 1);
  CHECK(process::command("store verify " + folder.path("")).text.find("LOST") != std::string::npos);
}

TEST_CASE("a store whose beginning is zeros is an error with its place, for the runtime too") {
  const scratch::folder folder;
  {
    block_fixture f(0, 64, 0, tiers_of(folder));
    put_range(f, 1, 9);
  }
  const json info = process::command_json("store info " + folder.path(""), 0);
  const uint64_t journal_end = (2 + info["journal_pages"].get<uint64_t>()) * 4096;
  std::string all = scratch::read(file_of(folder));
  std::fill_n(all.begin(), journal_end, '\0');
  folder.write("cubby.store", all);
  for (const char *command : {"info ", "verify ", "trim "}) {
    const json said =
        process::command_json("store " + (command + folder.path("")) + " 2>/dev/null", 1);
    CHECK(said["error"]["status"] == "CORRUPT");
    CHECK(said["error"]["offset_bytes"] == 2 * 4096);
    CHECK(said["error"]["text"].get<std::string>().find("journal") != std::string::npos);
  }
  CHECK(runtime_refuses(folder) == CUBBY_ERR_CORRUPT);
  CHECK(scratch::read(file_of(folder)) == all);
  // Nor is one without any superblock made anew.
  std::fill_n(all.end() - 4096, 4096, '\0');
  folder.write("cubby.store", all);
  CHECK(refusal("store verify " + folder.path(""), 1).find("is no store") != std::string::npos);
  CHECK(runtime_refuses(folder) == CUBBY_ERR_FORMAT);
  CHECK(scratch::read(file_of(folder)) == all);
}

TEST_CASE("trim to a smaller budget has the newest blocks, and the runtime opens what is left") {
  const scratch::folder folder;
  const uint32_t parts = GENERATE(0u, 3u);
  {
    block_fixture f(0, 256, parts, tiers_of(folder));
    put_roots(f, 1, 60);
    put_range(f, 100, 130, CUBBY_KEEP_DURABLE);
    REQUIRE(put(f, 5, content_of(5), {}, f.add_space("model", "other"), CUBBY_KEEP_RESTART) ==
            CUBBY_OK);
  }
  flip_byte_of(file_of(folder), 50);
  const json before = process::command_json("store info " + folder.path(""), 0);
  const json trimmed = process::command_json("store trim " + folder.path("") + " --budget 5MiB", 0);
  CHECK(trimmed["old_bytes"] == store_bytes);
  CHECK(trimmed["bytes"] == 5 * mib);
  CHECK(trimmed["freed_bytes"] == store_bytes - 5 * mib);
  CHECK(std::filesystem::file_size(file_of(folder)) == 5 * mib);
  CHECK_FALSE(std::filesystem::exists(folder.path("cubby.store.new")));
  CHECK(keys_of(trimmed["damaged"]) == std::set{key_of(50)});
  CHECK(trimmed["without_parent"] == 0);
  const auto count = trimmed["blocks"].get<uint32_t>();
  CHECK(count + trimmed["left_out"].get<uint32_t>() + 1 == 92);
  CHECK(count > 60);

  const json info = process::command_json("store info " + folder.path(""), 0);
  CHECK(info["store_id"] == before["store_id"]);
  CHECK(info["blocks"] == count);
  CHECK(info["blocks_durable"] == 31);
  CHECK(info["free_bytes"] == trimmed["free_bytes"]);
  CHECK(info["journal_used_pages"] == 0);
  REQUIRE(info["spaces"].size() == 2);
  CHECK(info["spaces"][0]["parts_digest"] == before["spaces"][0]["parts_digest"]);
  CHECK(info["spaces"][1]["blocks"] == 1);
  process::command_json("store verify " + folder.path(""), 0);

  block_fixture f(0, 256, parts, tiers_of(folder));
  CHECK(match(f, numbers(100, 130)) == 31);
  for (const uint32_t number : numbers(100, 130)) CHECK(has_right_bytes(f, number));
  // One is dropped as damaged, so that many of the others are the last ones.
  const uint32_t oldest = 60 - (count - 31 - 1);
  for (const uint32_t number : numbers(1, 60))
    CHECK(has_right_bytes(f, number) == (number >= oldest && number != 50));
  CHECK(match(f, {5}, nullptr, f.add_space("model", "other")) == 1);
  put_roots(f, 200, 210);
}

TEST_CASE("children are linked to their parents after a trim, to one put again as well") {
  const scratch::folder folder;
  {
    block_fixture f(0, 64, 0, tiers_of(folder));
    put_range(f, 1, 20);
    put_range(f, 30, 40);
  }
  flip_byte_of(file_of(folder), 33);
  const json trimmed = process::command_json("store trim " + folder.path("") + " --budget 5M", 0);
  CHECK(trimmed["blocks"] == 30);
  CHECK(trimmed["left_out"] == 0);
  CHECK(trimmed["without_parent"] == 1);
  block_fixture f(0, 64, 0, tiers_of(folder));
  CHECK(match(f, numbers(1, 20)) == 20);
  CHECK(match(f, numbers(30, 40)) == 3);
  REQUIRE(put(f, 33, content_of(33), key_of(32), 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  CHECK(match(f, numbers(30, 40)) == 11);
  for (const uint32_t number : numbers(30, 40)) CHECK(has_right_bytes(f, number));
}

TEST_CASE("a trim that is killed leaves a store, and the next one clears up") {
  const scratch::folder folder;
  {
    block_fixture f(0, 256, 0, tiers_of(folder));
    put_roots(f, 1, 80);
  }
  folder.write("cubby.store.new", std::string("CUBBYSTO") + std::string(5000, '\0'));
  const json info = process::command_json("store info " + folder.path(""), 0);
  REQUIRE(info["notes"].dump().find("cubby.store.new") != std::string::npos);
  for (int i = 0; i < 12; ++i) {
    const std::string line = "timeout --foreground -s KILL 0.0" + std::to_string(i * 8 + 10) + " " +
                             CUBBY_COMMAND " store trim " + folder.path("") +
                             " --budget 5m >/dev/null 2>&1";
    process::shell(line);
    const json after = process::command_json("store verify " + folder.path(""), 0);
    const bool done = std::filesystem::file_size(file_of(folder)) == 5 * mib;
    REQUIRE(after["blocks"].get<uint32_t>() >= (done ? 60u : 80u));
    if (done) break;
  }
  const bool done = std::filesystem::file_size(file_of(folder)) == 5 * mib;
  process::command_json("store trim " + folder.path("") + " --budget 4m", 0);
  CHECK((done || !std::filesystem::exists(folder.path("cubby.store.new"))));
  CHECK(std::filesystem::file_size(file_of(folder)) == 4 * mib);
}

TEST_CASE("a striped store is looked at and checked, and not made smaller") {
  const two_folders both(30);
  const json info = process::command_json("store info " + both.paths(), 0);
  CHECK(info["files"].size() == 2);
  CHECK(info["blocks"] == 30);
  CHECK(info["block_bytes"] == 30 * 20000);
  CHECK(info["block_page_bytes"] == 30 * 20480);
  CHECK(info["spaces"][0]["locker_bytes"].is_null());
  CHECK(info["spaces"][0]["fingerprint"] == "model");
  CHECK(info["spaces"][0]["domain_hex"] == "01ff");
  CHECK(process::command_json("store verify " + both.paths(), 0)["blocks"] == 30);
  CHECK(refusal("store trim " + both.paths() + " --budget 2m", 1).find("NOT_SUPPORTED") !=
        std::string::npos);
  CHECK(process::command_json("store trim " + both.paths(), 0)["blocks"] == 30);
  // In another order, or one alone.
  CHECK(refusal("store info " + both.second.path("") + " " + both.first.path(""), 1)
            .find("in their order") != std::string::npos);
  CHECK(refusal("store info " + both.first.path(""), 1).find("all directories") !=
        std::string::npos);
}

TEST_CASE("a store in use, paths without a store and wrong budgets are sentences") {
  const scratch::folder folder, other;
  const std::string place = folder.path("");
  {
    block_fixture f(0, 64, 0, tiers_of(folder));
    put_roots(f, 1, 3);
    for (const char *command : {"info ", "verify ", "trim ", "trim --budget 5m "}) {
      const std::string text = refusal(std::string("store ") + command + place, 1);
      CHECK(text.find("IN_USE") != std::string::npos);
      CHECK(text.find(std::to_string(getpid())) != std::string::npos);
    }
    CHECK(has_right_bytes(f, 2));
  }
  CHECK(refusal("store info " + folder.path("none"), 2).find("No such file") != std::string::npos);
  CHECK(refusal("store info " + other.path(""), 2).find("has no cubby.store") != std::string::npos);
  CHECK(refusal("store verify " + other.write("notes.txt", "notes"), 2).find("no directory") !=
        std::string::npos);
  CHECK(refusal("store trim " + other.write("cubby.store", "notes"), 1).find("is no store") !=
        std::string::npos);
  CHECK(scratch::read(other.path("cubby.store")) == "notes");

  const std::string before = scratch::read(file_of(folder));
  CHECK(refusal("store trim " + place + " --budget much", 2).find("512MiB") != std::string::npos);
  CHECK(refusal("store trim " + place + " --budget 16m", 2).find("smaller") != std::string::npos);
  CHECK(refusal("store trim " + place + " --budget 64k", 2).find("needs files of") !=
        std::string::npos);
  CHECK(scratch::read(file_of(folder)) == before);
  CHECK(process::command("store").exit_status == 2);
  CHECK(process::command("store info").exit_status == 2);
  CHECK(process::command("store look " + place).exit_status == 2);
}

}  // namespace store_files_test
