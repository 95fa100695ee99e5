#include "slots.hpp"

#include <nanobind/stl/shared_ptr.h>

#include <utility>
#include <vector>

#include "device.hpp"
#include "dlpack.hpp"

namespace pycubby {

namespace {

// One table, until remove(), the end of the runtime, or of the last object that names it.
struct slot_table {
  std::shared_ptr<core> owner;
  cubby_bank bank = 0;
  cubby_tier tier = 0;
  int32_t device = -1;
  cubby_slots view{};
  bool removed = false;
  uint32_t exports = 0;  // arrays of it in the hands of others

  slot_table() = default;
  slot_table(const slot_table &) = delete;
  slot_table &operator=(const slot_table &) = delete;
  ~slot_table() {
    if (view.layout == 0 || removed || owner->door.enter() != CUBBY_OK) return;
    {
      const nb::gil_scoped_release others_run;
      cubby_slots_remove(owner->rt, bank, tier);
    }
    owner->door.leave();
  }

  void check_there() const {
    if (owner->door.forked()) raise_refused(CUBBY_ERR_FORKED, "the slot table");
    if (!removed && !owner->door.closed()) return;
    PyErr_SetString(PyExc_BufferError, "the slot table was removed");
    throw nb::python_error();
  }
};

// One array of a table, of unsigned 64-bit numbers.
struct device_array {
  std::shared_ptr<slot_table> of;
  uint64_t address = 0;
  uint32_t rows = 0, columns = 0;

