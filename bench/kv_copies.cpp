// Puts and gets of KV blocks in host memory beside memcpy of the same bytes, in turn: medians of
// several rounds, one line of JSON.  kv_copies [block_bytes [block_count [rounds]]]
#include <chrono>
#include <cstring>

#include "kv_cache.hpp"

namespace {

double seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

struct blocks : kv_cache {
  blocks(uint64_t block_bytes, uint32_t count)
      : kv_cache(block_bytes, count, (block_bytes + 4096) * (count + 1)) {}

  void copy(bool put, std::vector<std::vector<char>> &memory) {
    for (size_t i = 0; i < memory.size(); ++i) {
      const std::string name = "block " + std::to_string(i);
      const cubby_span span = {0, 0, reinterpret_cast<uintptr_t>(memory[i].data()),
                               memory[i].size()};
      cubby_item item{};
      item.space = space();
      item.key = {name.data(), static_cast<uint32_t>(name.size())};
      item.spans = &span;
      item.span_count = 1;
      const cubby_status status = put ? cubby_put(rt(), &item, 1, nullptr, nullptr)
                                      : cubby_get(rt(), &item, 1, nullptr, nullptr);
      if (status != CUBBY_OK) fail(put ? "put" : "get");
    }
  }
};

}  // namespace

int main(int argc, char **argv) {
  const uint64_t block_bytes = argc > 1 ? std::strtoull(argv[1], nullptr, 0) : 256 << 10;
  const auto count = static_cast<uint32_t>(argc > 2 ? std::strtoul(argv[2], nullptr, 0) : 1000);
  const auto rounds = static_cast<uint32_t>(argc > 3 ? std::strtoul(argv[3], nullptr, 0) : 9);
  std::vector<std::vector<char>> from(count, std::vector<char>(block_bytes, 'f'));
  std::vector<std::vector<char>> into(count, std::vector<char>(block_bytes, 'i'));
  std::vector<std::vector<char>> store(count, std::vector<char>(block_bytes, 's'));
  blocks kv(block_bytes, count);
  std::vector<double> plain, puts, gets;
  for (uint32_t round = 0; round < rounds; ++round) {
    double start = seconds();
    for (uint32_t i = 0; i < count; ++i) std::memcpy(store[i].data(), from[i].data(), block_bytes);
    for (uint32_t i = 0; i < count; ++i) std::memcpy(into[i].data(), store[i].data(), block_bytes);
    plain.push_back(seconds() - start);
    start = seconds();
    kv.copy(true, from);
    puts.push_back(seconds() - start);
    start = seconds();
    kv.copy(false, into);
    gets.push_back(seconds() - start);
    if (into[count - 1] != from[count - 1]) fail("other bytes");
    kv.close_space();
    kv.open_space();
  }
  const double bytes = static_cast<double>(block_bytes) * count;
  std::printf(
      "{\"block_bytes\": %llu, \"blocks\": %u, \"memcpy_both_gb_per_s\": %.2f, "
      "\"put_gb_per_s\": %.2f, \"get_gb_per_s\": %.2f, \"put_and_get_to_memcpy\": %.2f}\n",
      static_cast<unsigned long long>(block_bytes), count, 2 * bytes / median(plain) / 1e9,
      bytes / median(puts) / 1e9, bytes / median(gets) / 1e9,
      median(plain) / (median(puts) + median(gets)));
  return 0;
}
