// Readers beside a writer that reuses nodes and numbers all the time.
//
// The writer notes which number is which key's before it publishes, so a reader can judge what it
// is given: a number that is nobody else's while the entry is looked at again is the key's.
#include <atomic>
#include <thread>

#include "base/prng.hpp"
#include "unit/directory/fixture.hpp"

namespace readers_test {

using namespace directory_test;

namespace {

constexpr uint32_t constant_count = 24;  // keys that are always present, a chain
constexpr uint32_t other_count = 40;     // keys that come and go
constexpr uint32_t room = 24;            // numbers for those
constexpr uint32_t classes = 4;          // a key's number is of the key's class, its node any

std::string name_of(uint32_t key) {
  const std::string text = "key " + std::to_string(key);
  return key % 5 == 0 ? text + std::string(40, 'l') : text;
}

class scene {
 public:
  explicit scene(uint64_t buckets)
      : one_([&] {
          directory_config config = config_of(constant_count + room);
          config.bucket_count = buckets;
          return config;
        }()) {
    for (uint32_t key = 0; key < constant_count + other_count; ++key) {
      names_.push_back(name_of(key));
    }
    for (uint32_t key = 0; key < constant_count; ++key) {
      one_.put(names_[key], key == 0 ? "" : names_[key - 1]);
    }
    other_space_ = one_.open("model", "other tenant");
  }

  void write(uint32_t rounds) {
    base::prng prng(1);
    struct held {
      uint32_t key = 0;
      bool present = false;
      put_answer put;
    };
    std::vector<held> entries;
    std::array<std::vector<uint32_t>, classes> free_of_class;
    for (uint32_t i = constant_count; i < constant_count + room; ++i) {
      free_of_class[i % classes].push_back(i);
    }
    for (uint32_t round = 0; round < rounds; ++round) {
      if (prng.chance(1, 2)) {
        const auto key = constant_count + static_cast<uint32_t>(prng.below(other_count));
        std::vector<uint32_t> &free = free_of_class[key % classes];
        if (free.empty()) continue;
        const cubby_key parent = key_of(names_[prng.chance(1, 2) ? key - 1 : key / 2]);
        put_request request;
        request.space = one_.space;
        request.key = key_of(names_[key]);
        request.parent = &parent;
        request.locker = free.back();
        const auto put = one_.keys.begin_put(request);
        if (!put || put->fresh == 0) continue;
        free.pop_back();
        owner_[put->locker].store(uint64_t{round} << 32 | key, std::memory_order_release);
        entries.push_back({key, false, *put});
      } else if (!entries.empty()) {
        const auto at = prng.below(entries.size());
        held &entry = entries[at];
        if (!entry.present && prng.chance(3, 4)) {
          failed_ += one_.keys.publish(entry.put.entry, entry.put.locker, 1).ok() ? 0u : 1u;
          entry.present = true;
          continue;
        }
        const bool over = entry.present
                              ? one_.keys.erase(entry.put.entry, erase_rule::any).ok()
                              : one_.keys.abandon(entry.put.entry, entry.put.locker, 1).ok();
        failed_ += over ? 0u : 1u;
        free_of_class[entry.put.locker % classes].push_back(entry.put.locker);
        entries[at] = entries.back();
        entries.pop_back();
      }
    }
    over_.store(true);
  }

  /// How many answers were wrong.
  uint64_t read(uint64_t seed) {
    base::prng prng(seed);
    std::vector<cubby_key> chain;
    for (uint32_t key = 0; key < constant_count; ++key) chain.push_back(key_of(names_[key]));
    std::vector<cubby_key> others;
    for (uint32_t key = constant_count; key < names_.size(); ++key) {
      others.push_back(key_of(names_[key]));
    }
    uint64_t wrong = 0;
    std::vector<key_view> views(others.size());
    while (!over_.load(std::memory_order_relaxed)) {
      match_query query;
      query.space = one_.space;
      query.keys = chain.data();
      query.count = constant_count;
      query.views = views.data();
      const auto hits = one_.keys.match(query);
      wrong += hits.ok() && *hits == constant_count ? 0u : 1u;
      for (uint32_t key = 0; key < constant_count; ++key)
        wrong += views[key].locker == key ? 0u : 1u;
      query.keys = others.data();
      query.count = other_count;
      wrong += one_.keys.match(query).ok() ? 0u : 1u;
      for (uint32_t i = 0; i < other_count; ++i) wrong += judge(views[i], constant_count + i);
      const auto strange = one_.keys.find(other_space_, others[prng.below(other_count)]);
      wrong += strange.ok() && !strange->entry ? 0u : 1u;
    }
    return wrong;
  }
  [[nodiscard]] uint64_t failed() const { return failed_; }

 private:
  /// The number was never another class's. And as the bytes would be used: the number is looked at,
  /// then the entry once more.
  uint64_t judge(const key_view &view, uint32_t key) {
    if (view.present == 0) return 0;
    if (view.locker < constant_count || view.locker >= constant_count + room) return 1;
    if (view.locker % classes != key % classes) return 1;
    const uint64_t before = owner_[view.locker].load(std::memory_order_acquire);
    const bool holds = one_.keys.still_holds(view);
    const uint64_t after = owner_[view.locker].load(std::memory_order_acquire);
    return before == after && holds && static_cast<uint32_t>(before) != key ? 1u : 0u;
  }

  fixture one_;
  uint32_t other_space_ = 0;
  std::vector<std::string> names_;
  std::array<std::atomic<uint64_t>, constant_count + room> owner_{};  // round << 32 | key
  std::atomic<bool> over_{false};
  uint64_t failed_ = 0;
};

}  // namespace

TEST_CASE("readers beside a writer find what is there, and never another key's locker") {
  for (const uint64_t buckets : {1u, 8u, 64u}) {
    scene one(buckets);
    std::array<uint64_t, 2> wrong{};
    std::vector<std::thread> readers;
    for (uint32_t i = 0; i < 2; ++i) {
      readers.emplace_back([&one, &wrong, i] { wrong[i] = one.read(i); });
    }
    one.write(60'000);
    for (std::thread &reader : readers) reader.join();
    REQUIRE(wrong[0] == 0);
    REQUIRE(wrong[1] == 0);
    REQUIRE(one.failed() == 0);
  }
}

}  // namespace readers_test
