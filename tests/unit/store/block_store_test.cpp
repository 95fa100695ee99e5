#include "store/durable/block_store.hpp"

#include <cerrno>
#include <cstring>
#include <map>
#include <string>

#include "support/catch.hpp"
#include "unit/store/open_store.hpp"

namespace block_store_test {

using namespace cubby::store;
using open_stores::opened;

TEST_CASE("blocks that are put are there for the next process, session blocks are not") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  const auto restart = one.put(space, "restart", 5000);
  const auto durable = one.put(space, "durable", 4096, CUBBY_KEEP_DURABLE);
  const auto session = one.put(space, "session", 100, CUBBY_KEEP_SESSION);
  REQUIRE((restart && durable && session));
  CHECK(one.store->locate(*session)->bytes == 100);
  const auto report = one.again();
  CHECK(report.blocks == 2);
  CHECK(one.store->locate(*restart)->bytes == 5000);
  const block_body body = one.store->blocks().body_of(*durable);
  CHECK(std::string(reinterpret_cast<const char *>(body.key), body.key_bytes) == "durable");
  CHECK(body.space == space);
  CHECK(store_disk::content(one.files, body) == std::string(4096, static_cast<char>(7 + 4096)));
  CHECK_FALSE(one.store->locate(*session));
}

TEST_CASE("a parent is remembered by the digest of its key") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  auto put = one.request(space, "child", 10, CUBBY_KEEP_DURABLE);
  put.parent = "mother";
  const auto number = one.store->put(put);
  REQUIRE(number);
  one.done();
  one.again();
  CHECK(one.store->blocks().find(*number)->parent ==
        digest_of_key(one.store->places().shape().store_id, "mother"));
}

TEST_CASE("what a put cannot be is refused with its cause, and nothing is taken") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  const uint64_t free_bytes = one.store->statistics().free_bytes;
  auto put = one.request(space, "k", 10, CUBBY_KEEP_RESTART);
  SECTION("no key") { put.key = {}; }
  SECTION("a key too long") {
    put.key =
        "0123456789012345678901234567890123456789012345678901234567890"
        "12345";
  }
  SECTION("no parts") { put.part_count = 0; }
  SECTION("too many parts") { put.part_count = 17; }
  SECTION("an empty part") { put.part_count = 2; }
  SECTION("an unknown space") { put.space = 99; }
  SECTION("an unknown keep") { put.keep = 9; }
  SECTION("too many bytes") {
    put.part_count = 2;
    put.part_bytes[0] = put.part_bytes[1] = ~0u;
  }
  const auto number = one.store->put(put);
  REQUIRE_FALSE(number);
  CHECK(
      (number.failure().status == CUBBY_ERR_INVALID || number.failure().status == CUBBY_ERR_STALE));
  CHECK(number.failure().text.size() > 20);
  CHECK(one.store->statistics().free_bytes == free_bytes);
  CHECK(one.store->is_idle());
}

TEST_CASE("a full store says what it needs, and goes on when blocks are erased") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  std::vector<uint32_t> numbers;
  for (;;) {
    const auto number = one.put(space, "key " + std::to_string(numbers.size()), 20000);
    if (!number) {
      CHECK(number.failure().status == CUBBY_ERR_NO_SPACE);
      CHECK(number.failure().needed_bytes == 20480);
      break;
    }
    numbers.push_back(*number);
  }
  REQUIRE(numbers.size() > 10);
  one.erase(numbers[3]);
  CHECK(one.put(space, "again", 20000));
  for (const uint32_t number : numbers)
    if (one.store->locate(number)) one.erase(number);
  const auto report = one.again();
  CHECK(report.blocks == 0);
  const auto all = one.store->statistics();
  CHECK(all.free_bytes == all.data_bytes);
}

TEST_CASE("more requests than there is room for are BUSY") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  auto found = store_disk::recover(one.files);
  block_store narrow(std::move(found).value(), 2);
  const auto put = one.request(space, "k", 10, CUBBY_KEEP_RESTART);
  CHECK(narrow.put(put));
  CHECK(narrow.put(put));
  const auto third = narrow.put(put);
  REQUIRE_FALSE(third);
  CHECK(third.failure().status == CUBBY_ERR_BUSY);
  CHECK(third.failure().retryable);
  store_disk::settle(narrow, one.files);
  CHECK_FALSE(narrow.put(put));  // completions have not been taken
  store_completion out;
  CHECK(narrow.next_completion(out));
  CHECK(narrow.put(put));
}

