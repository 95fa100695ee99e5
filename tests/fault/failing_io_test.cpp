// A whole runtime on a backend that fails: nothing, one part or everything. What is asked each
// time: right bytes or an error; every request ends exactly once; nothing stays held; what does not
// fail is served; afterwards all is well again.
#include <array>
#include <set>

#include "fault/failing_backend.hpp"
#include "host/host.hpp"
#include "threadpool/threadpool.hpp"
#include "unit/api/runtime_fixture.hpp"

using namespace api_test;
using failing::extent;
using failing::fault;

namespace {

constexpr int64_t long_ns = 30'000'000'000;
constexpr int64_t short_ns = 50'000'000;
constexpr uint64_t mib = 1 << 20;
constexpr uint32_t bad = 5;  // the locker whose first part is hit

/// A runtime whose files are read through a failing backend, a queue, and known weights.
struct failing_fixture {
  failing::faults injected;
  weights w;
  runtime_fixture h{CUBBY_PUMP_CALLER};
  cubby_tier host = 0;
  cubby_cq *queue = nullptr;
  uint64_t accepted = 0;
  std::vector<cubby_done> ended;

  explicit failing_fixture(uint64_t budget = 16 * mib) {
    const auto *ops = failing::wrapped<cubby_threadpool_backend>("failing_files");
    REQUIRE(cubby::api::register_backend(h.rt, ops, &injected) == CUBBY_OK);
    host = h.tier("host:0", 0, budget);
    h.map(w);
    injected.at_bytes = w.extent(bad, 0).offset_bytes + 100'000;
    REQUIRE(cubby_cq_add(h.rt, 64, &queue) == CUBBY_OK);
  }
  ~failing_fixture() {
    if (queue != nullptr) cubby_cq_remove(queue);
  }
  failing_fixture(const failing_fixture &) = delete;
  failing_fixture &operator=(const failing_fixture &) = delete;

  struct asked {
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = CUBBY_OK;
    std::vector<const void *> addr;
    std::array<int8_t, 24> item_status{};
  };
  /// Asks for a set; its end comes through the queue.
  std::unique_ptr<asked> ask(const std::vector<uint32_t> &numbers) {
    auto one = std::make_unique<asked>();
    const auto wanted = h.items(numbers);
    one->addr.assign(numbers.size() * weights::parts, nullptr);
    cubby_how how{};
    how.struct_size = sizeof how;
    how.cq = queue;
    how.item_status = one->item_status.data();
    how.user = ++accepted;
    one->status = cubby_pin(h.rt, wanted.data(), static_cast<uint32_t>(wanted.size()), host, &how,
                            &one->pins, one->addr.data(), &one->ticket);
    REQUIRE(one->status == CUBBY_PENDING);
    return one;
  }
  cubby_status wait(asked &one) { return one.status = cubby_wait(h.rt, one.ticket, long_ns); }

  /// Every accepted request has ended, and none twice.
  void check_ends() {
    std::array<cubby_done, 64> done{};
    for (uint32_t count = 0; (count = cubby_cq_take(queue, done.data(), 64)) != 0;) {
      ended.insert(ended.end(), done.begin(), done.begin() + count);
    }
    std::set<uint64_t> users;
    for (const cubby_done &one : ended) CHECK(users.insert(one.user).second);
    CHECK(users.size() == accepted);
  }
  [[nodiscard]] cubby_tier_stats files() const {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    std::array<cubby_tier_stats, 8> all{};
    all[0].struct_size = sizeof all[0];
    REQUIRE(cubby_stats(h.rt, &block, all.data(), 8) == CUBBY_OK);
    for (uint32_t i = 0; i < block.tier_count; ++i) {
      if (all[i].tier != host) return all[i];
    }
    return {};
  }
  /// With nothing failing any more: every locker, with its bytes.
  void check_all_well() {
    injected.what = fault::none;
    for (uint32_t number = 0; number < weights::rows * weights::columns; ++number) {
      std::vector<const void *> addr;
      cubby_pins pins = 0;
      REQUIRE(h.pin({number}, host, pins, addr) == CUBBY_OK);
      for (uint32_t part = 0; part < weights::parts; ++part) {
        CHECK(w.same(addr[part], number, part));
      }
      CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
    }
    CHECK(h.stats(host).pinned_bytes == 0);
  }
  std::string log() const {
    std::string all;
    cubby_log_line line{};
    while (cubby_log_take(h.rt, &line, 1) == 1) all += std::string(line.text) + "\n";
    return all;
  }
};

cubby_error last() {
  cubby_error why{};
  why.struct_size = sizeof why;
  cubby_explain(&why, nullptr, 0);
  return why;
}

const std::vector<uint32_t> eight = {1, 2, 3, 4, bad, 6, 7, 8};

}  // namespace

