// A store where things go wrong with its place: limits of the process, read-only and full disks,
// files that others remove or cut short, clocks that jump, processes that fork. Each says why and
// what to do, and what was acknowledged stays.
#include <cubby/backend.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>

#include "fault/child.hpp"
#include "platform/boot.hpp"
#include "store/durable/open_store.hpp"
#include "unit/api/block_fixture.hpp"

using namespace api_test;
using fault_test::in_child;
using fault_test::not_possible;

namespace {

constexpr uint64_t store_bytes = 16 * mib;

/// The thread sanitizer allows no new threads in the child of a process that has several.
#if defined(__SANITIZE_THREAD__)
constexpr bool child_may_open = false;
#else
constexpr bool child_may_open = true;
#endif

/// A directory whose flush fails; a file that is removed while it is flushed.
std::atomic<const char *> unflushable{nullptr}, removed_in_flush{nullptr};
/// As file systems of a network may be.
std::atomic<bool> without_locks{false}, without_direct{false};

/// As a program makes it, without the test framework: a runtime over stores in directories.
struct program {
  cubby_handle *rt = nullptr;
  cubby_tier host = 0, disk = 0;
  cubby_bank bank = 0;
  cubby_space space = 0;

  explicit program(uint32_t pump = CUBBY_PUMP_THREAD) {
    cubby_config config{};
    config.struct_size = sizeof config;
    config.pump = pump;
    cubby_open(&config, &rt);
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "host";
    desc.name = "host:0";
    desc.device = -1;
    desc.budget_bytes = 4 * mib;
    cubby_tier_add(rt, &desc, &host);
  }
  program(const program &) = delete;
  program &operator=(const program &) = delete;
  ~program() { cubby_close(rt); }

