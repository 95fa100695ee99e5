#include "cli/replay/stored/stored_cache.hpp"

#include <algorithm>

namespace cubby_cli::replay {
namespace {

cubby_how plain_how() {
  cubby_how how{};
  how.struct_size = sizeof how;
  return how;
}

}  // namespace

stored_cache::stored_cache(const stored_plan &plan, uint64_t seed)
    : plan_(plan), seed_(seed), bytes_(plan.block_bytes), wanted_(plan.block_bytes) {}

done stored_cache::open(const std::string &policy, uint64_t host_bytes) {
  bench::kv_shape shape;
  shape.block_bytes = plan_.block_bytes;
  shape.host_bytes = host_bytes;
  shape.columns = plan_.columns;
  shape.directory = plan_.directory;
  shape.store_bytes = plan_.store_bytes;
  shape.pump = CUBBY_PUMP_CALLER;
  shape.policy = policy;
  shape.seed = seed_;
  shape.space = plan_.space;
  return bank_.open(shape);
}

/// The use of a block reaches the policy before the next one's.
done stored_cache::advance() {
  uint64_t next_ns = 0;
  if (cubby_poll(bank_.rt(), 0, &next_ns) != CUBBY_OK) return last_trouble();
  return nothing{};
}

outcome<uint32_t> stored_cache::match(std::span<const uint32_t> chain,
                                      std::vector<uint8_t> &states) {
  names_.clear();
  for (const uint32_t block : chain) names_.push_back({0, block});
  keys_.clear();
  for (const bench::kv_key &name : names_) keys_.push_back(name.named());
  states.resize(chain.size());
  uint32_t leading = 0;
  if (chain.empty()) return leading;
  if (cubby_match(bank_.rt(), bank_.space(), keys_.data(), static_cast<uint32_t>(keys_.size()),
                  nullptr, &leading, states.data()) != CUBBY_OK)
    return last_trouble();
  return leading;
}

outcome<std::vector<uint32_t>> stored_cache::find_all() {
  constexpr uint32_t asked_at_once = 4096;
  std::vector<uint32_t> found, asked;
  std::vector<uint8_t> states;
  for (uint32_t first = 0; first < plan_.columns; first += asked_at_once) {
    asked.clear();
    for (uint32_t i = first; i < std::min(plan_.columns, first + asked_at_once); ++i)
      asked.push_back(i);
    if (const auto matched = match(asked, states); !matched) return matched.failure();
    for (size_t i = 0; i < asked.size(); ++i)
      if (states[i] >= CUBBY_STATE_FILE) found.push_back(asked[i]);
  }
  return found;
}

void stored_cache::check(uint32_t block, checked_blocks &found) {
  ++found.count;
  const uint64_t start_ns = clock_ns();
  const bool right = bench::has_content(bytes_.data(), bytes_.size(), content_of(block));
  found.took_ns += clock_ns() - start_ns;
  if (right) return;
  bench::write_content(wanted_.data(), wanted_.size(), content_of(block));
  for (size_t i = 0; i < bytes_.size(); ++i) found.wrong_bytes += bytes_[i] != wanted_[i] ? 1U : 0U;
}

outcome<bool> stored_cache::get(uint32_t block, uint32_t flags, checked_blocks &found) {
  const bench::kv_key name{0, block};
  const cubby_span span{0, 0, reinterpret_cast<uintptr_t>(bytes_.data()), bytes_.size()};
  const cubby_item item = bank_.item(name, &span);
  cubby_how how = plain_how();
  how.flags = flags;
  const cubby_status status = cubby_get(bank_.rt(), &item, 1, &how, nullptr);
  if (status == CUBBY_OK) {
    check(block, found);
  } else if (status == CUBBY_ERR_CORRUPT) {
    ++found.damaged_count;
  } else if (status != CUBBY_MISS) {
    return last_trouble();
  }
  if (auto polled = advance(); !polled) return polled.failure();
  return status == CUBBY_OK;
}

void stored_cache::make(uint32_t block, checked_blocks &found) {
  const uint64_t start_ns = clock_ns();
  bench::write_content(bytes_.data(), bytes_.size(), content_of(block));
  found.took_ns += clock_ns() - start_ns;
}

done stored_cache::put_made(uint32_t block, const uint32_t *parent, uint8_t keep) {
  const bench::kv_key name{0, block}, above{0, parent == nullptr ? 0 : *parent};
  const cubby_key above_key = above.named();
  const cubby_span span{0, 0, reinterpret_cast<uintptr_t>(bytes_.data()), bytes_.size()};
  cubby_item item = bank_.item(name, &span);
  if (parent != nullptr) item.parent = &above_key;
  cubby_how how = plain_how();
  how.keep = keep;
  if (cubby_put(bank_.rt(), &item, 1, &how, nullptr) != CUBBY_OK) return last_trouble();
  return advance();
}

}  // namespace cubby_cli::replay
