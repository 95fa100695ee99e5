#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "device.hpp"
#include "handles.hpp"
#include "pins.hpp"
#include "queue.hpp"
#include "slots.hpp"

namespace pycubby {

namespace {

cubby_bank_desc info_of(core &owner, cubby_bank handle) {
  cubby_bank_desc info{};
  info.struct_size = sizeof info;
  check(owner.quick([&](cubby *rt) { return cubby_bank_info(rt, handle, &info); }));
  return info;
}

std::vector<cubby_item> items_of(const bank &b, const std::vector<uint64_t> &numbers) {
  std::vector<cubby_item> items(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] >= b.locker_count()) throw nb::index_error("no such locker in this bank");
    items[i].id = CUBBY_ID(b.handle, numbers[i]);
  }
  return items;
}

pins pin_numbers(const bank &b, const std::vector<uint64_t> &numbers, const tier &in, bool wait,
                 bool no_visit, bool no_wait, bool bypass, nb::handle io_class,
                 uint64_t deadline_ns, nb::handle stream) {
  const auto items = items_of(b, numbers);
  std::vector<uint64_t> bytes;
  bytes.reserve(numbers.size() * b.part_count);
  for (const uint64_t number : numbers) {
    const uint64_t row = number / b.columns;
    for (uint32_t p = 0; p < b.part_count; ++p) {
      bytes.push_back(b.part_bytes[row * b.part_count + p]);
    }
  }
  options with;
  if (no_visit) with.flags |= CUBBY_NO_VISIT;
  if (no_wait) with.flags |= CUBBY_NO_WAIT;
  if (bypass) with.flags |= CUBBY_BYPASS;
  with.io_class = io_class_of(io_class);
  with.deadline_ns = deadline_ns;
  with.sync = stream_of(stream, in.device);
  return pin(b.owner, items, in, b.part_count, std::move(bytes), with, wait);
}

nb::object prefetch(const bank &b, const std::vector<uint64_t> &numbers, const tier &in,
                    const queue *to, uint64_t user) {
  const auto items = items_of(b, numbers);
  auto what = std::make_shared<request>();
  what->owner = b.owner.get();
  options with;
  with.io_class = CUBBY_FORECAST;
  with.to = completions_of(to);
  with.user = user;
  const auto count = static_cast<uint32_t>(items.size());
  submit(what, with, count, [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_prefetch(rt, items.data(), count, in.handle, how, out);
  });
  if (what->status < 0) raise(error_of(*what));
  return ticket_of(b.owner, std::move(what));
}

// Numbers of rows: an array of 64-bit integers, read in place, or any other sequence of ints.
std::vector<uint64_t> row_numbers(nb::handle from) {
  constexpr const char *what =
      "rows are an array of 64-bit integers, or a sequence of int of 0 or more";
  if (!PyObject_CheckBuffer(from.ptr())) return cast_or<std::vector<uint64_t>>(from, what);
  Py_buffer view;
  if (PyObject_GetBuffer(from.ptr(), &view, PyBUF_ND | PyBUF_FORMAT) != 0) throw nb::python_error();
  const char *format = view.format == nullptr ? "B" : view.format;
  if (*format == '=' || *format == '@' || *format == '<') ++format;
  const bool fits = view.itemsize == 8 && *format != 0 && std::strchr("QqLlNn", *format) != nullptr;
  std::vector<uint64_t> rows(fits ? static_cast<size_t>(view.len) / 8 : 0);
  if (!rows.empty()) std::memcpy(rows.data(), view.buf, rows.size() * 8);
  PyBuffer_Release(&view);
  if (!fits) throw nb::type_error(what);
  return rows;
}

std::shared_ptr<request> start_gather(const bank &b, nb::handle rows, nb::handle into,
                                      const options &with) {
  auto what = std::make_shared<request>();
  what->owner = b.owner.get();
  what->memory.add_item(into, true);
  if (what->memory.span_count(0) != 1) {
    throw nb::value_error("rows are gathered into one piece of memory");
  }
  const std::vector<uint64_t> numbers = row_numbers(rows);
  const auto count = static_cast<uint32_t>(std::min<size_t>(numbers.size(), UINT32_MAX));
  submit(what, with, count, [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_gather(rt, b.handle, numbers.data(), count, what->memory.spans(0), how, out);
  });
  return what;
}

void gather(const bank &b, nb::handle rows, nb::handle into, bool no_visit, bool no_wait,
            bool bypass) {
  options with;
  if (no_visit) with.flags |= CUBBY_NO_VISIT;
  if (no_wait) with.flags |= CUBBY_NO_WAIT;
  if (bypass) with.flags |= CUBBY_BYPASS;
  const auto what = start_gather(b, rows, into, with);
  wait_out(what);
  if (what->status != CUBBY_OK) raise_items(*what);
}

