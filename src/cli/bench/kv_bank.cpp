#include "cli/bench/kv_bank.hpp"

#include <algorithm>
#include <cstring>

namespace cubby_cli::bench {
namespace {

/// Of splitmix64, without its chain: every word can be had at once.
uint64_t content_word(uint64_t number, uint64_t i) {
  uint64_t x = (number + 1) * 0x9E3779B97F4A7C15 + i * 0xD1B54A32D192ED03;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

/// Words `first` and on of a block.
bool has_words(const void *at, uint64_t bytes, uint64_t number, uint64_t first) {
  const auto *const all = static_cast<const char *>(at);
  for (uint64_t i = 0; i < bytes / 8; i++) {
    uint64_t word = 0;
    std::memcpy(&word, all + i * 8, 8);
    if (word != content_word(number, first + i)) return false;
  }
  return true;
}

}  // namespace

void write_content(void *to, uint64_t bytes, uint64_t number) {
  auto *const all = static_cast<char *>(to);
  for (uint64_t i = 0; i < bytes / 8; i++) {
    const uint64_t word = content_word(number, i);
    std::memcpy(all + i * 8, &word, 8);
  }
}

bool has_content(const void *at, uint64_t bytes, uint64_t number) {
  return has_words(at, bytes, number, 0);
}

// ---- the bank --------------------------------------------------------------------------------

done kv_bank::add_tier(const char *backend, uint32_t rank, uint64_t budget_bytes,
                       cubby_tier *made) {
  const char *const path = shape_.directory.c_str();
  cubby_tier_desc tier{};
  tier.struct_size = sizeof tier;
  tier.backend = backend;
  tier.name = rank == 0 ? "host:0" : "disk:0";
  tier.rank = rank;
  tier.device = -1;
  tier.budget_bytes = budget_bytes;
  if (rank != 0) {
    tier.paths = &path;
    tier.path_count = 1;
  }
  if (cubby_tier_add(rt_, &tier, made) != CUBBY_OK) return last_trouble();
  return nothing{};
}

done kv_bank::open(const kv_shape &shape) {
  shape_ = shape;
  cubby_config config{};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = shape.pump;
  config.verify = shape.verified ? CUBBY_VERIFY_ON : CUBBY_VERIFY_OFF;
  config.policy = shape_.policy.c_str();
  config.seed = shape.seed;
  if (cubby_open(&config, &rt_) != CUBBY_OK) return last_trouble();
  // The tier's policy is made for the bank that is there, as a simulation makes it.
  if (auto added = add_bank(); !added) return added;
  if (auto added = add_tier("host", 0, shape.host_bytes, &host_); !added) return added;
  if (!shape.directory.empty()) {
    if (auto added = add_tier("file", 9, shape.store_bytes, &disk_); !added) return added;
  }
  cubby_space_desc space{};
  space.struct_size = sizeof space;
  space.bank = bank_;
  space.fingerprint = shape_.space.data();
  space.fingerprint_bytes = static_cast<uint32_t>(shape_.space.size());
  if (cubby_space_add(rt_, &space, &space_) != CUBBY_OK) return last_trouble();
  return nothing{};
}

done kv_bank::add_bank() {
  cubby_bank_desc bank{};
  bank.struct_size = sizeof bank;
  bank.kind = CUBBY_BANK_KV;
  bank.name = "kv";
  bank.rows = 1;
  bank.columns = shape_.columns;
  bank.locker_bytes = shape_.block_bytes;
  if (cubby_bank_add(rt_, &bank, &bank_) != CUBBY_OK) return last_trouble();
  return nothing{};
}

cubby_item kv_bank::item(const kv_key &key, const cubby_span *span) const {
  cubby_item made{};
  made.space = space_;
  made.key = key.named();
  made.spans = span;
  made.span_count = span == nullptr ? 0 : 1;
  return made;
}

outcome<cubby_tier_stats> kv_bank::stats_of(cubby_tier tier) const {
  cubby_stats_block all{};
  all.struct_size = sizeof all;
  cubby_tier_stats tiers[2] = {};
  for (cubby_tier_stats &one : tiers) one.struct_size = sizeof one;
  if (cubby_stats(rt_, &all, tiers, 2) != CUBBY_OK) return last_trouble();
  return tiers[0].tier == tier ? tiers[0] : tiers[1];
}

outcome<std::vector<uint32_t>> kv_bank::on_disk_alone(uint64_t series, uint32_t count) const {
  constexpr uint32_t asked_at_once = 4096;
  std::vector<uint32_t> found;
  for (uint32_t first = 0; first < count; first += asked_at_once) {
    const uint32_t asked = std::min(asked_at_once, count - first);
    std::vector<kv_key> keys(asked);
    std::vector<cubby_key> names(asked);
    std::vector<uint8_t> states(asked);
    for (uint32_t i = 0; i < asked; i++) {
      keys[i] = {series, first + i};
      names[i] = keys[i].named();
    }
    uint32_t hits = 0;
    if (cubby_match(rt_, space_, names.data(), asked, nullptr, &hits, states.data()) != CUBBY_OK) {
      return last_trouble();
    }
    for (uint32_t i = 0; i < asked; i++) {
      if (states[i] == CUBBY_STATE_FILE) found.push_back(first + i);
    }
  }
  return found;
}

done kv_bank::drop(uint64_t series, uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count; i++) {
    const kv_key key{series, i};
    const cubby_item one = item(key, nullptr);
    if (cubby_drop(rt_, &one, 1, 0) != CUBBY_OK) return last_trouble();
  }
  return nothing{};
}

// ---- streams ---------------------------------------------------------------------------------

kv_stream::kv_stream(const kv_bank &bank, const shape &of, verb what, uint8_t keep, uint32_t flags)
    : bank_(bank),
      shape_(of),
      verb_(what),
      items_(of.slots()),
      spans_(of.slots()),
      tickets_(of.tickets) {
  how_.struct_size = sizeof how_;
  how_.keep = keep;
  how_.flags = flags;
}

kv_stream::shape kv_stream::fitting(const kv_shape &bank, uint32_t batch_items, uint32_t tickets) {
  // Half of the memory: the rest is for what was there before and has not left yet.
  const uint64_t frames = std::max<uint64_t>(1, bank.host_bytes / bank.block_bytes / 2);
  shape made;
  made.tickets = static_cast<uint32_t>(std::min<uint64_t>(tickets, frames));
  made.batch_items =
      static_cast<uint32_t>(std::clamp<uint64_t>(frames / made.tickets, 1, batch_items));
  return made;
}

done kv_stream::start(uint32_t t, uint32_t count) {
  const cubby_item *const first = &items_[t * shape_.batch_items];
  const auto call = verb_ == verb::put ? cubby_put : cubby_get;
  const cubby_status status = call(bank_.rt(), first, count, &how_, &tickets_[t]);
  if (status == CUBBY_OK || status == CUBBY_PENDING) return nothing{};
  if (status == CUBBY_MISS || status == CUBBY_PARTIAL) return trouble{"a block was not there"};
  return last_trouble();
}

done kv_stream::finish(uint32_t t) {
  const cubby_ticket ticket = std::exchange(tickets_[t], 0);
  if (ticket != 0 && cubby_wait(bank_.rt(), ticket, -1) != CUBBY_OK) return last_trouble();
  return nothing{};
}

done kv_stream::run(const std::vector<kv_key> &keys,
                    const std::function<cubby_span(uint32_t slot, size_t i)> &memory) {
  uint32_t t = 0;
  for (size_t at = 0; at < keys.size(); at += shape_.batch_items) {
    if (auto over = finish(t); !over) return over;
    const auto count =
        static_cast<uint32_t>(std::min<size_t>(shape_.batch_items, keys.size() - at));
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t slot = t * shape_.batch_items + i;
      spans_[slot] = memory(slot, at + i);
      items_[slot] = bank_.item(keys[at + i], &spans_[slot]);
    }
    if (auto started = start(t, count); !started) return started;
    t = (t + 1) % shape_.tickets;
  }
  for (uint32_t i = 0; i < shape_.tickets; i++) {
    if (auto over = finish((t + i) % shape_.tickets); !over) return over;
  }
  return nothing{};
}