TEST_CASE("group commit: one flush serves all records that wait for it") {
  opened one(4 << 20);
  const uint32_t space = one.space();
  const uint64_t before = one.store->statistics().flushes;
  const auto put = one.request(space, "k", 4096, CUBBY_KEEP_DURABLE);
  for (int i = 0; i < 100; i++) REQUIRE(one.store->put(put));
  store_disk::settle(*one.store, one.files);
  CHECK(one.store->statistics().flushes - before <= 4);
  CHECK(one.store->blocks().count() == 100);
}

namespace {

using kind = store_operation::kind;

/// Takes every operation that the store has now.
std::vector<store_operation> take_all(block_store &store) {
  std::vector<store_operation> taken;
  for (store_operation op; store.next_operation(op);) taken.push_back(op);
  return taken;
}

/// A block's bytes: behind journal and manifests.
bool is_payload(const block_store &store, const store_operation &op) {
  return op.what == kind::write &&
         op.offset_bytes >= store.places().first_data_page(0) * page_bytes;
}

}  // namespace

TEST_CASE("the record of a block does not wait for the bytes of blocks that were put later") {
  const uint8_t keep = GENERATE(uint8_t{CUBBY_KEEP_RESTART}, uint8_t{CUBBY_KEEP_DURABLE});
  opened one(4 << 20);
  const uint32_t space = one.space();
  const auto put = one.request(space, "k", 4096, keep);
  REQUIRE(one.store->put(put));
  store_operation first;
  REQUIRE(one.store->next_operation(first));
  REQUIRE(is_payload(*one.store, first));
  for (int i = 0; i < 50; i++) REQUIRE(one.store->put(put));  // which nobody has begun to write
  one.store->completed(first.cookie, 0);
  for (int steps = keep == CUBBY_KEEP_DURABLE ? 3 : 1; steps > 0; steps--) {
    store_operation op;
    REQUIRE(one.store->next_operation(op));
    CHECK_FALSE(is_payload(*one.store, op));
    one.store->completed(op.cookie, 0);
  }
  store_completion acknowledged;
  CHECK(one.store->next_completion(acknowledged));
  CHECK_FALSE(one.store->next_completion(acknowledged));
  CHECK(take_all(*one.store).size() == 50);
}

TEST_CASE("blocks that were put together share a record page and flushes, whatever comes first") {
  opened one(4 << 20);
  const uint32_t space = one.space();
  const auto before = one.store->statistics();
  const auto put = one.request(space, "k", 4096, CUBBY_KEEP_DURABLE);
  for (int i = 0; i < 10; i++) REQUIRE(one.store->put(put));
  auto bytes = take_all(*one.store);
  REQUIRE(bytes.size() == 10);
  for (size_t i = bytes.size(); i-- > 1;) {
    one.store->completed(bytes[i].cookie, 0);
    CHECK(take_all(*one.store).empty());
  }
  one.store->completed(bytes[0].cookie, EIO);  // one that fails holds up nobody
  store_disk::settle(*one.store, one.files);
  CHECK(one.store->blocks().count() == 9);
  CHECK(one.store->statistics().flushes - before.flushes == 2);
  CHECK(one.store->statistics().journal_used_pages - before.journal_used_pages == 1);
}

TEST_CASE("blocks of a group are recorded together, also where they are put one by one") {
  const uint8_t keep = GENERATE(uint8_t{CUBBY_KEEP_RESTART}, uint8_t{CUBBY_KEEP_DURABLE});
  opened one(4 << 20);
  const uint32_t space = one.space();
  const auto before = one.store->statistics();
  auto put = one.request(space, "k", 4096, keep);
  put.group = 7;
  std::vector<store_operation> bytes;
  for (int i = 0; i < 40; i++) {  // more than a page of records
    REQUIRE(one.store->put(put));
    const auto taken = take_all(*one.store);
    REQUIRE(taken.size() == 1);
    bytes.push_back(taken[0]);
    if (i > 0) one.store->completed(bytes[static_cast<size_t>(i) - 1].cookie, 0);
    CHECK(take_all(*one.store).empty());
  }
  one.store->completed(bytes.back().cookie, 0);
  store_disk::settle(*one.store, one.files);
  const uint64_t flushes = keep == CUBBY_KEEP_DURABLE ? 2 : 0;
  CHECK(one.store->statistics().flushes - before.flushes == flushes);
  CHECK(one.store->statistics().journal_used_pages - before.journal_used_pages == 2);
  CHECK(one.again().blocks == 40);
}