TEST_CASE("one bad and one good request: the bad one gets the error") {
  const auto what = GENERATE(fault::eio, fault::short_);
  failing_fixture f;
  f.injected.what = what;
  f.injected.how_much = extent::one_part;
  const auto good = f.ask({2}), broken = f.ask({bad}), other = f.ask({7});
  CHECK(f.wait(*good) == CUBBY_OK);
  CHECK(f.wait(*other) == CUBBY_OK);
  CHECK(f.wait(*broken) == CUBBY_ERR_IO);
  CHECK(f.w.same(good->addr[0], 2, 0));
  CHECK(f.w.same(other->addr[1], 7, 1));
  CHECK(broken->addr[0] == nullptr);
  cubby_unpin(f.h.rt, good->pins, 0, 0, nullptr);
  cubby_unpin(f.h.rt, other->pins, 0, 0, nullptr);
  CHECK(cubby_unpin(f.h.rt, broken->pins, 0, 0, nullptr) == CUBBY_ERR_STALE);
  f.check_ends();
  f.check_all_well();
}

TEST_CASE("reads that fail in nothing, one part or everything") {
  const auto what = GENERATE(fault::eio, fault::short_);
  const auto how_much = GENERATE(extent::nothing, extent::one_part, extent::everything);
  INFO("fails: " << failing::name_of(how_much));
  failing_fixture f;
  f.injected.what = what;
  f.injected.how_much = how_much;
  const auto set = f.ask(eight);
  const cubby_status status = f.wait(*set);
  CHECK(status == (how_much == extent::nothing    ? CUBBY_OK
                   : how_much == extent::one_part ? CUBBY_PARTIAL
                                                  : CUBBY_ERR_IO));
  for (size_t i = 0; i < eight.size(); ++i) {
    const bool fails =
        how_much == extent::everything || (how_much == extent::one_part && eight[i] == bad);
    CHECK(set->item_status[i] == (fails ? CUBBY_ERR_IO : CUBBY_OK));
    CHECK((set->addr[2 * i] == nullptr) == fails);
    if (!fails) CHECK(f.w.same(set->addr[2 * i], eight[i], 0));
  }
  if (how_much != extent::nothing) {
    const cubby_error why = last();
    INFO(explain());
    CHECK(why.tier == f.files().tier);
    CHECK(why.native == (what == fault::eio ? EIO : 0));
    CHECK(explain().find(f.w.path) != std::string::npos);
    CHECK(explain().find("kernel's log") != std::string::npos);
    if (how_much == extent::one_part) CHECK(why.id == CUBBY_ID(f.h.bank, bad));
    CHECK(f.files().error_count >= 2);  // read once more before it is given up
  }
  cubby_unpin(f.h.rt, set->pins, 0, 0, nullptr);
  f.check_ends();
  f.check_all_well();
}

TEST_CASE("a read that fails once is read again, and nobody hears of it but the counters") {
  const auto what = GENERATE(fault::eio, fault::short_);
  failing_fixture f;
  f.injected.what = what;
  f.injected.times = 1;
  const auto set = f.ask(eight);
  CHECK(f.wait(*set) == CUBBY_OK);
  CHECK(f.files().error_count == 1);
  cubby_unpin(f.h.rt, set->pins, 0, 0, nullptr);
  f.check_ends();
  f.check_all_well();
}

