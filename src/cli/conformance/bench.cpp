#include "cli/conformance/bench.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>

namespace cubby_conformance {
namespace {

constexpr unsigned char guard = 0xc3;

}  // namespace

temp_file::temp_file(const std::string &folder, size_t bytes)
    : path_(folder + "/conformance_XXXXXX"), bytes_(bytes) {
  fd_ = mkostemp(path_.data(), O_CLOEXEC);
  expect(fd_ >= 0, "a test file could not be made in ", folder, ": ", errno_text(errno),
         "; name a folder that may be written with --dir");
  for (size_t i = 0; i < bytes; ++i) bytes_[i] = static_cast<unsigned char>(i * 31 + i / 4096 + 1);
  for (size_t at = 0; at < bytes;) {
    const ssize_t put = pwrite(fd_, &bytes_[at], bytes - at, static_cast<off_t>(at));
    expect(put > 0, "a test file of ", bytes, " bytes could not be written in ", folder, ": ",
           errno_text(errno), "; free some space, or name another folder with --dir");
    at += static_cast<size_t>(put);
  }
}

temp_file::~temp_file() {
  if (fd_ < 0) return;
  ::close(fd_);
  unlink(path_.c_str());
}

void temp_file::expect_bytes(const void *seen, uint64_t offset, uint64_t count,
                             const char *what) const {
  auto bytes = static_cast<const unsigned char *>(seen);
  for (uint64_t i = 0; i < count; ++i) {
    if (bytes[i] == bytes_[offset + i]) continue;
    fail(what, ": byte ", offset + i, " of the file is ", unsigned{bytes_[offset + i]}, ", came ",
         unsigned{bytes[i]});
  }
}

// Where an I/O may still be under way its memory must outlive it, so all of it is left behind.
bench::~bench() {
  if (!forgotten_ && std::uncaught_exceptions() == 0) return;
  for (auto &one : instances_) (void)one.release();
  for (auto &one : pieces_) (void)one.all.release();
}

instance &bench::open(const opening &how) {
  instances_.push_back(std::make_unique<instance>(on_, how));
  return *instances_.back();
}

unsigned char *bench::memory(const instance &to, uint64_t bytes, uint64_t skew) {
  const uint64_t unit = to.unit();
  const uint64_t total = 3 * unit + skew + bytes;
  piece made{std::make_unique<unsigned char[]>(total), nullptr, bytes, total};
  std::memset(made.all.get(), guard, total);
  const auto start = reinterpret_cast<uintptr_t>(made.all.get());
  made.first = made.all.get() + ((start + 2 * unit - 1) / unit * unit - start) + skew;
  std::memset(made.first, 0xee, bytes);
  pieces_.push_back(std::move(made));
  return pieces_.back().first;
}

void bench::look_at_guards() const {
  for (const piece &one : pieces_) {
    const unsigned char *const end = one.all.get() + one.total_bytes;
    for (const unsigned char *at = one.all.get(); at != end; ++at) {
      if (at == one.first) at += one.bytes;
      if (at == end) break;
      if (*at == guard) continue;
      const bool before = at < one.first;
      const auto distance = before ? one.first - at : at - one.first;
      fail("a byte ", distance, before ? " before" : " after", " the start of ", one.bytes,
           " bytes of memory was overwritten; an I/O moves nothing outside the memory it names");
    }
  }
}

temp_file &bench::file(size_t bytes) {
  files_.push_back(std::make_unique<temp_file>(on_.folder, bytes));
  return *files_.back();
}

uint32_t bench::open_file(instance &in, const temp_file &file, uint32_t flags) {
  cubby_backend_file out{};
  out.struct_size = sizeof out;
  const int32_t status = in.file_open(file.path(), flags, &out);
  const bool writes = (flags & CUBBY_BACKEND_FILE_WRITE) != 0;
  if (writes && (status == -EROFS || status == -ENOTSUP)) {
    skip("this backend only reads: file_open for writing returned ", errno_text(status));
  }
  expect(status == 0, "file_open: expected 0, came ", errno_text(status));
  expect(out.file != 0, "file_open gave number 0, which is never used");
  numbers_.push_back({&in, out.file});
  return out.file;
}

unsigned char *bench::frames(instance &in, uint64_t bytes) {
  cubby_backend_memory out{};
  out.struct_size = sizeof out;
  const int32_t status = in.memory_reserve(bytes, &out);
  expect(status == 0, "memory_reserve of ", bytes, " bytes: expected 0, came ", errno_text(status));
  frames_.push_back({&in, out});
  expect(out.base != nullptr, "memory_reserve returned 0 and gave no address");
  expect(out.bytes >= bytes, "memory_reserve of ", bytes, " bytes gave ", out.bytes);
  const uint64_t align = bytes >= (2u << 20) ? (2u << 20) : 4096;
  expect(reinterpret_cast<uintptr_t>(out.base) % align == 0, "memory_reserve of ", bytes,
         " bytes gave an address that is not a multiple of ", align);
  return static_cast<unsigned char *>(out.base);
}

std::vector<cubby_backend_io> bench::some_ios(instance &in, uint32_t count, uint64_t first_cookie) {
  std::vector<cubby_backend_io> ios;
  const uint64_t bytes = files() ? in.unit() : 1000;
  unsigned char *host = memory(in, bytes * count);
  if (!files()) {
    unsigned char *frame = frames(in, bytes * count);
    for (uint32_t i = 0; i < count; ++i) {
      ios.push_back(copy_io(first_cookie + i, CUBBY_BACKEND_COPY_IN, frame + i * bytes,
                            host + i * bytes, bytes));
    }
    return ios;
  }
  const uint64_t places = std::min<uint64_t>(count, 64);
  if (some_file_ == nullptr || some_file_->bytes().size() < places * bytes) {
    some_file_ = &file(places * bytes);
  }
  const uint32_t number = open_file(in, *some_file_);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t offset = i % places * bytes;
    ios.push_back(
        file_io(first_cookie + i, CUBBY_BACKEND_READ, number, offset, host + i * bytes, bytes));
    some_reads_[first_cookie + i] = {offset, bytes, host + i * bytes};
  }
  return ios;
}

