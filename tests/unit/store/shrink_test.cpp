// A store that is made smaller: what is copied and in which order, and what stays when it is not
// done.
#include "store/durable/shrink.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "store/durable/posix_store.hpp"
#include "support/catch.hpp"
#include "unit/store/scratch.hpp"

namespace shrink_test {

using namespace cubby::store;

namespace {

/// A block apart from its place: number, generation and digest are others in another store.
struct content {
  uint64_t parent = 0;
  std::string space, bytes;
  uint8_t keep = 0;
  std::vector<uint32_t> parts;
  bool operator==(const content &) const = default;
};

std::string space_name(const space_body &body) {
  return std::string(reinterpret_cast<const char *>(body.fingerprint), body.fingerprint_bytes) +
         "/" + std::string(reinterpret_cast<const char *>(body.domain), body.domain_bytes);
}

/// Keys in the order of their puts, and what each has.
struct contents {
  std::vector<std::string> order;
  std::map<std::string, content> of;
  uint64_t store_id = 0;
};

contents contents_of(const opened_store &one) {
  contents found;
  found.store_id = one.content.places.shape().store_id;
  std::map<uint64_t, std::string> by_generation;
  const block_table &blocks = one.content.blocks;
  for (uint32_t number = 0; number < blocks.end(); number++) {
    if (!blocks.find(number)) continue;
    const block_body body = blocks.body_of(number);
    const std::string key(reinterpret_cast<const char *>(body.key), body.key_bytes);
    const auto bytes = read_block(one.files, body);
    REQUIRE(bytes);
    by_generation[body.generation] = key;
    found.of[key] = {body.parent,
                     space_name(one.content.spaces.at(body.space)->body),
                     {bytes->begin(), bytes->end()},
                     body.keep,
                     {body.part_bytes, body.part_bytes + body.part_count}};
  }
  for (const auto &[generation, key] : by_generation) found.order.push_back(key);
  return found;
}

opened_store open(const scratch::folder &in) {
  auto opened = open_store({.directories = {in.path("")}});
  REQUIRE(opened);
  return std::move(opened).value();
}

/// `count` blocks of some sizes in two spaces, each the child of the one before.
void fill(const std::vector<std::string> &directories, uint32_t count) {
  auto made = posix_store::open({directories, 8 << 20, 16384, 77});
  REQUIRE(made);
  block_store &store = (*made)->store();
  const auto first = store.add_space("model", "a", 0), second = store.add_space("model", "b", 0);
  const auto empty = store.add_space("model", "nothing in it", 0);
  REQUIRE(first);
  REQUIRE(second);
  REQUIRE(empty);
  std::string before;
  for (uint32_t i = 0; i < count; i++) {
    const std::string key = "key " + std::to_string(i);
    const std::string bytes(12288 + 1000 * (i % 7), static_cast<char>('a' + i % 26));
    put_request request;
    request.space = i % 3 == 0 ? *first : *second;
    request.key = key;
    request.parent = before;
    request.keep = i % 2 == 0 ? CUBBY_KEEP_RESTART : CUBBY_KEEP_DURABLE;
    request.part_count = 2;
    request.part_bytes[0] = 8192;
    request.part_bytes[1] = static_cast<uint32_t>(bytes.size()) - 8192;
    request.data = bytes.data();
    REQUIRE(store.put(request));
    (*made)->run();
    store_completion out;
    while (store.next_completion(out)) REQUIRE(out.status == CUBBY_OK);
    before = key;
  }
}

bool go_on(uint64_t, uint64_t, uint64_t) { return true; }

}  // namespace

TEST_CASE("a smaller store has what was put last, as it was put and in that order") {
  const scratch::folder folder;
  fill({folder.path("")}, 300);
  contents before, after;
  shrink_outcome done;
  {
    const opened_store old = open(folder);
    before = contents_of(old);
    REQUIRE(before.order.size() == 300);
    auto shrunk = shrink_store(old, 3 << 20, go_on);
    REQUIRE(shrunk);
    done = *shrunk;
  }
  CHECK(std::filesystem::file_size(folder.path(store_file_name)) == 3 << 20);
  const opened_store made = open(folder);
  after = contents_of(made);
  CHECK(after.store_id == before.store_id);
  CHECK(made.content.places.shape().fingerprint == 77);
  CHECK(made.content.report.records_replayed == 0);
  CHECK(made.content.spaces.find("model", "nothing in it") != 0);
  REQUIRE(after.order.size() == done.blocks);
  CHECK(done.blocks + done.left_out == 300);
  CHECK(done.blocks > 120);
  CHECK(done.damaged.empty());
  for (const auto &[key, what] : after.of) CHECK(what == before.of[key]);
  // Without gaps down to the first that found no room, and in the order of before.
  size_t same = 0;
  while (same < after.order.size() &&
         after.order[after.order.size() - 1 - same] == before.order[299 - same])
    same++;
  CHECK(same + 3 >= after.order.size());
  const auto position = [&](const std::string &key) {
    return std::find(before.order.begin(), before.order.end(), key) - before.order.begin();
  };
  CHECK(std::is_sorted(
      after.order.begin(), after.order.end(),
      [&](const std::string &a, const std::string &b) { return position(a) < position(b); }));
}

TEST_CASE("a smaller store that is stopped, or has no name to take, leaves all as it was") {
  const scratch::folder folder;
  fill({folder.path("")}, 40);
  const std::string before = scratch::read(folder.path(store_file_name));
  const opened_store old = open(folder);
  SECTION("stopped") {
    const auto stop = [](uint64_t done, uint64_t, uint64_t) { return done < 20; };
    const auto shrunk = shrink_store(old, 3 << 20, stop);
    REQUIRE_FALSE(shrunk);
    CHECK(shrunk.failure().status == CUBBY_ERR_CANCELED);
    CHECK(scratch::read(folder.path(store_file_name)) == before);
  }
  SECTION("another file has the name") {
    const auto exchange = [&](uint64_t done, uint64_t, uint64_t) {
      if (done == 20) {
        std::filesystem::rename(folder.path(store_file_name), folder.path("elsewhere"));
        folder.write(store_file_name, "precious");
      }
      return true;
    };
    const auto shrunk = shrink_store(old, 3 << 20, exchange);
    REQUIRE_FALSE(shrunk);
    CHECK(shrunk.failure().status == CUBBY_ERR_INVALID);
    CHECK(scratch::read(folder.path(store_file_name)) == "precious");
    CHECK(scratch::read(folder.path("elsewhere")) == before);
  }
  SECTION("not smaller, or too small") {
    for (const uint64_t budget : {8u << 20, 9u << 20, 65536u, 0u}) {
      const auto shrunk = shrink_store(old, budget, go_on);
      REQUIRE_FALSE(shrunk);
      CHECK(shrunk.failure().status == CUBBY_ERR_INVALID);
    }
  }
  CHECK_FALSE(std::filesystem::exists(folder.path("cubby.store.new")));
}

TEST_CASE("a striped store is not made smaller") {
  const scratch::folder first, second;
  fill({first.path(""), second.path("")}, 10);
  auto opened = open_store({.directories = {first.path(""), second.path("")}});
  REQUIRE(opened);
  const auto shrunk = shrink_store(*opened, 3 << 20, go_on);
  REQUIRE_FALSE(shrunk);
  CHECK(shrunk.failure().status == CUBBY_ERR_NOT_SUPPORTED);
}

}  // namespace shrink_test