TEST_CASE("the record of a block does not wait for the bytes of another group") {
  opened one(4 << 20);
  const uint32_t space = one.space();
  auto put = one.request(space, "k", 4096, CUBBY_KEEP_RESTART);
  const uint64_t own = GENERATE(uint64_t{0}, uint64_t{8});
  put.group = own;
  put.user = 1;
  REQUIRE(one.store->put(put));
  const auto first = take_all(*one.store);
  REQUIRE(first.size() == 1);
  put.group = 7;
  put.user = 2;
  REQUIRE(one.store->put(put));
  const auto second = take_all(*one.store);
  REQUIRE(one.store->put(put));
  const auto third = take_all(*one.store);
  REQUIRE((second.size() == 1 && third.size() == 1));
  one.store->completed(second[0].cookie, 0);
  CHECK(take_all(*one.store).empty());  // waits for the third, and for what was put before
  one.store->completed(first[0].cookie, 0);
  const auto records = take_all(*one.store);
  REQUIRE(records.size() == 1);
  CHECK_FALSE(is_payload(*one.store, records[0]));
  one.store->completed(records[0].cookie, 0);
  store_completion acknowledged;
  REQUIRE(one.store->next_completion(acknowledged));
  const bool lone_is_there = acknowledged.user == 1 ||
                             (one.store->next_completion(acknowledged) && acknowledged.user == 1);
  CHECK(lone_is_there);
  one.store->completed(third[0].cookie, 0);
  store_disk::settle(*one.store, one.files);
  CHECK(one.store->blocks().count() == 3);
}

TEST_CASE("spaces are not found in each other, and a removed one's number never comes back") {
  opened one(1 << 20);
  const uint32_t first = one.space("a");
  const uint32_t second = one.space("b");
  CHECK(first != second);
  CHECK(one.space("a") == first);
  REQUIRE(one.put(first, "k", 100));
  CHECK(one.store->remove_space(first, 0).failure().status == CUBBY_ERR_BUSY);
  REQUIRE(one.store->remove_space(second, 0));
  REQUIRE(one.done().status == CUBBY_OK);
  const uint32_t third = one.space("c");
  CHECK((third & 0xff) == (second & 0xff));
  CHECK(third != second);
  one.again();
  CHECK(one.store->spaces().find("model", "a") == first);
  CHECK(one.store->spaces().find("model", "b") == 0);
  CHECK(one.store->spaces().find("model", "c") == third);
}

TEST_CASE("a failed write is one failed put; the store goes on") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  const uint64_t free_bytes = one.store->statistics().free_bytes;
  const auto number = one.store->put(one.request(space, "k", 9000, CUBBY_KEEP_DURABLE));
  REQUIRE(number);
  store_operation op;
  for (int i = 0; one.store->next_operation(op); i++)
    one.store->completed(op.cookie, i == 0 ? ENOSPC : 0);
  store_completion out;
  REQUIRE(one.store->next_completion(out));
  CHECK(out.status == CUBBY_ERR_NO_SPACE);
  CHECK(out.native == ENOSPC);
  CHECK_FALSE(one.store->locate(*number));
  CHECK(one.store->statistics().free_bytes == free_bytes);
  CHECK(one.store->failure() == nullptr);
  CHECK(one.put(space, "k", 9000, CUBBY_KEEP_DURABLE));
  CHECK(one.again().blocks == 1);
}

