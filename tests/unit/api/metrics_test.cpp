// cubby_metrics(): text that Prometheus reads, with the numbers of cubby_stats(); and the page on
// which cubby_publish() shows it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "base/metrics_page.hpp"
#include "unit/api/block_fixture.hpp"

namespace metrics_test {

using namespace api_test;

namespace {

std::string metrics_of(cubby_handle *rt) {
  size_t needed = 0;
  REQUIRE(cubby_metrics(rt, nullptr, 0, &needed) == CUBBY_OK);
  std::string text(needed + 100, '?');
  const cubby_status status = cubby_metrics(rt, text.data(), text.size(), &needed);
  INFO(explain());
  REQUIRE(status == CUBBY_OK);
  REQUIRE(needed != 0);
  text.resize(needed - 1);
  CHECK(text.find('\0') == std::string::npos);
  return text;
}

/// "name{labels}" and its value; the rules of the format are checked on the way.
std::map<std::string, double> values_of(const std::string &text) {
  static const std::regex sample(R"re(([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*")re"
                                 R"re((?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? ([0-9.]+))re");
  std::map<std::string, double> all;
  std::map<std::string, std::string> types;
  std::string family;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      REQUIRE(types.count(family) == 0);
      REQUIRE(line.back() == '.');
    } else if (line.starts_with("# TYPE ")) {
      REQUIRE(line.starts_with("# TYPE " + family + " "));
      types[family] = line.substr(line.rfind(' ') + 1);
      CHECK((types[family] == "counter") == family.ends_with("_total"));
    } else {
      std::smatch parts;
      REQUIRE(std::regex_match(line, parts, sample));
      const std::string name = parts[1];
      CHECK((types[family] == "histogram" ? name.starts_with(family + "_") : name == family));
      REQUIRE(all.emplace(name + parts[2].str(), std::stod(parts[3])).second);
    }
  }
  return all;
}

}  // namespace

TEST_CASE("the metrics are the numbers of the statistics, in the format of Prometheus") {
  const store_directory there;
  block_fixture f(GENERATE(0u, 1u), 64, 0, {there.path, 32 * mib, mib});
  put_chain(f, 40, CUBBY_KEEP_RESTART);
  std::string into(block_bytes, 'x');
  for (uint32_t i = 1; i <= 40; ++i) REQUIRE(get(f, i, into) == CUBBY_OK);
  REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);

  const uint64_t disk_writes_before = f.h.stats(f.disk).write_count;
  const auto values = values_of(metrics_of(f.h.rt));
  const auto of_host = [&](const std::string &name) {
    return values.at("cubby_tier_" + name + R"({tier="host:0",backend="host"})");
  };
  const cubby_tier_stats host = f.h.stats(f.host), disk = f.h.stats(f.disk);
  CHECK(of_host("budget_bytes") == static_cast<double>(host.budget_bytes));
  CHECK(of_host("used_bytes") == static_cast<double>(host.used_bytes));
  CHECK(of_host("hits_total") == static_cast<double>(host.hit_count));
  CHECK(of_host("misses_total") == static_cast<double>(host.miss_count));
  CHECK(of_host("evictions_total") == static_cast<double>(host.evict_count));
  CHECK(of_host("received_bytes_total") == static_cast<double>(host.bytes_in));
  REQUIRE(host.evict_count != 0);
  cubby_tier_info info{};
  REQUIRE(cubby_tier_describe(f.h.rt, f.disk, &info) == CUBBY_OK);
  const std::string on_disk = R"({tier="disk:0",backend=")" + std::string(info.backend) + R"("})";
  CHECK(values.at("cubby_tier_used_bytes" + on_disk) == static_cast<double>(disk.used_bytes));
  // A store notes by itself, a little later, how far its journal goes.
  const double writes = values.at("cubby_tier_writes_total" + on_disk);
  CHECK(writes >= static_cast<double>(disk_writes_before));
  CHECK(writes <= static_cast<double>(disk.write_count));
  CHECK(values.at("cubby_tier_health" + on_disk) == 0);
  REQUIRE(disk.write_count >= 40);

  // Buckets hold what the smaller ones do; the last holds all, which are the gets that had to wait.
  double before = 0;
  uint32_t buckets = 0;
  for (const char *bound : {"5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
                            "0.01", "0.025", "0.05", "0.1", "0.25", "1", "2.5", "10", "+Inf"}) {
    const double count =
        values.at(std::string(R"(cubby_load_seconds_bucket{tier="host:0",le=")") + bound + "\"}");
    CHECK(count >= before);
    before = count;
    ++buckets;
  }
  CHECK(buckets == 16);
  CHECK(before == values.at(R"(cubby_load_seconds_count{tier="host:0"})"));
  CHECK(before >= 24);  // 40 blocks, memory for 16
  CHECK(values.at(R"(cubby_load_seconds_sum{tier="host:0"})") > 0);
}

