// A process that puts, gets and drops blocks is killed at some moment, again and again over one
// store: what was acknowledged is there in its next life, and whatever is found has the right
// bytes.
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "crash/kill_points.hpp"
#include "store/durable/open_store.hpp"
#include "support/sanitized.hpp"
#include "unit/api/block_fixture.hpp"

using namespace api_test;

namespace {

/// Which flush of a file or directory the process does not survive; 0 = it survives all. Twice the
/// flush's number, and one more where it dies after it.
uint32_t deadly_flush = 0, flushes_seen = 0;

}  // namespace

/// In the place of the C library's, for all of this program.
extern "C" int fsync(int fd) {
  ++flushes_seen;
  if (deadly_flush == 2 * flushes_seen) kill_points::die();
  const auto status = static_cast<int>(::syscall(SYS_fsync, fd));
  if (deadly_flush == 2 * flushes_seen + 1) kill_points::die();
  return status;
}

namespace {

constexpr uint32_t block_count = 150;
/// More than all blocks take, so that none goes for lack of room.
constexpr uint64_t store_bytes = 24 * mib, memory_bytes = 2 * mib;

/// What the child writes to its parent, before and after each call.
struct note {
  uint32_t number = 0;
  enum : uint32_t { putting, put_done, dropping } what = putting;
};

/// What is known of a block.
enum class known : uint8_t { nothing, stored };

uint32_t kill_count() {
  const char *const asked = std::getenv("CUBBY_KILLS");
  if (asked != nullptr) return static_cast<uint32_t>(std::strtoul(asked, nullptr, 10));
  return cubby_test::sanitized ? 15 : 100;
}

std::string parent_of(uint32_t number) {
  return number % 10 == 0 ? std::string() : key_of(number - 1);
}

/// Of a life that has not come to where it was to end.
constexpr int not_reached = 77;

/// Until it is killed, or has made so many calls; an exit status says what was wrong.
[[noreturn]] void live(const block_fixture &f, uint64_t seed, int to_parent,
                       uint64_t calls_max = ~uint64_t{0}) {
  const auto say = [&](const note &one) {
    if (::write(to_parent, &one, sizeof one) != sizeof one) ::_exit(4);
  };
  cubby::base::prng random(seed);
  std::string bytes(block_bytes, 'x');
  for (uint64_t i = 0; i < calls_max; ++i) {
    const auto number = static_cast<uint32_t>(random.next() % block_count);
    const uint64_t choice = random.next() % 16;
    if (choice == 0) {
      say({number, note::dropping});
      const block_item one(f.space, key_of(number), {}, {});
      static_cast<void>(cubby_drop(f.h.rt, &one.item, 1, 0));
    } else if (choice < 6) {
      const cubby_status status = get(f, number, bytes);
      if (status == CUBBY_OK && bytes != content_of(number)) ::_exit(2);
      if (status != CUBBY_OK && status != CUBBY_MISS) ::_exit(3);
    } else {
      const uint8_t keep = choice < 12 ? CUBBY_KEEP_RESTART : CUBBY_KEEP_DURABLE;
      say({number, note::putting});
      if (put(f, number, content_of(number), parent_of(number), 0, keep) != CUBBY_OK) ::_exit(5);
      say({number, note::put_done});
    }
  }
  ::_exit(not_reached);
}

uint32_t pump_of(uint64_t seed) { return seed % 2 == 0 ? CUBBY_PUMP_THREAD : CUBBY_PUMP_CALLER; }

[[noreturn]] void live_anywhere(const block_tiers &tiers, uint64_t seed, int to_parent) {
  const block_fixture f(pump_of(seed), 512, 0, tiers);
  live(f, seed, to_parent);
}

/// Ends at the point, or after more calls than it takes to come there.
[[noreturn]] void live_until(const block_tiers &tiers, uint64_t seed, int to_parent,
                             kill_points::plan plan) {
  block_fixture f(pump_of(seed), 512);
  const auto *ops = kill_points::operations();
  if (cubby::api::register_backend(f.h.rt, ops, &plan) != CUBBY_OK) ::_exit(6);
  f.host = f.h.tier("host:0", 0, tiers.host_bytes);
  block_tiers deadly = tiers;
  deadly.backend = ops->name;
  if (f.add_store(deadly, &f.disk) != CUBBY_OK) ::_exit(7);
  REQUIRE(cubby_space_remove(f.h.rt, f.space) == CUBBY_OK);
  f.space = f.add_space("model", "tenant");
  live(f, seed, to_parent, 600);
}

/// Lets a child live until it is killed, by itself or after some milliseconds, and takes down what
/// it says. False: it has not come to where it was to end.
bool live_and_die(const block_tiers &tiers, uint64_t seed, std::vector<known> &blocks,
                  const kill_points::plan *plan = nullptr) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::close(ends[0]);
    if (plan != nullptr) live_until(tiers, seed, ends[1], *plan);
    live_anywhere(tiers, seed, ends[1]);
  }
  ::close(ends[1]);
  std::vector<note> notes;
  note one;
  const auto take = [&] { return ::read(ends[0], &one, sizeof one) == sizeof one; };
  if (take()) notes.push_back(one);  // it is at work
  if (plan == nullptr) {
    std::this_thread::sleep_for(std::chrono::microseconds(cubby::base::mix64(seed) % 40'000));
    ::kill(child, SIGKILL);
  }
  while (take()) notes.push_back(one);
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  const int exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  INFO("exit status " << exit_status);
  const bool reached = exit_status != not_reached;
  if (reached) REQUIRE(WIFSIGNALED(status));
  for (const note &said : notes) {
    // An erase need not be on disk when the call returns: the block may be there again.
    if (said.what == note::dropping) blocks[said.number] = known::nothing;
    if (said.what == note::put_done) blocks[said.number] = known::stored;
  }
  return reached;
}

/// What the next process finds.
void check_next_life(const block_tiers &tiers, const std::vector<known> &blocks) {
  block_fixture f(CUBBY_PUMP_CALLER, 512, 0, tiers);
  std::string bytes(block_bytes, 'x');
  for (uint32_t number = 0; number < block_count; ++number) {
    const cubby_status status = get(f, number, bytes);
    CAPTURE(number, status);
    INFO(explain());
    REQUIRE((status == CUBBY_OK || status == CUBBY_MISS));
    if (blocks[number] == known::stored) REQUIRE(status == CUBBY_OK);
    if (status == CUBBY_OK) REQUIRE(bytes == content_of(number));
  }
  REQUIRE(f.h.stats(f.disk).corrupt_count == 0);
  // The death of a process is no damage; one copy of a head may be torn by it.
  cubby_log_line line{};
  while (cubby_log_take(f.h.rt, &line, 1) == 1) {
    const std::string said = line.text;
    INFO(said);
    const bool damaged = said.find("damaged") != std::string::npos;
    REQUIRE((!damaged || said.find(": 0 blocks and 0 records were lost") != std::string::npos));
    REQUIRE(said.find("ends early") == std::string::npos);
  }
}

}  // namespace

