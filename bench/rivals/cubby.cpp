// Blocks in a durable store of cubby. Memory for an eighth of a set, as of a cache before the disk.
#include <cubby/cubby.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "rival.hpp"

namespace rivals {
namespace {

void check(cubby_status status, const char *call) {
  if (status == CUBBY_OK || status == CUBBY_PENDING) return;
  char text[400];
  cubby_explain(nullptr, text, sizeof text);
  give_up(std::string(call) + ": " + text);
}

class cubby_store final : public rival {
 public:
  explicit cubby_store(place at) : at_(std::move(at)) { open(); }
  ~cubby_store() override { cubby_close(rt_); }
  void put(std::span<const block_key> keys, const char *from, outlives what) override;
  void settle() override {
    for (cubby_ticket &one : tickets_) wait_for(one);
  }
  void get(std::span<const block_key> keys, char *into) override;
  void erase(std::span<const block_key> keys) override;
  void reopen(void (*between)(const std::string &)) override;

 private:
  void open();
  void wait_for(cubby_ticket &one) {
    const cubby_ticket ticket = std::exchange(one, 0);
    if (ticket != 0) check(cubby_wait(rt_, ticket, -1), "cubby_wait");
  }
  cubby_tier add_tier(const char *backend, const char *name, uint32_t rank, uint64_t bytes,
                      const char *path);
  /// Good until the next call.
  const cubby_item *items(std::span<const block_key> keys, const char *memory);

  const place at_;
  cubby *rt_ = nullptr;
  cubby_space space_ = 0;
  cubby_ticket tickets_[2] = {};
  uint32_t turn_ = 0;
  std::vector<cubby_item> items_;
  std::vector<cubby_span> spans_;
  std::vector<std::string> names_;
};

cubby_tier cubby_store::add_tier(const char *backend, const char *name, uint32_t rank,
                                 uint64_t bytes, const char *path) {
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = backend;
  desc.name = name;
  desc.rank = rank;
  desc.device = -1;
  desc.budget_bytes = bytes;
  desc.paths = &path;
  desc.path_count = path == nullptr ? 0 : 1;
  cubby_tier made = 0;
  check(cubby_tier_add(rt_, &desc, &made), "cubby_tier_add");
  return made;
}

void cubby_store::open() {
  cubby_config config{};
  config.struct_size = sizeof config;
  check(cubby_open(&config, &rt_), "cubby_open");
  cubby_bank_desc bank{};
  bank.struct_size = sizeof bank;
  bank.kind = CUBBY_BANK_KV;
  bank.name = "kv";
  bank.rows = 1;
  bank.columns = static_cast<uint32_t>(3 * at_.set_bytes / at_.block_bytes);
  bank.locker_bytes = at_.block_bytes;
  cubby_bank made = 0;
  check(cubby_bank_add(rt_, &bank, &made), "cubby_bank_add");
  add_tier("host", "host:0", 0, std::max(at_.set_bytes / 8, 64 * at_.block_bytes), nullptr);
  add_tier("file", "disk:0", 1, 2 * at_.set_bytes + (64u << 20), at_.directory.c_str());
  cubby_space_desc space{};
  space.struct_size = sizeof space;
  space.bank = made;
  check(cubby_space_add(rt_, &space, &space_), "cubby_space_add");
}

const cubby_item *cubby_store::items(std::span<const block_key> keys, const char *memory) {
  items_.assign(keys.size(), {});
  spans_.resize(keys.size());
  names_.resize(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    names_[i] = keys[i].text();
    items_[i].space = space_;
    items_[i].key = {names_[i].data(), static_cast<uint32_t>(names_[i].size())};
    if (memory == nullptr) continue;
    spans_[i] = {0, 0, reinterpret_cast<uintptr_t>(memory) + i * at_.block_bytes, at_.block_bytes};
    items_[i].spans = &spans_[i];
    items_[i].span_count = 1;
  }
  return items_.data();
}

void cubby_store::put(std::span<const block_key> keys, const char *from, outlives what) {
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_BYPASS;
  how.keep = what == outlives::process ? CUBBY_KEEP_RESTART : CUBBY_KEEP_DURABLE;
  cubby_ticket &mine = tickets_[turn_++ % 2];
  wait_for(mine);
  const cubby_item *const named = items(keys, from);
  check(cubby_put(rt_, named, static_cast<uint32_t>(keys.size()), &how, &mine), "cubby_put");
}

void cubby_store::get(std::span<const block_key> keys, char *into) {
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_BYPASS;
  const cubby_item *const named = items(keys, into);
  check(cubby_get(rt_, named, static_cast<uint32_t>(keys.size()), &how, nullptr), "cubby_get");
}

void cubby_store::erase(std::span<const block_key> keys) {
  check(cubby_drop(rt_, items(keys, nullptr), static_cast<uint32_t>(keys.size()), 0), "cubby_drop");
  check(cubby_drain(rt_, -1), "cubby_drain");
}

void cubby_store::reopen(void (*between)(const std::string &)) {
  cubby_close(rt_);
  between(at_.directory);
  open();
}

}  // namespace

std::unique_ptr<rival> make_cubby(const place &at) { return std::make_unique<cubby_store>(at); }

}  // namespace rivals
