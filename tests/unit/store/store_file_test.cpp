// The durable store on a real file system.
#include "store/durable/store_file.hpp"

#include <cubby/backend.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "store/durable/posix_store.hpp"
#include "support/catch.hpp"
#include "unit/store/scratch.hpp"

namespace store_file_test {

using namespace cubby::store;

namespace {

store_options options_of(const scratch::folder &in, uint64_t budget_bytes = 4 << 20) {
  return {{in.path("")}, budget_bytes, 16384, 0};
}

std::string text_of(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

uint32_t put(posix_store &one, const std::string &key, const std::string &bytes, uint8_t keep) {
  const auto space = one.store().add_space("model", "", 1);
  REQUIRE(space);
  put_request request;
  request.space = *space;
  request.key = key;
  request.keep = keep;
  request.part_count = 1;
  request.part_bytes[0] = static_cast<uint32_t>(bytes.size());
  request.data = bytes.data();
  const auto number = one.store().put(request);
  REQUIRE(number);
  one.run();
  store_completion out;
  while (one.store().next_completion(out)) REQUIRE(out.status == CUBBY_OK);
  return *number;
}

cubby::error refusal(const store_options &options) {
  auto opened = posix_store::open(options);
  REQUIRE_FALSE(opened);
  CHECK(opened.failure().text.size() > 20);
  return opened.failure();
}

}  // namespace

TEST_CASE("a store is made, allocated whole, for its owner alone, and found again") {
  const scratch::folder folder;
  uint32_t number = 0;
  {
    auto made = posix_store::open(options_of(folder));
    REQUIRE(made);
    number = put(**made, "key", std::string(10000, 'x'), CUBBY_KEEP_DURABLE);
    struct stat seen = {};
    REQUIRE(stat(folder.path(store_file_name).c_str(), &seen) == 0);
    CHECK((seen.st_mode & 0777) == 0600);
    CHECK(seen.st_size == 4 << 20);
    CHECK(seen.st_blocks * 512 >= seen.st_size);
    CHECK(access(folder.path("cubby.store.new").c_str(), F_OK) != 0);
  }
  auto again = posix_store::open(options_of(folder, 0));
  REQUIRE(again);
  CHECK((*again)->report().blocks == 1);
  const auto bytes = (*again)->read(number);
  REQUIRE(bytes);
  CHECK(std::string(bytes->begin(), bytes->end()) == std::string(10000, 'x'));
  CHECK((*again)->read(number + 1).failure().status == CUBBY_MISS);
}

TEST_CASE("a damaged block is CORRUPT when it is read, with its offset") {
  const scratch::folder folder;
  auto made = posix_store::open(options_of(folder));
  REQUIRE(made);
  const uint32_t number = put(**made, "key", std::string(10000, 'x'), CUBBY_KEEP_RESTART);
  const auto place = (*made)->store().locate(number);
  {
    std::fstream file(folder.path(store_file_name),
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(place->offset_bytes + 77));
    file.put('y');
  }
  const auto bytes = (*made)->read(number);
  REQUIRE_FALSE(bytes);
  CHECK(bytes.failure().status == CUBBY_ERR_CORRUPT);
  CHECK(bytes.failure().offset_bytes == place->offset_bytes);
}

TEST_CASE("a second process gets the owner's number") {
  const scratch::folder folder;
  auto made = posix_store::open(options_of(folder));
  REQUIRE(made);
  int status = 0;
  const pid_t child = fork();
  if (child == 0) {
    auto second = posix_store::open(options_of(folder));
    const bool good = !second && second.failure().status == CUBBY_ERR_IN_USE &&
                      second.failure().native == getppid() &&
                      second.failure().text.find(std::to_string(getppid())) != std::string::npos;
    _exit(good ? 0 : 1);
  }
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(refusal(options_of(folder)).status == CUBBY_ERR_IN_USE);  // the same process, too
}

TEST_CASE("opening waits for writes that a killed process has left on their way") {
  const scratch::folder folder;
  REQUIRE(posix_store::open(options_of(folder)));
  // As the kernel does it for a backend: the lock goes with the last write.
  const int written = ::open(folder.path(store_file_name).c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(written >= 0);
  struct flock lock = {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = CUBBY_BACKEND_FILE_LOCK_AT;
  lock.l_len = 1;
  REQUIRE(fcntl(written, F_OFD_SETLK, &lock) == 0);
  std::atomic<bool> over = false;
  std::thread device([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    over = true;
    close(written);
  });
  const bool look = GENERATE(false, true);
  if (look) {
    CHECK(store_file::open_to_look(folder.path("")));
  } else {
    CHECK(posix_store::open(options_of(folder, 0)));
  }
  CHECK(over);
  device.join();
}

TEST_CASE("a file that is not ours is left as it is") {
  const scratch::folder folder;
  std::string content;
  SECTION("a text") { content = "dear diary"; }
  SECTION("an empty file") {}
  SECTION("zeros") { content.assign(3 * page_bytes, '\0'); }
  folder.write(store_file_name, content);
  CHECK(refusal(options_of(folder)).status == CUBBY_ERR_FORMAT);
  CHECK(text_of(folder.path(store_file_name)) == content);
}

TEST_CASE("a link in the store's place is not followed") {
  const scratch::folder folder;
  const std::string other = folder.write("other", "precious");
  REQUIRE(symlink(other.c_str(), folder.path(store_file_name).c_str()) == 0);
  CHECK(refusal(options_of(folder)).status == CUBBY_ERR_INVALID);
  CHECK(text_of(other) == "precious");
}

TEST_CASE("a pipe or a folder in the store's place is refused at once") {
  const scratch::folder folder;
  if (GENERATE(false, true))
    REQUIRE(mkfifo(folder.path(store_file_name).c_str(), 0600) == 0);
  else
    REQUIRE(mkdir(folder.path(store_file_name).c_str(), 0700) == 0);
  CHECK(refusal(options_of(folder)).status == CUBBY_ERR_INVALID);
}

TEST_CASE("what an interrupted creation left is removed, what is not of ours is not") {
  const scratch::folder folder;
  SECTION("its beginning") {
    folder.write("cubby.store.new", std::string("CUBBYSTO") + std::string(5000, '\0'));
    CHECK(posix_store::open(options_of(folder)));
    CHECK(access(folder.path("cubby.store.new").c_str(), F_OK) != 0);
  }
  SECTION("another file") {
    folder.write("cubby.store.new", "precious");
    CHECK(refusal(options_of(folder)).status == CUBBY_ERR_INVALID);
    CHECK(text_of(folder.path("cubby.store.new")) == "precious");
  }
}

TEST_CASE("no room for the budget is known when the store is made") {
  const scratch::folder folder;
  const auto failure = refusal(options_of(folder, 1ull << 43));
  CHECK(failure.status == CUBBY_ERR_NO_SPACE);
  CHECK(failure.needed_bytes == 1ull << 43);
  CHECK(access(folder.path(store_file_name).c_str(), F_OK) != 0);
  CHECK(access(folder.path("cubby.store.new").c_str(), F_OK) != 0);
}

TEST_CASE("a budget too small for a store says what is needed") {
  const scratch::folder folder;
  const auto failure = refusal(options_of(folder, 65536));
  CHECK(failure.status == CUBBY_ERR_INVALID);
  CHECK(failure.needed_bytes > 65536);
}

TEST_CASE("another fingerprint or version is refused by the file's name") {
  const scratch::folder folder;
  auto options = options_of(folder);
  options.fingerprint = 5;
  REQUIRE(posix_store::open(options));
  options.fingerprint = 6;
  const auto failure = refusal(options);
  CHECK(failure.status == CUBBY_ERR_INVALID);
  CHECK(failure.text.find(folder.path("")) != std::string::npos);
}

TEST_CASE("a store over two directories needs both") {
  const scratch::folder first, second;
  store_options options = options_of(first);
  options.directories.push_back(second.path(""));
  std::map<std::string, uint32_t> numbers;
  {
    auto made = posix_store::open(options);
    REQUIRE(made);
    for (int i = 0; i < 20; i++) {
      const std::string key = "key " + std::to_string(i);
      numbers[key] =
          put(**made, key, std::string(30000, static_cast<char>('a' + i)), CUBBY_KEEP_DURABLE);
    }
  }
  {
    auto again = posix_store::open(options);
    REQUIRE(again);
    CHECK((*again)->report().blocks == 20);
    bool used[2] = {};
    for (const auto &[key, number] : numbers) {
      CHECK((*again)->read(number));
      used[(*again)->store().locate(number)->file] = true;
    }
    CHECK((used[0] && used[1]));
  }
  REQUIRE(unlink(second.path(store_file_name).c_str()) == 0);
  CHECK(refusal(options).text.find(second.path("")) != std::string::npos);
  CHECK(refusal(options_of(first)).status == CUBBY_ERR_FORMAT);
}

TEST_CASE("a killed process's store has all that it acknowledged") {
  const scratch::folder folder;
  REQUIRE(posix_store::open(options_of(folder)));
  uint32_t acknowledged = 0;
  for (int round = 0; round < 8; round++) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
      auto made = posix_store::open(options_of(folder, 0));
      if (!made) _exit(1);
      for (uint32_t i = 0;; i++) {
        const std::string key = std::to_string(round) + " " + std::to_string(i);
        const std::string bytes(5000, static_cast<char>('a' + i % 26));
        const auto space = (*made)->store().add_space("model", "", 1);
        put_request request;
        request.space = *space;
        request.key = key;
        request.part_count = 1;
        request.part_bytes[0] = 5000;
        request.data = bytes.data();
        const auto number = (*made)->store().put(request);
        if (!number) _exit(2);
        (*made)->run();
        store_completion out;
        while ((*made)->store().next_completion(out)) {
        }
        if (write(ends[1], &*number, sizeof *number) != sizeof *number) _exit(3);
        if (i == 40) pause();
      }
    }
    close(ends[1]);
    const uint32_t wanted = 3 + static_cast<uint32_t>(round) * 3;
    std::vector<uint32_t> numbers;
    for (uint32_t number = 0; numbers.size() < wanted;) {
      if (read(ends[0], &number, sizeof number) != sizeof number) break;
      numbers.push_back(number);
    }
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    close(ends[0]);
    REQUIRE(numbers.size() == wanted);
    acknowledged += wanted;
    auto again = posix_store::open(options_of(folder, 0));
    REQUIRE(again);
    CHECK((*again)->report().blocks >= acknowledged);
    for (const uint32_t number : numbers) CHECK((*again)->read(number));
    acknowledged = static_cast<uint32_t>((*again)->report().blocks);
  }
}

}  // namespace store_file_test
