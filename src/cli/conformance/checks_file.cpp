// Opening files and looking at them again.
#include <sys/stat.h>
#include <unistd.h>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

constexpr uint32_t reads = CUBBY_BACKEND_FILE_READ, writes = CUBBY_BACKEND_FILE_WRITE,
                   creates = CUBBY_BACKEND_FILE_CREATE;

cubby_backend_file empty_answer() {
  cubby_backend_file out{};
  out.struct_size = sizeof out;
  return out;
}

void refuses(instance &in, const std::string &path, uint32_t flags, int32_t wanted,
             const char *what) {
  cubby_backend_file out = empty_answer();
  const int32_t status = in.file_open(path, flags, &out);
  if (status == 0) in.file_close(out.file);
  expect(status < 0, "file_open of ", what, ": expected a negative errno, came ", status);
  expect(wanted == 0 || status == wanted, "file_open of ", what, ": expected ", errno_text(wanted),
         ", came ", errno_text(status));
}

void open_fails(bench &table) {
  instance &in = table.open();
  const temp_file &there = table.file(4096);
  refuses(in, table.on().folder + "/absent", reads, -ENOENT, "a file that is not there");
  refuses(in, table.on().folder + "/absent/file", reads, -ENOENT, "a file in an absent folder");
  refuses(in, there.path() + "/file", reads, -ENOTDIR, "a path through a file");
  refuses(in, table.on().folder, reads | writes, 0, "a folder for writing");
  if (geteuid() != 0) {  // for root there is no file that may not be read
    chmod(there.path().c_str(), 0);
    refuses(in, there.path(), reads, -EACCES, "a file without permission");
  }
  const uint32_t number = table.open_file(in, table.file(4096));
  expect(number != 0, "file_open after others failed gave number 0");
}

void describes_the_file(bench &table) {
  instance &in = table.open();
  const temp_file &file = table.file(6000);
  struct stat seen {};
  fstat(file.fd(), &seen);
  cubby_backend_file out = empty_answer();
  const int32_t status = in.file_open(file.path(), reads, &out);
  expect(status == 0, "file_open: expected 0, came ", errno_text(status));
  expect(out.bytes == 6000, "file_open of a file of 6000 bytes: bytes is ", out.bytes);
  expect(out.inode == seen.st_ino && out.device == seen.st_dev, "file_open: expected st_dev ",
         seen.st_dev, " and st_ino ", seen.st_ino, ", came ", out.device, " and ", out.inode);
  const uint64_t mtime_ns = static_cast<uint64_t>(seen.st_mtim.tv_sec) * 1'000'000'000u +
                            static_cast<uint64_t>(seen.st_mtim.tv_nsec);
  expect(out.mtime_ns == mtime_ns, "file_open: expected mtime_ns ", mtime_ns, ", came ",
         out.mtime_ns);
  in.file_close(out.file);
}

