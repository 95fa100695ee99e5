#include <nanobind/stl/shared_ptr.h>

#include <algorithm>

#include "pins.hpp"
#include "queue.hpp"

namespace pycubby {

namespace {

// Blocks that are written in place, as Python holds them.
struct reservation {
  std::shared_ptr<pin_set> set;
};

// Which blocks a call names: count 0, first 0 = all that are left.
struct range {
  uint32_t first, count;
};

range named(const pin_set &set, uint32_t first, uint32_t count) {
  if (first > set.count || count > set.count - first || (count == 0 && first != 0)) {
    throw nb::index_error("no such blocks in this reservation");
  }
  return count == 0 ? range{0, set.count} : range{first, count};
}

// How many blocks the library will answer for. BufferError while one of them may still be written.
uint32_t check_writers(const pin_set &set, const range &of) {
  uint32_t left = 0;
  for (uint32_t i = of.first; i < of.first + of.count; ++i) {
    if (set.over[i]) continue;
    ++left;
    if (set.writers[i] == 0) continue;
    PyErr_Format(PyExc_BufferError, "block %u may still be written: delete its buffers first", i);
    throw nb::python_error();
  }
  return left;
}

// While the call runs without the interpreter's lock nobody is given a buffer to write to.
class ending {
 public:
  ending(pin_set &set, const range &of) : set_(set), of_(of) { mark(true); }
  ~ending() { mark(false); }
  ending(const ending &) = delete;
  ending &operator=(const ending &) = delete;

 private:
  void mark(bool now) { std::fill_n(set_.ending.begin() + of_.first, of_.count, now); }

  pin_set &set_;
  const range of_;
};

void end(pin_set &set, const range &of) {
  std::fill_n(set.over.begin() + of.first, of.count, true);
  if (std::find(set.over.begin(), set.over.end(), false) == set.over.end()) set.handle = 0;
}

// A commit that was refused before it took the blocks: they are still reserved.
bool is_refused(const request &what) {
  return (what.status == CUBBY_ERR_BUSY || what.status == CUBBY_ERR_INVALID) &&
         std::all_of(what.item_status.begin(), what.item_status.end(),
                     [](int8_t status) { return status == CUBBY_PENDING; });
}

std::shared_ptr<request> start_commit(const reservation &r, uint32_t first, uint32_t count,
                                      const options &with) {
  pin_set &set = *r.set;
  check_open(set);
  const range of = named(set, first, count);
  auto what = std::make_shared<request>();
  what->owner = set.owner.get();
  const uint32_t left = check_writers(set, of);
  const ending now(set, of);
  submit(what, with, left, [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_commit(rt, set.handle, first, count, 1, how, out);
  });
  if (!is_refused(*what)) end(set, of);
  return what;
}

options options_of(nb::handle keep, uint32_t ttl_ms) {
  options with;
  if (!keep.is_none()) with.keep = keep_of(keep);
  with.ttl_ms = ttl_ms;
  return with;
}

void commit(const reservation &r, uint32_t first, uint32_t count, nb::handle keep,
            uint32_t ttl_ms) {
  const auto what = start_commit(r, first, count, options_of(keep, ttl_ms));
  wait_out(what);
  if (what->status != CUBBY_OK) raise_items(*what);
}

nb::object submit_commit(const reservation &r, uint32_t first, uint32_t count, nb::handle keep,
                         uint32_t ttl_ms, const queue *to, uint64_t user) {
  options with = options_of(keep, ttl_ms);
  with.to = completions_of(to);
  with.user = user;
  return ticket_of(r.set->owner, start_commit(r, first, count, with));
}

void abandon(const reservation &r, uint32_t first, uint32_t count) {
  pin_set &set = *r.set;
  check_open(set);
  const range of = named(set, first, count);
  if (check_writers(set, of) == 0) return;
  const ending now(set, of);
  check(set.what->owner->call(
      [&](cubby *rt) { return cubby_commit(rt, set.handle, first, count, 0, nullptr, nullptr); }));
  end(set, of);
}

}  // namespace

nb::object reserve(const std::shared_ptr<core> &owner, const std::vector<cubby_item> &items,
                   cubby_tier tier, uint32_t part_count, std::vector<uint64_t> part_bytes,
                   const options &with) {
  auto set = std::make_shared<pin_set>();
  set->owner = owner;
  set->what = std::make_shared<request>();
  set->what->owner = owner.get();
  set->count = static_cast<uint32_t>(items.size());
  set->part_count = part_count;
  set->part_bytes = std::move(part_bytes);
  set->reserved = true;
  set->writers.assign(items.size(), 0);
  set->over.assign(items.size(), false);
  set->ending.assign(items.size(), false);
  std::vector<void *> addresses(items.size() * part_count, nullptr);
  submit(set->what, with, set->count, [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_reserve(rt, items.data(), set->count, tier, how, &set->handle, addresses.data(),
                         out);
  });
  request &what = *set->what;
  if (what.status != CUBBY_OK) raise_items(what);
  std::fill(what.item_status.begin(), what.item_status.end(), int8_t{CUBBY_OK});
  what.addresses.assign(addresses.begin(), addresses.end());
  return nb::cast(reservation{std::move(set)});
}

void bind_reservations(nb::module_ &m) {
  nb::class_<reservation>(m, "Reservation",
                          "Frames of blocks that are written in place: nobody finds them before "
                          "commit(). A context manager: what is left at its end is abandoned.")
      .def("__len__", [](const reservation &r) { return r.set->count; })
      .def(
          "view",
          [](const reservation &r, uint32_t item, uint32_t part) {
            return view_of(r.set, item, part);
          },
          nb::arg("item"), nb::arg("part") = 0,
          "A View of a part, to be written; None: the key is known already, and nothing need be "
          "written.")
      .def(
          "address",
          [](const reservation &r, uint32_t item, uint32_t part) {
            return address_of(*r.set, item, part);
          },
          nb::arg("item"), nb::arg("part") = 0,
          "Address of a part, to be written until the commit; 0: the key is known already.")
      .def("commit", &commit, nb::arg("first") = 0, nb::arg("count") = 0, nb::kw_only(),
           nb::arg("keep").none() = nb::none(), nb::arg("ttl_ms") = 0,
           "Publishes blocks first to first + count - 1, each once, or all that are left; returns "
           "once they can be found, as put(). keep: longer than the reservation said, or None. "
           "BufferError while a buffer over one of them is in use.")
      .def("submit_commit", &submit_commit, nb::arg("first") = 0, nb::arg("count") = 0,
           nb::kw_only(), nb::arg("keep").none() = nb::none(), nb::arg("ttl_ms") = 0,
           nb::arg("queue").none() = nb::none(), nb::arg("user") = 0,
           "As commit(), without waiting for the store: a Ticket.")
      .def(
          "abandon", &abandon, nb::arg("first") = 0, nb::arg("count") = 0,
          "Gives blocks up; nobody ever finds them. BufferError while a buffer over one of them is "
          "in use.")
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__", [](const reservation &r, const nb::args &) { r.set->release(); });
}

}  // namespace pycubby
