// How long a durable store with many blocks takes to open, what it takes in memory, and what its
// own pages take on the device. Blocks' bytes are not written: the file is sparse.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "store/durable/block_store.hpp"
#include "store/durable/new_store.hpp"

namespace {

using namespace cubby::store;

constexpr uint32_t rounds = 5;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void need(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "store_open: %s\n", what);
  exit(1);
}

recovered_store open_store(int fd, uint64_t bytes) {
  recovery opening({bytes}, 0);
  page_buffer pages(recovery::read_bytes_max / page_bytes);
  while (const auto read = opening.next()) {
    const ssize_t got = pread(fd, pages.at(0), read->bytes, static_cast<off_t>(read->offset_bytes));
    opening.give(pages.at(0), got > 0 ? static_cast<uint64_t>(got) : 0);
  }
  auto found = opening.finish();
  need(found.ok(), "the store does not open");
  return std::move(found).value();
}

void settle(block_store &store, int fd) {
  const uint64_t data = store.places().first_data_page(0) * page_bytes;
  store_operation op;
  store_completion done;
  while (store.next_operation(op)) {
    if (op.what == store_operation::kind::write && op.offset_bytes < data)
      need(pwrite(fd, op.data, op.bytes, static_cast<off_t>(op.offset_bytes)) ==
               static_cast<ssize_t>(op.bytes),
           "no write");
    store.completed(op.cookie, 0);
  }
  while (store.next_completion(done)) need(done.status == CUBBY_OK, "a put failed");
}

void fill(block_store &store, int fd, uint32_t count, uint32_t bytes) {
  const auto space = store.add_space("model", "tenant", 0);
  need(space.ok(), "no space");
  const std::vector<char> content(bytes, 'x');
  for (uint32_t i = 0; i < count; i++) {
    char key[17];
    snprintf(key, sizeof key, "%016x", i);
    put_request put;
    put.space = *space;
    put.key = key;
    put.part_count = 1;
    put.part_bytes[0] = bytes;
    put.data = content.data();
    need(store.put(put).ok(), "no room");
    if (i % 128 == 127) settle(store, fd);
  }
  settle(store, fd);
}

}  // namespace

int main(int argc, char **argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";
  const auto count = static_cast<uint32_t>(argc > 2 ? atoi(argv[2]) : 1'000'000);
  const auto bytes = static_cast<uint32_t>(argc > 3 ? atoi(argv[3]) : 4096);
  const uint64_t data = uint64_t{count} * pages_of(bytes) * page_bytes;
  const auto places = shape_new_store({data + data / 8 + (64ull << 20), 1, bytes, 0, 1});
  need(places.ok(), "no such store");
  const uint64_t file_bytes = places->shape().pages_per_file * page_bytes;
  const std::string path = folder + "/store_open.tmp";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  need(fd >= 0 && ftruncate(fd, static_cast<off_t>(file_bytes)) == 0, "no file in the folder");
  unlink(path.c_str());
  write_new_store(*places, [fd](uint32_t, uint64_t offset, const void *page) {
    need(pwrite(fd, page, page_bytes, static_cast<off_t>(offset)) == page_bytes, "no write");
  });
  {
    block_store store(open_store(fd, file_bytes));
    fill(store, fd, count, bytes);
  }
  std::vector<double> cached, read;
  for (uint32_t i = 0; i < 2 * rounds; i++) {
    fsync(fd);
    if (i % 2 == 1) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    const double before = seconds();
    const recovered_store found = open_store(fd, file_bytes);
    (i % 2 == 0 ? cached : read).push_back(seconds() - before);
    need(found.report.blocks == count, "blocks are missing");
  }
  std::sort(cached.begin(), cached.end());
  std::sort(read.begin(), read.end());
  const block_store store(open_store(fd, file_bytes));
  const uint64_t own = (places->first_data_page(0) + 1) * page_bytes;
  printf(
      "%u blocks of %u bytes: open %.3f s from the page cache, %.3f s from the device (medians "
      "of %u)\n",
      count, bytes, cached[rounds / 2], read[rounds / 2], rounds);
  printf("index in memory: %.1f bytes a block with keys of 16 bytes\n",
         static_cast<double>(store.statistics().memory_bytes) / count);
  printf("the store's own pages: %.4f of the blocks' bytes\n",
         static_cast<double>(own) / static_cast<double>(data));
  return 0;
}
