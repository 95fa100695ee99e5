// A bank of KV blocks with a space, and what its tests put, get and match.
#pragma once

#include "unit/api/runtime_fixture.hpp"

namespace api_test {

inline constexpr uint64_t block_bytes = 64 << 10;
inline constexpr uint64_t mib = uint64_t{1} << 20;

/// Where blocks are stored, if anywhere, and how much memory there is before that.
struct block_tiers {
  std::string directory;
  uint64_t store_bytes = 0, host_bytes = 0;
  const char *backend = "file";
  uint32_t host_rank = 0;
};

/// A tier of files with a store in the directory.
inline cubby_status add_store(cubby_handle *rt, const block_tiers &tiers, cubby_tier *made) {
  const char *paths[] = {tiers.directory.c_str()};
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = tiers.backend;
  desc.name = "disk:0";
  desc.rank = 9;
  desc.device = -1;
  desc.budget_bytes = tiers.store_bytes;
  desc.paths = paths;
  desc.path_count = 1;
  return cubby_tier_add(rt, &desc, made);
}

/// A bank of blocks and one space of it.
struct block_fixture {
  runtime_fixture h;
  cubby_bank bank = 0;
  cubby_space space = 0;
  cubby_tier host = 0, disk = 0;

  explicit block_fixture(uint32_t pump, uint32_t columns, uint32_t part_count = 0,
                         const block_tiers &tiers = {}, uint64_t bytes = block_bytes,
                         const char *policy = "auto")
      : h(pump, 0, policy) {
    if (tiers.host_bytes != 0) host = h.tier("host:0", tiers.host_rank, tiers.host_bytes);
    if (tiers.store_bytes != 0) {
      const cubby_status made = add_store(tiers, &disk);
      INFO(explain());
      REQUIRE(made == CUBBY_OK);
    }
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.kind = CUBBY_BANK_KV;
    desc.name = "blocks";
    desc.rows = 1;
    desc.columns = columns;
    desc.locker_bytes = bytes;
    const uint64_t parts[] = {40 << 10, 20 << 10, 4 << 10};
    desc.part_count = part_count;
    if (part_count != 0) desc.part_bytes = parts;
    const cubby_status added = cubby_bank_add(h.rt, &desc, &bank);
    INFO(explain());
    REQUIRE(added == CUBBY_OK);
    space = add_space("model", "tenant");
  }
  cubby_status add_store(const block_tiers &tiers, cubby_tier *made) {
    return api_test::add_store(h.rt, tiers, made);
  }
  cubby_space add_space(const std::string &fingerprint, const std::string &domain) {
    cubby_space_desc desc{};
    desc.struct_size = sizeof desc;
    desc.bank = bank;
    desc.fingerprint = fingerprint.data();
    desc.fingerprint_bytes = static_cast<uint32_t>(fingerprint.size());
    desc.domain = domain.data();
    desc.domain_bytes = static_cast<uint32_t>(domain.size());
    cubby_space made = 0;
    REQUIRE(cubby_space_add(h.rt, &desc, &made) == CUBBY_OK);
    return made;
  }
};

inline std::string key_of(uint32_t number) { return "block " + std::to_string(number); }
inline cubby_key as_key(const std::string &text) {
  return {text.data(), static_cast<uint32_t>(text.size())};
}
/// What is put under a key: the same for everybody who puts it.
inline std::string content_of(uint32_t number, uint64_t bytes = block_bytes) {
  cubby::base::prng random(number + 1);
  std::string made(bytes, '\0');
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    const uint64_t word = random.next();
    std::memcpy(made.data() + i, &word, 8);
  }
  return made;
}

inline cubby_span plain(const void *at, uint64_t bytes) {
  return {0, 0, reinterpret_cast<uintptr_t>(at), bytes};
}

struct block_item {
  std::string key, parent;
  cubby_key parent_key{};
  std::vector<cubby_span> spans;
  cubby_item item{};

