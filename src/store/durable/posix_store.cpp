#include "store/durable/posix_store.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace cubby::store {

result<std::unique_ptr<posix_store>> posix_store::open(const store_options &options) {
  auto opened = open_store(options);
  if (!opened) return opened.failure();
  return over(std::move(opened).value());
}

std::unique_ptr<posix_store> posix_store::over(opened_store &&opened) {
  std::unique_ptr<posix_store> made(new posix_store);
  made->files_ = std::move(opened.files);
  made->report_ = opened.content.report;
  made->store_ = std::make_unique<block_store>(std::move(opened.content));
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
  if (!store_->locate(number)) return fail(CUBBY_MISS, "the store has no block %u", number);
  return read_block(files_, store_->blocks().body_of(number));
}

}  // namespace cubby::store
