// A bit flipped in every structure of a store, and what is lost by it.
#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "support/catch.hpp"
#include "unit/store/open_store.hpp"

namespace store_damage_test {

using namespace cubby::store;
using open_stores::opened;

namespace {

/// Twenty blocks in the manifest, twenty in the journal, half of each in either space.
struct filled : opened {
  std::map<std::string, std::string> content;  // by key
  uint32_t first = 0, second = 0;
  uint64_t sequence = 0;  // of the manifest

  filled() : opened(4 << 20) {
    first = space("a");
    second = space("b");
    add("manifest");
    store->request_checkpoint();
    store_disk::settle(*store, files);
    add("journal");
    // So that all of it had been flushed when the last record was written.
    put_durable("last");
    put_durable("very last");
    auto found = store_disk::recover(files);
    sequence = found->journal.manifest;
  }
  void add(const std::string &name) {
    for (uint32_t i = 0; i < 20; i++)
      add_one(i % 2 == 0 ? first : second, name + " " + std::to_string(i), 3000 + 500 * i);
  }
  void add_one(uint32_t in, const std::string &key, uint32_t size) {
    const auto request_of_key = request(in, key, size, CUBBY_KEEP_DURABLE);
    REQUIRE(store->put(request_of_key));
    REQUIRE(done().status == CUBBY_OK);
    content[key] = bytes;
  }
  void put_durable(const std::string &key) { add_one(first, key, 100); }
  void flip(uint64_t at, uint32_t file = 0) { files[file][at] ^= 0x10; }
  void flip_page(uint64_t page, uint64_t within = 40) { flip(page * page_bytes + within); }
};

std::string key_of(const block_body &body) {
  return {reinterpret_cast<const char *>(body.key), body.key_bytes};
}

/// Keys whose right bytes are there. Wrong bytes end the test.
std::set<std::string> intact(const filled &one, const recovered_store &found) {
  std::set<std::string> keys;
  for (uint32_t i = 0; i < found.blocks.end(); i++) {
    if (!found.blocks.find(i)) continue;
    const block_body body = found.blocks.body_of(i);
    const auto bytes = store_disk::content(one.files, body);
    if (!bytes) continue;
    const auto known = one.content.find(key_of(body));
    REQUIRE(known != one.content.end());
    REQUIRE(*bytes == known->second);
    REQUIRE(keys.insert(key_of(body)).second);
  }
  return keys;
}

}  // namespace

TEST_CASE("a damaged superblock is absent, and written anew") {
  filled one;
  const auto places = one.store->places();
  const uint32_t copy = GENERATE(0u, 1u, 2u);
  const uint64_t byte = GENERATE(0u, 9u, 17u, 30u, 45u, 60u);
  one.flip_page(places.superblock_page(copy), byte);
  const auto report = one.again();
  CHECK(report.superblocks_bad == 1);
  CHECK(report.blocks == one.content.size());
  CHECK(one.again().superblocks_bad == 0);
}

TEST_CASE("without any superblock a file is no store, and nothing is written") {
  filled one;
  for (uint32_t copy = 0; copy < superblock_copies; copy++)
    one.flip_page(one.store->places().superblock_page(copy), 0);
  const auto found = store_disk::recover(one.files);
  REQUIRE_FALSE(found);
  CHECK(found.failure().status == CUBBY_ERR_FORMAT);
}

TEST_CASE("a store whose journal is gone is refused, not made empty") {
  // Zeros, or anything else, over the journal alone, or from the beginning of the file, as `dd` and
  // blkdiscard leave them.
  const bool with_manifest = GENERATE(false, true);
  const bool with_blocks = GENERATE(false, true);
  const bool with_superblocks = GENERATE(false, true);
  const int left = GENERATE(0, 0xA5);
  opened one(4 << 20, 2);
  const auto places = one.store->places();
  const uint64_t from = places.journal_page(0) * page_bytes;
  const uint64_t end = places.slot_page(0) * page_bytes;
  if (with_blocks) REQUIRE(one.put(one.space(), "a", 9000));
  if (with_manifest) {
    one.store->request_checkpoint();
    store_disk::settle(*one.store, one.files);
  }
  if (with_superblocks) {
    // The journal is whole: two copies of the superblock are no more than two copies.
    memset(one.files[0].data(), left, from);
    CHECK(one.again().blocks == with_blocks);
    memset(one.files[0].data(), left, from);
  }
  memset(one.files[0].data() + from, left, end - from);
  const auto before = one.files;
  const auto found = store_disk::recover(one.files);
  REQUIRE_FALSE(found);
  CHECK(found.failure().status == CUBBY_ERR_CORRUPT);
  CHECK(found.failure().data_loss);
  CHECK(found.failure().offset_bytes == from);
  CHECK(found.failure().text.find(std::to_string(from)) != std::string::npos);
  CHECK(one.files == before);
}

TEST_CASE("a journal from whose middle replay begins is not an empty one") {
  // Nothing was put since the manifest: what the pages of before say is enough.
  filled one;
  one.store->request_checkpoint();
  store_disk::settle(*one.store, one.files);
  CHECK(one.again().blocks == one.content.size());
  const auto places = one.store->places();
  memset(one.files[0].data() + places.journal_page(0) * page_bytes, 0,
         places.shape().journal_pages * page_bytes);
  CHECK_FALSE(store_disk::recover(one.files));
}

TEST_CASE("another version is refused by its number") {
  filled one;
  for (uint32_t copy = 0; copy < superblock_copies; copy++)
    one.files[0][one.store->places().superblock_page(copy) * page_bytes + 8] = 2;
  const auto found = store_disk::recover(one.files);
  REQUIRE_FALSE(found);
  CHECK(found.failure().status == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(found.failure().text.find("version 2") != std::string::npos);
}

TEST_CASE("another fingerprint is refused") {
  filled one;
  CHECK(store_disk::recover(one.files, 0));
  const auto found = store_disk::recover(one.files, 78);
  REQUIRE_FALSE(found);
  CHECK(found.failure().status == CUBBY_ERR_INVALID);
}

TEST_CASE("a damaged head has a second copy") {
  filled one;
  const auto places = one.store->places();
  const bool last = GENERATE(false, true);
  one.flip_page(places.slot_page(one.sequence) + (last ? places.slot_pages() - 1 : 0), 20);
  const auto found = store_disk::recover(one.files);
  REQUIRE(found);
  CHECK(found->report.heads_bad == 1);
  CHECK(found->report.first_bad_bytes != 0);
  CHECK(intact(one, *found).size() == one.content.size());
}

TEST_CASE("a damaged copy of a proven head is written anew, and the store can do without") {
  filled one;
  const auto places = one.store->places();
  const bool last = GENERATE(false, true);
  const uint64_t head = places.slot_page(one.sequence);
  const uint64_t tail = head + places.slot_pages() - 1;
  one.flip_page(last ? tail : head, 20);
  auto found = store_disk::recover(one.files);
  REQUIRE(found);
  block_store next(std::move(found).value());
  std::vector<uint64_t> heads_written;
  store_operation op;
  while (next.next_operation(op)) {
    const bool of_head =
        op.what == store_operation::kind::write &&
        (op.offset_bytes == head * page_bytes || op.offset_bytes == tail * page_bytes);
    if (of_head) heads_written.push_back(op.offset_bytes / page_bytes);
    next.completed(op.cookie, of_head ? EIO : 0);
  }
  CHECK(heads_written == std::vector<uint64_t>{last ? tail : head});
  CHECK(next.is_started());
  CHECK(next.failure() == nullptr);
}

TEST_CASE("a manifest without a head: refused by offset where the journal goes on from it") {
  filled one;
  const auto places = one.store->places();
  one.flip_page(places.slot_page(one.sequence), 20);
  one.flip_page(places.slot_page(one.sequence) + places.slot_pages() - 1, 20);
  const auto found = store_disk::recover(one.files);
  REQUIRE_FALSE(found);
  CHECK(found.failure().status == CUBBY_ERR_CORRUPT);
  CHECK(found.failure().offset_bytes == places.slot_page(one.sequence) * page_bytes);
}

TEST_CASE("a manifest without a head: the one before and the whole journal say the same") {
  filled one;
  one.store->request_checkpoint();
  store_disk::settle(*one.store, one.files);
  const auto places = one.store->places();
  ++one.sequence;
  one.flip_page(places.slot_page(one.sequence), 20);
  one.flip_page(places.slot_page(one.sequence) + places.slot_pages() - 1, 20);
  const auto found = store_disk::recover(one.files);
  REQUIRE(found);
  CHECK(found->journal.manifest == one.sequence - 1);
  CHECK(intact(one, *found).size() == one.content.size());
}

TEST_CASE("a damaged entry of a manifest is one lost block") {
  filled one;
  const auto index = static_cast<uint64_t>(GENERATE(0, 7, 19));
  one.flip_page(one.store->places().slot_page(one.sequence) + slot_entries_at,
                index * sizeof(manifest_entry) + 100);
  const auto found = store_disk::recover(one.files);
  REQUIRE(found);
  CHECK(found->report.entries_bad == 1);
  auto keys = intact(one, *found);
  CHECK(keys.size() == one.content.size() - 1);
  CHECK_FALSE(keys.contains("manifest " + std::to_string(index)));
}

TEST_CASE("a damaged record in the middle of the journal is one lost block") {
  filled one;
  const auto found_before = store_disk::recover(one.files);
  const uint64_t page = found_before->journal.from + 3;
  one.flip_page(one.store->places().journal_page(page), 70);
  const auto found = store_disk::recover(one.files);
  REQUIRE(found);
  CHECK(found->report.records_bad == 1);
  CHECK(found->report.records_torn == 0);
  CHECK(found->report.first_bad_bytes == one.store->places().journal_page(page) * page_bytes);
  CHECK(intact(one, *found).size() == one.content.size() - 1);
  CHECK(one.again().blocks == one.content.size() - 1);
}

TEST_CASE("a damaged table of spaces has a second copy; without it only its blocks are lost") {
  filled one;
  const auto places = one.store->places();
  const uint64_t slot = places.slot_page(one.sequence);
  one.flip_page(slot + slot_spaces_at, 20);
  auto found = store_disk::recover(one.files);
  REQUIRE(found);
  CHECK(found->report.spaces_bad == 1);
  CHECK(intact(one, *found).size() == one.content.size());
  one.flip_page(slot + places.slot_pages() - 1 - space_pages, 20);
  found = store_disk::recover(one.files);
  REQUIRE(found);
  CHECK(found->report.blocks_without_space == 22);
  CHECK(intact(one, *found).size() == 20);
}

TEST_CASE("a bit flipped in a block is found in that block alone") {
  filled one;
  auto found = store_disk::recover(one.files);
  const block_body body = found->blocks.body_of(5);
  one.flip_page(body.first_page, 1234);
  found = store_disk::recover(one.files);
  const auto keys = intact(one, *found);
  CHECK(keys.size() == one.content.size() - 1);
  CHECK_FALSE(keys.contains(key_of(body)));
}

TEST_CASE("any bit flipped anywhere loses at most one block, or opening says where") {
  filled one;
  cubby::base::prng random(11);
  const auto places = one.store->places();
  const uint64_t metadata = places.first_data_page(0) * page_bytes;
  for (int i = 0; i < 4000; i++) {
    const uint64_t at = random.below(random.chance(1, 10) ? one.files[0].size() : metadata);
    const auto bit = static_cast<unsigned char>(1u << random.below(8));
    one.files[0][at] ^= bit;
    const auto found = store_disk::recover(one.files);
    if (found) {
      INFO("at " << at);
      CHECK(intact(one, *found).size() + 1 >= one.content.size());
    } else {
      CHECK(found.failure().text.size() > 20);
    }
    one.files[0][at] ^= bit;
  }
}

TEST_CASE("any run of pages zeroed: what is lost is said with its offset, or opening says where") {
  filled one;
  const bool with_newer_manifest = GENERATE(false, true);
  if (with_newer_manifest) {
    one.store->request_checkpoint();
    store_disk::settle(*one.store, one.files);
    one.put_durable("behind it");
    one.put_durable("and one more");
  }
  const auto places = one.store->places();
  const auto whole = store_disk::recover(one.files);
  const auto last = places.journal_page(whole->journal.next - 1);
  const auto before = one.files[0];
  for (uint64_t first = 0; first < places.first_data_page(0); first++) {
    for (uint64_t end = first + 1; end <= places.first_data_page(0); end++) {
      memset(one.files[0].data() + (end - 1) * page_bytes, 0, page_bytes);
      const auto found = store_disk::recover(one.files);
      if (!found) {
        CHECK(found.failure().text.size() > 20);
        continue;
      }
      // The journal's last pages may be as a crash left them before they were flushed.
      const bool of_end = first <= last && last < end;
      if (of_end || intact(one, *found).size() == one.content.size()) continue;
      INFO("pages " << first << " to " << end);
      CHECK(found->report.first_bad_bytes != 0);
      const auto &report = found->report;
      CHECK(report.entries_bad + report.records_bad + report.blocks_without_space +
                report.blocks_overwritten !=
            0);
    }
    memcpy(one.files[0].data() + first * page_bytes, before.data() + first * page_bytes,
           (places.first_data_page(0) - first) * page_bytes);
  }
}

namespace {

constexpr uint64_t a_boot = 5, a_later_boot = 6;

/// A store of a process of `a_boot` with blocks of one kind, one a page of the journal, and a note
/// of where that ends.
struct noted {
  store_disk::image files;
  uint64_t page_of_last = 0;  // of the file
  uint64_t blocks = 6;

  explicit noted(uint8_t keep, bool with_note = true) {
    const auto places = store_disk::shape(4 << 20);
    files = store_disk::fresh(places);
    block_store store(store_disk::recover(files, 77, a_boot).value());
    store_disk::settle(store, files);
    const uint32_t space = store.add_space("m", "t", 1).value();
    for (uint64_t i = 0; i < blocks; i++) {
      const std::string key = "block " + std::to_string(i);
      put_request put;
      put.space = space;
      put.key = key;
      put.keep = keep;
      put.part_count = 1;
      put.part_bytes[0] = sizeof content_;
      put.data = content_;
      REQUIRE(store.put(put));
      store_disk::settle(store, files);
    }
    const auto end = store_disk::recover(files)->journal.next;
    page_of_last = places.journal_page(end - 1);
    if (!with_note) return;
    CHECK(store.note_due());
    store.request_note();
    store_disk::settle(store, files);
    CHECK_FALSE(store.note_due());
  }
  void lose_pages(uint64_t count) {
    const uint64_t from = (page_of_last + 1 - count) * page_bytes;
    memset(files[0].data() + from, 0, count * page_bytes);
  }

 private:
  static constexpr unsigned char content_[100] = {7};
};

}  // namespace

TEST_CASE("a journal that ends early is found out in the boot that wrote it, and said once") {
  noted one(CUBBY_KEEP_RESTART);
  auto found = store_disk::recover(one.files, 77, a_boot);
  REQUIRE(found);
  CHECK(found->report.journal_lost_pages == 0);
  CHECK(found->report.blocks == one.blocks);
  const uint64_t next = found->journal.next;
  const uint64_t lost = GENERATE(1u, 3u);
  one.lose_pages(lost);
  found = store_disk::recover(one.files, 77, a_boot);
  REQUIRE(found);
  CHECK(found->report.journal_lost_pages == lost);
  CHECK(found->report.journal_ends_bytes == (one.page_of_last + 1 - lost) * page_bytes);
  CHECK(found->report.first_bad_bytes == found->report.journal_ends_bytes);
  CHECK(found->report.records_bad == lost);
  CHECK(found->report.blocks == one.blocks - lost);
  CHECK(found->journal.next == next);  // what was lost is not mixed with what comes
  // Whoever opens it for good leaves that behind.
  block_store store(std::move(found).value());
  store_disk::settle(store, one.files);
  for (const uint64_t boot : {a_boot, a_later_boot}) {
    const auto again = store_disk::recover(one.files, 77, boot);
    REQUIRE(again);
    CHECK(again->report.journal_lost_pages == 0);
    CHECK(again->report.first_bad_bytes == 0);
    CHECK(again->report.blocks == one.blocks - lost);
  }
}

TEST_CASE("a journal's end that nobody had flushed may be gone after a power cut, others may not") {
  noted restart(CUBBY_KEEP_RESTART);
  restart.lose_pages(3);
  const auto legitimate = store_disk::recover(restart.files, 77, a_later_boot);
  REQUIRE(legitimate);
  CHECK(legitimate->report.journal_lost_pages == 0);
  CHECK(legitimate->report.first_bad_bytes == 0);
  noted durable(CUBBY_KEEP_DURABLE);
  durable.lose_pages(3);
  const auto damaged = store_disk::recover(durable.files, 77, a_later_boot);
  REQUIRE(damaged);
  CHECK(damaged->report.journal_lost_pages == 3);
  CHECK(damaged->report.journal_ends_bytes == (durable.page_of_last - 2) * page_bytes);
}

TEST_CASE("without a note, or with a damaged one, a journal's end is where its records end") {
  noted none(CUBBY_KEEP_RESTART, false);
  none.lose_pages(2);
  auto found = store_disk::recover(none.files, 77, a_boot);
  REQUIRE(found);
  CHECK(found->report.journal_lost_pages == 0);
  noted damaged(CUBBY_KEEP_RESTART);
  damaged.lose_pages(2);
  const uint64_t at = note_copy * page_bytes + note_at_bytes;
  for (uint64_t byte = 0; byte < sizeof(end_note); byte++) {
    damaged.files[0][at + byte] ^= 1;
    found = store_disk::recover(damaged.files, 77, a_boot);
    REQUIRE(found);
    CHECK(found->report.journal_lost_pages == 0);
    CHECK(found->report.superblocks_bad == 0);
    damaged.files[0][at + byte] ^= 1;
  }
}

TEST_CASE("pages that cannot be read count as damaged, and a short file is refused") {
  filled one;
  one.files[0].resize(one.files[0].size() - page_bytes);
  const auto found = store_disk::recover(one.files);
  REQUIRE_FALSE(found);
  CHECK(found.failure().status == CUBBY_ERR_FORMAT);
  recovery opening({one.files[0].size() + page_bytes}, 77);
  while (const auto read = opening.next()) {
    const bool journal = read->offset_bytes == one.store->places().journal_page(0) * page_bytes;
    const uint64_t there = std::min<uint64_t>(
        read->bytes,
        one.files[0].size() > read->offset_bytes ? one.files[0].size() - read->offset_bytes : 0);
    opening.give(one.files[0].data() + read->offset_bytes, journal ? 0 : there);
  }
  CHECK(opening.finish());
}

TEST_CASE("a page of the journal in another place, or of another store, is none") {
  filled one;
  const auto places = one.store->places();
  const auto before = store_disk::recover(one.files);
  const uint64_t last = before->journal.next - 1;
  // A lap later, and once more behind the last page.
  for (const uint64_t number : {last + 1, last + 2})
    memcpy(one.files[0].data() + places.journal_page(number) * page_bytes,
           one.files[0].data() + places.journal_page(last - 2) * page_bytes, page_bytes);
  const auto found = store_disk::recover(one.files);
  REQUIRE(found);
  CHECK(found->journal.next == before->journal.next);
  CHECK(found->report.records_replayed == before->report.records_replayed);
}

TEST_CASE("files of a store in another order are refused") {
  opened one(2 << 20, 2);
  const uint32_t space = one.space();
  REQUIRE(one.put(space, "k", 100));
  std::swap(one.files[0], one.files[1]);
  const auto found = store_disk::recover(one.files);
  REQUIRE_FALSE(found);
  CHECK(found.failure().status == CUBBY_ERR_FORMAT);
  CHECK(found.failure().text.find("order") != std::string::npos);
}

// Bugs that others had.

TEST_CASE("another request's KV served from disk, silently (LMCache #4385, TensorRT-LLM #8813)") {
  filled one;
  auto found = store_disk::recover(one.files);
  block_body a = found->blocks.body_of(0), b = found->blocks.body_of(1);
  unsigned char *file = one.files[0].data();
  // The bytes of two blocks change places; both are whole, and both are wrong.
  std::swap_ranges(file + uint64_t{a.first_page} * page_bytes,
                   file + uint64_t{a.first_page} * page_bytes + bytes_of(a),
                   file + uint64_t{b.first_page} * page_bytes);
  CHECK_FALSE(store_disk::content(one.files, a));
  CHECK_FALSE(store_disk::content(one.files, b));
}

TEST_CASE("a stale block of the same pages is not taken for the new one (LMCache #1866)") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  const auto number = one.put(space, "old", 4096, CUBBY_KEEP_DURABLE);
  const block_body old = one.store->blocks().body_of(*number);
  const store_disk::image then = one.files;
  one.erase(*number);
  const auto again = one.put(space, "another", 4096, CUBBY_KEEP_DURABLE);
  const block_body body = one.store->blocks().body_of(*again);
  REQUIRE(body.first_page == old.first_page);
  CHECK(body.generation != old.generation);
  memcpy(one.files[0].data() + uint64_t{body.first_page} * page_bytes,
         then[0].data() + uint64_t{body.first_page} * page_bytes, page_bytes);
  CHECK_FALSE(store_disk::content(one.files, body));
}

TEST_CASE("a failed store stays visible and later hits serve garbage (LMCache #4991): not here") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  const auto number = one.store->put(one.request(space, "k", 9000, CUBBY_KEEP_RESTART));
  REQUIRE(number);
  store_operation op;
  while (one.store->next_operation(op)) one.store->completed(op.cookie, EIO);
  CHECK_FALSE(one.store->locate(*number));
  CHECK(one.again().blocks == 0);
}