TEST_CASE("completions reported twice, or of I/Os that never were, change nothing and are logged") {
  const auto what = GENERATE(fault::twice, fault::strange);
  const auto how_much = GENERATE(extent::one_part, extent::everything);
  failing_fixture f(2 * mib);  // small: pieces and frames are used again and again
  f.injected.what = what;
  f.injected.how_much = how_much;
  for (uint32_t round = 0; round < 12; ++round) {
    const auto a = f.ask({round, bad}), b = f.ask({23 - round});
    CHECK(f.wait(*a) == CUBBY_OK);
    CHECK(f.w.same(a->addr[0], round, 0));
    CHECK(f.w.same(a->addr[2], bad, 0));
    cubby_unpin(f.h.rt, a->pins, 0, 0, nullptr);
    CHECK(f.wait(*b) == CUBBY_OK);
    CHECK(f.w.same(b->addr[1], 23 - round, 1));
    cubby_unpin(f.h.rt, b->pins, 0, 0, nullptr);
    cubby_drop(f.h.rt, f.h.items({bad}).data(), 1, 0);
  }
  CHECK(f.files().error_count != 0);
  CHECK(f.log().find("completed an I/O that is not under way") != std::string::npos);
  f.check_ends();
  f.check_all_well();
}

TEST_CASE("a completion that comes late, after cancel: its frame was given to nobody meanwhile") {
  const bool by_unpin = GENERATE(false, true);
  failing_fixture f(mib / 2);  // room for one locker
  f.injected.what = fault::held;
  f.injected.how_much = extent::one_part;
  const auto late = f.ask({bad});
  CHECK(cubby_wait(f.h.rt, late->ticket, short_ns) == CUBBY_ERR_TIMEOUT);
  CHECK(last().retryable == 1);
  const auto items = f.h.items({bad});
  CHECK(cubby_drop(f.h.rt, items.data(), 1, 0) == CUBBY_ERR_BUSY);
  CHECK(cubby_bank_remove(f.h.rt, f.h.bank) == CUBBY_ERR_BUSY);
  if (by_unpin) {
    CHECK(cubby_unpin(f.h.rt, late->pins, 0, 0, nullptr) == CUBBY_OK);
  } else {
    CHECK(cubby_cancel(f.h.rt, late->ticket) == CUBBY_OK);
  }
  CHECK(f.wait(*late) == CUBBY_ERR_CANCELED);  // at once: the caller waits for no device
  CHECK(cubby_drain(f.h.rt, short_ns) == CUBBY_ERR_TIMEOUT);
  // The device may still write there, so somebody else has to wait for the frame.
  const auto next = f.ask({2});
  CHECK(cubby_wait(f.h.rt, next->ticket, short_ns) == CUBBY_ERR_TIMEOUT);
  f.injected.release = true;
  CHECK(f.wait(*next) == CUBBY_OK);
  CHECK(f.w.same(next->addr[0], 2, 0));
  CHECK(f.w.same(next->addr[1], 2, 1));
  cubby_unpin(f.h.rt, next->pins, 0, 0, nullptr);
  CHECK(cubby_drain(f.h.rt, long_ns) == CUBBY_OK);
  f.check_ends();
  f.check_all_well();
}

TEST_CASE("a locker asked for again while its withdrawn read is out comes right after all") {
  failing_fixture f;
  f.injected.what = fault::held;
  f.injected.how_much = extent::one_part;
  const auto first = f.ask({bad});
  cubby_cancel(f.h.rt, first->ticket);
  CHECK(f.wait(*first) == CUBBY_ERR_CANCELED);
  const auto second = f.ask({bad});
  CHECK(cubby_wait(f.h.rt, second->ticket, short_ns) == CUBBY_ERR_TIMEOUT);
  f.injected.release = true;
  f.injected.what = fault::none;
  CHECK(f.wait(*second) == CUBBY_OK);
  CHECK(f.w.same(second->addr[0], bad, 0));
  cubby_unpin(f.h.rt, second->pins, 0, 0, nullptr);
  f.check_ends();
  f.check_all_well();
}

