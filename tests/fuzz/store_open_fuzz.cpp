// A store of any bytes. The input is a list of changes to a small store that is whole: a flag byte,
// then (offset of 3 bytes, count, bytes) again and again. With bit 0 of the flag all checksums are
// put right afterwards, so that mutations reach what they guard. With bit 1 the input is the file.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "fuzz/checks.hpp"
#include "store/durable/block_store.hpp"
#include "store/durable/manifest.hpp"
#include "support/store_disk.hpp"

namespace {

using namespace cubby::store;

constexpr uint64_t budget_bytes = 160 * page_bytes;

void put_blocks(block_store &store, store_disk::image &files, const char *name) {
  const auto space = store.add_space("model", name, 0);
  fuzz::require(space.ok(), "no space could be added");
  for (uint32_t i = 0; i < 6; i++) {
    const std::string key = name + std::to_string(i);
    const std::string bytes(3000 + 700 * i, static_cast<char>('a' + i));
    put_request put;
    put.space = *space;
    put.key = key;
    put.keep = i % 2 == 0 ? CUBBY_KEEP_RESTART : CUBBY_KEEP_DURABLE;
    put.part_count = 1;
    put.part_bytes[0] = static_cast<uint32_t>(bytes.size());
    put.data = bytes.data();
    fuzz::require(store.put(put).ok(), "a block could not be put");
    store_disk::settle(store, files);
  }
}

/// Some blocks in the manifest, some in the journal.
store_disk::image whole_store() {
  store_disk::image files = store_disk::fresh(store_disk::shape(budget_bytes));
  auto found = store_disk::recover(files);
  fuzz::require(found.ok(), "a new store does not open");
  block_store store(std::move(found).value());
  put_blocks(store, files, "first ");
  store.request_checkpoint();
  store_disk::settle(store, files);
  put_blocks(store, files, "second ");
  return files;
}

void put_checksums_right(unsigned char *file, const layout &places) {
  const uint64_t id = places.shape().store_id;
  for (uint64_t sequence = 1; sequence <= 2; sequence++) {
    unsigned char *slot = file + places.slot_page(sequence) * page_bytes;
    manifest_head head;
    memcpy(&head, slot, sizeof head);
    encode_head(id, head, slot);
    for (uint64_t i = 0; i < 2 * entries_per_page; i++) {
      unsigned char *page = slot + (slot_entries_at + i / entries_per_page) * page_bytes;
      manifest_entry entry;
      memcpy(&entry, page + i % entries_per_page * sizeof entry, sizeof entry);
      encode_entry(id, head.sequence, i, entry.body, page);
    }
  }
  for (uint64_t number = 0; number < places.shape().journal_pages; number++) {
    unsigned char *page = file + places.journal_page(number) * page_bytes;
    for (uint32_t slot = 0; slot < records_per_page; slot++) {
      const journal_record nothing = {};
      if (memcmp(page + slot * sizeof nothing, &nothing, sizeof nothing) != 0)
        encode_checksum(id, number, slot, page);
    }
  }
}

store_disk::image changed(const uint8_t *data, size_t size) {
  static const store_disk::image whole = whole_store();
  store_disk::image files = whole;
  const uint8_t flags = data[0];
  if ((flags & 2) != 0) {
    files[0].assign(data + 1, data + size);
    return files;
  }
  for (size_t at = 1; at + 4 < size;) {
    const uint64_t offset = data[at] | uint64_t{data[at + 1]} << 8 | uint64_t{data[at + 2]} << 16;
    const size_t count = std::min<size_t>(data[at + 3], size - at - 4);
    for (size_t i = 0; i < count; i++) files[0][(offset + i) % files[0].size()] = data[at + 4 + i];
    at += 4 + count;
  }
  if ((flags & 1) != 0) put_checksums_right(files[0].data(), store_disk::shape(budget_bytes));
  return files;
}

/// What has been opened lies inside the file, apart from each other, and can be worked with.
void use(recovered_store &&found, store_disk::image &files) {
  const layout places = found.places;
  block_store store(std::move(found));
  std::vector<bool> taken(files[0].size() / page_bytes + 1, false);
  for (uint32_t i = 0; i < store.blocks().end(); i++) {
    const auto place = store.locate(i);
    if (!place) continue;
    const uint64_t end = place->offset_bytes + pages_of(place->bytes) * page_bytes;
    fuzz::require(place->file == 0 && end <= files[0].size(), "a block lies outside the file");
    fuzz::require(place->offset_bytes >= places.first_data_page(0) * page_bytes,
                  "a block lies in the store's own pages");
    for (uint64_t page = place->offset_bytes / page_bytes; page < end / page_bytes; page++) {
      fuzz::require(!taken[page], "two blocks have a page in common");
      taken[page] = true;
    }
    (void)store_disk::content(files, store.blocks().body_of(i));
  }
  const std::string bytes(5000, 'x');
  if (const auto space = store.add_space("model", "fuzz", 0)) {
    put_request put;
    put.space = *space;
    put.key = "k";
    put.part_count = 1;
    put.part_bytes[0] = 5000;
    put.data = bytes.data();
    (void)store.put(put);
  }
  for (uint32_t i = 0; i < std::min(store.blocks().end(), 8u); i++) (void)store.erase(i, 0);
  store.request_checkpoint();
  store_disk::settle(store, files);
  fuzz::require(store_disk::recover(files).ok(), "the store does not open again");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  store_disk::image files = changed(data, size);
  auto found = store_disk::recover(files);
  if (!found) {
    fuzz::check_refusal(found.failure());
    return 0;
  }
  fuzz::accepted = true;
  use(std::move(found).value(), files);
  return 0;
}