TEST_CASE("a process that is killed at any moment leaves what was acknowledged") {
  const store_directory there;
  const block_tiers tiers{there.path, store_bytes, memory_bytes};
  std::vector<known> blocks(block_count, known::nothing);
  const uint32_t kills = kill_count();
  for (uint32_t i = 0; i < kills; ++i) {
    CAPTURE(i);
    live_and_die(tiers, i + 1, blocks);
    check_next_life(tiers, blocks);
  }
}

TEST_CASE("a process that is killed at a named point leaves what was acknowledged") {
  const store_directory there;
  const block_tiers tiers{there.path, store_bytes, memory_bytes};
  std::vector<known> blocks(block_count, known::nothing);
  const uint32_t kills = kill_count();
  std::array<uint32_t, kill_points::points.size()> died{};
  for (uint32_t i = 0; i < kills; ++i) {
    const kill_points::point &at = kill_points::points[i % died.size()];
    // A checkpoint comes with every few puts only.
    const bool rare =
        at.what == kill_points::subject::entries || at.what == kill_points::subject::head;
    const auto count = static_cast<uint32_t>(1 + cubby::base::mix64(i) % (rare ? 3 : 20));
    CAPTURE(i, at.name, count);
    const kill_points::plan plan{at, count};
    died[i % died.size()] += live_and_die(tiers, i + 1, blocks, &plan);
    check_next_life(tiers, blocks);
  }
  for (size_t i = 0; i < died.size() && kills >= 100; ++i) {
    CAPTURE(kill_points::points[i].name);
    CHECK(died[i] > 0);
  }
}

