// Blocks by key in cubby's durable store, RocksDB, LMDB, Redis and plain files: the same keys, the
// same buffers, one thread that calls, on one disk, in turn. Lines of JSON, medians of the rounds.
//   kv_rivals DIR [SET_MIB [ROUNDS [NAME...]]]
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include "rival.hpp"

namespace {

using namespace rivals;

constexpr uint64_t batch_bytes = 16u << 20;
constexpr std::array<uint64_t, 2> all_block_bytes = {256u << 10, 2u << 20};  // the largest last
constexpr uint32_t warm_up_rounds = 1;

struct spent {
  double wall_s = 0, cpu_s = 0, on_device_s = 0;  // the last: until a sync has followed
};

double seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

double own_cpu_s() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval &t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

void sync_disk(const std::string &directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || ::syncfs(fd) != 0) give_up(directory + ": syncfs failed");
  ::close(fd);
}

/// What the page cache has of the files, so that they are read from the disk.
void drop_cached(const std::string &directory) {
  sync_disk(directory);
  for (const auto &one : std::filesystem::recursive_directory_iterator(directory)) {
    if (!one.is_regular_file()) continue;
    const int fd = ::open(one.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
}

class buffer {
 public:
  explicit buffer(uint64_t bytes)
      : bytes_(bytes),
        at_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (at_ == MAP_FAILED) give_up("no memory for the blocks");
    ::madvise(at_, bytes_, MADV_HUGEPAGE);
    std::memset(at_, 1, bytes_);
  }
  buffer(const buffer &) = delete;
  buffer &operator=(const buffer &) = delete;
  ~buffer() { ::munmap(at_, bytes_); }
  [[nodiscard]] char *data() const { return static_cast<char *>(at_); }

 private:
  const uint64_t bytes_;
  void *const at_;
};

/// Of splitmix64: nothing that could be compressed.
void fill(char *at, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes / 8; ++i) {
    uint64_t x = (i + 1) * 0x9E3779B97F4A7C15;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
    x = (x ^ x >> 27) * 0x94D049BB133111EB;
    x ^= x >> 31;
    std::memcpy(at + i * 8, &x, 8);
  }
}

struct bench {
  uint64_t block_bytes, set_bytes;
  buffer from, into;
  uint32_t series = 0;

  bench(uint64_t block, uint64_t set)
      : block_bytes(block), set_bytes(set / block * block), from(set_bytes), into(batch_bytes) {
    fill(from.data(), set_bytes);
  }
  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(set_bytes / block_bytes); }
  [[nodiscard]] size_t batch() const { return batch_bytes / block_bytes; }
  [[nodiscard]] std::vector<block_key> keys(uint32_t of_series) const {
    std::vector<block_key> all;
    for (uint32_t i = 0; i < count(); ++i) all.push_back({of_series, i});
    return all;
  }
  template <class Work>
  spent measure(rival &by, const std::string &directory, const Work &work) const {
    const double cpu_s = own_cpu_s() + by.other_cpu_s(), start_s = seconds();
    work();
    spent took;
    took.wall_s = seconds() - start_s;
    if (!directory.empty()) sync_disk(directory);
    took.on_device_s = seconds() - start_s;
    took.cpu_s = own_cpu_s() + by.other_cpu_s() - cpu_s;
    return took;
  }
  /// Each block begins with its series, so that another's is not taken for it.
  void mark(uint32_t of_series) const {
    const uint64_t mark = of_series;
    for (uint32_t i = 0; i < count(); ++i) {
      std::memcpy(from.data() + i * block_bytes, &mark, sizeof mark);
    }
  }
  spent put(rival &by, const std::string &directory, uint32_t of_series, outlives what) const {
    const auto all = keys(of_series);
    mark(of_series);
    return measure(by, directory, [&] {
      for (size_t at = 0; at < all.size(); at += batch()) {
        const size_t size = std::min(batch(), all.size() - at);
        by.put(std::span(all).subspan(at, size), from.data() + at * block_bytes, what);
      }
      by.settle();
    });
  }
  /// In an order that is none; each batch is compared.
  spent get(rival &by, uint32_t of_series) const {
    auto all = keys(of_series);
    for (uint64_t i = all.size(), x = 88172645463325252; i-- > 1;) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      std::swap(all[i], all[x % (i + 1)]);
    }
    return measure(by, {}, [&] {
      for (size_t at = 0; at < all.size(); at += batch()) {
        const size_t size = std::min(batch(), all.size() - at);
        by.get(std::span(all).subspan(at, size), into.data());
        for (size_t i = 0; i < size; ++i) check(all[at + i], into.data() + i * block_bytes);
      }
    });
  }
  void check(const block_key &of, const char *got) const {
    const char *const put = from.data() + of.number * block_bytes;
    const uint64_t mark = of.series;
    const bool same = std::memcmp(&mark, got, sizeof mark) == 0 &&
                      std::memcmp(put + sizeof mark, got + sizeof mark, 64) == 0 &&
                      std::memcmp(put + block_bytes - 64, got + block_bytes - 64, 64) == 0;
    if (!same) give_up("wrong bytes of block " + of.text());
  }
};