  cubby_status add(const std::vector<std::string> &directories, uint64_t bytes = store_bytes,
                   const char *backend = "file") {
    std::vector<const char *> paths;
    for (const std::string &one : directories) paths.push_back(one.c_str());
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = backend;
    desc.name = "disk:0";
    desc.rank = 9;
    desc.device = -1;
    desc.budget_bytes = bytes;
    desc.paths = paths.data();
    desc.path_count = static_cast<uint32_t>(paths.size());
    return cubby_tier_add(rt, &desc, &disk);
  }
  cubby_status use() {
    cubby_bank_desc blocks{};
    blocks.struct_size = sizeof blocks;
    blocks.kind = CUBBY_BANK_KV;
    blocks.name = "blocks";
    blocks.rows = 1;
    blocks.columns = 256;
    blocks.locker_bytes = block_bytes;
    if (const auto made = cubby_bank_add(rt, &blocks, &bank); made != CUBBY_OK) return made;
    cubby_space_desc named{};
    named.struct_size = sizeof named;
    named.bank = bank;
    named.fingerprint = "model";
    named.fingerprint_bytes = 5;
    return cubby_space_add(rt, &named, &space);
  }
  [[nodiscard]] cubby_status put(uint32_t number, uint8_t keep) const {
    const std::string bytes = content_of(number);
    const block_item one(space, key_of(number), {}, {plain(bytes.data(), bytes.size())});
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = keep;
    return cubby_put(rt, &one.item, 1, &how, nullptr);
  }
  /// OK with the right bytes; never with others.
  [[nodiscard]] cubby_status get(uint32_t number) const {
    std::string bytes(block_bytes, 'x');
    const block_item one(space, key_of(number), {}, {plain(bytes.data(), bytes.size())});
    const cubby_status status = cubby_get(rt, &one.item, 1, nullptr, nullptr);
    if (status == CUBBY_OK && bytes != content_of(number)) return CUBBY_ERR_CORRUPT;
    return status;
  }
  [[nodiscard]] cubby_status drop(uint32_t number, cubby_tier tier) const {
    const block_item one(space, key_of(number), {}, {});
    return cubby_drop(rt, &one.item, 1, tier);
  }
  [[nodiscard]] uint32_t health() const {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    cubby_tier_stats all[4]{};
    for (auto &one : all) one.struct_size = sizeof one;
    cubby_stats(rt, &block, all, 4);
    for (const auto &one : all) {
      if (one.tier == disk) return one.health;
    }
    return ~0u;
  }
  [[nodiscard]] std::string log() const {
    std::string all;
    cubby_log_line line{};
    while (cubby_log_take(rt, &line, 1) == 1) all += std::string(line.text) + "\n";
    return all;
  }
};

/// "" where the last error has such a status, and all these words.
std::string expect(cubby_status status, cubby_status wanted,
                   const std::vector<std::string> &words) {
  std::string said = explain();
  if (status != wanted) return "status " + std::to_string(status) + ": " + said;
  for (const std::string &one : words) {
    if (said.find(one) == std::string::npos) return "lacks '" + one + "': " + said;
  }
  return "";
}

/// Files of at most 4 MiB from here on; SIGXFSZ would kill, as it does by default.
bool limit_files() {
  const rlimit small{4 * mib, 4 * mib};
  return setrlimit(RLIMIT_FSIZE, &small) == 0;
}

/// A small file system of this process's own on `place`.
bool mount_memory(const std::string &place, const char *options) {
  return unshare(CLONE_NEWNS) == 0 &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("none", place.c_str(), "tmpfs", 0, options) == 0;
}

void check_child(const std::string &said) {
  if (said.find(not_possible) == 0) {
    WARN("SKIPPED: " << said);
    return;
  }
  CHECK(said == "");
}

/// Blocks 1 to `count`, durable, in a store of the directory.
void fill(const std::string &directory, uint32_t count) {
  program p(CUBBY_PUMP_CALLER);
  REQUIRE(p.add({directory}) == CUBBY_OK);
  REQUIRE(p.use() == CUBBY_OK);
  for (uint32_t i = 1; i <= count; ++i) REQUIRE(p.put(i, CUBBY_KEEP_DURABLE) == CUBBY_OK);
}

void check_there(const std::vector<std::string> &directories, uint32_t count) {
  program p(CUBBY_PUMP_CALLER);
  const cubby_status added = p.add(directories);
  INFO(explain());
  REQUIRE(added == CUBBY_OK);
  REQUIRE(p.use() == CUBBY_OK);
  for (uint32_t i = 1; i <= count; ++i) CHECK(p.get(i) == CUBBY_OK);
}

}  // namespace

// In the place of the system's.

extern "C" int fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void *const argument = va_arg(arguments, void *);
  va_end(arguments);
  if (without_locks && (command == F_OFD_SETLK || command == F_SETLK)) {
    errno = ENOLCK;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fcntl, fd, command, argument));
}