nb::object submit_gather(const bank &b, nb::handle rows, nb::handle into, nb::handle io_class,
                         uint64_t deadline_ns, const queue *to, uint64_t user) {
  options with;
  with.io_class = io_class_of(io_class);
  with.deadline_ns = deadline_ns;
  with.to = completions_of(to);
  with.user = user;
  auto what = start_gather(b, rows, into, with);
  return ticket_of(b.owner, std::move(what));
}

uint64_t page_of(const bank &b, uint64_t table_row) {
  if (table_row >= b.table_row_count) throw nb::index_error("no such row in this table");
  return table_row / (b.row_bytes[0] / b.table_row_bytes);
}

void bind_tables(nb::class_<bank> &c) {
  c.def_ro("table_row_bytes", &bank::table_row_bytes, "Size of a row of a table; 0 = no table.")
      .def_ro("table_row_count", &bank::table_row_count, "Rows of a table in all.")
      .def("page_of", &page_of, nb::arg("table_row"),
           "The locker in which a row of the table lies, for prefetch().")
      .def("gather", &gather, nb::arg("table_rows"), nb::arg("into"), nb::kw_only(),
           nb::arg("no_visit") = false, nb::arg("no_wait") = false, nb::arg("bypass") = false,
           "Copies rows of a table into memory of the caller, one behind the other in the order "
           "asked, and waits for it. table_rows: an array of 64-bit integers, or a sequence of "
           "int. no_wait: rows that are not in memory are MissError.")
      .def("submit_gather", &submit_gather, nb::arg("table_rows"), nb::arg("into"), nb::kw_only(),
           nb::arg("io_class") = "demand", nb::arg("deadline_ns") = 0,
           nb::arg("queue").none() = nb::none(), nb::arg("user") = 0,
           "As gather(), without waiting: a Ticket. Its memory is written until it is complete. "
           "What is complete at once (Ticket.handle is 0) does not come through the queue.");
}

std::shared_ptr<request> start_verify(const bank &b, const std::vector<uint64_t> &numbers,
                                      const tier &in, const options &with) {
  const auto items = items_of(b, numbers);
  auto what = std::make_shared<request>();
  what->owner = b.owner.get();
  const auto count = static_cast<uint32_t>(items.size());
  submit(what, with, count, [&](cubby *rt, const cubby_how *how, cubby_ticket *out) {
    return cubby_verify(rt, items.data(), count, in.handle, how, out);
  });
  return what;
}

std::vector<int> verify(const bank &b, const std::vector<uint64_t> &numbers, const tier &in) {
  return wait_verified(start_verify(b, numbers, in, options{}));
}

nb::object submit_verify(const bank &b, const std::vector<uint64_t> &numbers, const tier &in,
                         const queue *to, uint64_t user) {
  options with;
  with.to = completions_of(to);
  with.user = user;
  return ticket_of(b.owner, start_verify(b, numbers, in, with));
}

void drop(const bank &b, const std::vector<uint64_t> &numbers, nb::handle in) {
  const auto items = items_of(b, numbers);
  const cubby_tier named = tier_of(in);
  check(b.owner->call([&](cubby *rt) {
    return cubby_drop(rt, items.data(), static_cast<uint32_t>(items.size()), named);
  }));
}

std::vector<uint64_t> estimate(const bank &b, const std::vector<uint64_t> &numbers,
                               const tier &in) {
  const auto items = items_of(b, numbers);
  std::vector<uint64_t> ready(items.size());
  check(b.owner->call([&](cubby *rt) {
    return cubby_estimate(rt, items.data(), static_cast<uint32_t>(items.size()), in.handle,
                          ready.data());
  }));
  return ready;
}

void hint_route(const bank &b, uint32_t row, const std::vector<uint16_t> &columns, uint32_t ahead) {
  cubby_hint_item hint{};
  hint.struct_size = sizeof hint;
  hint.kind = CUBBY_HINT_ROUTE;
  hint.bank = b.handle;
  hint.route.row = row;
  hint.route.column_count = static_cast<uint32_t>(columns.size());
  hint.route.columns = columns.data();
  hint.ahead = ahead;
  check(b.owner->call([&](cubby *rt) { return cubby_hint(rt, &hint, 1, nullptr); }));
}

void visit(const bank &b, uint32_t row, const std::vector<uint16_t> &columns, uint32_t slot) {
  cubby_routed routed{slot, row, static_cast<uint32_t>(columns.size()), columns.data(), nullptr};
  check(b.owner->call([&](cubby *rt) { return cubby_visit(rt, b.handle, &routed, 1); }));
}