TEST_CASE("close waits for I/O that is late, and completions may be taken after it") {
  failing_fixture f;
  f.injected.what = fault::held;
  f.injected.release_after = 400;
  const auto a = f.ask({1, 2}), b = f.ask({3});
  CHECK(cubby_close(f.h.rt) == CUBBY_OK);
  f.h.rt = nullptr;
  f.check_ends();
  for (const cubby_done &one : f.ended) CHECK(one.status == CUBBY_ERR_CANCELED);
  CHECK(cubby_cq_remove(f.queue) == CUBBY_OK);
  f.queue = nullptr;
}

TEST_CASE("a completion that never comes: cancel and drain end, close ends and says what is lost") {
  const auto how_much = GENERATE(extent::one_part, extent::everything);
  // What close leaves behind for the device stays reachable, as it would be by a device.
  static std::vector<std::unique_ptr<failing_fixture>> left_behind;
  static std::vector<cubby_handle *> left_runtimes;
  left_behind.push_back(std::make_unique<failing_fixture>());
  failing_fixture &f = *left_behind.back();
  left_runtimes.push_back(f.h.rt);
  cubby::api::set_close_patience(f.h.rt, 200'000'000);
  f.injected.what = fault::held;
  f.injected.how_much = how_much;
  const auto lost = f.ask({bad}), open = f.ask({bad, 9}), other = f.ask({2});
  CHECK(cubby_wait(f.h.rt, lost->ticket, short_ns) == CUBBY_ERR_TIMEOUT);
  CHECK(cubby_cancel(f.h.rt, lost->ticket) == CUBBY_OK);
  CHECK(f.wait(*lost) == CUBBY_ERR_CANCELED);
  CHECK(cubby_drain(f.h.rt, short_ns) == CUBBY_ERR_TIMEOUT);
  if (how_much == extent::one_part) CHECK(f.wait(*other) == CUBBY_OK);  // one bad locker is one
  CHECK(cubby_close(f.h.rt) == CUBBY_ERR_DEVICE);
  f.h.rt = nullptr;
  INFO(explain());
  CHECK(explain().find("have not come back") != std::string::npos);
  CHECK(last().tier != 0);
  f.check_ends();
  cubby_cq_remove(f.queue);
  f.queue = nullptr;
}

TEST_CASE("a file that shrinks underneath fails its bank loudly, not the process") {
  failing_fixture f;
  const auto held = f.ask({2});
  REQUIRE(f.wait(*held) == CUBBY_OK);
  REQUIRE(truncate(f.w.path.c_str(), static_cast<off_t>(f.w.extent(bad, 0).offset_bytes)) == 0);
  const auto gone = f.ask({bad});
  CHECK(f.wait(*gone) == CUBBY_ERR_CORRUPT);
  INFO(explain());
  CHECK(explain().find(f.w.path + " changed since it was adopted") != std::string::npos);
  CHECK(last().id == CUBBY_ID(f.h.bank, bad));
  CHECK(f.w.same(held->addr[0], 2, 0));  // what is held stays as it was
  const auto other = f.ask({1});         // still there in the file, but whose file is it now?
  CHECK(f.wait(*other) == CUBBY_ERR_CORRUPT);
  CHECK(f.log().find("changed since it was adopted") != std::string::npos);
  cubby_unpin(f.h.rt, held->pins, 0, 0, nullptr);
  f.check_ends();
}