  block_item(cubby_space space, std::string named, std::string after, std::vector<cubby_span> at)
      : key(std::move(named)), parent(std::move(after)), spans(std::move(at)) {
    item.space = space;
    item.key = as_key(key);
    if (!parent.empty()) {
      parent_key = as_key(parent);
      item.parent = &parent_key;
    }
    item.spans = spans.data();
    item.span_count = static_cast<uint32_t>(spans.size());
  }
  block_item(const block_item &) = delete;
  block_item &operator=(const block_item &) = delete;
};

inline cubby_status put(const block_fixture &f, uint32_t number, const std::string &bytes,
                        const std::string &parent = {}, cubby_space space = 0,
                        uint8_t keep = CUBBY_KEEP_SESSION) {
  const block_item one(space == 0 ? f.space : space, key_of(number), parent,
                       {plain(bytes.data(), bytes.size())});
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = keep;
  return cubby_put(f.h.rt, &one.item, 1, &how, nullptr);
}
inline cubby_status get(const block_fixture &f, uint32_t number, std::string &bytes,
                        cubby_space space = 0) {
  const block_item one(space == 0 ? f.space : space, key_of(number), {},
                       {plain(bytes.data(), bytes.size())});
  return cubby_get(f.h.rt, &one.item, 1, nullptr, nullptr);
}
inline uint32_t match(const block_fixture &f, const std::vector<uint32_t> &numbers,
                      std::vector<uint8_t> *states = nullptr, cubby_space space = 0) {
  std::vector<std::string> names;
  for (const uint32_t number : numbers) names.push_back(key_of(number));
  std::vector<cubby_key> keys;
  for (const std::string &name : names) keys.push_back(as_key(name));
  uint32_t hits = ~0u;
  if (states != nullptr) states->assign(keys.size(), 0xEE);
  REQUIRE(cubby_match(f.h.rt, space == 0 ? f.space : space, keys.data(),
                      static_cast<uint32_t>(keys.size()), nullptr, &hits,
                      states == nullptr ? nullptr : states->data()) == CUBBY_OK);
  return hits;
}

/// A directory of its own, removed with all that is in it.
struct store_directory {
  std::string path;

  store_directory() {
    std::string name = (std::filesystem::current_path() / "stored-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  store_directory(const store_directory &) = delete;
  store_directory &operator=(const store_directory &) = delete;
  ~store_directory() { std::filesystem::remove_all(path); }

  [[nodiscard]] std::string file() const { return path + "/cubby.store"; }
  /// Where in the store's file a block lies whose content begins with `content`.
  [[nodiscard]] size_t offset_of(const std::string &content) const {
    std::ifstream in(file(), std::ios::binary);
    const std::string all((std::istreambuf_iterator<char>(in)), {});
    const size_t begin = all.find(content.substr(0, 64));
    REQUIRE(begin != std::string::npos);
    return begin;
  }
  /// Flips bits of it there, so many bytes behind the block's first.
  void damage(const std::string &content, size_t at_bytes, char bits) const {
    const auto at = static_cast<std::streamoff>(offset_of(content) + at_bytes);
    std::fstream both(file(), std::ios::in | std::ios::out | std::ios::binary);
    both.seekg(at);
    const auto was = static_cast<char>(both.get());
    both.seekp(at);
    both.put(static_cast<char>(was ^ bits));
  }
};

inline std::vector<uint32_t> numbers_to(uint32_t count) {
  std::vector<uint32_t> all;
  for (uint32_t i = 1; i <= count; ++i) all.push_back(i);
  return all;
}

/// A chain 1, 2 … `count`.
inline void put_chain(const block_fixture &f, uint32_t count, uint8_t keep) {
  for (uint32_t i = 1; i <= count; ++i) {
    const cubby_status status =
        put(f, i, content_of(i), i == 1 ? std::string() : key_of(i - 1), 0, keep);
    INFO(i << ": " << explain());
    REQUIRE(status == CUBBY_OK);
  }
}
inline void check_bytes(const block_fixture &f, uint32_t number) {
  std::string bytes(block_bytes, 'x');
  const cubby_status status = get(f, number, bytes);
  INFO(number << ": " << explain());
  REQUIRE(status == CUBBY_OK);
  CHECK(bytes == content_of(number));
}

}  // namespace api_test