done fill_store(const kv_bank &bank, uint32_t count) {
  const auto shape = kv_stream::fitting(bank.shape(), 64, 2);
  const uint64_t bytes = bank.shape().block_bytes;
  const huge_buffer memory(shape.slots() * bytes);
  if (memory.data() == nullptr) return system_trouble("memory for blocks", ENOMEM);
  kv_stream puts(bank, shape, kv_stream::verb::put, CUBBY_KEEP_RESTART);
  std::vector<kv_key> keys;
  for (uint32_t i = 0; i < count; i++) keys.push_back({0, i});
  return puts.run(keys, [&](uint32_t slot, size_t i) {
    char *const at = memory.data() + slot * bytes;
    write_content(at, bytes, i);
    return cubby_span{0, 0, reinterpret_cast<uintptr_t>(at), bytes};
  });
}

// ---- memory that is got into -----------------------------------------------------------------

kv_tensor::kv_tensor(uint64_t block_bytes, uint32_t slots, uint64_t layers)
    : block_bytes_(block_bytes), slots_(slots), layers_(layers), memory_(block_bytes * slots) {}

done kv_tensor::lend_to(const kv_bank &bank) {
  if (memory_.data() == nullptr) return system_trouble("memory to get blocks into", ENOMEM);
  const uint64_t piece_bytes = block_bytes_ / layers_;
  regions_.clear();
  for (uint32_t slot = 0; slot < slots_; slot++) {
    cubby_region_desc desc{};
    desc.struct_size = sizeof desc;
    desc.base = memory_.data() + slot * piece_bytes;
    desc.piece_bytes = piece_bytes;
    desc.stride_bytes = slots_ * piece_bytes;
    desc.piece_count = static_cast<uint32_t>(layers_);
    cubby_region made = 0;
    if (cubby_region_add(bank.rt(), &desc, &made) != CUBBY_OK) return last_trouble();
    regions_.push_back(made);
  }
  return nothing{};
}

bool kv_tensor::has_content(uint32_t slot, uint64_t number) const {
  const uint64_t piece_bytes = block_bytes_ / layers_;
  for (uint64_t layer = 0; layer < layers_; layer++) {
    const char *const at = memory_.data() + (layer * slots_ + slot) * piece_bytes;
    if (!has_words(at, piece_bytes, number, layer * piece_bytes / 8)) return false;
  }
  return true;
}

}  // namespace cubby_cli::bench
