// A directory with keys by name, for tests.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "directory/key_directory.hpp"
#include "support/catch.hpp"

namespace directory_test {

using namespace cubby;
using namespace cubby::directory;

inline cubby_key key_of(std::string_view name) {
  return {name.data(), static_cast<uint32_t>(name.size())};
}

inline space_table::bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

inline directory_config config_of(uint32_t lockers, uint32_t parts = 1) {
  directory_config config;
  config.locker_count = lockers;
  config.part_count = parts;
  config.seed = 7;
  return config;
}

struct fixture {
  key_directory keys;
  uint32_t space = 0;
  uint32_t next_locker = 0;
  uint64_t now_ns = 1;  // of matches

  explicit fixture(const directory_config &config = config_of(64)) : keys(config) {
    space = open("model", "tenant");
  }
  uint32_t open(std::string_view fingerprint, std::string_view domain) {
    const auto added = keys.add_space(bytes_of(fingerprint), bytes_of(domain));
    REQUIRE(added.ok());
    return *added;
  }
  result<put_answer> begin(std::string_view name, std::string_view parent, uint16_t parts = 0,
                           uint32_t in_space = 0) {
    const cubby_key above = key_of(parent);
    put_request request;
    request.space = in_space != 0 ? in_space : space;
    request.key = key_of(name);
    request.parent = parent.empty() ? nullptr : &above;
    request.parts = parts;
    request.locker = next_locker;
    auto answer = keys.begin_put(request);
    if (answer && answer->took_locker) ++next_locker;
    return answer;
  }
  /// A whole put; "" = no parent.
  put_answer put(std::string_view name, std::string_view parent = "", uint16_t parts = 0,
                 uint32_t in_space = 0) {
    const auto answer = begin(name, parent, parts, in_space);
    REQUIRE(answer.ok());
    if (answer->fresh != 0) {
      const auto end = keys.publish(answer->entry, answer->locker, answer->fresh);
      REQUIRE(end.ok());
      REQUIRE(end->visible);
    }
    return *answer;
  }
  /// a ← b ← c …
  void put_chain(const std::vector<std::string> &names, uint16_t parts = 0) {
    for (size_t i = 0; i < names.size(); ++i) put(names[i], i == 0 ? "" : names[i - 1], parts);
  }
  [[nodiscard]] key_view view(std::string_view name, uint32_t in_space = 0) const {
    const auto found = keys.find(in_space != 0 ? in_space : space, key_of(name));
    REQUIRE(found.ok());
    return *found;
  }
  struct match_result {
    uint32_t hit_count = 0;
    std::vector<key_view> views;
    std::vector<bool> restorable;  // of lengths 1, 2 …
  };
  [[nodiscard]] match_result match(const std::vector<std::string> &names,
                                   const match_rule *rule = nullptr, const char *after = nullptr,
                                   uint32_t in_space = 0) const {
    std::vector<cubby_key> list;
    for (const std::string &name : names) list.push_back(key_of(name));
    const cubby_key before = key_of(after != nullptr ? after : "");
    match_result out;
    out.views.resize(names.size());
    std::vector<uint64_t> bits((names.size() + 63) / 64, ~uint64_t{0});
    match_query query;
    query.space = in_space != 0 ? in_space : space;
    query.keys = list.data();
    query.count = static_cast<uint32_t>(list.size());
    query.after = after != nullptr ? &before : nullptr;
    query.rule = rule;
    query.views = out.views.data();
    query.restorable = bits.data();
    query.now_ns = now_ns;
    const auto hits = keys.match(query);
    REQUIRE(hits.ok());
    out.hit_count = *hits;
    for (size_t i = 0; i < names.size(); ++i)
      out.restorable.push_back((bits[i / 64] >> i % 64) & 1);
    query.views = nullptr;
    query.restorable = nullptr;
    REQUIRE(*keys.match(query) == out.hit_count);
    return out;
  }
  uint32_t erase(std::string_view name, erase_rule rule = erase_rule::any) {
    const auto released = keys.erase(view(name).entry, rule);
    REQUIRE(released.ok());
    return *released;
  }
};

}  // namespace directory_test