void bench::expect_good(const completions &done, size_t count) const {
  expect(done.size() == count, "expected ", count, " completions, came ", done.size());
  for (const auto &[cookie, one] : done) {
    expect(one.error == 0, "a good I/O with cookie ", cookie, ": expected no error, came ",
           errno_text(one.error));
  }
  for (const auto &[cookie, one] : some_reads_) {
    const auto found = done.find(cookie);
    if (found == done.end()) continue;
    expect(found->second.bytes == one.bytes, "a READ of ", one.bytes,
           " bytes within its file: ", "expected all of them, came ", found->second.bytes);
    some_file_->expect_bytes(one.memory, one.offset, one.bytes, "READ");
  }
}

void bench::finish() {
  for (auto &one : instances_) {
    expect(one->drain(),
           "I/O was accepted and did not complete; every accepted I/O completes "
           "exactly once through reap");
    if (one->self() == nullptr) continue;
    const auto extra = one->reap(8);
    expect(extra.empty(), "reap gave completions with nothing in flight");
  }
  for (const open_number &one : numbers_) {
    if (one.in->self() != nullptr) one.in->file_close(one.file);
  }
  for (const reserved &one : frames_) {
    if (one.in->self() != nullptr) one.in->memory_release(one.memory);
  }
  for (auto &one : instances_) {
    one->close();
    service_host &services = one->services();
    const std::lock_guard lock(services.mutex);
    expect(services.memory_out == 0, "after close ", services.memory_out,
           " pieces of memory were still out; what memory_take gave goes back by memory_give");
  }
  look_at_guards();
}

}  // namespace cubby_conformance
