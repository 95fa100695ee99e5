#include <nanobind/stl/pair.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "handles.hpp"
#include "keys.hpp"
#include "request.hpp"

namespace pycubby {

namespace {

// Up to this many keys a match is too short to be worth giving the interpreter's lock away.
constexpr uint32_t quick_keys = 1024;

// Nothing where the caller has none. Read before the keys, for that may run code of others.
using part_rules = std::optional<std::vector<cubby_part_rule>>;

// A rule a part: None, or (trailing, group).
part_rules rules_of(nb::handle parts) {
  if (parts.is_none()) return std::nullopt;
  std::vector<cubby_part_rule> rules;
  for (nb::handle each : nb::borrow<nb::sequence>(parts)) {
    cubby_part_rule rule{};
    if (!each.is_none()) {
      const auto [trailing, group] = cast_or<std::pair<uint32_t, uint32_t>>(
          each, "a rule of parts is None, or (trailing, group): two int of 0 or more");
      rule = {1, trailing, group, 0};
    }
    rules.push_back(rule);
  }
  return rules;
}

uint32_t match_keys(const space &s, key_view &keys, nb::handle after, uint32_t trailing,
                    const part_rules &rules, uint8_t *states, uint64_t *restorable = nullptr) {
  const cubby_key before = key_or_none(after);
  cubby_match_rule rule{};
  rule.struct_size = sizeof rule;
  rule.trailing_count = trailing;
  rule.after = before.data == nullptr ? nullptr : &before;
  rule.restorable = restorable;
  rule.parts = rules ? rules->data() : nullptr;
  rule.part_count = rules ? static_cast<uint32_t>(rules->size()) : 0;
  uint32_t hits = 0;
  const auto body = [&](cubby *rt) {
    return cubby_match(rt, s.handle, keys.data(), keys.size(), &rule, &hits, states);
  };
  if (keys.size() <= quick_keys) {
    check(s.owner->quick(body));
  } else {
    keys.hold();
    check(s.owner->call(body));
  }
  return hits;
}

uint32_t match(const space &s, nb::handle from, nb::handle after, uint32_t trailing,
               nb::handle parts) {
  const part_rules rules = rules_of(parts);
  key_view keys(from);
  return match_keys(s, keys, after, trailing, rules, nullptr);
}

nb::bytes states(const space &s, nb::handle from, nb::handle after) {
  key_view keys(from);
  std::vector<uint8_t> found(keys.size());
  match_keys(s, keys, after, 0, std::nullopt, found.data());
  return nb::bytes(reinterpret_cast<const char *>(found.data()), found.size());
}

nb::list restorable(const space &s, nb::handle from, nb::handle after, uint32_t trailing,
                    nb::handle parts) {
  const part_rules rules = rules_of(parts);
  key_view keys(from);
  std::vector<uint64_t> bits((size_t{keys.size()} + 63) / 64);
  match_keys(s, keys, after, trailing, rules, nullptr, bits.data());
  nb::list lengths;
  for (uint32_t n = 1; n <= keys.size(); ++n) {
    if ((bits[(n - 1) / 64] >> ((n - 1) % 64) & 1) != 0) lengths.append(n);
  }
  return lengths;
}

nb::bytes hint(const space &s, nb::handle kind, nb::handle from, uint64_t when_ns,
               uint32_t priority, uint64_t ttl_ns) {
  key_view keys(from);
  keys.hold();
  cubby_hint_item of_all{};
  of_all.struct_size = sizeof of_all;
  of_all.kind = hint_kind_of(kind);
  of_all.space = s.handle;
  of_all.when_ns = when_ns;
  of_all.priority = priority;
  of_all.ttl_ns = ttl_ns;
  std::vector<cubby_hint_item> hints(keys.size(), of_all);
  for (uint32_t i = 0; i < keys.size(); ++i) hints[i].key = keys.data()[i];
  std::vector<uint8_t> outcome(keys.size());
  check(s.owner->call(
      [&](cubby *rt) { return cubby_hint(rt, hints.data(), keys.size(), outcome.data()); }));
  return nb::bytes(reinterpret_cast<const char *>(outcome.data()), outcome.size());
}

// Nanoseconds of one match by the C call alone, of `repeat` calls: to hold Python's against.
double time_match(const space &s, nb::handle from, uint32_t repeat) {
  const key_view keys(from);
  uint32_t hits = 0;
  const auto began = std::chrono::steady_clock::now();
  for (uint32_t n = 0; n < repeat; ++n) {
    check(s.owner->quick([&](cubby *rt) {
      return cubby_match(rt, s.handle, keys.data(), keys.size(), nullptr, &hits, nullptr);
    }));
  }
  const std::chrono::duration<double, std::nano> gone = std::chrono::steady_clock::now() - began;
  return gone.count() / repeat;
}

nb::dict split(const space &s, nb::handle from, const tier &in, nb::list recompute_ns) {
  key_view keys(from);
  keys.hold();
  std::vector<uint64_t> costs;
  for (nb::handle each : recompute_ns) {
    costs.push_back(cast_or<uint64_t>(each, "recompute_ns is a list of int of 0 or more"));
  }
  if (costs.size() != keys.size()) throw nb::value_error("recompute_ns is as long as keys");
  cubby_split_result result{};
  result.struct_size = sizeof result;
  check(s.owner->call([&](cubby *rt) {
    return cubby_split(rt, s.handle, keys.data(), keys.size(), costs.data(), in.handle, &result);
  }));
  nb::dict out;
  out["load_first"] = result.load_first;
  out["load_count"] = result.load_count;
  out["finish_ns"] = result.finish_ns;
  out["recompute_all_ns"] = result.recompute_all_ns;
  out["load_all_ns"] = result.load_all_ns;
  return out;
}

}  // namespace

void bind_looking(nb::class_<space> &c) {
  c.def("match", &match, nb::arg("keys"), nb::arg("after").none() = nb::none(),
        nb::arg("trailing") = 0, nb::arg("parts").none() = nb::none(),
        "Length of the longest usable prefix of keys: 0 to len(keys). No I/O, no waiting. keys: "
        "bytes, a list or tuple of bytes, or Keys. keys[0] is a root or follows the key `after`. "
        "trailing: of the prefix only the last so many have to be there; 0 = all. parts: of blocks "
        "of several parts, one of (trailing, group) or None a part: the part has to be at the last "
        "key of each group of so many keys, in the last so many groups (0 = all); None = nowhere.")
      .def("states", &states, nb::arg("keys"), nb::arg("after").none() = nb::none(),
           "Where each key's bytes are, as one byte a key of cubby.State, also behind the first "
           "miss. No I/O, no waiting.")
      .def("restorable", &restorable, nb::arg("keys"), nb::arg("after").none() = nb::none(),
           nb::arg("trailing") = 0, nb::arg("parts").none() = nb::none(),
           "Every length of a prefix that is usable, in ascending order; the last one is what "
           "match() answers. No I/O, no waiting.")
      .def("hint", &hint, nb::arg("kind"), nb::arg("keys"), nb::kw_only(), nb::arg("when_ns") = 0,
           nb::arg("priority") = 0, nb::arg("ttl_ns") = 0,
           "Tells what the engine knows of keys. kind: 'closed' (the conversation is over, or the "
           "content superseded), 'scheduled' (asked for in when_ns), 'priority' (higher stays "
           "longer). ttl_ns: how long it holds; 0 = not said. One byte a key of cubby.Outcome.")
      .def("_time_match", &time_match, nb::arg("keys"), nb::arg("repeat"))
      .def("split", &split, nb::arg("keys"), nb::arg("tier"), nb::arg("recompute_ns"),
           "Load or recompute: which keys of the prefix to load so that all of it is ready first. "
           "recompute_ns: ns to compute each key. A dict of load_first, load_count, finish_ns, "
           "recompute_all_ns and load_all_ns.");
}

}  // namespace pycubby