namespace {

using cubby::store::open_store;
using cubby::store::store_file_exists;

/// Directories of a striped store.
struct stripes {
  store_directory all[3];
  cubby::store::store_options options;
  stripes() {
    for (const store_directory &one : all) options.directories.push_back(one.path);
    options.budget_bytes = 12 * mib;
  }
  [[nodiscard]] uint32_t named() const {
    return static_cast<uint32_t>(
        std::count_if(options.directories.begin(), options.directories.end(), store_file_exists));
  }
};

/// False: it was made before it came to the point.
bool make_and_die(const stripes &there, uint32_t at) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    flushes_seen = 0;
    deadly_flush = at;
    ::_exit(open_store(there.options) ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (!WIFSIGNALED(status)) REQUIRE(WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

}  // namespace

TEST_CASE("a striped store whose maker was killed is made anew, wherever that was") {
  uint32_t half_made = 0, at = 2, first_named = 0;
  for (;; ++at) {
    CAPTURE(at);
    const stripes there;
    if (!make_and_die(there, at)) break;
    const uint32_t named = there.named();
    half_made += named == 1 || named == 2;
    if (named != 0 && first_named == 0) first_named = at / 2;
    const auto made = open_store(there.options);
    INFO((made ? "" : made.failure().text.c_str()));
    REQUIRE(made);
    CHECK(there.named() == 3);
    CHECK(made->content.report.blocks == 0);
  }
  CHECK(at > 12);  // each file, and each directory
  CHECK(half_made >= 6);
  CHECK(first_named > 2 * 3);  // the files and their directories, before any has its name
}

TEST_CASE("files of a store are left as they are where it may have been finished") {
  const stripes there;
  REQUIRE(open_store(there.options));
  const std::string first = there.options.directories[0] + "/" + cubby::store::store_file_name;
  SECTION("its first file is away") {
    REQUIRE(::rename(first.c_str(), (first + ".away").c_str()) == 0);
  }
  SECTION("another store was begun in its place") {
    REQUIRE(::unlink(first.c_str()) == 0);
    const stripes others;
    REQUIRE(open_store(others.options));
    const std::string other = others.options.directories[0] + "/" + cubby::store::store_file_name;
    REQUIRE(::rename(other.c_str(), (first + ".new").c_str()) == 0);
  }
  const auto opened = open_store(there.options);
  REQUIRE_FALSE(opened);
  CHECK(opened.failure().text.find("mount the disk") != std::string::npos);
  CHECK(there.named() == 2);
}

TEST_CASE("files of a store that was used are left as they are, whatever the first is called") {
  const stripes there;
  {
    const auto made = open_store(there.options);
    REQUIRE(made);
    // The first record of use is in page 1; later laps write over page 0, too.
    const uint64_t page = GENERATE(0u, 1u);
    const uint64_t at = made->content.places.journal_page(page) * cubby::store::page_bytes;
    REQUIRE(::pwrite(made->files[0].fd(), "record", 6, static_cast<off_t>(at)) == 6);
  }
  const std::string first = there.options.directories[0] + "/" + cubby::store::store_file_name;
  REQUIRE(::rename(first.c_str(), (first + ".new").c_str()) == 0);
  const auto opened = open_store(there.options);
  REQUIRE_FALSE(opened);
  CHECK(opened.failure().text.find("mount the disk") != std::string::npos);
  CHECK(there.named() == 2);
}

TEST_CASE("a store that is being made is not taken for one whose maker has died") {
  const stripes there;
  auto living = open_store(there.options);
  REQUIRE(living);
  const std::string first = there.options.directories[0] + "/" + cubby::store::store_file_name;
  REQUIRE(::rename(first.c_str(), (first + ".new").c_str()) == 0);
  const auto second = open_store(there.options);
  REQUIRE_FALSE(second);
  CHECK(second.failure().status == CUBBY_ERR_IN_USE);
  CHECK(there.named() == 2);
}
