#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "device.hpp"
#include "handles.hpp"
#include "pins.hpp"
#include "queue.hpp"

namespace pycubby {

namespace {

// The items of a call on keys, and what they point to while it lasts.
class named_keys {
 public:
  named_keys(const space &s, nb::handle from) : keys(from), items(keys.size()) {
    keys.hold();
    for (uint32_t i = 0; i < keys.size(); ++i) {
      items[i].space = s.handle;
      items[i].key = keys.data()[i];
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
  // Where their bytes come from or go.
  void set_memory(nb::handle memory, bool write_to, memory_list &into) {
    if (keys.single()) {
      into.add_item(memory, write_to);
    } else {
      into.add_items(memory, keys.size(), write_to);
    }
    for (uint32_t i = 0; i < keys.size(); ++i) {
      items[i].spans = into.spans(i);
      items[i].span_count = into.span_count(i);
    }
  }

  key_view keys;
  std::vector<cubby_item> items;

 private:
  cubby_key before_{nullptr, 0};
};

std::shared_ptr<request> start_get(const space &s, nb::handle keys, nb::handle memory, options with,
                                   nb::handle stream) {
  auto what = std::make_shared<request>();
  what->owner = s.owner.get();
  named_keys b(s, keys);
  b.set_memory(memory, true, what->memory);
  with.sync = stream_of(stream, what->memory.device());
  submit(what, with, b.keys.size(), [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_get(rt, b.items.data(), b.keys.size(), how, out);
  });
  return what;
}

std::shared_ptr<request> start_put(const space &s, nb::handle keys, nb::handle memory,
                                   nb::handle after, bool chain, options with, nb::handle stream) {
  auto what = std::make_shared<request>();
  what->owner = s.owner.get();
  named_keys b(s, keys);
  b.set_memory(memory, false, what->memory);
  with.sync = stream_of(stream, what->memory.device());
  b.set_parents(after, chain);
  submit(what, with, b.keys.size(), [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_put(rt, b.items.data(), b.keys.size(), how, out);
  });
  return what;
}

options options_of(uint32_t ttl_ms, uint8_t priority, uint64_t deadline_ns, bool bypass,
                   const queue *to, uint64_t user) {
  options with;
  if (bypass) with.flags |= CUBBY_BYPASS;
  with.ttl_ms = ttl_ms;
  with.priority = priority;
  with.deadline_ns = deadline_ns;
  with.to = completions_of(to);
  with.user = user;
  return with;
}

nb::object get(const space &s, nb::handle keys, nb::handle into, uint8_t priority,
               uint64_t deadline_ns, bool bypass, nb::handle stream) {
  const auto what =
      start_get(s, keys, into, options_of(0, priority, deadline_ns, bypass, nullptr, 0), stream);
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
         nb::handle keep, uint32_t ttl_ms, uint8_t priority, bool bypass, nb::handle stream) {
  options with = options_of(ttl_ms, priority, 0, bypass, nullptr, 0);
  with.keep = keep_of(keep);
  const auto what = start_put(s, keys, memory, after, chain, with, stream);
  wait_out(what);
  if (what->status != CUBBY_OK) raise_items(*what);
}

nb::object submit_get(const space &s, nb::handle keys, nb::handle into, const queue *to,
                      uint64_t user, uint8_t priority, uint64_t deadline_ns, bool bypass,
                      nb::handle stream) {
  auto what =
      start_get(s, keys, into, options_of(0, priority, deadline_ns, bypass, to, user), stream);
  return ticket_of(s.owner, std::move(what));
}

nb::object submit_put(const space &s, nb::handle keys, nb::handle memory, nb::handle after,
                      bool chain, nb::handle keep, const queue *to, uint64_t user, uint32_t ttl_ms,
                      uint8_t priority, bool bypass, nb::handle stream) {
  options with = options_of(ttl_ms, priority, 0, bypass, to, user);
  with.keep = keep_of(keep);
  auto what = start_put(s, keys, memory, after, chain, with, stream);
  return ticket_of(s.owner, std::move(what));
}

// Sizes of the parts of so many blocks.
std::vector<uint64_t> parts_of(const bank &b, uint32_t count) {
  std::vector<uint64_t> bytes;
  bytes.reserve(size_t{count} * b.part_count);
  for (uint32_t i = 0; i < count; ++i) {
    bytes.insert(bytes.end(), b.part_bytes.begin(), b.part_bytes.begin() + b.part_count);
  }
  return bytes;
}

pins pin_keys(const space &s, nb::handle from, const tier &in, bool wait, nb::handle stream) {
  const named_keys b(s, from);
  options with;
  with.sync = stream_of(stream, in.device);
  return pin(s.owner, b.items, in, s.of->part_count, parts_of(*s.of, b.keys.size()), with, wait);
}

nb::object reserve_keys(const space &s, nb::handle from, const tier &in, nb::handle after,
                        bool chain, nb::handle keep, uint64_t block_bytes) {
  named_keys b(s, from);
  b.set_parents(after, chain);
  const cubby_span length{0, 0, 0, block_bytes};
  for (cubby_item &item : b.items) {
    item.spans = block_bytes == 0 ? nullptr : &length;
    item.span_count = block_bytes == 0 ? 0 : 1;
  }
  options with;
  with.keep = keep_of(keep);
  return reserve(s.owner, b.items, in.handle, s.of->part_count, parts_of(*s.of, b.keys.size()),
                 with);
}

std::shared_ptr<request> start_verify(const space &s, nb::handle from, const tier &in,
                                      const options &with) {
  const named_keys b(s, from);
  auto what = std::make_shared<request>();
  what->owner = s.owner.get();
  submit(what, with, b.keys.size(), [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_verify(rt, b.items.data(), b.keys.size(), in.handle, how, out);
  });
  return what;
}

std::vector<int> verify(const space &s, nb::handle from, const tier &in) {
  return wait_verified(start_verify(s, from, in, options{}));
}

nb::object submit_verify(const space &s, nb::handle from, const tier &in, const queue *to,
                         uint64_t user) {
  const options with = options_of(0, 0, 0, false, to, user);
  return ticket_of(s.owner, start_verify(s, from, in, with));
}

void drop(const space &s, nb::handle from, nb::handle in) {
  const named_keys b(s, from);
  const cubby_tier named = tier_of(in);
  check(s.owner->call(
      [&](cubby *rt) { return cubby_drop(rt, b.items.data(), b.keys.size(), named); }));
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

void bind_moving(nb::class_<space> &c) {
  c.def(
       "get", &get, nb::arg("keys"), nb::arg("into"), nb::kw_only(), nb::arg("priority") = 0,
       nb::arg("deadline_ns") = 0, nb::arg("bypass") = false, nb::arg("stream").none() = nb::none(),
       "Copies blocks into memory of the caller and waits for it. One key: whether it was there. "
       "Several: a list of that; `into` is then a list of as many, or one memory cut into equal "
       "parts. What is not there leaves its memory as it was. bypass: what is on disk is read past "
       "the tiers, and no copy stays in them. Memory: see docs/python.md. stream: of a device's "
       "memory, an int or a torch.cuda.Stream: the copies begin behind what it was given so far, "
       "and what it is given next waits for them, the host does not.")
      .def("put", &put, nb::arg("keys"), nb::arg("memory"), nb::kw_only(),
           nb::arg("after").none() = nb::none(), nb::arg("chain") = false,
           nb::arg("keep") = "session", nb::arg("ttl_ms") = 0, nb::arg("priority") = 0,
           nb::arg("bypass") = false, nb::arg("stream").none() = nb::none(),
           "Copies memory of the caller into blocks; returns once they can be found. A known key "
           "moves nothing. chain: each key follows the one before it, the first one follows "
           "`after`. keep: 'session', 'cache', 'restart' or 'durable'. bypass: what is to outlive "
           "the process is written from where it lies, and no copy stays in memory. stream: of a "
           "device's memory, which is read once this stream has done what it was given so far.")
      .def("submit_get", &submit_get, nb::arg("keys"), nb::arg("into"), nb::kw_only(),
           nb::arg("queue").none() = nb::none(), nb::arg("user") = 0, nb::arg("priority") = 0,
           nb::arg("deadline_ns") = 0, nb::arg("bypass") = false,
           nb::arg("stream").none() = nb::none(),
           "As get(), without waiting: a Ticket. Its memory is written until it is complete. What "
           "is complete at once (Ticket.handle is 0) does not come through the queue.")
      .def("submit_put", &submit_put, nb::arg("keys"), nb::arg("memory"), nb::kw_only(),
           nb::arg("after").none() = nb::none(), nb::arg("chain") = false,
           nb::arg("keep") = "session", nb::arg("queue").none() = nb::none(), nb::arg("user") = 0,
           nb::arg("ttl_ms") = 0, nb::arg("priority") = 0, nb::arg("bypass") = false,
           nb::arg("stream").none() = nb::none(),
           "As put(), without waiting for the store: a Ticket. The memory was read when the call "
           "returns; with bypass, and a device's, it is read until "
           "completion.");
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
        nb::arg("stream").none() = nb::none(),
        "Holds blocks in place; MissError where one is not there. stream: as for Bank.pin().")
      .def("reserve", &reserve_keys, nb::arg("keys"), nb::arg("tier"), nb::kw_only(),
           nb::arg("after").none() = nb::none(), nb::arg("chain") = false,
           nb::arg("keep") = "session", nb::arg("block_bytes") = 0,
           "Frames of new blocks in a tier of host memory, to be written in place: a Reservation. "
           "All or none: BusyError without room now. after, chain, keep: as for put(). "
           "block_bytes: how many bytes each block will have; 0 = all.")
      .def("verify", &verify, nb::arg("keys"), nb::arg("tier"),
           "Holds blocks that lie in a tier of memory against their digests: a list of a "
           "cubby.Status each, as Bank.verify().")
      .def("submit_verify", &submit_verify, nb::arg("keys"), nb::arg("tier"), nb::kw_only(),
           nb::arg("queue").none() = nb::none(), nb::arg("user") = 0,
           "As verify(), without waiting: a Ticket, whose item_status says of each.")
      .def("drop", &drop, nb::arg("keys"), nb::arg("tier").none() = nb::none(),
           "Forgets keys: in a tier, or everywhere (None). BusyError when one is pinned.")
      .def("lease", &start_lease, nb::arg("keys"), nb::arg("ttl_ms") = 0,
           "Holds keys findable until the Lease ends or ttl_ms have passed (0: until it ends). "
           "MissError where one is not there.")
      .def(
          "remove",
          [](const space &s) {
            check(s.owner->call([&](cubby *rt) { return cubby_space_remove(rt, s.handle); }));
          },
          "Closes the space. Blocks that outlive the process stay in the store.");
}

}  // namespace pycubby
