// Reads: the file's bytes, as many as there are, and nothing beside them.
#include <algorithm>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

constexpr uint32_t read_op = CUBBY_BACKEND_READ;

// Random order and sizes, several times more than the queue holds.
void brings_the_bytes(bench &table) {
  instance &in = table.open({16, 0, 0});
  const uint64_t unit = in.unit(), units = 96;
  const temp_file &file = table.file(unit * units);
  const uint32_t number = table.open_file(in, file);
  unsigned char *to = table.memory(in, unit * units);
  std::vector<cubby_backend_io> ios;
  uint64_t size = 1;
  for (uint64_t at = 0; at < units; at += size) {
    size = std::min<uint64_t>(1 + at * 7 % 5, units - at);
    ios.push_back(file_io(at, read_op, number, at * unit, to + at * unit, size * unit));
  }
  std::reverse(ios.begin(), ios.end());
  for (const auto &io : ios) {
    const auto done = in.run_one(io);
    expect(done.error == 0 && done.bytes == io.bytes, "READ of ", io.bytes, " bytes at ",
           io.offset_bytes, " of a longer file: error ", errno_text(done.error), ", ", done.bytes,
           " bytes");
  }
  file.expect_bytes(to, 0, unit * units, "READ, one at a time");
  std::memset(to, 0, unit * units);
  for (const auto &[cookie, done] : in.run(ios)) {
    expect(done.error == 0, "READ with cookie ", cookie, ": expected no error, came ",
           errno_text(done.error));
  }
  file.expect_bytes(to, 0, unit * units, "READ, many at once");
}

void largest_io(bench &table) {
  instance &in = table.open();
  const uint64_t bytes = std::max<uint64_t>(2u << 20, in.unit());
  const temp_file &file = table.file(bytes + in.unit());
  const uint32_t number = table.open_file(in, file);
  unsigned char *to = table.memory(in, bytes);
  const auto done = in.run_one(file_io(1, read_op, number, in.unit(), to, bytes));
  expect(done.error == 0 && done.bytes == bytes, "READ of ", bytes, " bytes: error ",
         errno_text(done.error), ", ", done.bytes, " bytes; io_bytes_max is at least 2 MiB and ",
         "short I/O is resumed by the backend");
  file.expect_bytes(to, in.unit(), bytes, "READ of 2 MiB");
}

// The file ends inside a page: through O_DIRECT the rest cannot be asked for once more.
void unaligned_end(bench &table) {
  instance &in = table.open();
  const uint64_t size = std::max<uint64_t>(16384, in.unit());
  for (const uint64_t bytes : {6000u, 1u, 4097u, 8191u}) {
    const temp_file &file = table.file(bytes);
    const uint32_t number = table.open_file(in, file);
    unsigned char *to = table.memory(in, size);
    const auto done = in.run_one(file_io(bytes, read_op, number, 0, to, size));
    expect(done.error == 0, "READ of ", size, " bytes of a file of ", bytes,
           ": expected no error, came ", errno_text(done.error));
    expect(done.bytes == bytes, "READ of ", size, " bytes of a file of ", bytes, ": expected ",
           bytes, " bytes, came ", done.bytes);
    file.expect_bytes(to, 0, bytes, "READ over the end of the file");
  }
}

void beyond_the_end(bench &table) {
  instance &in = table.open();
  const uint64_t unit = std::max<uint64_t>(8192, in.unit());
  const uint32_t number = table.open_file(in, table.file(6000));
  const uint32_t none = table.open_file(in, table.file(0));
  unsigned char *to = table.memory(in, unit);
  struct place {
    uint32_t file;
    uint64_t offset;
  };
  for (const place &at : {place{number, unit}, place{number, unit << 20}, place{none, 0}}) {
    const auto done = in.run_one(file_io(1, read_op, at.file, at.offset, to, unit));
    expect(done.error == 0, "READ at ", at.offset, ", beyond the end of the file: expected no ",
           "error and 0 bytes, came ", errno_text(done.error));
    expect(done.bytes == 0, "READ at ", at.offset, ", beyond the end of the file: expected 0 ",
           "bytes, came ", done.bytes);
  }
}

void last_page(bench &table) {
  instance &in = table.open();
  const uint64_t unit = in.unit();
  const temp_file &file = table.file(unit + 1234);
  const uint32_t number = table.open_file(in, file);
  unsigned char *to = table.memory(in, unit);
  const auto done = in.run_one(file_io(1, read_op, number, unit, to, unit));
  expect(done.error == 0 && done.bytes == 1234, "READ of the last 1234 bytes of a file by ", unit,
         " bytes: error ", errno_text(done.error), ", ", done.bytes, " bytes");
  file.expect_bytes(to, unit, 1234, "READ of the last page");
}