TEST_CASE("a file that shrinks while its bytes are being read is an error, never short bytes") {
  failing_fixture f;
  f.injected.what = fault::held;  // the read is under way …
  const auto gone = f.ask({bad});
  REQUIRE(cubby_wait(f.h.rt, gone->ticket, short_ns) == CUBBY_ERR_TIMEOUT);
  REQUIRE(truncate(f.w.path.c_str(),
                   static_cast<off_t>(f.w.extent(bad, 0).offset_bytes + 70'000)) == 0);
  f.injected.what = fault::none;
  f.injected.release = true;  // … and finds less than there was
  CHECK(f.wait(*gone) == CUBBY_ERR_CORRUPT);
  CHECK(explain().find("changed since it was adopted") != std::string::npos);
  CHECK(gone->addr[0] == nullptr);
  f.check_ends();
}

TEST_CASE("a file changed underneath fails its bank, and another bank goes on") {
  failing_fixture f;
  weights other(2);
  const cubby_bank first = f.h.bank;
  f.h.map(other);
  const cubby_bank second = f.h.bank;
  {
    std::fstream file(f.w.path, std::ios::in | std::ios::out | std::ios::binary);
    file.put('x');
  }
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  f.h.bank = first;
  CHECK(f.h.pin({4}, f.host, pins, addr) == CUBBY_ERR_CORRUPT);
  CHECK(explain().find("adopt the file again") != std::string::npos);
  f.h.bank = second;
  REQUIRE(f.h.pin({4}, f.host, pins, addr) == CUBBY_OK);
  CHECK(other.same(addr[0], 4, 0));
  cubby_unpin(f.h.rt, pins, 0, 0, nullptr);
  f.h.bank = first;  // the remedy
  CHECK(cubby_bank_remove(f.h.rt, first) == CUBBY_OK);
}

TEST_CASE("a device whose copies fail in nothing, one part or everything") {
  const auto how_much = GENERATE(extent::nothing, extent::one_part, extent::everything);
  INFO("fails: " << failing::name_of(how_much));
  failing::faults injected;
  injected.what = fault::eio;
  injected.how_much = how_much;
  injected.at_count = 3;
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const auto *ops = failing::wrapped<cubby_host_backend>("failing_device");
  REQUIRE(cubby::api::register_backend(h.rt, ops, &injected) == CUBBY_OK);
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = "failing_device";
  desc.name = "device:0";
  desc.device = -1;
  desc.budget_bytes = 8 * mib;
  desc.emulated_bytes_per_s = uint64_t{8} << 30;  // so that its frames are filled by copies
  cubby_tier device = 0;
  REQUIRE(cubby_tier_add(h.rt, &desc, &device) == CUBBY_OK);
  const cubby_tier host = h.tier("host:0", 1, 8 * mib);
  h.map(w);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  const cubby_status status = h.pin(eight, device, pins, addr);
  CHECK(status == (how_much == extent::nothing    ? CUBBY_OK
                   : how_much == extent::one_part ? CUBBY_PARTIAL
                                                  : CUBBY_ERR_IO));
  if (status != CUBBY_OK) {
    INFO(explain());
    CHECK(last().tier == device);
    CHECK(last().native == EIO);
    CHECK(explain().find("could not be copied") != std::string::npos);
  }
  for (size_t i = 0; i < eight.size(); ++i) {
    if (addr[2 * i] != nullptr) CHECK(w.same(addr[2 * i], eight[i], 0));
  }
  if (pins != 0) cubby_unpin(h.rt, pins, 0, 0, nullptr);
  // The device's trouble is not the host's.
  REQUIRE(h.pin(eight, host, pins, addr) == CUBBY_OK);
  for (size_t i = 0; i < eight.size(); ++i) CHECK(w.same(addr[2 * i], eight[i], 0));
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
  injected.what = fault::none;
  REQUIRE(h.pin(eight, device, pins, addr) == CUBBY_OK);
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
  CHECK(h.stats(device).pinned_bytes == 0);
  CHECK(h.stats(host).pinned_bytes == 0);
}

TEST_CASE("a backend that counts more than there was is named once, and does not end the process") {
  failing_fixture f;
  f.injected.what = fault::boasts;
  for (const uint32_t number : {0u, 9u, 17u}) {
    auto one = f.ask({number, number + 1});
    CHECK(f.wait(*one) == CUBBY_OK);
    CHECK(f.w.same(one->addr[0], number, 0));
    CHECK(cubby_unpin(f.h.rt, one->pins, 0, 0, nullptr) == CUBBY_OK);
  }
  uint32_t named_count = 0;
  cubby_log_line line{};
  while (cubby_log_take(f.h.rt, &line, 1) == 1) {
    if (std::string(line.text).find("larger count than it was given") != std::string::npos) {
      ++named_count;
    }
  }
  CHECK(named_count == 1);
  cubby_done done[8]{};
  cubby_cq_take(f.queue, done, 8);
}
