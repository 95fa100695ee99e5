// Whole runtimes under the limits of real machines: little locked memory, a small address space,
// io_uring forbidden, places that may not be written. Each child does the work of a program and
// says what it found; no Catch2 inside, for a child must not run the rest of the tests.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>

#include "fault/child.hpp"
#include "support/sanitized.hpp"
#include "unit/api/runtime_fixture.hpp"
#include "unit/store/scratch.hpp"

using api_test::weights;
using fault_test::become_nobody;
using fault_test::in_child;
using fault_test::not_possible;

namespace {

constexpr uint64_t mib = 1 << 20;

void check_child(const std::string &said) {
  if (said.find(not_possible) == 0) {
    WARN("SKIPPED: " << said);
    return;
  }
  CHECK(said == "");
}

/// A runtime as a program makes it, without the test framework.
struct program {
  cubby_handle *rt = nullptr;
  cubby_tier host = 0;
  cubby_bank bank = 0;

  ~program() { cubby_close(rt); }
  bool open() { return cubby_open(nullptr, &rt) == CUBBY_OK; }
  cubby_status add_host(uint64_t budget) {
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "host";
    desc.name = "host:0";
    desc.device = -1;
    desc.budget_bytes = budget;
    return cubby_tier_add(rt, &desc, &host);
  }
  cubby_status map(const weights &w) {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "weights";
    desc.rows = weights::rows;
    desc.columns = weights::columns;
    desc.row_bytes = w.row_bytes.data();
    desc.part_count = weights::parts;
    desc.part_bytes = w.part_bytes.data();
    desc.align_bytes = 32;
    const cubby_status added = cubby_bank_add(rt, &desc, &bank);
    if (added != CUBBY_OK) return added;
    std::vector<cubby_extent> extents = w.extents;
    for (cubby_extent &e : extents) e.id = CUBBY_ID(bank, e.id & 0xFFFFFFFF);
    const char *file = w.path.c_str();
    return cubby_bank_map(rt, bank, &file, 1, extents.data(), extents.size());
  }
  /// Loads one locker; "" when its bytes are right.
  std::string load(const weights &w, uint32_t number) {
    cubby_item item{};
    item.id = CUBBY_ID(bank, number);
    const void *addr[weights::parts] = {};
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = cubby_pin(rt, &item, 1, host, nullptr, &pins, addr, &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(rt, ticket, 30'000'000'000);
    if (status != CUBBY_OK) return "pin: " + api_test::explain();
    if (!w.same(addr[0], number, 0) || !w.same(addr[1], number, 1)) return "wrong bytes";
    return cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK ? "" : "unpin";
  }
  /// The I/O path of the files' tier, and why it is that one.
  cubby_tier_info files() const {
    cubby_tier_info info{};
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    cubby_tier_stats tiers[8] = {};
    tiers[0].struct_size = sizeof tiers[0];
    if (cubby_stats(rt, &block, tiers, 8) != CUBBY_OK) return info;
    for (uint32_t i = 0; i < block.tier_count; ++i) {
      info.struct_size = sizeof info;
      if (tiers[i].tier != host) cubby_tier_describe(rt, tiers[i].tier, &info);
    }
    return info;
  }
  std::string log() const {
    std::string all;
    cubby_log_line line{};
    while (cubby_log_take(rt, &line, 1) == 1) all += std::string(line.text) + "\n";
    return all;
  }
};

cubby_error last() {
  cubby_error why{};
  why.struct_size = sizeof why;
  cubby_explain(&why, nullptr, 0);
  return why;
}

bool has(const std::string &text, const char *words) { return text.find(words) != text.npos; }

/// io_uring_setup gives EPERM from here on, as container runtimes make it.
bool block_io_uring() {
  sock_filter lines[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof lines / sizeof *lines, lines};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/// A runtime that loads a locker; what is said of its way of reading.
std::string load_one(const weights &w, std::string &log, cubby_tier_info &files) {
  program p;
  if (!p.open()) return "open: " + api_test::explain();
  if (p.add_host(4 * mib) != CUBBY_OK) return "tier: " + api_test::explain();
  if (p.map(w) != CUBBY_OK) return "map: " + api_test::explain();
  const std::string loaded = p.load(w, 3);
  files = p.files();
  log = p.log();
  return loaded;
}

/// The model file is the test's own; others may have to read it.
void let_others_read(const weights &w) { REQUIRE(chmod(w.path.c_str(), 0644) == 0); }

}  // namespace

TEST_CASE("io_uring blocked by seccomp: the runtime takes the thread pool by itself and says so") {
  const weights w;
  check_child(in_child([&]() -> std::string {
    std::string log;
    cubby_tier_info files{};
    if (!load_one(w, log, files).empty() || std::string(files.io) != "io_uring") {
      return not_possible + ": io_uring is not in use even without a filter";
    }
    if (!block_io_uring()) return not_possible + ": no seccomp filter";
    const std::string loaded = load_one(w, log, files);
    if (!loaded.empty()) return loaded;
    if (std::string(files.io) != "threadpool") return std::string("path: ") + files.io;
    if (!has(files.why, "seccomp")) return std::string("why: ") + files.why;
    if (!has(log, "Operation not permitted") || !has(log, "io_uring_setup")) return "log: " + log;
    return "";
  }));
}

TEST_CASE("ulimit -l 64: the runtime opens, says that buffers are not registered, and goes on") {
  const weights w;
  let_others_read(w);
  check_child(in_child([&]() -> std::string {
    const rlimit limit{65536, 65536};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return not_possible + ": setrlimit";
    if (!become_nobody()) return not_possible + ": root passes the limit by";
    if (access(w.path.c_str(), R_OK) != 0) return not_possible + ": the folder is closed to others";
    std::string log;
    cubby_tier_info files{};
    const std::string loaded = load_one(w, log, files);
    if (!loaded.empty()) return loaded;
    if (std::string(files.io) != "io_uring") return not_possible + ": io_uring is not in use";
    if (files.registered != 0) return not_possible + ": this kernel counts no locked memory here";
    if (!has(log, "ulimit -l")) return "log: " + log;
    if (!has(files.why, "ulimit -l")) return std::string("why: ") + files.why;
    return "";
  }));
}

TEST_CASE(
    "a small address space: an impossible budget is NO_MEMORY with the bytes, the rest works") {
  if (cubby_test::sanitized) {
    WARN("SKIPPED: sanitizers map more than any small address space");
    return;
  }
  const weights w;
  check_child(in_child([&]() -> std::string {
    const rlimit small{768 * mib, 768 * mib};
    if (setrlimit(RLIMIT_AS, &small) != 0) return not_possible + ": setrlimit";
    program p;
    if (!p.open()) return "open: " + api_test::explain();
    const uint64_t budget = 900 * mib;
    const cubby_status refused = p.add_host(budget);
    const std::string text = api_test::explain();
    if (refused != CUBBY_ERR_NO_MEMORY && refused != CUBBY_ERR_BUDGET) {
      return std::string("tier: ") + cubby_status_name(refused) + ": " + text;
    }
    if (refused == CUBBY_ERR_BUDGET) return not_possible + ": the machine itself is smaller";
    if (last().needed_bytes != budget) return "needed: " + std::to_string(last().needed_bytes);
    if (!has(text, "ulimit -v")) return "text: " + text;
    if (p.add_host(4 * mib) != CUBBY_OK) return "small tier: " + api_test::explain();
    if (p.map(w) != CUBBY_OK) return "map: " + api_test::explain();
    return p.load(w, 3);
  }));
}

TEST_CASE("a bank too large for memory is refused, and smaller ones are added as before") {
  if (cubby_test::sanitized) {
    WARN("SKIPPED: sanitizers map more than any small address space");
    return;
  }
  const weights w;
  check_child(in_child([&]() -> std::string {
    const rlimit small{512 * mib, 512 * mib};
    if (setrlimit(RLIMIT_AS, &small) != 0) return not_possible + ": setrlimit";
    program p;
    if (!p.open()) return "open: " + api_test::explain();
    if (p.add_host(4 * mib) != CUBBY_OK) return "tier: " + api_test::explain();
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "vast";
    desc.rows = 1 << 11;
    desc.columns = 1 << 16;
    desc.locker_bytes = 4096;
    cubby_bank vast = 0;
    for (int tries = 0; tries < 2; ++tries) {
      const cubby_status refused = cubby_bank_add(p.rt, &desc, &vast);
      if (refused != CUBBY_ERR_NO_MEMORY) {
        return std::string("vast: ") + cubby_status_name(refused) + ": " + api_test::explain();
      }
    }
    if (p.map(w) != CUBBY_OK) return "map: " + api_test::explain();
    return p.load(w, 3);
  }));
}

TEST_CASE("no descriptors left: open and queues say ulimit -n, and nothing is half made") {
  if (cubby_test::sanitized) {
    WARN(
        "SKIPPED: UBSan opens pipes to look at objects, and takes none to be had for a bad object");
    return;
  }
  check_child(in_child([]() -> std::string {
    program p;
    if (!p.open()) return "open: " + api_test::explain();
    const rlimit none{3, 3};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) return not_possible + ": setrlimit";
    cubby_cq *queue = nullptr;
    if (cubby_cq_add(p.rt, 4, &queue) != CUBBY_ERR_IO) return "queue: " + api_test::explain();
    if (last().native != EMFILE || !has(api_test::explain(), "ulimit -n")) {
      return "queue: " + api_test::explain();
    }
    cubby_handle *second = nullptr;
    if (cubby_open(nullptr, &second) != CUBBY_ERR_IO) return "second: " + api_test::explain();
    return second == nullptr && has(api_test::explain(), "ulimit -n") ? "" : api_test::explain();
  }));
}

TEST_CASE("a file that this user may not read is DENIED, with errno and remedy") {
  const weights w;
  REQUIRE(chmod(w.path.c_str(), 0) == 0);
  check_child(in_child([&]() -> std::string {
    if (!become_nobody()) return not_possible + ": root may read everything";
    program p;
    if (!p.open()) return "open: " + api_test::explain();
    if (p.map(w) != CUBBY_ERR_DENIED) return "map: " + api_test::explain();
    if (last().native != EACCES || !has(api_test::explain(), "chmod")) {
      return "map: " + api_test::explain();
    }
    cubby_bank bank = 0;
    if (cubby_bank_adopt(p.rt, w.path.c_str(), nullptr, &bank) != CUBBY_ERR_DENIED) {
      return "adopt: " + api_test::explain();
    }
    return last().native == EACCES && has(api_test::explain(), "chmod") ? "" : api_test::explain();
  }));
  chmod(w.path.c_str(), 0600);
}

TEST_CASE(
    "a folder that may not be written: file tier and seal are DENIED before anything is read") {
  const scratch::folder folder;
  scratch::gguf file;
  file.pair("qwen3moe.expert_used_count", 1);
  file.tensor("blk.0.ffn_up_exps.weight", 8, {32, 4, 2}, 34 * 4 * 2);
  const std::string model = folder.write("m.gguf", file.bytes());
  const std::string place = folder.path("");
  REQUIRE(chmod(place.c_str(), 0555) == 0);
  check_child(in_child([&]() -> std::string {
    if (!become_nobody()) return not_possible + ": root may write everywhere";
    program p;
    if (!p.open()) return "open: " + api_test::explain();
    const char *paths[] = {place.c_str()};
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "file";
    desc.name = "nvme:0";
    desc.paths = paths;
    desc.path_count = 1;
    cubby_tier made = 0;
    if (cubby_tier_add(p.rt, &desc, &made) != CUBBY_ERR_DENIED || last().native != EACCES ||
        !has(api_test::explain(), "mount it writable")) {
      return "tier: " + api_test::explain();
    }
    cubby_ticket ticket = 0;
    if (cubby_seal(p.rt, model.c_str(), nullptr, nullptr, &ticket) != CUBBY_ERR_DENIED ||
        ticket != 0 || last().native != EACCES || !has(api_test::explain(), "seal path")) {
      return "seal: " + api_test::explain();
    }
    return "";
  }));
  chmod(place.c_str(), 0755);
  CHECK_FALSE(std::filesystem::exists(model + ".cubby-seal"));
  CHECK_FALSE(std::filesystem::exists(model + ".cubby-seal.tmp"));
}
