// How long a key of a prefix match takes, with few and many keys present.
#include <algorithm>

#include "cli/bench/blocks.hpp"
#include "cli/bench/kv.hpp"
#include "cli/bench/kv_bank.hpp"

namespace cubby_cli::bench {
namespace {

constexpr uint32_t chain_keys = 1000, put_at_once = 1000;
constexpr uint64_t tiny_bytes = 64;
constexpr double goal_ns = 150;

struct chains {
  kv_bank bank;
  uint32_t count = 0;

  /// Chain c has the keys {c, 0} to {c, 999}.
  done open(uint32_t keys, uint32_t pump) {
    count = keys / chain_keys;
    kv_shape shape;
    shape.block_bytes = tiny_bytes;
    shape.columns = keys;
    // A frame is a page, however little it holds.
    shape.host_bytes = uint64_t{keys} * 4096 + (uint64_t{16} << 20);
    shape.pump = pump;
    if (auto opened = bank.open(shape); !opened) return opened;
    for (uint32_t c = 0; c < count; c++) {
      if (auto put = put_chain(c); !put) return put;
    }
    return nothing{};
  }
  done put_chain(uint32_t c) {
    uint64_t content[tiny_bytes / 8];
    write_content(content, tiny_bytes, c);
    const cubby_span span{0, 0, reinterpret_cast<uintptr_t>(content), tiny_bytes};
    std::vector<kv_key> keys(put_at_once);
    std::vector<cubby_key> names(put_at_once);
    std::vector<cubby_item> items(put_at_once);
    for (uint32_t i = 0; i < chain_keys; i++) {
      keys[i] = {c, i};
      names[i] = keys[i].named();
      items[i] = bank.item(keys[i], &span);
      if (i != 0) items[i].parent = &names[i - 1];
    }
    if (cubby_put(bank.rt(), items.data(), chain_keys, nullptr, nullptr) != CUBBY_OK) {
      return last_trouble();
    }
    return nothing{};
  }
  /// Nanoseconds a key, the median of some chains in a random order.
  outcome<double> match_some(uint32_t round) const {
    constexpr uint32_t matches = 200;
    std::vector<uint32_t> order;
    while (order.size() < matches) {
      const auto more = random_blocks(count, matches - order.size(), round * 1000 + order.size());
      order.insert(order.end(), more.begin(), more.end());
    }
    std::vector<kv_key> keys(chain_keys);
    std::vector<cubby_key> names(chain_keys);
    std::vector<double> took_ns;
    for (const uint32_t c : order) {
      for (uint32_t i = 0; i < chain_keys; i++) {
        keys[i] = {c, i};
        names[i] = keys[i].named();
      }
      uint32_t hits = 0;
      const uint64_t start = clock_ns();
      const auto status =
          cubby_match(bank.rt(), bank.space(), names.data(), chain_keys, nullptr, &hits, nullptr);
      took_ns.push_back(static_cast<double>(clock_ns() - start));
      if (status != CUBBY_OK) return last_trouble();
      if (hits != chain_keys) return trouble{"a chain was matched in part"};
    }
    return median(took_ns) / chain_keys;
  }
};

}  // namespace

done kv_match_rows(const kv_plan &plan, nlohmann::json &rows, progress_line &line) {
  std::vector<std::unique_ptr<chains>> all;
  std::vector<std::vector<double>> ns(plan.match_keys.size());
  for (const uint32_t keys : plan.match_keys) {
    line.show("putting " + std::to_string(keys) + " keys");
    all.push_back(std::make_unique<chains>());
    if (auto opened = all.back()->open(keys, plan.pump); !opened) return opened;
  }
  for (uint32_t round = 0; round <= plan.rounds; round++) {
    for (size_t i = 0; i < all.size(); i++) {
      const auto took = all[i]->match_some(round);
      if (!took) return took.failure();
      if (round != 0) ns[i].push_back(*took);
    }
  }
  for (size_t i = 0; i < all.size(); i++) {
    const double half = median(ns[i]);
    rows.push_back({{"row", "match"},
                    {"block_bytes", tiny_bytes},
                    {"present_count", plan.match_keys[i]},
                    {"matched_count", chain_keys},
                    {"ours_ns_per_key", half},
                    {"goal_ns_per_key", goal_ns},
                    {"goal_met", half <= goal_ns}});
  }
  return nothing{};
}

}  // namespace cubby_cli::bench