TEST_CASE("a failed flush makes the store read-only, with the reason") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  const auto before = one.put(space, "before", 100, CUBBY_KEEP_DURABLE);
  REQUIRE(one.store->put(one.request(space, "k", 100, CUBBY_KEEP_DURABLE)));
  store_operation op;
  while (one.store->next_operation(op))
    one.store->completed(op.cookie, op.what == store_operation::kind::flush ? EIO : 0);
  store_completion out;
  REQUIRE(one.store->next_completion(out));
  CHECK(out.status == CUBBY_ERR_IO);
  REQUIRE(one.store->failure() != nullptr);
  CHECK(one.store->failure()->text.find("flush") != std::string::npos);
  const auto later = one.store->put(one.request(space, "l", 100, CUBBY_KEEP_RESTART));
  REQUIRE_FALSE(later);
  CHECK(later.failure().status == CUBBY_ERR_DEVICE);
  CHECK(one.store->locate(*before));
  CHECK(one.store->is_idle());
}

TEST_CASE("what an opening has found is written again where nothing proves it, then flushed") {
  opened one(2 << 20, 2);
  REQUIRE(one.put(one.space(), "k", 100, CUBBY_KEEP_DURABLE));
  auto found = store_disk::recover(one.files);
  REQUIRE(found);
  block_store next(std::move(found).value());
  uint32_t writes = 0, flushes = 0;
  while (!next.is_started()) {
    store_operation op;
    REQUIRE(next.next_operation(op));
    if (op.what == store_operation::kind::write) {
      CHECK(flushes == 0);
      CHECK(memcmp(one.files[op.file].data() + op.offset_bytes, op.data, op.bytes) == 0);
      ++writes;
    } else {
      ++flushes;
    }
    next.completed(op.cookie, 0);
  }
  CHECK(writes == 1);  // the journal's end; its records name the manifest
  CHECK(flushes == 2);
}

TEST_CASE("a space whose record is lost leaves its number, and its blocks, to no other space") {
  opened one(2 << 20);
  const uint32_t space = one.space();
  REQUIRE(one.put(space, "k", 100, CUBBY_KEEP_DURABLE));
  auto found = store_disk::recover(one.files);
  REQUIRE(found);
  const uint64_t page = found->places.journal_page(found->journal.from + 1);  // the first: made
  memset(one.files[0].data() + page * page_bytes, 0, page_bytes);
  auto again = store_disk::recover(one.files);
  REQUIRE(again);
  CHECK(again->report.blocks_without_space == 1);
  block_store next(std::move(again).value());
  const auto other = next.add_space("another model", "", 1);
  REQUIRE(other);
  CHECK(*other != space);
}

TEST_CASE("100,000 random puts and erases: the file never grows, the accounts are exact") {
  const uint32_t count = GENERATE(1u, 3u);
  opened one(6 << 20, count);
  const uint32_t space = one.space();
  const auto places = one.store->places();
  cubby::base::prng random(count);
  std::map<uint32_t, uint64_t> there;  // number: pages
  uint64_t pages = 0, refused = 0, checkpoints = 0;
  std::string bytes(70000, 'x');
  const auto drain = [&] {
    store_operation op;
    store_completion out;
    while (one.store->next_operation(op)) {
      if (op.what == store_operation::kind::write) {
        REQUIRE(op.offset_bytes + op.bytes <= places.shape().pages_per_file * page_bytes);
        memcpy(one.files[op.file].data() + op.offset_bytes, op.data, op.bytes);
      }
      one.store->completed(op.cookie, 0);
    }
    while (one.store->next_completion(out)) REQUIRE(out.status == CUBBY_OK);
  };
  for (uint32_t i = 0; i < 100000; i++) {
    const bool put = there.empty() || random.chance(11, 20);
    if (put) {
      put_request request = one.request(space, "key", 1, static_cast<uint8_t>(random.below(4)));
      request.data = bytes.data();
      request.part_bytes[0] = static_cast<uint32_t>(random.chance(1, 20) ? 1 + random.below(70000)
                                                                         : 1 + random.below(9000));
      const auto number = one.store->put(request);
      if (number) {
        there[*number] = pages_of(request.part_bytes[0]);
        pages += there[*number];
      }
      refused += !number;
    } else {
      auto gone = there.lower_bound(static_cast<uint32_t>(random.below(500)));
      if (gone == there.end()) gone = there.begin();
      REQUIRE(one.store->erase(gone->first, 0));
      pages -= gone->second;
      there.erase(gone);
    }
    drain();
    const auto all = one.store->statistics();
    REQUIRE(all.data_bytes - all.free_bytes == pages * page_bytes);
    REQUIRE(all.block_count == there.size());
    checkpoints = all.checkpoints;
  }
  CHECK(refused > 0);
  CHECK(checkpoints > 20);
  for (const auto &[number, size] : there) {
    REQUIRE(one.store->erase(number, 0));
    drain();
  }
  const auto all = one.store->statistics();
  CHECK(all.free_bytes == all.data_bytes);
  CHECK(one.again().blocks == 0);
}