TEST_CASE("a tier may have any name in the metrics") {
  runtime_fixture h(1, 0);
  h.tier("a \"name\" \\ with\nlines \xff", 0, mib);
  const std::string text = metrics_of(h.rt);
  const auto values = values_of(text);
  CHECK(text.find(R"(tier="a \"name\" \\ with\\x0alines \\xff")") != std::string::npos);
}

TEST_CASE("metrics that do not fit say what they take, and bad arguments are refused") {
  runtime_fixture h(1, 0);
  size_t needed = 0;
  char small[10] = "x";
  CHECK(cubby_metrics(h.rt, small, sizeof small, &needed) == CUBBY_ERR_INVALID);
  CHECK(small[0] == 0);
  CHECK(needed > 1000);
  CHECK(explain().find(std::to_string(needed)) != std::string::npos);
  std::string exact(needed, '?');
  CHECK(cubby_metrics(h.rt, exact.data(), needed - 1, nullptr) == CUBBY_ERR_INVALID);
  CHECK(cubby_metrics(h.rt, exact.data(), needed, nullptr) == CUBBY_OK);
  CHECK(exact.back() == 0);
  CHECK(cubby_metrics(h.rt, nullptr, 0, nullptr) == CUBBY_ERR_INVALID);
  CHECK(cubby_metrics(h.rt, nullptr, 5, &needed) == CUBBY_ERR_INVALID);
  CHECK(cubby_metrics(nullptr, small, sizeof small, &needed) == CUBBY_ERR_INVALID);
  CHECK(cubby_publish(h.rt, 3'600'001) == CUBBY_ERR_INVALID);
}

namespace {

using cubby::base::metrics_page_header;

/// The pages that this process shows, but for one that is open here.
std::vector<std::string> shown_pages(int except = -1) {
  std::vector<std::string> found;
  for (const auto &one : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(one.path(), gone).string();
    if (target.find("cubby-metrics") == std::string::npos) continue;
    if (one.path().filename() != std::to_string(except)) found.push_back(one.path().string());
  }
  return found;
}

}  // namespace

TEST_CASE("a published page is renewed, cannot be written by others, and goes when it is ended") {
  runtime_fixture h(0, 0);
  h.tier("host:0", 0, mib);
  REQUIRE(shown_pages().empty());
  REQUIRE(cubby_publish(h.rt, 20) == CUBBY_OK);
  REQUIRE(shown_pages().size() == 1);
  const std::string path = shown_pages()[0];
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  void *const at = ::mmap(nullptr, cubby::base::metrics_page_bytes, PROT_READ, MAP_SHARED, fd, 0);
  REQUIRE(at != MAP_FAILED);
  auto &header = *static_cast<metrics_page_header *>(at);
  CHECK(std::string(header.magic, 8) == "cubbypg1");
  CHECK(header.pid == static_cast<uint32_t>(getpid()));
  CHECK(header.interval_ns == 20'000'000);
  const auto sequence = [&] {
    return std::atomic_ref(header.sequence).load(std::memory_order_acquire);
  };
  // The runtime rests, and its page is renewed all the same.
  const uint64_t first = sequence();
  while (sequence() < first + 6) std::this_thread::sleep_for(std::chrono::milliseconds(5));

  CHECK(::ftruncate(fd, 0) != 0);
  const int writable = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (writable >= 0) {
    CHECK(::ftruncate(writable, 0) != 0);
    CHECK(::pwrite(writable, "x", 1, 0) < 0);
    ::close(writable);
  }
  REQUIRE(cubby_publish(h.rt, 60'000) == CUBBY_OK);  // in the place of the first
  CHECK(shown_pages(fd).size() == 1);
  REQUIRE(cubby_publish(h.rt, 0) == CUBBY_OK);
  CHECK(shown_pages(fd).empty());
  ::munmap(at, cubby::base::metrics_page_bytes);
  ::close(fd);
}

}  // namespace metrics_test