extern "C" int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  if (without_direct && (flags & O_DIRECT) != 0) {
    errno = EINVAL;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

extern "C" int fdatasync(int fd) {
  if (const char *const removed = removed_in_flush.exchange(nullptr)) ::unlink(removed);
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" int fsync(int fd) {
  const char *const failing = unflushable;
  struct stat asked {
  }, bad{};
  if (failing != nullptr && ::fstat(fd, &asked) == 0 && ::stat(failing, &bad) == 0 &&
      asked.st_ino == bad.st_ino) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

TEST_CASE("ulimit -f below the store's size: refused by name of the limit, and nobody is killed") {
  const store_directory fresh, old;
  fill(old.path, 4);
  check_child(in_child([&]() -> std::string {
    if (!limit_files()) return not_possible;
    program p;
    const std::vector<std::string> words{"ulimit -f", "4194304", fresh.file()};
    if (auto said = expect(p.add({fresh.path}), CUBBY_ERR_NO_SPACE, words); !said.empty()) {
      return said;
    }
    if (!std::filesystem::is_empty(fresh.path)) return "something is left";
    if (p.add({fresh.path}, 3 * mib) != CUBBY_OK) return "the remedy: " + explain();
    program q;
    return expect(q.add({old.path}), CUBBY_ERR_NO_SPACE, {"ulimit -f", old.file()});
  }));
  check_there({old.path}, 4);
}

TEST_CASE("a limit on files that is lowered makes the store read-only, and nobody is killed") {
  const store_directory there;
  const auto pump = GENERATE(0u, 1u);
  check_child(in_child([&]() -> std::string {
    program p(pump);
    if (p.add({there.path}) != CUBBY_OK || p.use() != CUBBY_OK) return explain();
    for (uint32_t i = 1; i <= 4; ++i) {
      if (p.put(i, CUBBY_KEEP_DURABLE) != CUBBY_OK) return explain();
    }
    if (!limit_files()) return not_possible;
    const cubby_status put = p.put(5, CUBBY_KEEP_DURABLE);
    if (auto said = expect(put, CUBBY_ERR_IO, {"ulimit -f"}); !said.empty()) return said;
    if (auto said = expect(p.put(6, CUBBY_KEEP_RESTART), CUBBY_ERR_DEVICE, {"ulimit -f"});
        !said.empty()) {
      return said;
    }
    if (p.health() != 2) return "health " + std::to_string(p.health());
    if (p.put(7, CUBBY_KEEP_SESSION) != CUBBY_OK) return "memory: " + explain();
    if (p.drop(1, p.host) != CUBBY_OK || p.get(1) != CUBBY_OK) return "get: " + explain();
    return "";
  }));
  check_there({there.path}, 4);
}

TEST_CASE("a read-only mount refuses the store, and it is whole once it may be written") {
  const store_directory there;
  check_child(in_child([&]() -> std::string {
    if (!mount_memory(there.path, "size=32m")) return not_possible;
    {
      program p;
      if (p.add({there.path}) != CUBBY_OK || p.use() != CUBBY_OK) return explain();
      if (p.log().find("in memory (tmpfs)") == std::string::npos) return "tmpfs is not said";
      if (p.put(1, CUBBY_KEEP_DURABLE) != CUBBY_OK) return explain();
    }
    const char *const place = there.path.c_str();
    if (mount("none", place, nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0) return not_possible;
    {
      program p;
      const std::vector<std::string> words{"writable", there.path};
      if (auto said = expect(p.add({there.path}), CUBBY_ERR_DENIED, words); !said.empty()) {
        return said;
      }
    }
    if (mount("none", place, nullptr, MS_REMOUNT, nullptr) != 0) return not_possible;
    program p;
    if (p.add({there.path}) != CUBBY_OK || p.use() != CUBBY_OK) return explain();
    return p.get(1) == CUBBY_OK ? "" : explain();
  }));
}

TEST_CASE("a disk that is full: no store without room, and one that is there goes on") {
  const store_directory there;
  check_child(in_child([&]() -> std::string {
    if (!mount_memory(there.path, "size=20m")) return not_possible;
    program p;
    const std::vector<std::string> words{"make room", "lower the budget"};
    if (auto said = expect(p.add({there.path}, 64 * mib), CUBBY_ERR_NO_SPACE, words);
        !said.empty()) {
      return said;
    }
    if (!std::filesystem::is_empty(there.path)) return "something is left";
    if (p.add({there.path}) != CUBBY_OK || p.use() != CUBBY_OK) return explain();
    const int other = ::open((there.path + "/other").c_str(), O_WRONLY | O_CREAT, 0600);
    const std::string much(mib, 'x');
    while (::write(other, much.data(), much.size()) > 0) {
    }
    ::close(other);
    for (uint32_t i = 1; i <= 100; ++i) {
      if (p.put(i, CUBBY_KEEP_DURABLE) != CUBBY_OK) return explain();
    }
    if (p.health() != 0) return "health " + std::to_string(p.health());
    return p.get(100) == CUBBY_OK ? "" : explain();
  }));
}

TEST_CASE("a store's file that somebody removes: said with the next put, and read until the end") {
  const store_directory there;
  program p(GENERATE(0u, 1u));
  REQUIRE(p.add({there.path}) == CUBBY_OK);
  REQUIRE(p.use() == CUBBY_OK);
  for (uint32_t i = 1; i <= 4; ++i) REQUIRE(p.put(i, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  // Under another name it is the same store.
  REQUIRE(::rename(there.file().c_str(), (there.path + "/moved").c_str()) == 0);
  CHECK(p.put(5, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  REQUIRE(::unlink((there.path + "/moved").c_str()) == 0);
  const std::vector<std::string> words{"removed by somebody else", there.file(), "open it anew"};
  CHECK(expect(p.put(6, CUBBY_KEEP_RESTART), CUBBY_ERR_IO, words) == "");
  CHECK(expect(p.put(7, CUBBY_KEEP_DURABLE), CUBBY_ERR_DEVICE, words) == "");
  CHECK(p.health() == 2);
  for (uint32_t i = 1; i <= 5; ++i) {
    CHECK(p.drop(i, p.host) == CUBBY_OK);
    CHECK(p.get(i) == CUBBY_OK);
  }
  CHECK(p.put(8, CUBBY_KEEP_SESSION) == CUBBY_OK);
}

TEST_CASE("a store's file that vanishes in the middle of a durable put: the put is answered") {
  const store_directory there;
  const std::string file = there.file();
  program p(GENERATE(0u, 1u));
  REQUIRE(p.add({there.path}, store_bytes, "threadpool") == CUBBY_OK);
  REQUIRE(p.use() == CUBBY_OK);
  REQUIRE(p.put(1, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  REQUIRE(cubby_drain(p.rt, 10'000'000'000) == CUBBY_OK);
  removed_in_flush = file.c_str();
  const std::string bytes = content_of(2);
  const block_item one(p.space, key_of(2), {}, {plain(bytes.data(), bytes.size())});
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = CUBBY_KEEP_DURABLE;
  cubby_ticket ticket = 0;
  REQUIRE(cubby_put(p.rt, &one.item, 1, &how, &ticket) == CUBBY_PENDING);
  const cubby_status ended = cubby_wait(p.rt, ticket, 5'000'000'000);
  CHECK(expect(ended, CUBBY_ERR_IO, {"removed by somebody else"}) == "");
  CHECK(removed_in_flush == nullptr);
  CHECK(p.health() == 2);
}

TEST_CASE("a store's file that somebody cuts short: said, no other bytes, and not opened again") {
  const store_directory there;
  {
    program p(GENERATE(0u, 1u));
    REQUIRE(p.add({there.path}) == CUBBY_OK);
    REQUIRE(p.use() == CUBBY_OK);
    for (uint32_t i = 1; i <= 60; ++i) REQUIRE(p.put(i, CUBBY_KEEP_DURABLE) == CUBBY_OK);
    REQUIRE(cubby_drain(p.rt, 10'000'000'000) == CUBBY_OK);
    REQUIRE(::truncate(there.file().c_str(), 3 * mib) == 0);
    CHECK(expect(p.put(101, CUBBY_KEEP_DURABLE), CUBBY_ERR_IO, {"cut short", "3145728"}) == "");
    CHECK(p.health() >= 2);
    uint32_t good = 0, bad = 0;
    for (uint32_t i = 1; i <= 60; ++i) {
      static_cast<void>(p.drop(i, p.host));
      const cubby_status status = p.get(i);
      CAPTURE(i, status, explain());
      CHECK((status == CUBBY_OK || status == CUBBY_ERR_IO || status == CUBBY_ERR_DEVICE ||
             status == CUBBY_ERR_CORRUPT || status == CUBBY_MISS));
      good += status == CUBBY_OK;
      bad += status != CUBBY_OK;
    }
    CHECK(good > 0);
    CHECK(bad > 0);
    CHECK(p.put(102, CUBBY_KEEP_SESSION) == CUBBY_OK);
  }
  CHECK(std::filesystem::file_size(there.file()) == 3 * mib);  // nothing was written behind
  program p;
  CHECK(expect(p.add({there.path}), CUBBY_ERR_FORMAT, {"ends at 3145728", there.file()}) == "");
}

TEST_CASE("a clock that jumps ends leases, and nothing else") {
  const store_directory there;
  {
    program p(CUBBY_PUMP_CALLER);
    REQUIRE(p.add({there.path}) == CUBBY_OK);
    REQUIRE(p.use() == CUBBY_OK);
    uint64_t next = 0, now_ns = 1'000'000'000;
    const uint64_t jumps[] = {1, uint64_t{1} << 60, 2, 5'000'000'000, ~uint64_t{0} - 1, 3};
    uint32_t number = 0;
    for (const uint64_t to : jumps) {
      REQUIRE(p.put(++number, CUBBY_KEEP_DURABLE) == CUBBY_OK);
      const std::string name = key_of(number);
      const cubby_key key = as_key(name);
      cubby_pins lease = 0;
      REQUIRE(cubby_lease(p.rt, p.space, &key, 1, 60'000, &lease) == CUBBY_OK);
      now_ns = to;
      REQUIRE(cubby_poll(p.rt, now_ns, &next) == CUBBY_OK);
      REQUIRE(cubby_drain(p.rt, 10'000'000'000) == CUBBY_OK);
      REQUIRE(p.put(++number, CUBBY_KEEP_RESTART) == CUBBY_OK);
      for (uint32_t i = 1; i <= number; ++i) CHECK(p.get(i) == CUBBY_OK);
      CHECK(p.health() == 0);
    }
  }
  check_there({there.path}, 12);
}

TEST_CASE("a fork with an open store: the child is notified, and neither loses nor holds it") {
  const store_directory there;
  int ends[2], looked[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(::pipe(looked) == 0);
  auto p = std::make_unique<program>(GENERATE(0u, 1u));
  REQUIRE(p->add({there.path}) == CUBBY_OK);
  REQUIRE(p->use() == CUBBY_OK);
  REQUIRE(p->put(1, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(ends[1]);
    int wrong = 0;
    if (p->put(2, CUBBY_KEEP_DURABLE) != CUBBY_ERR_FORKED) wrong |= 1;
    if (p->get(1) != CUBBY_ERR_FORKED) wrong |= 2;
    if (cubby_close(p->rt) != CUBBY_ERR_FORKED) wrong |= 4;
    if (child_may_open) {
      program own(CUBBY_PUMP_CALLER);
      if (own.add({there.path}) != CUBBY_ERR_IN_USE) wrong |= 8;
      if (explain().find(std::to_string(::getppid())) == std::string::npos) wrong |= 16;
    }
    if (::write(looked[1], "", 1) != 1) wrong |= 64;
    char go = 0;
    if (::read(ends[0], &go, 1) != 0) wrong |= 32;  // until the parent has ended
    ::_exit(wrong);
  }
  ::close(ends[0]);
  CHECK(p->put(3, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  char seen = 1;
  REQUIRE(::read(looked[0], &seen, 1) == 1);
  p.reset();  // the child lives, and has the file open, too
  {
    program q(CUBBY_PUMP_CALLER);
    const cubby_status added = q.add({there.path});
    INFO(explain());
    CHECK(added == CUBBY_OK);
    REQUIRE(q.use() == CUBBY_OK);
    CHECK(q.get(1) == CUBBY_OK);
    CHECK(q.get(3) == CUBBY_OK);
    ::close(ends[1]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    ::close(looked[0]);
    ::close(looked[1]);
    // The child's end has not given the store to others.
    CHECK(in_child([&]() -> std::string {
            if (!child_may_open) return "";
            program other(CUBBY_PUMP_CALLER);
            return expect(other.add({there.path}), CUBBY_ERR_IN_USE, {"is held by process"});
          }) == "");
  }
  check_there({there.path}, 1);
}

TEST_CASE("a store over several paths: all of them used, each missed or mistaken one named") {
  const store_directory first, second, third, foreign;
  const std::vector<std::string> all{first.path, second.path, third.path};
  {
    program p(GENERATE(0u, 1u));
    REQUIRE(p.add(all, 24 * mib) == CUBBY_OK);
    REQUIRE(p.use() == CUBBY_OK);
    for (uint32_t i = 1; i <= 90; ++i) REQUIRE(p.put(i, CUBBY_KEEP_DURABLE) == CUBBY_OK);
    for (uint32_t i = 1; i <= 90; ++i) CHECK(p.drop(i, p.host) == CUBBY_OK);
    for (uint32_t i = 1; i <= 90; ++i) CHECK(p.get(i) == CUBBY_OK);
  }
  for (const store_directory *one : {&first, &second, &third}) {
    std::ifstream in(one->file(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    uint32_t held = 0;
    for (uint32_t i = 1; i <= 90; ++i) {
      held += bytes.find(content_of(i).substr(0, 64)) != std::string::npos;
    }
    CHECK(held >= 15);
  }
  check_there(all, 90);
  fill(foreign.path, 1);
  const auto refused = [](const std::vector<std::string> &named, const std::string &word,
                          cubby_status wanted = CUBBY_ERR_FORMAT) {
    program p(CUBBY_PUMP_CALLER);
    return expect(p.add(named, 24 * mib), wanted, {word});
  };
  CHECK(refused({first.path, second.path}, "of the 3 of its store") == "");
  CHECK(refused({first.path, third.path, second.path}, third.file()) == "");
  CHECK(refused({first.path, foreign.path, third.path}, foreign.file()) == "");
  CHECK(refused({first.path, first.path}, "one directory", CUBBY_ERR_INVALID) == "");
  const std::string aside = third.path + "/aside";
  REQUIRE(::rename(third.file().c_str(), aside.c_str()) == 0);
  {
    program p(CUBBY_PUMP_CALLER);
    const cubby_status added = p.add(all, 24 * mib);
    CHECK(added < 0);
    CHECK(explain().find(third.path + " has no file of the store") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(third.file()));
  }
  REQUIRE(::rename(aside.c_str(), third.file().c_str()) == 0);
  check_there(all, 90);
}

TEST_CASE("one of several paths that fails makes all of the store read-only") {
  const store_directory first, second;
  program p(GENERATE(0u, 1u));
  REQUIRE(p.add({first.path, second.path}) == CUBBY_OK);
  REQUIRE(p.use() == CUBBY_OK);
  for (uint32_t i = 1; i <= 20; ++i) REQUIRE(p.put(i, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  REQUIRE(::unlink(second.file().c_str()) == 0);
  cubby_status status = CUBBY_OK;
  for (uint32_t i = 21; i <= 40 && status == CUBBY_OK; ++i) status = p.put(i, CUBBY_KEEP_DURABLE);
  CHECK(expect(status, CUBBY_ERR_IO, {second.file(), "removed by somebody else"}) == "");
  CHECK(p.health() == 2);
  CHECK(p.put(50, CUBBY_KEEP_RESTART) == CUBBY_ERR_DEVICE);
  for (uint32_t i = 1; i <= 20; ++i) CHECK(p.get(i) == CUBBY_OK);
}

TEST_CASE(
    "a store over several paths whose naming fails half-way leaves nothing, and can be made") {
  const store_directory first, second;
  unflushable = first.path.c_str();  // named last
  {
    program p(CUBBY_PUMP_CALLER);
    CHECK(p.add({first.path, second.path}) == CUBBY_ERR_IO);
  }
  unflushable = nullptr;
  CHECK(std::filesystem::is_empty(first.path));
  CHECK(std::filesystem::is_empty(second.path));
  program p(CUBBY_PUMP_CALLER);
  const cubby_status added = p.add({first.path, second.path});
  INFO(explain());
  CHECK(added == CUBBY_OK);
}

TEST_CASE("a file system without locks: refused with the remedy, and nothing is left there") {
  const store_directory fresh, old;
  fill(old.path, 4);
  without_locks = true;
  std::string said;
  for (const store_directory *one : {&fresh, &old}) {
    program p(CUBBY_PUMP_CALLER);
    said += expect(p.add({one->path}), CUBBY_ERR_IO, {one->path, "locked", "local disk"});
  }
  without_locks = false;
  CHECK(said == "");
  CHECK(std::filesystem::is_empty(fresh.path));
  check_there({old.path}, 4);
}

TEST_CASE("zeros over the last pages of a journal are said at the next opening, by offset") {
  const store_directory there;
  const bool killed = GENERATE(false, true);
  if (!killed) {
    program p(CUBBY_PUMP_THREAD);
    REQUIRE(p.add({there.path}) == CUBBY_OK);
    REQUIRE(p.use() == CUBBY_OK);
    for (uint32_t i = 1; i <= 4; ++i) REQUIRE(p.put(i, CUBBY_KEEP_RESTART) == CUBBY_OK);
  } else {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      program p(CUBBY_PUMP_THREAD);
      bool good = p.add({there.path}) == CUBBY_OK && p.use() == CUBBY_OK;
      for (uint32_t i = 1; i <= 4; ++i) good = p.put(i, CUBBY_KEEP_RESTART) == CUBBY_OK && good;
      ::usleep(500'000);  // by then the journal's end has been noted
      if (good) ::kill(::getpid(), SIGKILL);
      ::_exit(1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
  }
  const auto log_of_opening = [&] {
    program p(CUBBY_PUMP_CALLER);
    CHECK(p.add({there.path}) == CUBBY_OK);
    CHECK(p.use() == CUBBY_OK);
    CHECK(p.get(1) == CUBBY_OK);
    return p.log();
  };
  // The end of the process, however it came, is no damage.
  CHECK(log_of_opening().find("ends early") == std::string::npos);
  uint64_t last = 0;
  {
    cubby::store::store_options options;
    options.directories = {there.path};
    options.boot = cubby::platform::this_boot();
    options.read_only = true;
    const auto opened = cubby::store::open_store(options);
    REQUIRE(opened);
    REQUIRE(opened->content.journal.next > 1);
    last = opened->content.places.journal_page(opened->content.journal.next - 1) * 4096;
  }
  const int fd = ::open(there.file().c_str(), O_RDWR | O_CLOEXEC);
  const std::string zeros(4096, '\0');
  REQUIRE(::pwrite(fd, zeros.data(), zeros.size(), static_cast<off_t>(last)) == 4096);
  ::close(fd);
  const std::string said = log_of_opening();
  CAPTURE(said);
  CHECK(said.find("ends early, at byte " + std::to_string(last) + " of " + there.file()) !=
        std::string::npos);
  CHECK(log_of_opening().find("ends early") == std::string::npos);  // once
}

TEST_CASE("a file system without O_DIRECT: the store works, and its tier says what it lacks") {
  const store_directory there;
  without_direct = true;
  {
    program p(CUBBY_PUMP_THREAD);
    CHECK(p.add({there.path}) == CUBBY_OK);
    CHECK(p.use() == CUBBY_OK);
    for (uint32_t i = 1; i <= 4; ++i) CHECK(p.put(i, CUBBY_KEEP_DURABLE) == CUBBY_OK);
    cubby_tier_info info{};
    info.struct_size = sizeof info;
    CHECK(cubby_tier_describe(p.rt, p.disk, &info) == CUBBY_OK);
    CHECK(std::string(info.why).find("O_DIRECT") != std::string::npos);
    CHECK(std::string(info.why).find("page cache") != std::string::npos);
    for (uint32_t i = 1; i <= 4; ++i) CHECK(p.drop(i, p.host) == CUBBY_OK);
    for (uint32_t i = 1; i <= 4; ++i) CHECK(p.get(i) == CUBBY_OK);
  }
  check_there({there.path}, 4);
  without_direct = false;
}

TEST_CASE("a store on FUSE: works, is locked in its mount, and says that others may not know") {
  const store_directory behind, mounted;
  const std::string mount = "bindfs --no-allow-other " + behind.path + " " + mounted.path;
  if (std::system((mount + " 2>/dev/null").c_str()) != 0) {
    WARN("SKIPPED: " << not_possible << ": bindfs is not installed, or may not mount");
    return;
  }
  const auto unmount = [&] { return ::umount2(mounted.path.c_str(), MNT_DETACH) == 0; };
  std::string said, logged;
  {
    program p(GENERATE(0u, 1u));
    const cubby_status added = p.add({mounted.path});
    said = added == CUBBY_OK && p.use() == CUBBY_OK ? "" : explain();
    for (uint32_t i = 1; i <= 4; ++i) {
      if (p.put(i, CUBBY_KEEP_DURABLE) != CUBBY_OK) said += explain();
    }
    for (uint32_t i = 1; i <= 4; ++i) {
      if (p.drop(i, p.host) != CUBBY_OK || p.get(i) != CUBBY_OK) said += explain();
    }
    logged = p.log();
    said += in_child([&]() -> std::string {
      if (!child_may_open) return "";
      program other(CUBBY_PUMP_CALLER);
      return expect(other.add({mounted.path}), CUBBY_ERR_IN_USE, {"is held by"});
    });
  }
  CHECK(unmount());
  CHECK(said == "");
  CHECK(logged.find(mounted.file() + " is on FUSE") != std::string::npos);
  CHECK(logged.find("let no other machine or mount") != std::string::npos);
  check_there({behind.path}, 4);
}

TEST_CASE("a child that was forked does not hold the store once its parent is killed") {
  const store_directory there;
  int ends[2], news[2];
  REQUIRE(::pipe(ends) == 0);
  REQUIRE(::pipe(news) == 0);
  const pid_t owner = ::fork();
  REQUIRE(owner >= 0);
  if (owner == 0) {
    ::close(ends[1]);
    program p(CUBBY_PUMP_CALLER);
    const bool good = p.add({there.path}) == CUBBY_OK && p.use() == CUBBY_OK &&
                      p.put(1, CUBBY_KEEP_DURABLE) == CUBBY_OK;
    if (::fork() == 0) {
      const char forked = good ? 'y' : 'n';
      char go = 0;
      if (::write(news[1], &forked, 1) == 1) static_cast<void>(::read(ends[0], &go, 1));
      ::_exit(0);  // once the test has closed its end
    }
    ::pause();
  }
  ::close(ends[0]);
  char forked = 0;
  CHECK(::read(news[0], &forked, 1) == 1);
  CHECK(forked == 'y');
  ::kill(owner, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(owner, &status, 0) == owner);
  check_there({there.path}, 1);
  for (const int end : {ends[1], news[0], news[1]}) ::close(end);
}

TEST_CASE("the store's file is locked by the open files through which it is written") {
  const store_directory there;
  const auto is_locked = [&] {
    const int fd = ::open((there.path + "/cubby.store").c_str(), O_RDONLY | O_CLOEXEC);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = CUBBY_BACKEND_FILE_LOCK_AT;
    lock.l_len = 1;
    const bool known = ::fcntl(fd, F_OFD_GETLK, &lock) == 0;
    ::close(fd);
    return known && lock.l_type == F_RDLCK;
  };
  {
    program p(CUBBY_PUMP_CALLER);
    REQUIRE(p.add({there.path}) == CUBBY_OK);
    CHECK(is_locked());
    CHECK(p.use() == CUBBY_OK);
    CHECK(p.put(1, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  CHECK_FALSE(is_locked());
  check_there({there.path}, 1);
}
