// The pieces of `cubby characterize` that can be judged: knees, summaries, counters, the time left
// for each point, and copies to a device.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli/characterize/bare_loop.hpp"
#include "cli/characterize/curves.hpp"
#include "cli/characterize/device_tier.hpp"
#include "cli/characterize/energy.hpp"
#include "cli/characterize/file_systems.hpp"
#include "cli/characterize/host_tier.hpp"
#include "cli/characterize/repeats.hpp"
#include "cli/characterize/steps.hpp"
#include "cli/folder.hpp"

namespace characterize_parts_test {

namespace {
using namespace cubby_cli;
using namespace cubby_cli::characterize;
using profile::point;

point at(const std::string &op, uint64_t block_bytes, uint64_t depth, double bytes_per_s) {
  point made;
  made.op = op;
  made.block_bytes = block_bytes;
  made.depth = depth;
  made.bytes_per_s = bytes_per_s;
  made.p50_ns = static_cast<double>(block_bytes + depth);
  return made;
}

/// 4 KiB that bends at depth 8, 1 MiB that is full at 2, 4 MiB hardly faster.
std::vector<point> example() {
  return {at("read", 4096, 1, 10),     at("read", 4096, 8, 97),      at("read", 4096, 64, 100),
          at("read", 1 << 20, 1, 500), at("read", 1 << 20, 2, 970),  at("read", 1 << 20, 64, 980),
          at("read", 4 << 20, 1, 990), at("read", 4 << 20, 64, 1000)};
}

void set_energy(const process::folder &here, const std::string &name, uint64_t uj) {
  std::filesystem::create_directories(here.path / name);
  std::ofstream(here.path / name / "energy_uj") << uj;
  std::ofstream(here.path / name / "max_energy_range_uj") << 10'000'000;
}

}  // namespace

TEST_CASE("The knee is the least depth that gives nearly the most") {
  const auto knees = knees_of(example());
  REQUIRE(knees.size() == 3);
  CHECK(knees[0].block_bytes == 4096);
  CHECK(knees[0].depth == 8);
  CHECK(knees[1].depth == 2);
  CHECK(knees[2].depth == 1);
}

TEST_CASE("The summary is of the smallest block that gives nearly the most") {
  auto curves = example();
  curves.push_back(at("write", 4096, 1, 5));
  curves.push_back(at("read", 4096, 1, 1e9));  // by the library: not of the device
  curves.back().path = "cubby";
  const auto read = summary_of(curves, "read", std::nullopt);
  REQUIRE(read);
  CHECK(read->block_bytes == 1 << 20);
  CHECK(read->depth == 2);
  CHECK(read->bytes_per_s == 970);
  CHECK(read->latency_ns == 4097);
  CHECK_FALSE(summary_of(curves, "mix70", std::nullopt));
  CHECK_FALSE(summary_of(curves, "read", "huge"));
  CHECK(same_load(curves, curves[0], "cubby", "nothing")->bytes_per_s == 1e9);
  CHECK(same_load(curves, curves[0], "cubby", "write-back") == nullptr);
  CHECK(agree(100, 110));
  CHECK_FALSE(agree(100, 50));
  CHECK_FALSE(agree(0, 0));
}

TEST_CASE("How far loads lie apart that are measured again is said, of the one that does most") {
  repeats seen;
  CHECK_FALSE(seen.result());
  seen.add("read", 4096, 16, 50);
  CHECK_FALSE(seen.result());  // once says nothing
  seen.add("read", 1 << 20, 8, 100);
  seen.add("read", 1 << 20, 8, 120);
  seen.add("read", 1 << 20, 8, 110);
  seen.add("read", 4096, 16, 52);
  const auto close = seen.result();
  REQUIRE(close);
  CHECK(close->read.value_or(0) == Approx(0.2));
  CHECK_FALSE(close->write);
  CHECK(close->times == 3);
  CHECK(seen.of("read", 1 << 20, 8) == std::vector<double>{100, 120, 110});
  CHECK(seen.of("write", 1 << 20, 8).empty());
  CHECK(spread_note(close).find("20 % (reads)") != std::string::npos);
  CHECK(spread_note(profile::spread{0.05, 0.09, 3}).empty());
  CHECK(spread_note(std::nullopt).empty());
}

TEST_CASE("Energy counters add up over packages and around their range") {
  const process::folder here;
  set_energy(here, "intel-rapl:0", 9'000'000);
  set_energy(here, "intel-rapl:1", 1'000'000);
  set_energy(here, "intel-rapl:0:0", 5'000'000);  // a part of the first
  energy_counters counters(here.path.string());
  CHECK(counters.why().empty());
  CHECK(counters.joules() == 0);
  set_energy(here, "intel-rapl:0", 500'000);
  set_energy(here, "intel-rapl:1", 3'000'000);
  CHECK(counters.joules().value_or(0) == Approx(1.5 + 2));
  CHECK(counters.joules().value_or(0) == Approx(3.5));
}

TEST_CASE("Where there are no energy counters, the reason is said") {
  const process::folder here;
  energy_counters none(here.at("none"));
  CHECK_FALSE(none.joules());
  CHECK(none.why().find("no energy counters") != std::string::npos);
  if (geteuid() == 0) return;  // root reads all
  set_energy(here, "intel-rapl:0", 1);
  std::filesystem::permissions(here.path / "intel-rapl:0" / "energy_uj",
                               std::filesystem::perms::none);
  energy_counters refused(here.path.string());
  CHECK(refused.why().find("root") != std::string::npos);
}

TEST_CASE("A GPU's joules are those of its counter, by its place on the bus") {
  gpu_energy gpu("0000:3b:00.0", CUBBY_FAKE_NVML);
  CHECK(gpu.why().empty());
  const double first = gpu.joules().value_or(-1), second = gpu.joules().value_or(-1);
  CHECK(first > 0);
  CHECK(second - first == Approx(2.5));  // the fake's: 2,500 mJ from one look to the next
}

TEST_CASE("A GPU without a counter, or without NVML, says what is missing") {
  const process::folder here;
  const auto why = [](const std::string &pci_id, const std::string &library) {
    gpu_energy gpu(pci_id, library);
    CHECK_FALSE(gpu.joules());
    return gpu.why();
  };
  CHECK(why("0000:3b:00.0", here.at("none.so")).find("is not there") != std::string::npos);
  CHECK(why("0000:00:00.0", CUBBY_FAKE_NVML).find("does not show the GPU at 0000:00:00.0") !=
        std::string::npos);
  CHECK(why("0000:3c:00.0", CUBBY_FAKE_NVML).find("Volta") != std::string::npos);
  const char *other = ::dlopen("libm.so.6", RTLD_NOW) != nullptr ? "libm.so.6" : "";
  if (*other != 0) CHECK(why("0000:3b:00.0", other).find("no nvmlInit_v2") != std::string::npos);
  ::setenv("CUBBY_FAKE_NVML_FAILS", "1", 1);
  const std::string failed = why("0000:3b:00.0", CUBBY_FAKE_NVML);
  ::unsetenv("CUBBY_FAKE_NVML_FAILS");
  CHECK(failed.find("NVML did not start") != std::string::npos);
}

TEST_CASE("A device without an energy counter is measured all the same, and says so") {
  const process::folder here;
  const std::string path = here.write("f", std::string(40 << 20, 'x'));
  device_tier device({.backend = "host",
                      .emulated_bytes_per_s = 4'000'000'000,
                      .energy_library = here.at("none.so"),
                      .pci_id = "0000:3b:00.0"});
  REQUIRE(device.open(path, 40 << 20));
  steps all;
  device.plan(all);
  progress_line quiet(true);
  REQUIRE(all.run({0.02, std::nullopt}, quiet));
  REQUIRE(device.result().curves.size() == 3);
  for (const point &one : device.result().curves) CHECK_FALSE(one.joules_per_byte);
  CHECK(device.result().notes.front().find("joules_per_byte is null") != std::string::npos);
}

TEST_CASE("Memory and networks are no devices to measure") {
  const auto why = [](uint64_t number, const mounted &as) {
    return why_no_disk(file_system_of(number, as));
  };
  CHECK(why(0x01021994, {"tmpfs", "tmpfs"}).find("in memory (tmpfs)") != std::string::npos);
  CHECK(why(0x6969, {"nfs4", "box:/srv"}).find("on a network file system (NFS of box:/srv)") !=
        std::string::npos);
  CHECK(why(0xef53, {"ext4", "/dev/vda"}).empty());
  // FUSE has one number for all; a disk that a program reads is called by another type.
  constexpr uint64_t fuse = 0x65735546;
  CHECK(why(fuse, {"fuse.sshfs", "me@box:/srv"})
            .find("that a program serves (fuse.sshfs of me@box:/srv)") != std::string::npos);
  CHECK(why(fuse, {"fuseblk", "/dev/sda1"}).empty());
}

TEST_CASE("A mount is found by its device, whatever its names hold") {
  const std::string text =
      "22 27 0:20 / /proc rw,relatime - proc proc rw\n"
      "42 27 0:39 / /mnt/0:40 rw,nosuid shared:7 master:1 - fuse.sshfs me@box:/a\\040b rw\n"
      "43 27 0:40 / /mnt/nfs rw - nfs4 box:/srv rw,vers=4.2\n"
      "44 27 0:41 / /mnt/broken\n";
  const auto device = [](unsigned low) { return static_cast<uint64_t>(makedev(0, low)); };
  CHECK(mount_in(text, device(39)).type == "fuse.sshfs");
  CHECK(mount_in(text, device(39)).from == "me@box:/a b");
  CHECK(mount_in(text, device(40)).from == "box:/srv");
  CHECK(mount_in(text, device(41)).type.empty());
  CHECK(mount_in(text, device(42)).type.empty());
}

TEST_CASE("What is left of the time is shared by the points that are left") {
  std::vector<double> given;
  steps all;
  for (int i = 0; i < 4; i++)
    all.add("a point", 1, 0, [&](double seconds) {
      given.push_back(seconds);
      return done(nothing{});
    });
  progress_line quiet(true);
  REQUIRE(all.run({std::nullopt, 1.0}, quiet));
  REQUIRE(given.size() == 4);
  CHECK(given.front() == Approx(0.25).epsilon(0.1));
  CHECK(given.back() > given.front());  // nobody used what he was given
  given.clear();
  REQUIRE(all.run({0.125, 1.0}, quiet));
  CHECK(given == std::vector<double>(4, 0.125));
}

TEST_CASE("A step that fails ends the run") {
  steps all;
  bool later = false;
  all.add("bad", 1, 0, [](double) { return done(trouble{"no"}); });
  all.add("later", 1, 0, [&](double) {
    later = true;
    return done(nothing{});
  });
  progress_line quiet(true);
  CHECK_FALSE(all.run({0.01, std::nullopt}, quiet));
  CHECK_FALSE(later);
}

TEST_CASE("Threads measure where there is no ring") {
  const process::folder here;
  const std::string path = here.write("f", std::string(1 << 20, 'x'));
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(fd >= 0);
  auto loop = make_thread_loop({fd, 0, 1 << 20}, 4 * 4096);
  REQUIRE(loop);
  energy_counters none(here.at("none"));
  const auto found = (*loop)->run({verb::mix70, 4096, 4}, 0.01, none, nullptr);
  REQUIRE(found);
  CHECK(found->bytes >= 4 * 4096);
  CHECK(found->bytes % 4096 == 0);
  CHECK(found->bytes_per_s > 0);
  CHECK(found->p50_ns.value_or(0) > 0);
  CHECK(std::filesystem::file_size(path) == 1 << 20);
  ::close(fd);
}

TEST_CASE("A node without processors is read by those of others, or it is said why not") {
  options tiny;
  tiny.quick = true;
  tiny.size_bytes = 1 << 20;
  energy_counters none("none");
  const auto measured = [&](uint32_t number) {
    auto tier = std::make_unique<host_tier>(tiny, node_here{number, 1 << 30, {}},
                                            std::vector<uint32_t>{0}, none);
    steps all;
    tier->plan(all);
    tier->plan_end(all);
    progress_line quiet(true);
    const auto ran = all.run({0.002, std::nullopt}, quiet);
    INFO((ran ? std::string() : ran.failure().text));
    REQUIRE(ran);
    return tier;
  };
  const auto there = measured(0);
  CHECK_FALSE(there->has_processors());
  if (there->why_not().empty()) {  // containers may forbid to ask for a node
    CHECK(there->result().read);
    CHECK(there->result().notes.at(0).find("other nodes") != std::string::npos);
  }
  const auto nowhere = measured(63);
  CHECK(nowhere->why_not().find("node 63 was not measured") != std::string::npos);
  CHECK(nowhere->result().curves.empty());
}

TEST_CASE("Copies to a device are measured by the library's own interface") {
  const process::folder here;
  const std::string path = here.write("f", std::string(40 << 20, 'x'));
  device_tier device({.backend = "host",
                      .emulated_bytes_per_s = 4'000'000'000,
                      .energy_library = CUBBY_FAKE_NVML,
                      .pci_id = "0000:3b:00.0"});
  const auto opened = device.open(path, 40 << 20);
  INFO((opened ? std::string() : opened.failure().text));
  REQUIRE(opened);
  std::ofstream(path, std::ios::in) << "changed since, as by filling it";
  steps all;
  device.plan(all);
  progress_line quiet(true);
  const auto ran = all.run({0.02, std::nullopt}, quiet);
  INFO((ran ? std::string() : ran.failure().text));
  REQUIRE(ran);
  CHECK(device.result().kind == "device");
  CHECK(device.result().curves.size() == 3);
  for (const point &one : device.result().curves) CHECK(one.joules_per_byte.value_or(0) > 0);
  const auto link = device.link_from("host:0");
  REQUIRE(link);
  CHECK(link->to == "device:0");
  CHECK(link->bytes_per_s > 0);
}

TEST_CASE("A device that is not there says why") {
  const process::folder here;
  device_tier device({.backend = "nosuch"});
  const auto opened = device.open(here.write("f", "x"), 40 << 20);
  REQUIRE_FALSE(opened);
  CHECK_FALSE(opened.failure().text.empty());
}

TEST_CASE("speed begins with what ended first, however long a queue took to fill") {
  energy_counters none("/nowhere");
  meter of(none, 10);
  CHECK(of.bytes_per_s() == 0);
  uint64_t now_ns = 5'000'000'000;
  of.ended_at(1000, now_ns);  // what had been asked for five seconds before
  CHECK(of.bytes_per_s() == 0);
  of.ended_at(300, now_ns += 100'000'000);
  of.ended_at(100, now_ns += 100'000'000);
  CHECK(of.bytes_per_s() == 2000);
}

TEST_CASE("of many slices the median counts") {
  energy_counters none("/nowhere");
  meter of(none, 0.2);
  uint64_t now_ns = 1'000'000'000;
  of.ended_at(1, now_ns);
  for (int slice = 0; slice < 9; slice++) of.ended_at(slice == 4 ? 10 : 2000, now_ns += 20'000'000);
  CHECK(of.bytes_per_s() == 100'000);
}

}  // namespace characterize_parts_test
