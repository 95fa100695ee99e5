#include "store/seal.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/digest.hpp"
#include "store/header_reader.hpp"

namespace cubby::store {
namespace {

// magic, version, chunk_bytes, complete, files, then each file; banks, then each bank; a digest of
// all that. Little-endian.
constexpr char magic[] = "CUBBSEAL";
constexpr uint32_t version = 1;
constexpr uint64_t path_bytes_max = 4096;
constexpr uint64_t file_bytes_min = 8 + 5 * 8;

void put_number(std::string &out, uint64_t value) {
  for (uint32_t i = 0; i < 8; i++) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::string encode(const seal &content) {
  std::string out(magic, 8);
  put_number(out, version);
  put_number(out, content.chunk_bytes);
  put_number(out, content.complete ? 1 : 0);
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
  if (reader.number(8, "the version") != version) reader.refuse(8, "an unknown version of seal");
  const uint64_t chunk_bytes = reader.number(8, "the chunk size");
  const uint64_t complete = reader.number(8, "the state");
  if (chunk_bytes > UINT32_MAX || complete > 1) reader.refuse(16, "impossible values in the seal");
  content.chunk_bytes = static_cast<uint32_t>(chunk_bytes);
  content.complete = complete == 1;
  const uint64_t files = reader.count(file_bytes_min, "the number of files");
  for (uint64_t i = 0; i < files && !reader.failed(); i++)
    content.files.push_back(read_part_file(reader));
  const uint64_t banks = reader.count(8, "the number of banks");
  for (uint64_t i = 0; i < banks && !reader.failed(); i++) {
    std::vector<uint64_t> bank(reader.count(8, "the number of digests"));
    for (uint64_t &digest : bank) digest = reader.number(8, "a digest");
    content.banks.push_back(std::move(bank));
  }
  return content;
}

std::string directory_of(const std::string &path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string &path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
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

std::string seal_path_of(const model_file &model, const std::string &seal_path) {
  if (!seal_path.empty()) return seal_path;
  return (model.files.empty() ? std::string() : model.files.front().path) + ".cubby-seal";
}

result<seal> read_seal(const std::string &path) {
  auto reader = header_reader::open(path);
  if (!reader) {
    if (reader.failure().native != ENOENT) return reader.failure();
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

result<void> write_seal(const std::string &path, const seal &content) {
  const std::string bytes = encode(content);
  const std::string temporary = path + ".tmp-" + std::to_string(getpid());
  const int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) return fail_errno(errno, "%s could not be created", temporary.c_str());
  int native = write_through(fd, bytes);
  if (close(fd) != 0 && native == 0) native = errno;
  if (native == 0 && rename(temporary.c_str(), path.c_str()) != 0) native = errno;
  if (native != 0) {
    unlink(temporary.c_str());
    return fail_errno(native, "the seal %s could not be written", path.c_str());
  }
  native = flush_directory(path);
  if (native != 0) return fail_errno(native, "the seal %s may not be durable", path.c_str());
  return {};
}

result<void> check_seal(const seal &content, const model_file &model) {
  if (content.files.size() != model.files.size())
    return fail(CUBBY_ERR_CORRUPT, "%s: the seal is of %zu files, the model has %zu; seal it again",
                model.files.empty() ? "the model" : model.files.front().path.c_str(),
                content.files.size(), model.files.size());
  for (size_t i = 0; i < model.files.size(); i++) {
    const model_part_file &then = content.files[i];
    const model_part_file &now = model.files[i];
    // Not the device number: it may be another after every boot. The folder may be mounted
    // elsewhere, hence names only.
    const char *differs = name_of(then.path) != name_of(now.path)   ? "name"
                          : then.bytes != now.bytes                 ? "size"
                          : then.header_digest != now.header_digest ? "header"
                          : then.mtime_ns != now.mtime_ns           ? "time of change"
                          : then.inode != now.inode                 ? "inode"
                                                                    : nullptr;
    if (differs)
      return fail(
          CUBBY_ERR_CORRUPT,
          "%s is not as it was sealed: its %s differs; if the change is meant, seal it again",
          now.path.c_str(), differs);
  }
  return {};
}

}  // namespace cubby::store