nb::dict part_info(const bank &b, uint32_t row, uint32_t part) {
  cubby_part_info info{};
  info.struct_size = sizeof info;
  check(b.owner->quick([&](cubby *rt) { return cubby_bank_part(rt, b.handle, row, part, &info); }));
  nb::list shape;
  for (const uint64_t each : info.shape) shape.append(each);
  nb::dict out;
  out["name"] = text_of(info.name);
  out["type"] = text_of(info.type);
  out["tensor"] = text_of(info.tensor);
  out["bytes"] = info.bytes;
  out["shape"] = nb::tuple(shape);
  return out;
}

nb::list files(const bank &b) {
  nb::list out;
  for (uint32_t file = 0;; ++file) {
    cubby_file_info info{};
    info.struct_size = sizeof info;
    const cubby_status status =
        b.owner->quick([&](cubby *rt) { return cubby_bank_file(rt, b.handle, file, &info); });
    if (status == CUBBY_MISS) break;
    check(status);
    nb::dict one;
    one["path"] = path_text(info.path);
    one["bytes"] = info.bytes;
    one["sealed"] = info.sealed != 0;
    out.append(one);
  }
  return out;
}

void add_copy(const bank &b, nb::handle path) {
  const std::string named = path_of(path);
  check(b.owner->call([&](cubby *rt) { return cubby_bank_add_copy(rt, b.handle, named.c_str()); }));
}

// number, part, file, offset_bytes, bytes: as Python gives an extent.
using extent_tuple = std::tuple<uint64_t, uint32_t, uint32_t, uint64_t, uint64_t>;

void map(const bank &b, nb::handle files, const std::vector<extent_tuple> &from) {
  const std::vector<std::string> named = paths_of(files);
  std::vector<const char *> paths;
  for (const std::string &file : named) paths.push_back(file.c_str());
  std::vector<cubby_extent> extents;
  extents.reserve(from.size());
  for (const auto &[number, part, file, offset_bytes, bytes] : from) {
    if (number >= b.locker_count()) throw nb::index_error("no such locker in this bank");
    extents.push_back({CUBBY_ID(b.handle, number), part, file, offset_bytes, bytes});
  }
  check(b.owner->call([&](cubby *rt) {
    return cubby_bank_map(rt, b.handle, paths.data(), static_cast<uint32_t>(paths.size()),
                          extents.data(), extents.size());
  }));
}

extent_tuple extent(const bank &b, uint64_t number, uint32_t part) {
  cubby_extent found{};
  check(b.owner->quick(
      [&](cubby *rt) { return cubby_bank_extent(rt, b.handle, number, part, &found); }));
  return {number, part, found.file, found.offset_bytes, found.bytes};
}

void bind_geometry(nb::class_<bank> &c) {
  c.def_ro("handle", &bank::handle, "The number of the bank, as cubby.h calls name it.")
      .def_ro("kind", &bank::kind, "0 experts, 1 KV blocks, 2 pages of rows, 3 other.")
      .def_ro("rows", &bank::rows, "Rows of the grid (experts: layers that have experts).")
      .def_ro("columns", &bank::columns, "Columns of the grid (experts: experts of a layer).")
      .def_ro("part_count", &bank::part_count, "Parts of one locker with a view of their own.")
      .def_ro("row_layers", &bank::row_layers, "The model's layer of each row.")
      .def("__len__", &bank::locker_count)
      .def(
          "number",
          [](const bank &b, uint32_t row, uint32_t column) {
            if (row >= b.rows || column >= b.columns) throw nb::index_error("outside of the grid");
            return uint64_t{row} * b.columns + column;
          },
          nb::arg("row"), nb::arg("column"), "The number of a locker in the grid.")
      .def(
          "locker_bytes",
          [](const bank &b, uint32_t row) {
            if (row >= b.rows) throw nb::index_error("no such row");
            return b.row_bytes[row];
          },
          nb::arg("row") = 0, "Size in bytes of every locker of a row.")
      .def("part", &part_info, nb::arg("row"), nb::arg("part"),
           "What a part is: a dict of name, type, tensor, bytes and shape (fastest dimension "
           "first; 0 = unknown).")
      .def("files", &files,
           "The files that an adopted or mapped bank reads: dicts of path, bytes, sealed.")
      .def("add_copy", &add_copy, nb::arg("path"),
           "Reads an adopted bank from one more device, where `path` is a copy of its file (of a "
           "set: of its first; the others lie beside it). What one device cannot read, or has "
           "damaged, comes from the other.")
      .def("map", &map, nb::arg("files"), nb::arg("extents"),
           "Has the lockers of an empty bank read from files of any kind, in place and read-only: "
           "(number, part, file, offset_bytes, bytes) of each part of each locker; file counts "
           "`files` from 0.")
      .def("extent", &extent, nb::arg("number"), nb::arg("part") = 0,
           "Where a part of a locker lies: (number, part, file, offset_bytes, bytes), as map() "
           "takes it.");
}

}  // namespace

