#include "pins.hpp"

#include <utility>

#include "device.hpp"
#include "dlpack.hpp"

namespace pycubby {

namespace {

// One part of one locker.
struct view {
  std::shared_ptr<pin_set> set;
  uint32_t item = 0;
  const void *address = nullptr;
  uint64_t bytes = 0;
};

void check_usable(const pin_set &set, uint32_t item) {
  check_open(set);
  if (set.reserved && (set.over[item] || set.ending[item])) {
    PyErr_SetString(PyExc_BufferError, "this block was committed or abandoned");
    throw nb::python_error();
  }
}

int get_buffer(PyObject *self, Py_buffer *out, int flags) {
  if (!nb::inst_ready(nb::handle(self))) {
    PyErr_SetString(PyExc_BufferError, "this View is of no memory: Pins.view() makes them");
    out->obj = nullptr;
    return -1;
  }
  view *of = nb::inst_ptr<view>(nb::handle(self));
  try {
    check_usable(*of->set, of->item);
    if (of->set->device >= 0) {
      PyErr_SetString(PyExc_BufferError,
                      "this is memory of a device: use torch.from_dlpack(view), or "
                      "view.__cuda_array_interface__");
      throw nb::python_error();
    }
  } catch (nb::python_error &e) {
    e.restore();
    out->obj = nullptr;
    return -1;
  }
  if (PyBuffer_FillInfo(out, self, const_cast<void *>(of->address),
                        static_cast<Py_ssize_t>(of->bytes), of->set->reserved ? 0 : 1,
                        flags) != 0) {
    return -1;
  }
  of->set->add_export(of->item);
  return 0;
}

void release_buffer(PyObject *self, Py_buffer *) {
  view *of = nb::inst_ptr<view>(nb::handle(self));
  of->set->end_export(of->item);
}

PyType_Slot view_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void *>(get_buffer)},
                            {Py_bf_releasebuffer, reinterpret_cast<void *>(release_buffer)},
                            {0, nullptr}};

// Counts as an export until its consumer deletes it.
nb::object to_dlpack(const view &of, nb::handle max_version, nb::handle dl_device,
                     nb::handle copy) {
  check_usable(*of.set, of.item);
  const bool version_1 = dlpack::wants_version_1(of.set->device, max_version, dl_device, copy);
  dlpack::lent what;
  what.data = of.address;
  what.ordinal = of.set->device;
  what.shape = {static_cast<int64_t>(of.bytes)};
  what.read_only = !of.set->reserved;
  what.over = [set = of.set, item = of.item] { set->end_export(item); };
  of.set->add_export(of.item);
  return dlpack::capsule_over(std::move(what), version_1);
}

uint32_t index_in(const pin_set &set, uint32_t item, uint32_t part) {
  if (item >= set.count || part >= set.part_count) throw nb::index_error("no such item or part");
  return item * set.part_count + part;
}

int status_in(const pin_set &set, uint32_t item) {
  index_in(set, item, 0);
  return __atomic_load_n(&set.what->item_status[item], __ATOMIC_ACQUIRE);
}

bool wait_pins(const pins &p, nb::handle timeout) {
  check_open(*p.set);
  const cubby_status status = wait_for(p.set->what, timeout_of(timeout));
  if (status == CUBBY_ERR_TIMEOUT && !p.set->what->is_final()) return false;
  if (status == CUBBY_OK) return true;
  if (status != CUBBY_PARTIAL) p.set->handle = 0;
  raise(error_of(*p.set->what));
}