TEST_CASE("a checkpoint goes on while blocks are put, in bounded pieces") {
  opened one(8 << 20, 1, 4096);
  const uint32_t space = one.space();
  std::map<std::string, uint32_t> numbers;
  for (int i = 0; i < 1200; i++) {
    const std::string key = "key " + std::to_string(i);
    const auto number = one.put(space, key, 100);
    REQUIRE(number);
    numbers[key] = *number;
  }
  one.store->request_checkpoint();
  store_operation op;
  std::vector<store_operation> outstanding;
  const std::string bytes(300, 'y');
  for (int i = 0; i < 40; i++) {  // erased and put between any two of its pieces
    const auto gone = numbers.begin();
    REQUIRE(one.store->erase(gone->second, 0));
    numbers.erase(gone);
    auto put = one.request(space, "new " + std::to_string(i), 1, CUBBY_KEEP_DURABLE);
    const std::string key = "new " + std::to_string(i);
    put.key = key;
    put.data = bytes.data();
    put.part_bytes[0] = 300;
    const auto number = one.store->put(put);
    REQUIRE(number);
    numbers[key] = *number;
    for (int steps = 0; steps < 4 && one.store->next_operation(op); steps++) {
      CHECK(op.bytes <= 256 << 10);
      if (op.what == store_operation::kind::write)
        memcpy(one.files[op.file].data() + op.offset_bytes, op.data, op.bytes);
      one.store->completed(op.cookie, 0);
    }
  }
  store_disk::settle(*one.store, one.files);
  CHECK(one.store->statistics().checkpoints >= 1);
  CHECK(one.again().blocks == numbers.size());
  for (const auto &[key, number] : numbers) {
    const block_body body = one.store->blocks().body_of(number);
    CHECK(std::string(reinterpret_cast<const char *>(body.key), body.key_bytes) == key);
    CHECK(store_disk::content(one.files, body));
  }
}

TEST_CASE("a block is put from pieces that lie apart") {
  opened one(4 << 20);
  const uint32_t space = one.space();
  constexpr uint32_t bytes = 5 * page_bytes + 100;
  std::vector<page> memory(9);
  for (size_t i = 0; i < memory.size(); ++i)
    memset(memory[i].bytes, 'a' + static_cast<int>(i), page_bytes);
  const block_piece pieces[] = {{memory[6].bytes, 2 * page_bytes},
                                {memory[0].bytes, page_bytes},
                                {memory[2].bytes, 2 * page_bytes + 100}};
  const std::string expected = std::string(page_bytes, 'g') + std::string(page_bytes, 'h') +
                               std::string(page_bytes, 'a') + std::string(page_bytes, 'c') +
                               std::string(page_bytes, 'd') + std::string(100, 'e');
  const uint64_t digest =
      cubby::base::chunk_digest(expected.data(), expected.size(), chunk_identity_of(0, 0));
  auto put = one.request(space, "apart", bytes, CUBBY_KEEP_RESTART);
  put.data = nullptr;
  put.pieces = pieces;
  put.piece_count = 3;
  put.chunk_digests = &digest;
  put.chunk_digest_count = 1;
  SECTION("right") {
    const auto number = one.store->put(put);
    REQUIRE(number);
    one.done();
    one.again();
    const block_body body = one.store->blocks().body_of(*number);
    CHECK(store_disk::content(one.files, body) == expected);
  }
  SECTION("fewer bytes than the block has") {
    put.piece_count = 2;
    CHECK_FALSE(one.store->put(put));
  }
  SECTION("a piece in the middle that ends within a page") {
    const block_piece odd[] = {{memory[6].bytes, page_bytes + 100},
                               {memory[0].bytes, 4 * page_bytes}};
    put.pieces = odd;
    put.piece_count = 2;
    CHECK_FALSE(one.store->put(put));
  }
}

}  // namespace block_store_test