void wrong_number(bench &table) {
  instance &in = table.open({8, 0, 0});
  const temp_file &file = table.file(in.unit());
  const uint32_t number = table.open_file(in, file);
  unsigned char *to = table.memory(in, in.unit());
  unsigned char *good = table.memory(in, in.unit());
  const completions done = in.run({file_io(1, read_op, number + 99, 0, to, in.unit()),
                                   file_io(2, read_op, number, 0, good, in.unit()),
                                   file_io(3, read_op, 0, 0, to, in.unit())});
  for (const uint64_t cookie : {1u, 3u}) {
    expect(done.at(cookie).error == EBADF, "READ of a number that is not open: expected ",
           errno_text(EBADF), ", came ", errno_text(done.at(cookie).error));
    expect(done.at(cookie).bytes == 0, "READ that failed says it moved ", done.at(cookie).bytes,
           " bytes");
  }
  expect(done.at(2).error == 0, "the good READ between two wrong ones: came ",
         errno_text(done.at(2).error));
  file.expect_bytes(good, 0, in.unit(), "the good READ between two wrong ones");
  for (uint64_t i = 0; i < in.unit(); ++i) {
    expect(to[i] == 0xee, "READ of a number that is not open wrote into its memory");
  }
}

void unaligned_io(bench &table) {
  instance &in = table.open({8, 0, 0});
  const uint64_t align = in.info().align_bytes;
  if (align < 2) skip("this backend asks for no alignment");
  const uint64_t unit = in.unit();
  const uint32_t number = table.open_file(in, table.file(4 * unit));
  unsigned char *to = table.memory(in, 2 * unit);
  const completions done = in.run({file_io(1, read_op, number, align / 2, to, unit),
                                   file_io(2, read_op, number, 0, to + align / 2, unit),
                                   file_io(3, read_op, number, 0, to, align / 2),
                                   file_io(4, read_op, number, 0, to, unit)});
  const char *const what[] = {"offset", "address", "size"};
  for (const uint64_t cookie : {1u, 2u, 3u}) {
    expect(done.at(cookie).error == EINVAL, "READ whose ", what[cookie - 1],
           " is not a multiple of align_bytes ", align, ": expected ", errno_text(EINVAL),
           ", came ", errno_text(done.at(cookie).error));
  }
  expect(done.at(4).error == 0, "an aligned READ beside unaligned ones: came ",
         errno_text(done.at(4).error));
}

void nothing_beside(bench &table) {
  instance &in = table.open();
  const uint64_t unit = in.unit();
  const uint32_t number = table.open_file(in, table.file(6 * unit + 100));
  unsigned char *to = table.memory(in, 8 * unit);  // with guards of its own, seen at the end
  for (const uint64_t at : {2u, 6u, 7u}) {         // within, over the end, beyond
    std::memset(to, 0xee, 8 * unit);
    in.run_one(file_io(at, read_op, number, at * unit, to + 3 * unit, 2 * unit));
    for (uint64_t i = 0; i < 8 * unit; ++i) {
      if (i == 3 * unit) i = 5 * unit;
      expect(to[i] == 0xee, "READ of ", 2 * unit, " bytes at ", at * unit, " wrote ",
             i < 3 * unit ? "before" : "behind", " the memory it was given");
    }
  }
}

void registered_memory(bench &table) {
  instance &in = table.open();
  if (in.on().ops.memory_register == nullptr) skip("it has no memory_register");
  const uint64_t unit = in.unit();
  const temp_file &file = table.file(4 * unit);
  const uint32_t number = table.open_file(in, file);
  unsigned char *to = table.memory(in, 4 * unit);
  const int32_t status = in.on().ops.memory_register(in.self(), to, 4 * unit);
  expect(status <= 0, "memory_register: expected 0 or a negative errno, came ", status);
  const auto done = in.run_one(file_io(1, read_op, number, 0, to, 4 * unit));
  expect(done.error == 0 && done.bytes == 4 * unit, "READ into registered memory: error ",
         errno_text(done.error), ", ", done.bytes, " bytes");
  file.expect_bytes(to, 0, 4 * unit, "READ into registered memory");
  if (status == 0 && in.on().ops.memory_unregister != nullptr) {
    in.on().ops.memory_unregister(in.self(), to, 4 * unit);
  }
  const auto again = in.run_one(file_io(2, read_op, number, 0, to, unit));
  expect(again.error == 0, "READ into memory that is no longer registered: came ",
         errno_text(again.error));
}

}  // namespace

void add_read_checks(std::vector<check> &all) {
  all.push_back({"read: the file's bytes", CUBBY_CAP_FILES, brings_the_bytes});
  all.push_back({"read: 2 MiB in one I/O", CUBBY_CAP_FILES, largest_io});
  all.push_back({"read: over an end that is not aligned", CUBBY_CAP_FILES, unaligned_end});
  all.push_back({"read: the last page", CUBBY_CAP_FILES, last_page});
  all.push_back({"read: beyond the end", CUBBY_CAP_FILES, beyond_the_end});
  all.push_back({"read: a file number that is not open", CUBBY_CAP_FILES, wrong_number});
  all.push_back({"read: unaligned I/O completes with EINVAL", CUBBY_CAP_FILES, unaligned_io});
  all.push_back({"read: nothing beside the memory", CUBBY_CAP_FILES, nothing_beside});
  all.push_back({"read: into registered memory", CUBBY_CAP_FILES, registered_memory});
}

}  // namespace cubby_conformance