void bind_views(nb::module_ &m) {
  nb::class_<view>(m, "View", nb::type_slots(view_slots),
                   "One part of a pinned locker, read-only, or of a reserved one, to be written: "
                   "memoryview(view), numpy.frombuffer(view) and torch.from_dlpack(view) copy "
                   "nothing. The frame stays where it is as long as such a buffer is in use.")
      .def("__len__", [](const view &v) { return v.bytes; })
      .def_prop_ro(
          "nbytes", [](const view &v) { return v.bytes; }, "Size in bytes.")
      .def_prop_ro(
          "address",
          [](const view &v) {
            check_usable(*v.set, v.item);
            return reinterpret_cast<uintptr_t>(v.address);
          },
          "Address of the first byte; stands until the pins are released.")
      .def(
          "__dlpack__",
          [](const view &v, nb::handle, nb::handle max_version, nb::handle dl_device,
             nb::handle copy) { return to_dlpack(v, max_version, dl_device, copy); },
          nb::kw_only(), nb::arg("stream").none() = nb::none(),
          nb::arg("max_version").none() = nb::none(), nb::arg("dl_device").none() = nb::none(),
          nb::arg("copy").none() = nb::none(), "A tensor of unsigned bytes over this memory.")
      .def("__dlpack_device__",
           [](const view &v) {
             const struct dlpack::device on = dlpack::device_of(v.set->device);
             return nb::make_tuple(on.type, on.id);
           })
      .def_prop_ro(
          "__cuda_array_interface__",
          [](const view &v) {
            if (v.set->device < 0) {
              throw nb::attribute_error("this is host memory: use the buffer protocol");
            }
            check_usable(*v.set, v.item);
            return cuda_array_of(reinterpret_cast<uintptr_t>(v.address), nb::make_tuple(v.bytes),
                                 "|u1");
          },
          "Of memory of a device: unsigned bytes, read-only. The pins are to be held as long as it "
          "is in use; nobody says when that ends, as DLPack's consumers do.");
}

}  // namespace

void check_open(const pin_set &set) {
  if (set.what->owner->door.forked()) raise_refused(CUBBY_ERR_FORKED, "the pinned memory");
  if (set.released || set.what->owner->door.closed()) {
    PyErr_SetString(PyExc_BufferError, "the frames were released");
    throw nb::python_error();
  }
}

nb::object view_of(const std::shared_ptr<pin_set> &set, uint32_t item, uint32_t part) {
  const uint32_t at = index_in(*set, item, part);
  check_usable(*set, item);
  if (const auto status = static_cast<cubby_status>(status_in(*set, item)); status != CUBBY_OK) {
    raise_plain(status, "this item is not pinned (yet)");
  }
  const void *address = set->what->addresses[at];
  if (address == nullptr) return nb::none();
  return nb::cast(view{set, item, address, set->part_bytes[at]});
}

uint64_t address_of(const pin_set &set, uint32_t item, uint32_t part) {
  const uint32_t at = index_in(set, item, part);
  check_usable(set, item);
  if (status_in(set, item) != CUBBY_OK) return 0;
  return reinterpret_cast<uintptr_t>(set.what->addresses[at]);
}

cubby_status pin_set::let_go() noexcept {
  if (handle == 0 || what->owner->door.enter() != CUBBY_OK) return CUBBY_OK;
  const cubby_pins gone = std::exchange(handle, 0);
  cubby_status status = CUBBY_OK;
  if (reserved) {
    cubby_commit(what->owner->rt, gone, 0, 0, 0, nullptr, nullptr);
  } else {
    const cubby_sync *const in = given_up_in ? &*given_up_in : nullptr;
    const cubby_status came = cubby_unpin(what->owner->rt, gone, 0, 0, in);
    if (came < 0 && in != nullptr && came != CUBBY_ERR_STALE) status = came;
  }
  if (status != CUBBY_OK) handle = gone;
  what->owner->door.leave();
  if (status == CUBBY_OK && !what->is_final()) what->owner->forget(what->ticket);
  return status;
}

void pin_set::release(std::optional<cubby_sync> in) {
  if (!released) given_up_in = in;
  released = true;
  if (exports != 0) return;
  const cubby_status status = let_go();
  if (status == CUBBY_OK) return;
  released = false;  // another stream may be named, or none
  raise_last(status);
}

// In whatever thread Python collects it. The runtime's own threads run no Python, so whoever holds
// a lock of the library's never waits for the interpreter.
lease::~lease() {
  if (handle == 0 || owner->door.enter() != CUBBY_OK) return;
  cubby_status status = CUBBY_OK;
  {
    const nb::gil_scoped_release others_run;
    status = cubby_lease_end(owner->rt, handle, 0, 0);
  }
  owner->door.leave();
  if (status != CUBBY_OK) return;  // its time was over before
  PyObject *type = nullptr, *value = nullptr, *trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);
  if (PyErr_WarnEx(PyExc_ResourceWarning,
                   "a cubby.Lease was dropped and has ended: hold it as long as the keys are to "
                   "stay, and end() it, or use it in a `with`",
                   1) != 0) {
    PyErr_WriteUnraisable(nullptr);
  }
  PyErr_Restore(type, value, trace);
}

