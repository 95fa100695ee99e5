#include "store/durable/open_store.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "store/durable/journal.hpp"
#include "store/durable/new_store.hpp"
#include "store/durable/pages.hpp"

namespace cubby::store {
namespace {

/// A store that is there in part: its disk may be missing, or it was never made to its end.
error missing_file(const std::string &missing, const std::string &there) {
  return fail_errno(
      ENOENT,
      "%s has no file of the store, and %s has one; mount the disk of the first, name "
      "the directories of one store, or remove what is left of it",
      missing.c_str(), there.c_str());
}

std::optional<read_superblock> superblock_of(int fd, page_buffer &page) {
  return decode_superblock(page.at(0), read_all(fd, page.at(0), page_bytes, 0));
}

/// Was nothing ever recorded in the store whose first file this is?
bool is_unused(int fd, const store_shape &shape, page_buffer &page) {
  const auto places = layout::of(shape);
  if (!places) return false;
  const auto read = [&](uint64_t number) {
    return read_all(fd, page.at(0), page_bytes, places->journal_page(number) * page_bytes) ==
           page_bytes;
  };
  const unsigned char *const at = page.at(0);
  if (!read(0) || !is_made_alone(shape.store_id, at)) return false;
  return read(1) && std::all_of(at, at + page_bytes, [](auto one) { return one == 0; });
}

/// Of the first file, as long as it does not have its name yet and nothing was put there.
std::optional<read_superblock> superblock_of_unnamed(const std::string &directory) {
  const std::string path = (directory.empty() ? "." : directory) + "/" + store_file_name + ".new";
  page_buffer page(1);  // before the file is open: there may be no memory
  const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return std::nullopt;
  auto found = superblock_of(fd, page);
  if (found && !is_unused(fd, found->shape, page)) found.reset();
  ::close(fd);
  return found;
}

/// The first file of a store is named last. Where it does not have its name yet, and the others of
/// the same id do, the process that was making the store has died, and nobody can have put anything
/// there: the others lose their names, and the store is made anew. A living maker has them locked.
result<void> clear_unfinished(const std::vector<std::string> &directories) {
  if (directories.size() < 2 || store_file_exists(directories[0])) return {};
  const auto first = superblock_of_unnamed(directories[0]);
  if (!first || first->file != 0 || first->shape.file_count != directories.size()) return {};
  std::vector<store_file> named;
  page_buffer page(1);
  for (size_t i = 1; i < directories.size(); i++) {
    if (!store_file_exists(directories[i])) continue;
    auto file = store_file::open(directories[i], false);
    if (!file) return file.failure();
    const auto seen = superblock_of(file->fd(), page);
    if (!seen || seen->file != i || seen->shape.store_id != first->shape.store_id) return {};
    named.push_back(std::move(file).value());
  }
  for (store_file &one : named) one.withdraw();
  return {};
}

result<std::vector<store_file>> open_files(const store_options &options) {
  std::vector<store_file> files;
  const auto &all = options.directories;
  const auto there = std::find_if(all.begin(), all.end(), store_file_exists);
  for (const std::string &directory : all) {
    if (there != all.end() && !store_file_exists(directory)) return missing_file(directory, *there);
    auto file = options.read_only ? store_file::open_to_look(directory)
                                  : store_file::open(directory, false);
    if (!file) return file.failure();
    files.push_back(std::move(file).value());
  }
  return files;
}

/// The pages of an empty store; 0 or the errno.
int write_empty(const layout &places, const std::vector<store_file> &files) {
  int native = 0;
  write_new_store(places, [&](uint32_t file, uint64_t offset_bytes, const void *page) {
    if (native == 0) native = write_all(files[file].fd(), page, page_bytes, offset_bytes);
  });
  return native;
}

/// About what the store was made for; a store says no more than for how many blocks it has numbers.
uint64_t usual_block_bytes(const store_shape &shape) {
  const uint64_t pages = shape.pages_per_file * shape.file_count;
  const uint64_t a_block = (pages + pages / 4) / shape.blocks_max;
  return std::clamp<uint64_t>(a_block * page_bytes, page_bytes, store_block_bytes_max);
}

result<std::vector<store_file>> create_files(const store_options &options) {
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
  if (const int native = write_empty(*places, files); native != 0)
    return fail_errno(native, "the new store %s could not be written", files[0].path().c_str());
  // Before any has its name: after a power cut the first tells what the others belong to.
  for (store_file &one : files) {
    if (auto flushed = one.flush_unnamed(); !flushed) return flushed.failure();
  }
  // The first file comes last: where it is, all are.
  for (size_t i = files.size(); i-- > 0;) {
    auto named = files[i].publish();
    if (named) continue;
    // Some files alone are no store, and would be in the way of one.
    while (++i < files.size()) files[i].withdraw();
    return named.failure();
  }
  return files;
}

result<recovered_store> recover(const std::vector<store_file> &files, uint64_t fingerprint,
                                uint64_t boot = 0) {
  std::vector<uint64_t> sizes;
  std::vector<std::string> names;
  for (const store_file &file : files) {
    sizes.push_back(file.bytes());
    names.push_back(file.path());
  }
  recovery opening(std::move(sizes), fingerprint, std::move(names), boot);
  page_buffer pages(recovery::read_bytes_max / page_bytes);
  while (const auto read = opening.next()) {
    const int fd = files[read->file].fd();
    opening.give(pages.at(0), read_all(fd, pages.at(0), read->bytes, read->offset_bytes));
  }
  auto found = opening.finish();
  if (!found) {
    error failure = found.failure();
    failure.text = files[0].path() + ": " + failure.text;
    return failure;
  }
  return found;
}

}  // namespace

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

result<opened_store> open_store(const store_options &options) {
  if (options.directories.empty() || options.directories.size() > store_files_max)
    return fail(CUBBY_ERR_INVALID, "a store lies in 1 to %u directories, not %zu", store_files_max,
                options.directories.size());
  const bool may_make = options.budget_bytes != 0 && !options.read_only;
  if (may_make) {
    if (auto cleared = clear_unfinished(options.directories); !cleared) return cleared.failure();
  }
  bool there = !may_make;
  for (const std::string &directory : options.directories)
    there = there || store_file_exists(directory);
  auto files = there ? open_files(options) : create_files(options);
  if (!files) return files.failure();
  auto found = recover(*files, options.fingerprint, options.boot);
  if (!found) return found.failure();
  return opened_store{std::move(files).value(), std::move(found).value()};
}

result<opened_store> create_beside(const opened_store &old, uint64_t budget_bytes) {
  const store_shape &shape = old.content.places.shape();
  auto places = shape_new_store(
      {budget_bytes, 1, usual_block_bytes(shape), shape.fingerprint, shape.store_id});
  if (!places) return places.failure();
  auto file =
      store_file::create_beside(old.files[0], places->shape().pages_per_file * page_bytes, false);
  if (!file) return file.failure();
  std::vector<store_file> files;
  files.push_back(std::move(file).value());
  if (const int native = write_empty(*places, files); native != 0)
    return fail_errno(native, "the new store beside %s could not be written",
                      files[0].path().c_str());
  auto found = recover(files, 0);
  if (!found) return found.failure();
  return opened_store{std::move(files), std::move(found).value()};
}

result<std::vector<unsigned char>> read_block(const std::vector<store_file> &files,
                                              const block_body &body) {
  std::vector<unsigned char> bytes(bytes_of(body));
  const store_file &file = files[body.file];
  const uint64_t offset = uint64_t{body.first_page} * page_bytes;
  const uint64_t got = read_all(file.fd(), bytes.data(), bytes.size(), offset);
  if (got == bytes.size() && digest_of_block(bytes.data(), body) == body.digest) return bytes;
  auto failure = fail(got == bytes.size() ? CUBBY_ERR_CORRUPT : CUBBY_ERR_IO,
                      "block %u at %llu of %s is not as it was put; erase it", body.number,
                      static_cast<unsigned long long>(offset), file.path().c_str());
  failure.offset_bytes = offset;
  failure.data_loss = true;
  return failure;
}

}  // namespace cubby::store