void stat_sees_a_change(bench &table) {
  instance &in = table.open();
  const temp_file &file = table.file(4096);
  const uint32_t number = table.open_file(in, file);
  cubby_backend_file before = empty_answer(), after = empty_answer();
  int32_t status = in.file_stat(number, &before);
  expect(status == 0 && before.bytes == 4096 && before.file == number,
         "file_stat of an open file of 4096 bytes: status ", status, ", bytes ", before.bytes,
         ", number ", before.file, " for file ", number);
  usleep(20'000);  // coarser clocks give the same mtime
  expect(ftruncate(file.fd(), 9000) == 0, "the test file could not be made longer");
  status = in.file_stat(number, &after);
  expect(status == 0 && after.bytes == 9000, "file_stat after the file grew to 9000 bytes: status ",
         status, ", bytes ", after.bytes);
  expect(after.inode == before.inode, "file_stat: the inode changed with the size");
  expect(after.mtime_ns > before.mtime_ns, "file_stat after a change: mtime_ns is as it was");
  status = in.file_stat(number + 7, &after);
  expect(status == -EBADF, "file_stat of a number that is not open: expected ", errno_text(-EBADF),
         ", came ", errno_text(status));
}

void keeps_to_struct_size(bench &table) {
  instance &in = table.open();
  const uint32_t number = table.open_file(in, table.file(4096));
  cubby_backend_file small;
  std::memset(&small, 0x3c, sizeof small);
  small.struct_size = offsetof(cubby_backend_file, device);
  const int32_t status = in.file_stat(number, &small);
  expect(status == 0, "file_stat with a smaller struct_size: expected 0, came ",
         errno_text(status));
  expect(small.bytes == 4096, "file_stat with a smaller struct_size did not fill bytes");
  auto bytes = reinterpret_cast<const unsigned char *>(&small);
  for (size_t i = offsetof(cubby_backend_file, device); i < sizeof small; ++i) {
    expect(bytes[i] == 0x3c, "file_stat with struct_size ", offsetof(cubby_backend_file, device),
           " wrote byte ", i, " of the struct; no more than struct_size bytes are there");
  }
}

void many_files(bench &table) {
  instance &in = table.open();
  const uint64_t unit = in.unit();
  std::vector<uint32_t> numbers;
  std::vector<const temp_file *> files;
  for (uint32_t i = 0; i < 5; ++i) {
    files.push_back(&table.file(unit * (i + 1)));
    numbers.push_back(table.open_file(in, *files.back()));
  }
  files.push_back(files[0]);  // one file twice is two open files
  numbers.push_back(table.open_file(in, *files[0]));
  for (size_t i = 0; i < numbers.size(); ++i) {
    for (size_t k = 0; k < i; ++k) {
      expect(numbers[i] != numbers[k], "file_open gave number ", numbers[i],
             " to two files that are open at once");
    }
  }
  for (size_t i = 0; i < numbers.size(); ++i) {
    unsigned char *to = table.memory(in, unit * 8);
    const auto done = in.run_one(file_io(i, CUBBY_BACKEND_READ, numbers[i], 0, to, unit * 8));
    expect(done.error == 0 && done.bytes == files[i]->bytes().size(), "READ of file ", numbers[i],
           " of ", files[i]->bytes().size(), " bytes with others open: error ",
           errno_text(done.error), ", ", done.bytes, " bytes");
    files[i]->expect_bytes(to, 0, done.bytes, "READ with several files open");
  }
}

void closed_is_closed(bench &table) {
  instance &in = table.open();
  const temp_file &file = table.file(in.unit());
  cubby_backend_file one = empty_answer();
  expect(in.file_open(file.path(), reads, &one) == 0, "file_open: expected 0");
  const uint32_t other = table.open_file(in, file);
  in.file_close(one.file);
  unsigned char *to = table.memory(in, in.unit());
  auto done = in.run_one(file_io(1, CUBBY_BACKEND_READ, one.file, 0, to, in.unit()));
  expect(done.error == EBADF, "READ of a file that was closed: expected ", errno_text(EBADF),
         ", came ", errno_text(done.error));
  done = in.run_one(file_io(2, CUBBY_BACKEND_READ, other, 0, to, in.unit()));
  expect(done.error == 0, "READ of a file after another one was closed: expected no error, came ",
         errno_text(done.error));
}

void creates_when_asked(bench &table) {
  instance &in = table.open();
  const std::string path = table.on().folder + "/conformance_created_" + std::to_string(getpid());
  cubby_backend_file out = empty_answer();
  const int32_t status = in.file_open(path, reads | writes | creates, &out);
  struct stat seen {};
  const bool made = stat(path.c_str(), &seen) == 0;
  if (status == 0) in.file_close(out.file);
  unlink(path.c_str());
  if (status == -EROFS || status == -ENOTSUP) skip("this backend only reads");
  expect(status == 0 && made, "file_open with CUBBY_BACKEND_FILE_CREATE: expected 0 and a file, ",
         "came ", errno_text(status));
  expect((seen.st_mode & 077) == 0, "file_open created a file that others may use; its mode is ",
         "0600");
}

}  // namespace

void add_file_checks(std::vector<check> &all) {
  all.push_back({"file_open: absent and unreadable files", CUBBY_CAP_FILES, open_fails});
  all.push_back({"file_open: tells size and identity", CUBBY_CAP_FILES, describes_the_file});
  all.push_back({"file_open: several files at once", CUBBY_CAP_FILES, many_files});
  all.push_back({"file_open: creates when asked", CUBBY_CAP_FILES, creates_when_asked});
  all.push_back({"file_close: a closed number is EBADF", CUBBY_CAP_FILES, closed_is_closed});
  all.push_back({"file_stat: sees a change", CUBBY_CAP_FILES, stat_sees_a_change});
  all.push_back(
      {"file_stat: keeps to the struct_size of the caller", CUBBY_CAP_FILES, keeps_to_struct_size});
}

}  // namespace cubby_conformance
