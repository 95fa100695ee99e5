#include "store/durable/posix_store.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace cubby::store {

result<std::unique_ptr<posix_store>> posix_store::open(const store_options &options) {
  auto opened = open_store(options);
  if (!opened) return opened.failure();
  std::unique_ptr<posix_store> made(new posix_store);
  made->files_ = std::move(opened->files);
  made->report_ = opened->content.report;
  made->store_ = std::make_unique<block_store>(std::move(opened->content));
  made->run();
  return made;
}

std::vector<std::string> posix_store::notes() const {
  std::vector<std::string> all;
  for (const store_file &file : files_)
    all.insert(all.end(), file.notes().begin(), file.notes().end());
  return all;
}

void posix_store::run() {
  store_operation op;
  while (store_->next_operation(op)) {
    const int fd = files_[op.file].fd();
    const bool write = op.what == store_operation::kind::write;
    int native = 0;
    if (write)
      native = write_all(fd, op.data, op.bytes, op.offset_bytes);
    else if (fdatasync(fd) != 0)
      native = errno;
    store_->completed(op.cookie, native);
  }
}

result<std::vector<unsigned char>> posix_store::read(uint32_t number) const {
  const auto place = store_->locate(number);
  if (!place) return fail(CUBBY_MISS, "the store has no block %u", number);
  std::vector<unsigned char> bytes(place->bytes);
  const store_file &file = files_[place->file];
  const uint64_t got = read_all(file.fd(), bytes.data(), bytes.size(), place->offset_bytes);
  if (got == bytes.size() &&
      digest_of_block(bytes.data(), store_->blocks().body_of(number)) == place->digest)
    return bytes;
  auto failure = fail(got == bytes.size() ? CUBBY_ERR_CORRUPT : CUBBY_ERR_IO,
                      "block %u at %llu of %s is not as it was put; erase it", number,
                      static_cast<unsigned long long>(place->offset_bytes), file.path().c_str());
  failure.offset_bytes = place->offset_bytes;
  failure.data_loss = true;
  return failure;
}

}  // namespace cubby::store