struct side {
  std::string name, directory;
  std::unique_ptr<rival> by;
  std::vector<spent> puts, durable, gets;
};

void run_round(bench &of, side &one, bool counts) {
  const uint32_t series = of.series;
  of.series += 2;
  const spent put = of.put(*one.by, one.directory, series, outlives::process);
  one.by->reopen(drop_cached);
  const spent got = of.get(*one.by, series);
  const spent durable = of.put(*one.by, one.directory, series + 1, outlives::power_cut);
  one.by->erase(of.keys(series));
  one.by->erase(of.keys(series + 1));
  sync_disk(one.directory);
  if (!counts) return;
  one.puts.push_back(put);
  one.gets.push_back(got);
  one.durable.push_back(durable);
}

double median(const std::vector<spent> &of, double spent::*what) {
  std::vector<double> all;
  for (const spent &one : of) all.push_back(one.*what);
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

void print(const bench &of, const side &one) {
  const double gb = static_cast<double>(of.set_bytes) / 1e9;
  const auto speed = [&](const std::vector<spent> &all, double spent::*what) {
    return gb / median(all, what);
  };
  std::printf(
      "{\"rival\": \"%s\", \"block_bytes\": %llu, \"put_gb_per_s\": %.2f, "
      "\"put_until_on_device_gb_per_s\": %.2f, \"put_cpu_s_per_gb\": %.2f, "
      "\"durable_put_gb_per_s\": %.2f, \"durable_put_cpu_s_per_gb\": %.2f, "
      "\"cold_get_gb_per_s\": %.2f, \"get_cpu_s_per_gb\": %.2f}\n",
      one.name.c_str(), static_cast<unsigned long long>(of.block_bytes),
      speed(one.puts, &spent::wall_s), speed(one.puts, &spent::on_device_s),
      median(one.puts, &spent::cpu_s) / gb, speed(one.durable, &spent::wall_s),
      median(one.durable, &spent::cpu_s) / gb, speed(one.gets, &spent::wall_s),
      median(one.gets, &spent::cpu_s) / gb);
  std::fflush(stdout);
}

void measure_size(const std::string &directory, uint64_t block_bytes, uint64_t set_bytes,
                  uint32_t rounds, const std::vector<std::string_view> &names) {
  const struct {
    const char *name;
    std::unique_ptr<rival> (*make)(const place &);
  } known[] = {{"cubby", make_cubby},
               {"rocksdb", make_rocksdb},
               {"lmdb", make_lmdb},
               {"redis", make_redis},
               {"files", make_files}};
  bench of(block_bytes, set_bytes);
  std::vector<side> sides;
  for (const auto &one : known) {
    if (!names.empty() && std::find(names.begin(), names.end(), one.name) == names.end()) continue;
    const std::string own = directory + "/" + one.name;
    std::filesystem::create_directories(own);
    auto by = one.make({own, block_bytes, of.set_bytes});
    if (by == nullptr) {
      std::fprintf(stderr, "kv_rivals: built without %s\n", one.name);
      continue;
    }
    sides.push_back({one.name, own, std::move(by), {}, {}, {}});
  }
  for (uint32_t round = 0; round < warm_up_rounds + rounds; ++round) {
    for (size_t i = 0; i < sides.size(); ++i) {
      run_round(of, sides[(i + round) % sides.size()], round >= warm_up_rounds);
    }
  }
  for (const side &one : sides) print(of, one);
  for (side &one : sides) {
    one.by.reset();
    std::filesystem::remove_all(one.directory);
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 2) give_up("kv_rivals DIR [SET_MIB [ROUNDS [NAME...]]]");
  const std::string directory = std::filesystem::absolute(argv[1]).string();
  const uint64_t set_bytes = (argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 256) << 20;
  const auto rounds = static_cast<uint32_t>(argc > 3 ? std::strtoul(argv[3], nullptr, 0) : 5);
  if (set_bytes < all_block_bytes.back() || rounds == 0) {
    give_up("a set has at least one of the largest blocks, of " +
            std::to_string(all_block_bytes.back() >> 20) + " MiB, and there is a round");
  }
  const std::vector<std::string_view> names(argv + std::min(argc, 4), argv + argc);
  for (const uint64_t block_bytes : all_block_bytes) {
    measure_size(directory, block_bytes, set_bytes, rounds, names);
  }
  return 0;
}
