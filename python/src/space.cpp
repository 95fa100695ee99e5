#include <nanobind/stl/shared_ptr.h>

#include <algorithm>
#include <chrono>

#include "handles.hpp"
#include "pins.hpp"
#include "queue.hpp"

namespace pycubby {

namespace {

// Up to this many keys a match is too short to be worth giving the interpreter's lock away.
constexpr uint32_t quick_keys = 1024;

uint32_t match_keys(const space &s, nb::handle from, nb::handle after, uint32_t trailing,
                    uint8_t *states) {
  key_view keys(from);
  const cubby_key before = key_or_none(after);
  cubby_match_rule rule{};
  rule.struct_size = sizeof rule;
  rule.trailing_count = trailing;
  rule.after = before.data == nullptr ? nullptr : &before;
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

uint32_t match(const space &s, nb::handle keys, nb::handle after, uint32_t trailing) {
  return match_keys(s, keys, after, trailing, nullptr);
}

nb::bytes states(const space &s, nb::handle keys, nb::handle after) {
  const uint32_t count = key_view(keys).size();
  std::vector<uint8_t> found(count);
  match_keys(s, keys, after, 0, found.data());
  return nb::bytes(reinterpret_cast<const char *>(found.data()), found.size());
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

// The items of a get or put, and what they point to while the call lasts.
class batch {
 public:
  batch(const space &s, nb::handle from, nb::handle memory, bool write_to, memory_list &into)
      : keys(from), items(keys.size()) {
    keys.hold();
    if (keys.single()) {
      into.add_item(memory, write_to);
    } else {
      into.add_items(memory, keys.size(), write_to);
    }
    for (uint32_t i = 0; i < keys.size(); ++i) {
      items[i].space = s.handle;
      items[i].key = keys.data()[i];
      items[i].spans = into.spans(i);
      items[i].span_count = into.span_count(i);
    }
  }
  // Each key follows the one before it, the first one follows `after` (None: is a root); or, not
  // chained, all follow `after`.
  void set_parents(nb::handle after, bool chain) {
    before_ = key_or_none(after);
    const cubby_key *first = before_.data == nullptr ? nullptr : &before_;
    for (uint32_t i = 0; i < keys.size(); ++i) {
      items[i].parent = chain && i > 0 ? &keys.data()[i - 1] : first;
    }
  }

  key_view keys;
  std::vector<cubby_item> items;

 private:
  cubby_key before_{nullptr, 0};
};

std::shared_ptr<request> start_get(const space &s, nb::handle keys, nb::handle memory,
                                   const options &with) {
  auto what = std::make_shared<request>();
  what->owner = s.owner;
  const batch b(s, keys, memory, true, what->memory);
  submit(what, with, b.keys.size(), [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_get(rt, b.items.data(), b.keys.size(), how, out);
  });
  return what;
}

std::shared_ptr<request> start_put(const space &s, nb::handle keys, nb::handle memory,
                                   nb::handle after, bool chain, const options &with) {
  auto what = std::make_shared<request>();
  what->owner = s.owner;
  batch b(s, keys, memory, false, what->memory);
  b.set_parents(after, chain);
  submit(what, with, b.keys.size(), [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_put(rt, b.items.data(), b.keys.size(), how, out);
  });
  return what;
}

[[noreturn]] void raise_items(request &what) {
  nb::object error = error_of(what);
  nb::list each;
  for (const int8_t status : what.item_status) each.append(static_cast<int>(status));
  error.attr("item_status") = each;
  raise(error);
}

options options_of(uint32_t ttl_ms, uint8_t priority, uint64_t deadline_ns,
                   std::shared_ptr<queue> to, uint64_t user) {
  options with;
  with.ttl_ms = ttl_ms;
  with.priority = priority;
  with.deadline_ns = deadline_ns;
  with.to = std::move(to);
  with.user = user;
  return with;
}

nb::object get(const space &s, nb::handle keys, nb::handle into, uint8_t priority,
               uint64_t deadline_ns) {
  const auto what = start_get(s, keys, into, options_of(0, priority, deadline_ns, nullptr, 0));
  wait_out(what);
  const auto &each = what->item_status;
  const bool failed = std::any_of(each.begin(), each.end(), [](int8_t status) {
    return status != CUBBY_OK && status != CUBBY_MISS;
  });
  if (what->status != CUBBY_OK && what->status != CUBBY_MISS &&
      (failed || what->status != CUBBY_PARTIAL)) {
    raise_items(*what);
  }
  if (PyBytes_Check(keys.ptr())) return nb::bool_(what->status == CUBBY_OK);
  nb::list found;
  for (const int8_t status : each) {
    found.append(what->status == CUBBY_OK || (what->status != CUBBY_MISS && status == CUBBY_OK));
  }
  return found;
}

void put(const space &s, nb::handle keys, nb::handle memory, nb::handle after, bool chain,
         nb::handle keep, uint32_t ttl_ms, uint8_t priority) {
  options with = options_of(ttl_ms, priority, 0, nullptr, 0);
  with.keep = keep_of(keep);
  const auto what = start_put(s, keys, memory, after, chain, with);
  wait_out(what);
  if (what->status != CUBBY_OK) raise_items(*what);
}

nb::object submit_get(const space &s, nb::handle keys, nb::handle into,
                      const std::shared_ptr<queue> &to, uint64_t user, uint8_t priority,
                      uint64_t deadline_ns) {
  auto what = start_get(s, keys, into, options_of(0, priority, deadline_ns, to, user));
  return nb::cast(new ticket(std::move(what)), nb::rv_policy::take_ownership);
}

nb::object submit_put(const space &s, nb::handle keys, nb::handle memory, nb::handle after,
                      bool chain, nb::handle keep, const std::shared_ptr<queue> &to, uint64_t user,
                      uint32_t ttl_ms, uint8_t priority) {
  options with = options_of(ttl_ms, priority, 0, to, user);
  with.keep = keep_of(keep);
  auto what = start_put(s, keys, memory, after, chain, with);
  return nb::cast(new ticket(std::move(what)), nb::rv_policy::take_ownership);
}

std::vector<cubby_item> items_of(const space &s, const key_view &keys) {
  std::vector<cubby_item> items(keys.size());
  for (uint32_t i = 0; i < keys.size(); ++i) {
    items[i].space = s.handle;
    items[i].key = keys.data()[i];
  }
  return items;
}

pins pin_keys(const space &s, nb::handle from, const tier &in, bool wait) {
  key_view keys(from);
  keys.hold();
  const bank &b = *s.of;
  std::vector<uint64_t> bytes;
  for (uint32_t i = 0; i < keys.size(); ++i) {
    bytes.insert(bytes.end(), b.part_bytes.begin(), b.part_bytes.begin() + b.part_count);
  }
  return pin(s.owner, items_of(s, keys), in.handle, b.part_count, std::move(bytes), options{},
             wait);
}

void drop(const space &s, nb::handle from, nb::handle in) {
  key_view keys(from);
  keys.hold();
  const auto items = items_of(s, keys);
  const cubby_tier named = tier_of(in);
  check(s.owner->call([&](cubby *rt) { return cubby_drop(rt, items.data(), keys.size(), named); }));
}

nb::object start_lease(const space &s, nb::handle from, uint32_t ttl_ms) {
  key_view keys(from);
  keys.hold();
  auto made = std::make_unique<lease>();
  made->owner = s.owner;
  check(s.owner->call([&](cubby *rt) {
    return cubby_lease(rt, s.handle, keys.data(), keys.size(), ttl_ms, &made->handle);
  }));
  return nb::cast(made.release(), nb::rv_policy::take_ownership);
}

nb::dict split(const space &s, nb::handle from, const tier &in, nb::list recompute_ns) {
  key_view keys(from);
  keys.hold();
  std::vector<uint64_t> costs;
  for (nb::handle each : recompute_ns) costs.push_back(nb::cast<uint64_t>(each));
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

void bind_looking(nb::class_<space> &c) {
  c.def("match", &match, nb::arg("keys"), nb::arg("after").none() = nb::none(),
        nb::arg("trailing") = 0,
        "Length of the longest usable prefix of keys: 0 to len(keys). No I/O, no waiting. keys: "
        "bytes, a list or tuple of bytes, or Keys. keys[0] is a root or follows the key `after`. "
        "trailing: of the prefix only the last so many have to be there; 0 = all.")
      .def("states", &states, nb::arg("keys"), nb::arg("after").none() = nb::none(),
           "Where each key's bytes are, as one byte a key of cubby.State, also behind the first "
           "miss. No I/O, no waiting.")
      .def("split", &split, nb::arg("keys"), nb::arg("tier"), nb::arg("recompute_ns"),
           "Load or recompute: which keys of the prefix to load so that all of it is ready first. "
           "recompute_ns: ns to compute each key. A dict of load_first, load_count, finish_ns, "
           "recompute_all_ns and load_all_ns.");
}

void bind_moving(nb::class_<space> &c) {
  c.def("get", &get, nb::arg("keys"), nb::arg("into"), nb::kw_only(), nb::arg("priority") = 0,
        nb::arg("deadline_ns") = 0,
        "Copies blocks into memory of the caller and waits for it. One key: whether it was there. "
        "Several: a list of that; `into` is then a list of as many, or one memory cut into equal "
        "parts. What is not there leaves its memory as it was. Memory: see docs/python.md.")
      .def("put", &put, nb::arg("keys"), nb::arg("memory"), nb::kw_only(),
           nb::arg("after").none() = nb::none(), nb::arg("chain") = false,
           nb::arg("keep") = "session", nb::arg("ttl_ms") = 0, nb::arg("priority") = 0,
           "Copies memory of the caller into blocks; returns once they can be found. A known key "
           "moves nothing. chain: each key follows the one before it, the first one follows "
           "`after`. keep: 'session', 'cache', 'restart' or 'durable'.")
      .def("submit_get", &submit_get, nb::arg("keys"), nb::arg("into"), nb::kw_only(),
           nb::arg("queue").none() = nb::none(), nb::arg("user") = 0, nb::arg("priority") = 0,
           nb::arg("deadline_ns") = 0,
           "As get(), without waiting: a Ticket. Its memory is written until it is complete. What "
           "is complete at once (Ticket.handle is 0) does not come through the queue.")
      .def("submit_put", &submit_put, nb::arg("keys"), nb::arg("memory"), nb::kw_only(),
           nb::arg("after").none() = nb::none(), nb::arg("chain") = false,
           nb::arg("keep") = "session", nb::arg("queue").none() = nb::none(), nb::arg("user") = 0,
           nb::arg("ttl_ms") = 0, nb::arg("priority") = 0,
           "As put(), without waiting for the store: a Ticket. The memory was read when the call "
           "returns.");
}

}  // namespace

void bind_spaces(nb::module_ &m) {
  nb::class_<key_array>(m, "Keys",
                        "Keys made once and used often. Keys([b'..', ..]), or Keys(buffer, "
                        "key_bytes) over one buffer of keys of one length, which is not copied and "
                        "must not be changed.")
      .def(nb::init<nb::handle>(), nb::arg("keys"))
      .def(nb::init<nb::handle, uint32_t>(), nb::arg("buffer"), nb::arg("key_bytes"))
      .def("__len__", &key_array::size);
  nb::class_<space> c(
      m, "Space", "Keys of one model, layout, rank and tenant; nothing is found across spaces.");
  c.def_ro("handle", &space::handle, "The number of the space, as cubby.h calls name it.")
      .def_ro("bank", &space::of, "The bank where its blocks live.");
  bind_looking(c);
  bind_moving(c);
  c.def("pin", &pin_keys, nb::arg("keys"), nb::arg("tier"), nb::kw_only(), nb::arg("wait") = true,
        "Holds blocks in place; MissError where one is not there.")
      .def("drop", &drop, nb::arg("keys"), nb::arg("tier").none() = nb::none(),
           "Forgets keys: in a tier, or everywhere (None). BusyError when one is pinned.")
      .def("lease", &start_lease, nb::arg("keys"), nb::arg("ttl_ms") = 0,
           "Holds keys findable until the Lease ends or ttl_ms have passed (0: until it ends). "
           "MissError where one is not there.")
      .def("_time_match", &time_match, nb::arg("keys"), nb::arg("repeat"))
      .def(
          "remove",
          [](const space &s) {
            check(s.owner->call([&](cubby *rt) { return cubby_space_remove(rt, s.handle); }));
          },
          "Closes the space. Blocks that outlive the process stay in the store.");
}

}  // namespace pycubby