TEST_CASE("every write failed and health said 200 (LMCache #4364): each put says so") {
  opened one(1 << 20);
  const uint32_t space = one.space();
  for (int i = 0; i < 57; i++)
    REQUIRE(one.store->put(one.request(space, "k", 5000, CUBBY_KEEP_RESTART)));
  store_operation op;
  while (one.store->next_operation(op)) one.store->completed(op.cookie, ENOSPC);
  store_completion out;
  int failed = 0;
  while (one.store->next_completion(out)) failed += out.status == CUBBY_ERR_NO_SPACE;
  CHECK(failed == 57);
  CHECK(one.store->statistics().requests_failed == 57);
  CHECK(one.store->statistics().block_count == 0);
}

TEST_CASE("contents thrown away at restart (LMCache #562, vLLM #54779): they are not") {
  filled one;
  for (int i = 0; i < 3; i++) CHECK(one.again().blocks == one.content.size());
}

TEST_CASE("0 % hits across processes, for keys were hashed with a random seed: keys are stored") {
  filled one;
  const uint64_t digest = digest_of_key(0x5701e1d, "a key");
  CHECK(digest == digest_of_key(0x5701e1d, "a key"));
  CHECK(digest == 0x83d2d1db40ef7573ull);
}

TEST_CASE("KV stored many times too big by padding (club-3090 #422): at most 1.02 of its bytes") {
  const auto places = store_disk::shape(1ull << 36, 1, 256 << 10);
  const uint64_t blocks = (places.end_data_page() - places.first_data_page(0)) / 64;
  CHECK(1.02 * static_cast<double>(blocks) * (256 << 10) >= static_cast<double>(1ull << 36));
  opened one(64 << 20, 1, 256 << 10);
  const uint32_t space = one.space();
  const uint64_t before = one.store->statistics().free_bytes;
  REQUIRE(one.put(space, "k", (256 << 10) - 3000));
  CHECK(before - one.store->statistics().free_bytes == 256 << 10);
}

}  // namespace store_damage_test