std::shared_ptr<bank> bank::describe(const std::shared_ptr<core> &owner, cubby_bank handle) {
  const cubby_bank_desc info = info_of(*owner, handle);
  auto made = std::make_shared<bank>();
  made->owner = owner;
  made->handle = handle;
  made->kind = info.kind;
  made->rows = info.rows;
  made->columns = info.columns;
  made->part_count = info.part_count == 0 ? 1 : info.part_count;
  made->table_row_bytes = info.table_row_bytes;
  made->table_row_count = info.table_row_count;
  for (uint32_t row = 0; row < info.rows; ++row) {
    const uint64_t whole = info.row_bytes != nullptr ? info.row_bytes[row] : info.locker_bytes;
    made->row_bytes.push_back(whole);
    made->row_layers.push_back(info.row_layers != nullptr ? info.row_layers[row] : row);
    const uint64_t first = info.row_bytes != nullptr ? uint64_t{row} * made->part_count : 0;
    for (uint32_t p = 0; p < made->part_count; ++p) {
      const uint64_t only = p == 0 ? whole : 0;
      made->part_bytes.push_back(info.part_bytes != nullptr ? info.part_bytes[first + p] : only);
    }
  }
  return made;
}

void bind_banks(nb::module_ &m) {
  nb::class_<bank> c(m, "Bank", "A grid of lockers: number = row * columns + column.");
  bind_geometry(c);
  bind_tables(c);
  bind_slots(m, c);
  c.def("pin", &pin_numbers, nb::arg("numbers"), nb::arg("tier"), nb::kw_only(),
        nb::arg("wait") = true, nb::arg("no_visit") = false, nb::arg("no_wait") = false,
        nb::arg("bypass") = false, nb::arg("io_class") = "demand", nb::arg("deadline_ns") = 0,
        nb::arg("stream").none() = nb::none(),
        "Holds lockers in a tier, to be used in place. wait=False returns at once: items are "
        "usable as their status becomes OK. no_wait: what is not resident is MissError. no_visit: "
        "not evidence of use. bypass: no copy stays after the release. stream: of a device's tier, "
        "an int or a torch.cuda.Stream: what it is given next waits for the bytes, the host does "
        "not.")
      .def("prefetch", &prefetch, nb::arg("numbers"), nb::arg("tier"), nb::kw_only(),
           nb::arg("queue").none() = nb::none(), nb::arg("user") = 0,
           "Brings lockers near without holding them. The Ticket may be dropped.")
      .def("verify", &verify, nb::arg("numbers"), nb::arg("tier"),
           "Holds what lies in a tier of memory, a device's too, against its digests: a list of a "
           "cubby.Status each, OK, MISS (it is not there; nothing is loaded) or CORRUPT (its bytes "
           "are others; the copy is given up, and the next pin brings it again). "
           "NotSupportedError with Runtime(verify=False).")
      .def("submit_verify", &submit_verify, nb::arg("numbers"), nb::arg("tier"), nb::kw_only(),
           nb::arg("queue").none() = nb::none(), nb::arg("user") = 0,
           "As verify(), without waiting: a Ticket, whose item_status says of each.")
      .def("drop", &drop, nb::arg("numbers"), nb::arg("tier").none() = nb::none(),
           "Gives up copies in a tier, or everywhere (None). BusyError when one is pinned.")
      .def("estimate", &estimate, nb::arg("numbers"), nb::arg("tier"),
           "When each would be usable in the tier if asked for now, in ns from now. No I/O.")
      .def("hint_route", &hint_route, nb::arg("row"), nb::arg("columns"), nb::arg("ahead") = 1,
           "Notes that these columns of a row are expected `ahead` tokens from now.")
      .def("visit", &visit, nb::arg("row"), nb::arg("columns"), nb::arg("slot") = 0,
           "Reports what was used, for pins with no_visit. slot: which sequence of the batch.")
      .def(
          "remove",
          [](const bank &b) {
            check(b.owner->call([&](cubby *rt) { return cubby_bank_remove(rt, b.handle); }));
          },
          "Removes the bank. BusyError while it is pinned or in flight.");
}

}  // namespace pycubby
