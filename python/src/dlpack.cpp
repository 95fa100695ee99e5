#include "dlpack.hpp"

#include <memory>
#include <string>
#include <utility>

namespace pycubby::dlpack {

namespace {

template <class Managed>
struct holder {
  Managed managed{};
  lent what;
  std::vector<int64_t> strides;
};

[[noreturn]] void refuse(const char *why) {
  PyErr_SetString(PyExc_BufferError, why);
  throw nb::python_error();
}

std::pair<long, long> pair_of(nb::handle from, const char *name) {
  if (!PyTuple_Check(from.ptr()) || PyTuple_Size(from.ptr()) != 2) {
    throw nb::type_error((std::string(name) + " is None or a pair of int").c_str());
  }
  const long first = PyLong_AsLong(PyTuple_GetItem(from.ptr(), 0));
  const long second = PyLong_AsLong(PyTuple_GetItem(from.ptr(), 1));
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  return {first, second};
}

template <class Managed>
void end_tensor(Managed *managed) {
  if (Py_IsInitialized() == 0) return;  // after the interpreter's end: its memory goes with it
  const nb::gil_scoped_acquire lock;
  const std::unique_ptr<holder<Managed>> of(static_cast<holder<Managed> *>(managed->context));
  of->what.over();
}

template <class Managed>
nb::object capsule_of(lent what, const char *name, const std::function<void(Managed &)> &complete) {
  auto made = std::make_unique<holder<Managed>>();
  made->what = std::move(what);
  int64_t step = 1;
  made->strides.resize(made->what.shape.size());
  for (size_t d = made->what.shape.size(); d-- > 0; step *= made->what.shape[d]) {
    made->strides[d] = step;
  }
  tensor &t = made->managed.tensor;
  t.data = const_cast<void *>(made->what.data);
  t.device = device_of(made->what.ordinal);
  t.ndim = static_cast<int32_t>(made->what.shape.size());
  t.dtype = {type_uint, made->what.bits, 1};
  t.shape = made->what.shape.data();
  t.strides = made->strides.data();
  made->managed.context = made.get();
  made->managed.deleter = &end_tensor<Managed>;
  complete(made->managed);
  PyObject *capsule = PyCapsule_New(&made->managed, name, [](PyObject *self) {
    // Only an unused one: a consumer renames it and deletes the tensor itself.
    const char *is = PyCapsule_GetName(self);
    const std::string used = is == nullptr ? "" : is;
    if (used != "dltensor" && used != "dltensor_versioned") return;
    auto *managed = static_cast<Managed *>(PyCapsule_GetPointer(self, is));
    managed->deleter(managed);
  });
  if (capsule == nullptr) {
    made->what.over();
    throw nb::python_error();
  }
  made.release();
  return nb::steal(capsule);
}

}  // namespace

bool wants_version_1(int32_t ordinal, nb::handle max_version, nb::handle dl_device,
                     nb::handle copy) {
  if (!copy.is_none() && PyObject_IsTrue(copy.ptr()) != 0) {
    refuse("nothing is copied here: take it with copy=None and copy that");
  }
  if (!dl_device.is_none()) {
    const struct device own = device_of(ordinal);
    const auto [type, id] = pair_of(dl_device, "dl_device");
    if (type != own.type || id != own.id) refuse("the memory is another device's than dl_device");
  }
  return !max_version.is_none() && pair_of(max_version, "max_version").first >= 1;
}

nb::object capsule_over(lent what, bool version_1) {
  if (!version_1) return capsule_of<managed>(std::move(what), "dltensor", [](managed &) {});
  const bool read_only = what.read_only;
  return capsule_of<managed_versioned>(std::move(what), "dltensor_versioned",
                                       [read_only](managed_versioned &made) {
                                         made.major = 1;
                                         if (read_only) made.flags = flag_read_only;
                                       });
}

}  // namespace pycubby::dlpack
