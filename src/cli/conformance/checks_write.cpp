// Writes and flushes. A backend that only reads refuses to open for writing, and these are skipped.
#include <sys/stat.h>
#include <unistd.h>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

constexpr uint32_t both = CUBBY_BACKEND_FILE_READ | CUBBY_BACKEND_FILE_WRITE;

void fill(unsigned char *to, uint64_t bytes, uint64_t seed) {
  for (uint64_t i = 0; i < bytes; ++i) to[i] = static_cast<unsigned char>(i * 13 + i / 251 + seed);
}

void reaches_the_file(bench &table) {
  instance &in = table.open({4, 0, 0});
  const uint64_t unit = in.unit(), bytes = 16 * unit;
  const temp_file &file = table.file(0);
  const uint32_t number = table.open_file(in, file, both);
  unsigned char *from = table.memory(in, bytes), *back = table.memory(in, bytes);
  fill(from, bytes, 3);
  std::vector<cubby_backend_io> ios;
  for (uint64_t i = 0; i < 16; ++i) {
    ios.push_back(file_io(i, CUBBY_BACKEND_WRITE, number, unit * (i + 1), from + i * unit, unit));
  }
  for (const auto &[cookie, done] : in.run(ios)) {
    expect(done.error == 0, "WRITE behind the end of a file: expected no error, came ",
           errno_text(done.error));
  }
  const auto flushed = in.run_one(file_io(99, CUBBY_BACKEND_FLUSH, number, 0, nullptr, 0));
  expect(flushed.error == 0, "FLUSH: expected no error, came ", errno_text(flushed.error));
  const auto read = in.run_one(file_io(100, CUBBY_BACKEND_READ, number, unit, back, bytes));
  expect(read.error == 0 && read.bytes == bytes, "READ of what was written: error ",
         errno_text(read.error), ", ", read.bytes, " bytes of ", bytes);
  expect(std::memcmp(from, back, bytes) == 0, "READ gave other bytes than WRITE and FLUSH left");
  std::vector<unsigned char> seen(bytes);
  const ssize_t got = pread(file.fd(), seen.data(), bytes, static_cast<off_t>(unit));
  expect(got == static_cast<ssize_t>(bytes) && std::memcmp(seen.data(), from, bytes) == 0,
         "after WRITE and FLUSH the file does not have these bytes");
}

void overwrites_in_place(bench &table) {
  instance &in = table.open();
  const uint64_t unit = in.unit();
  const temp_file &file = table.file(4 * unit);
  const uint32_t number = table.open_file(in, file, both);
  unsigned char *from = table.memory(in, unit);
  fill(from, unit, 7);
  const auto done = in.run_one(file_io(1, CUBBY_BACKEND_WRITE, number, 2 * unit, from, unit));
  expect(done.error == 0, "WRITE into a file: expected no error, came ", errno_text(done.error));
  const auto flushed = in.run_one(file_io(2, CUBBY_BACKEND_FLUSH, number, 0, nullptr, 0));
  expect(flushed.error == 0, "FLUSH: expected no error, came ", errno_text(flushed.error));
  struct stat seen {};
  fstat(file.fd(), &seen);
  expect(static_cast<uint64_t>(seen.st_size) == 4 * unit, "WRITE within a file of ", 4 * unit,
         " bytes changed its size to ", seen.st_size);
  std::vector<unsigned char> now(4 * unit);
  expect(pread(file.fd(), now.data(), now.size(), 0) == static_cast<ssize_t>(now.size()),
         "the test file could not be read");
  file.expect_bytes(now.data(), 0, 2 * unit, "the bytes before a WRITE");
  expect(std::memcmp(&now[2 * unit], from, unit) == 0, "WRITE left other bytes in the file");
  file.expect_bytes(&now[3 * unit], 3 * unit, unit, "the bytes behind a WRITE");
}

void not_for_writing(bench &table) {
  instance &in = table.open();
  const uint64_t unit = in.unit();
  const temp_file &file = table.file(unit);
  const uint32_t number = table.open_file(in, file, CUBBY_BACKEND_FILE_READ);
  unsigned char *from = table.memory(in, unit);
  const auto done = in.run_one(file_io(1, CUBBY_BACKEND_WRITE, number, 0, from, unit));
  expect(done.error > 0, "WRITE to a file that was opened for reading completed without error");
  std::vector<unsigned char> now(unit);
  expect(pread(file.fd(), now.data(), unit, 0) == static_cast<ssize_t>(unit),
         "the test file could not be read");
  file.expect_bytes(now.data(), 0, unit, "a file opened for reading, after a refused WRITE");
}

void flush_of_no_file(bench &table) {
  instance &in = table.open();
  const auto done = in.run_one(file_io(1, CUBBY_BACKEND_FLUSH, 4711, 0, nullptr, 0));
  expect(done.error > 0, "FLUSH of a number that is not open completed without error");
}

}  // namespace

void add_write_checks(std::vector<check> &all) {
  all.push_back({"write: flush, then read back", CUBBY_CAP_FILES, reaches_the_file});
  all.push_back({"write: in place, and nothing beside it", CUBBY_CAP_FILES, overwrites_in_place});
  all.push_back({"write: a file opened for reading refuses", CUBBY_CAP_FILES, not_for_writing});
  all.push_back({"flush: a file number that is not open", CUBBY_CAP_FILES, flush_of_no_file});
}

}  // namespace cubby_conformance
