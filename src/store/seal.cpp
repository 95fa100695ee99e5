#include "store/seal.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/digest.hpp"
#include "base/own_file.hpp"
#include "store/chunks.hpp"
#include "store/header_reader.hpp"

namespace cubby::store {
namespace {

// magic, version, chunk_bytes, complete, of a table its digest, files, then each file; banks, then
// each bank; a digest of all that. Little-endian.
constexpr char magic[] = "CUBBSEAL";
constexpr uint32_t version = 1, version_of_tables = 2;
constexpr uint64_t path_bytes_max = 4096;
constexpr uint64_t file_bytes_min = 8 + 5 * 8;
constexpr char seal_remedy[] =
    "the file is damaged, incomplete or no seal: remove it and seal the model again";

void put_number(std::string &out, uint64_t value) {
  for (uint32_t i = 0; i < 8; i++) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::string encode(const seal &content) {
  std::string out(magic, 8);
  put_number(out, content.table_digest == 0 ? version : version_of_tables);
  put_number(out, content.chunk_bytes);
  put_number(out, content.complete ? 1 : 0);
  if (content.table_digest != 0) put_number(out, content.table_digest);
  put_number(out, content.files.size());
  for (const model_part_file &file : content.files) {
    put_number(out, file.path.size());
    out += file.path;
    for (const uint64_t value :
         {file.bytes, file.device, file.inode, file.mtime_ns, file.header_digest})
      put_number(out, value);
  }
  put_number(out, content.banks.size());
  for (const auto &bank : content.banks) {
    put_number(out, bank.size());
    for (const uint64_t digest : bank) put_number(out, digest);
  }
  put_number(out, base::digest64(out.data(), out.size()));
  return out;
}

model_part_file read_part_file(header_reader &reader) {
  model_part_file file;
  file.path = reader.text(path_bytes_max, "a file's name");
  for (uint64_t *value :
       {&file.bytes, &file.device, &file.inode, &file.mtime_ns, &file.header_digest})
    *value = reader.number(8, "a file's identity");
  return file;
}

seal read_content(header_reader &reader) {
  seal content;
  char found[8] = {};
  reader.take(found, sizeof found, "the magic number");
  if (!reader.failed() && memcmp(found, magic, 8) != 0) reader.refuse(0, "this is not a seal");
  const uint64_t written_as = reader.number(8, "the version");
  if (written_as != version && written_as != version_of_tables)
    reader.refuse(8, "an unknown version of seal");
  const uint64_t chunk_bytes = reader.number(8, "the chunk size");
  const uint64_t complete = reader.number(8, "the state");
  if (!is_chunk_size(chunk_bytes)) reader.refuse(16, "an impossible size of chunks");
  if (complete > 1) reader.refuse(24, "an impossible state");
  content.chunk_bytes = static_cast<uint32_t>(chunk_bytes);
  content.complete = complete == 1;
  if (written_as == version_of_tables) content.table_digest = reader.number(8, "the table");
  const uint64_t files = reader.count(file_bytes_min, "the number of files");
  for (uint64_t i = 0; i < files && !reader.failed(); i++)
    content.files.push_back(read_part_file(reader));
  const uint64_t banks = reader.count(8, "the number of banks");
  for (uint64_t i = 0; i < banks && !reader.failed(); i++) {
    std::vector<uint64_t> bank(reader.count(8, "the number of digests"));
    for (uint64_t &digest : bank) {
      const uint64_t at = reader.position();
      digest = reader.number(8, "a digest");
      if (digest == 0 && content.complete)
        reader.refuse(at, "a digest is missing in a seal that calls itself complete");
    }
    content.banks.push_back(std::move(bank));
  }
  return content;
}

std::string directory_of(const std::string &path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// All bytes on the device; 0 or errno.
int write_through(int fd, const std::string &bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t put = write(fd, bytes.data() + at, bytes.size() - at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno;
    at += static_cast<size_t>(put);
  }
  return fsync(fd) == 0 ? 0 : errno;
}

bool is_seal(std::string_view begin, uint64_t /*bytes*/) {
  return begin.starts_with(std::string_view(magic, 8));
}

/// What a writer that died left: nothing yet, or the beginning of a seal.
bool is_unfinished_seal(std::string_view begin, uint64_t bytes) {
  return bytes == 0 || is_seal(begin, bytes);
}

/// INVALID unless nothing stands there, or what is to be written there would replace its own kind.
result<void> replaceable(const std::string &path, const base::name_state &there) {
  if (there.may_be_written()) return {};
  if (there.what == base::at_name::unknown)
    return fail_errno(there.native,
                      "%s could not be looked at before a seal is written there; name another "
                      "place with a seal path",
                      path.c_str());
  const char *what = there.what == base::at_name::link        ? "is a link"
                     : there.what == base::at_name::irregular ? "is not a regular file"
                                                              : "holds something other than a seal";
  return fail(CUBBY_ERR_INVALID,
              "%s %s and is left as it is; name another place with a seal path, or remove it",
              path.c_str(), what);
}

/// Does this name still stand for the open file?
bool is_named(int fd, const std::string &path) {
  struct stat ours = {}, named = {};
  return fstat(fd, &ours) == 0 && lstat(path.c_str(), &named) == 0 && named.st_ino == ours.st_ino &&
         named.st_dev == ours.st_dev;
}

error in_use(const std::string &path) {
  return fail(CUBBY_ERR_IN_USE, "%s is being written by another; let it finish", path.c_str());
}

/// Removes what a writer that died left under the name, and nothing else.
result<void> remove_leftover(const std::string &path) {
  const auto there = base::look_at_name(path, is_unfinished_seal);
  if (there.what == base::at_name::nothing) return {};
  if (auto good = replaceable(path, there); !good) return good;
  const int fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return {};
  if (fd < 0) return fail_errno(errno, "%s could not be opened; remove it", path.c_str());
  const int native = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  if (native == 0 && is_named(fd, path)) unlink(path.c_str());
  close(fd);
  if (native == EWOULDBLOCK) return in_use(path);
  if (native != 0) return fail_errno(native, "%s could not be locked", path.c_str());
  return {};
}

/// The file that becomes the seal, new and ours alone. Its name is always the same, so that dead
/// writers leave one file at most.
result<int> open_temporary(const std::string &path) {
  for (;;) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
      if (auto good = remove_leftover(path); !good) return good.failure();
      continue;
    }
    if (fd < 0)
      return fail_errno(errno,
                        "%s could not be created; name a place that can be written with a seal "
                        "path",
                        path.c_str());
    const int native = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    // Between creating and locking, another may have taken it for a leftover.
    if (native == 0 && is_named(fd, path)) return fd;
    close(fd);
    if (native == EWOULDBLOCK) return in_use(path);
    if (native != 0) return fail_errno(native, "%s could not be locked", path.c_str());
  }
}

/// The rename itself must reach the device too.
int flush_directory(const std::string &path) {
  const int fd = open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  int native = fsync(fd) == 0 ? 0 : errno;
  if (native == EINVAL) native = 0;  // file systems that have no such thing
  close(fd);
  return native;
}

}  // namespace

uint64_t table_digest_of(const model_file &model) {
  if (model.banks.empty() || model.banks.front().table_row_bytes == 0) return 0;
  const model_bank &table = model.banks.front();
  const part_place page = place_of(table, 0, 0);
  std::string facts;
  for (const uint64_t value : {uint64_t{page.file}, page.offset_bytes, page.bytes,
                               uint64_t{table.table_row_bytes}, table.table_row_count})
    put_number(facts, value);
  return base::digest64(facts.data(), facts.size());
}

std::string seal_path_of(const model_file &model, const std::string &seal_path) {
  if (!seal_path.empty()) return seal_path;
  std::string path = model.files.empty() ? std::string() : model.files.front().path;
  if (!model.banks.empty() && model.banks.front().table_row_bytes != 0) {
    std::string name = model.banks.front().rows.front().parts.front().tensor;
    std::replace(name.begin(), name.end(), '/', '_');
    path += "." + name + ".p" + std::to_string(place_of(model.banks.front(), 0, 0).bytes);
  }
  return path + ".cubby-seal";
}

result<seal> read_seal(const std::string &path) {
  auto reader = header_reader::open(path, seal_remedy);
  if (!reader) {
    const int native = reader.failure().native;
    if (native != ENOENT && native != ENAMETOOLONG) return reader.failure();
    return fail(CUBBY_MISS, "there is no seal %s; `cubby seal` writes one", path.c_str());
  }
  seal content = read_content(*reader);
  const uint64_t end = reader->position();
  const uint64_t digest = reader->number(8, "the seal's own digest");
  if (!reader->failed() && reader->remaining() != 0) reader->refuse(end, "bytes after its end");
  // Written again it must be the same bytes, hence the same digest.
  if (!reader->failed()) {
    const std::string again = encode(content);
    if (base::digest64(again.data(), again.size() - 8) != digest)
      reader->refuse(end, "the seal's digest does not match its content");
  }
  if (reader->failed()) return reader->failure();
  return content;
}

result<void> try_place(const std::string &path) {
  if (auto good = replaceable(path, base::look_at_name(path, is_seal)); !good) return good;
  const std::string temporary = path + ".tmp";
  auto fd = open_temporary(temporary);
  if (!fd) return fd.failure();
  unlink(temporary.c_str());
  close(*fd);
  return {};
}

result<void> write_seal(const std::string &path, const seal &content) {
  const std::string bytes = encode(content);
  if (auto good = replaceable(path, base::look_at_name(path, is_seal)); !good) return good;
  const std::string temporary = path + ".tmp";
  auto fd = open_temporary(temporary);
  if (!fd) return fd.failure();
  // Closing gives up the lock, also where memory runs out on the way.
  const struct closed_at_end {
    const int fd;
    ~closed_at_end() { close(fd); }
  } lock{*fd};
  int native = write_through(*fd, bytes);
  base::name_state there = {base::at_name::nothing, native};
  if (native == 0) there = base::give_name(temporary, path, is_seal);
  native = there.native;
  if (native != 0) unlink(temporary.c_str());
  if (auto good = replaceable(path, there); !good) return good;
  if (native != 0)
    return fail_errno(native,
                      "the seal %s could not be written; make room or name another place with"
                      " a seal path",
                      path.c_str());
  native = flush_directory(path);
  if (native != 0) return fail_errno(native, "the seal %s may not be durable", path.c_str());
  return {};
}

result<std::vector<uint64_t>> take_digests(seal &content, size_t bank, size_t bank_count) {
  if (content.banks.size() != bank_count || bank >= bank_count)
    return fail(CUBBY_ERR_FORMAT,
                "the seal is of %zu banks where the model has %zu; seal the model again",
                content.banks.size(), bank_count);
  return std::move(content.banks[bank]);
}

result<void> check_seal(const seal &content, const model_file &model) {
  if (content.files.size() != model.files.size())
    return fail(CUBBY_ERR_CORRUPT, "%s: the seal is of %zu files, the model has %zu; seal it again",
                model.files.empty() ? "the model" : model.files.front().path.c_str(),
                content.files.size(), model.files.size());
  for (size_t i = 0; i < model.files.size(); i++) {
    const model_part_file &then = content.files[i];
    const model_part_file &now = model.files[i];
    const char *differs = then.bytes != now.bytes                   ? "size"
                          : then.header_digest != now.header_digest ? "header"
                                                                    : nullptr;
    if (differs)
      return fail(
          CUBBY_ERR_CORRUPT,
          "%s is not as it was sealed: its %s differs; if the change is meant, seal it again",
          now.path.c_str(), differs);
  }
  if (content.table_digest != table_digest_of(model))
    return fail(CUBBY_ERR_FORMAT,
                "%s: the seal is of other tensors, or of pages of another size; name the seal "
                "of these with a seal path, or seal again",
                model.files.empty() ? "the model" : model.files.front().path.c_str());
  return {};
}

bool is_untouched(const seal &content, const model_file &model) {
  if (!check_seal(content, model)) return false;
  // Not the device number: it may be another after every boot.
  for (size_t i = 0; i < model.files.size(); i++)
    if (content.files[i].mtime_ns != model.files[i].mtime_ns ||
        content.files[i].inode != model.files[i].inode)
      return false;
  return true;
}

}  // namespace cubby::store
