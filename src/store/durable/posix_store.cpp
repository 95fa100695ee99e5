#include "store/durable/posix_store.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "store/durable/new_store.hpp"

namespace cubby::store {
namespace {

/// All bytes; 0 or the errno.
int write_all(int fd, const void *data, uint64_t bytes, uint64_t offset) {
  const auto *at = static_cast<const unsigned char *>(data);
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t put = pwrite(fd, at + done, bytes - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno;
    if (put == 0) return ENOSPC;
    done += static_cast<uint64_t>(put);
  }
  return 0;
}

/// As many bytes as can be read.
uint64_t read_all(int fd, void *data, uint64_t bytes, uint64_t offset) {
  auto *at = static_cast<unsigned char *>(data);
  uint64_t done = 0;
  while (done < bytes) {
    const ssize_t got = pread(fd, at + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<uint64_t>(got);
  }
  return done;
}

}  // namespace

result<std::vector<store_file>> posix_store::open_files(const posix_store_options &options) {
  std::vector<store_file> files;
  for (const std::string &directory : options.directories) {
    auto file = store_file::open(directory, false);
    if (!file) return file.failure();
    files.push_back(std::move(file).value());
  }
  return files;
}

result<std::vector<store_file>> posix_store::create_files(const posix_store_options &options) {
  uint64_t id = 0;
  while (id == 0)
    if (getrandom(&id, sizeof id, 0) != static_cast<ssize_t>(sizeof id))
      return fail_errno(errno, "no random number for the store's id; allow getrandom");
  auto places =
      shape_new_store({options.budget_bytes, static_cast<uint32_t>(options.directories.size()),
                       options.block_bytes, options.fingerprint, id});
  if (!places) return places.failure();
  std::vector<store_file> files;
  for (const std::string &directory : options.directories) {
    auto file = store_file::create(directory, places->shape().pages_per_file * page_bytes, false);
    if (!file) return file.failure();
    files.push_back(std::move(file).value());
  }
  int native = 0;
  write_new_store(*places, [&](uint32_t file, uint64_t offset_bytes, const void *page) {
    if (native == 0) native = write_all(files[file].fd(), page, page_bytes, offset_bytes);
  });
  if (native != 0)
    return fail_errno(native, "the new store %s could not be written", files[0].path().c_str());
  // The first file comes last: where it is, all are.
  for (size_t i = files.size(); i-- > 0;)
    if (auto named = files[i].publish(); !named) return named.failure();
  return files;
}

result<recovered_store> posix_store::recover(uint64_t fingerprint) const {
  std::vector<uint64_t> sizes;
  for (const store_file &file : files_) sizes.push_back(file.bytes());
  recovery opening(sizes, fingerprint);
  page_buffer pages(recovery::read_bytes_max / page_bytes);
  while (const auto read = opening.next()) {
    const int fd = files_[read->file].fd();
    opening.give(pages.at(0), read_all(fd, pages.at(0), read->bytes, read->offset_bytes));
  }
  auto found = opening.finish();
  if (!found) {
    error failure = found.failure();
    failure.text = files_[0].path() + ": " + failure.text;
    return failure;
  }
  return found;
}

result<std::unique_ptr<posix_store>> posix_store::open(const posix_store_options &options) {
  if (options.directories.empty() || options.directories.size() > store_files_max)
    return fail(CUBBY_ERR_INVALID, "a store lies in 1 to %u directories, not %zu", store_files_max,
                options.directories.size());
  bool there = options.budget_bytes == 0;
  for (const std::string &directory : options.directories)
    there = there || store_file_exists(directory);
  auto files = there ? open_files(options) : create_files(options);
  if (!files) return files.failure();
  std::unique_ptr<posix_store> made(new posix_store);
  made->files_ = std::move(files).value();
  auto found = made->recover(options.fingerprint);
  if (!found) return found.failure();
  made->report_ = found->report;
  made->store_ = std::make_unique<block_store>(std::move(found).value());
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
      digest_of_block(bytes.data(), got, number, place->generation) == place->digest)
    return bytes;
  auto failure = fail(got == bytes.size() ? CUBBY_ERR_CORRUPT : CUBBY_ERR_IO,
                      "block %u at %llu of %s is not as it was put; erase it", number,
                      static_cast<unsigned long long>(place->offset_bytes), file.path().c_str());
  failure.offset_bytes = place->offset_bytes;
  failure.data_loss = true;
  return failure;
}

}  // namespace cubby::store