void lease::end() {
  if (handle == 0) return;
  const cubby_pins over = std::exchange(handle, 0);
  const cubby_status status =
      owner->call([&](cubby *rt) { return cubby_lease_end(rt, over, 0, 0); });
  if (status != CUBBY_ERR_STALE) check(status);  // its time was over before
}

pins pin(const std::shared_ptr<core> &owner, const std::vector<cubby_item> &items,
         const struct tier &in, uint32_t part_count, std::vector<uint64_t> part_bytes,
         const options &with, bool wait) {
  auto set = std::make_shared<pin_set>();
  set->owner = owner;
  set->what = std::make_shared<request>();
  set->what->owner = owner.get();
  set->device = in.device;
  set->count = static_cast<uint32_t>(items.size());
  set->part_count = part_count;
  set->part_bytes = std::move(part_bytes);
  set->what->addresses.assign(items.size() * part_count, nullptr);
  submit(set->what, with, set->count, [&](cubby *rt, const cubby_how *how, cubby_ticket *ticket) {
    return cubby_pin(rt, items.data(), set->count, in.handle, how, &set->handle,
                     set->what->addresses.data(), ticket);
  });
  if (wait && !set->what->is_final()) wait_for(set->what, -1);
  request &what = *set->what;
  if (what.status == CUBBY_OK) {
    std::fill(what.item_status.begin(), what.item_status.end(), int8_t{CUBBY_OK});
  } else if (what.is_final() && (wait || what.status != CUBBY_PARTIAL)) {
    if (what.status != CUBBY_PARTIAL) set->handle = 0;
    raise(error_of(what));
  }
  return pins{std::move(set)};
}

void bind_pins(nb::module_ &m) {
  bind_views(m);
  nb::class_<pins>(m, "Pins",
                   "Lockers held in place, all or none. A context manager: they are released at "
                   "its end, or when the last buffer over one of them goes.")
      .def("__len__", [](const pins &p) { return p.set->count; })
      .def("wait", &wait_pins, nb::arg("timeout").none() = nb::none(),
           "Blocks until all are there: True; or `timeout` seconds have passed: False.")
      .def(
          "status", [](const pins &p, uint32_t item) { return status_in(*p.set, item); },
          nb::arg("item"),
          "Status of an item: OK once it may be used, PENDING while it is on its way.")
      .def(
          "view",
          [](const pins &p, uint32_t item, uint32_t part) { return view_of(p.set, item, part); },
          nb::arg("item"), nb::arg("part") = 0,
          "A read-only View of a part, or None where its row lacks the part.")
      .def(
          "address",
          [](const pins &p, uint32_t item, uint32_t part) {
            return address_of(*p.set, item, part);
          },
          nb::arg("item"), nb::arg("part") = 0,
          "Address of a part, read-only; 0 while it is not there. Stands until release().")
      .def_prop_ro(
          "done", [](const pins &p) { return wait_for(p.set->what, 0) != CUBBY_ERR_TIMEOUT; },
          "Whether all that was asked for has come, or failed. Does not block.")
      .def(
          "release",
          [](const pins &p, nb::handle stream) {
            p.set->release(stream_of(stream, p.set->device));
          },
          nb::arg("stream").none() = nb::none(),
          "Gives the frames back, and withdraws what is still loading. May be called twice. "
          "stream: of a device's tier, once this stream has done what it was given so far; where "
          "the stream is refused, an exception says so and the frames stay pinned.")
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__", [](const pins &p, const nb::args &) { p.set->release_at_exit(); });
  nb::class_<lease>(m, "Lease",
                    "Keys that stay findable, with their bytes where they are, until end() or "
                    "until their time is over. A context manager. One that is dropped ends, with a "
                    "ResourceWarning.")
      .def("end", &lease::end, "Ends the lease. May be called twice.")
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__", [](lease &l, const nb::args &) { l.end(); });
}

}  // namespace pycubby