  uint64_t count() const noexcept { return uint64_t{rows} * columns; }
  nb::tuple shape() const { return nb::make_tuple(rows, columns); }
};

struct slots {
  std::shared_ptr<slot_table> of;
  const cubby_slots &view() const {
    of->check_there();
    return of->view;
  }
};

slots add_slots(const bank &b, const tier &in) {
  auto made = std::make_shared<slot_table>();
  made->owner = b.owner;
  made->bank = b.handle;
  made->tier = in.handle;
  made->device = in.device;
  cubby_slots view{};
  view.struct_size = sizeof view;
  check(b.owner->call([&](cubby *rt) { return cubby_slots_add(rt, b.handle, in.handle, &view); }));
  made->view = view;
  return slots{std::move(made)};
}

void remove(const slots &s) {
  slot_table &of = *s.of;
  if (of.removed || of.owner->door.closed()) return;
  if (of.exports != 0) {
    PyErr_SetString(PyExc_BufferError,
                    "arrays of the slot table are in use: delete what was made of them first");
    throw nb::python_error();
  }
  const cubby_status status =
      of.owner->call([&](cubby *rt) { return cubby_slots_remove(rt, of.bank, of.tier); });
  if (status == CUBBY_OK || status == CUBBY_ERR_BUSY) of.removed = true;  // it goes by itself then
  check(status);
}

nb::object to_dlpack(const device_array &a, nb::handle max_version, nb::handle dl_device,
                     nb::handle copy) {
  a.of->check_there();
  const bool version_1 = dlpack::wants_version_1(a.of->device, max_version, dl_device, copy);
  dlpack::lent what;
  what.data = reinterpret_cast<const void *>(static_cast<uintptr_t>(a.address));
  what.ordinal = a.of->device;
  what.bits = 64;
  what.shape = {a.rows, a.columns};
  what.over = [of = a.of] {
    --of->exports;
    --of->owner->exports;
  };
  ++a.of->exports;
  ++a.of->owner->exports;
  return dlpack::capsule_over(std::move(what), version_1);
}

nb::tuple numbers_of(const uint64_t *first, uint32_t count) {
  nb::list out;
  for (uint32_t i = 0; i < count; ++i) out.append(first[i]);
  return nb::tuple(out);
}

void bind_arrays(nb::module_ &m) {
  nb::class_<device_array>(
      m, "DeviceArray",
      "Numbers of 64 bits, read-only and unsigned, in a device's memory (an "
      "emulated one's is the host's): torch.from_dlpack(array) copies nothing.")
      .def_prop_ro(
          "address",
          [](const device_array &a) {
            a.of->check_there();
            return a.address;
          },
          "Of the first number, in the device.")
      .def_prop_ro(
          "shape", [](const device_array &a) { return a.shape(); }, "Rows and columns, packed.")
      .def_prop_ro(
          "nbytes", [](const device_array &a) { return a.count() * sizeof(uint64_t); },
          "Size in bytes.")
      .def("__len__", [](const device_array &a) { return a.rows; })
      .def(
          "__dlpack__",
          [](const device_array &a, nb::handle, nb::handle max_version, nb::handle dl_device,
             nb::handle copy) { return to_dlpack(a, max_version, dl_device, copy); },
          nb::kw_only(), nb::arg("stream").none() = nb::none(),
          nb::arg("max_version").none() = nb::none(), nb::arg("dl_device").none() = nb::none(),
          nb::arg("copy").none() = nb::none(), "A tensor of unsigned 64-bit numbers.")
      .def("__dlpack_device__",
           [](const device_array &a) {
             const struct dlpack::device on = dlpack::device_of(a.of->device);
             return nb::make_tuple(on.type, on.id);
           })
      .def_prop_ro(
          "__cuda_array_interface__",
          [](const device_array &a) {
            if (a.of->device < 0) throw nb::attribute_error("this is host memory: use DLPack");
            a.of->check_there();
            return cuda_array_of(a.address, a.shape(), "<u8");
          },
          "Of a real device: the same, for as long as the table stands.");
}

void bind_places(nb::class_<slots> &c) {
  c.def_prop_ro(
       "entries",
       [](const slots &s) {
         return device_array{s.of, s.view().entries, s.view().rows, s.view().columns};
       },
       "A word a locker: where it is, and of what generation (cubby_device.cuh has the bits).")
      .def_prop_ro(
          "asked",
          [](const slots &s) {
            return device_array{s.of, s.view().asked, s.view().rows, s.view().columns};
          },
          "A word a locker: as what it was asked for last; written by kernels.")
      .def_prop_ro(
          "part_offsets",
          [](const slots &s) {
            return device_array{s.of, s.view().part_offsets, s.view().rows, s.view().part_count};
          },
          "Of a part in a frame; ~0 where its row lacks the part.")
      .def_prop_ro(
          "state", [](const slots &s) { return s.view().state; },
          "Address of counters that are the device's own.")
      .def_prop_ro(
          "shared", [](const slots &s) { return s.view().shared; },
          "Address, in the device, of host memory that it reaches: progress, and what it lacks.")
      .def_prop_ro(
          "base", [](const slots &s) { return numbers_of(s.view().base, s.view().part_count); },
          "Of each part: address of frame 0; frame f begins f * stride_bytes behind it.")
      .def_prop_ro(
          "stride_bytes",
          [](const slots &s) { return numbers_of(s.view().stride_bytes, s.view().part_count); },
          "Of each part: from one frame to the next.")
      .def_prop_ro(
          "struct_bytes",
          [](const slots &s) {
            return nb::bytes(reinterpret_cast<const char *>(&s.view()), sizeof(cubby_slots));
          },
          "The struct cubby_slots, which kernels are given by value.");
}

}  // namespace

void bind_slots(nb::module_ &m, nb::class_<bank> &banks) {
  bind_arrays(m);
  nb::class_<slots> c(m, "Slots",
                      "The slot table of a bank in a device's memory: kernels find its lockers by "
                      "number, and what they do not find is loaded while their stream waits in the "
                      "device. A context manager: hold it as long as a kernel uses the table.");
  c.def_prop_ro(
       "rows", [](const slots &s) { return s.of->view.rows; }, "Of the bank.")
      .def_prop_ro(
          "columns", [](const slots &s) { return s.of->view.columns; }, "Of the bank.")
      .def_prop_ro(
          "part_count", [](const slots &s) { return s.of->view.part_count; }, "Of the bank.")
      .def_prop_ro(
          "miss_count_max", [](const slots &s) { return s.of->view.miss_count_max; },
          "Places of the list of what was not there, a power of two.")
      .def("remove", &remove,
           "No kernel uses the table any more. BufferError while a tensor over one of its arrays "
           "is in use; BusyError where what it loads takes long: it goes by itself then. May be "
           "called twice.")
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__",
           [](const slots &s, const nb::args &exit) { end_of_with(exit, [&] { remove(s); }); });
  bind_places(c);
  banks.def("slots", &add_slots, nb::arg("tier"),
            "Makes the slot table of a bank that has files, in a tier of a device's memory, or of "
            "an emulated device: Slots. BusyError: there is one; NotSupportedError where the "
            "device cannot have one.");
}

}  // namespace pycubby
