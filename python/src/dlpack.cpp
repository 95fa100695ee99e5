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

template <class Managed>
void end_tensor(Managed *managed) {
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

nb::object capsule_over(lent what, nb::handle max_version) {
  const bool versioned =
      PyTuple_Check(max_version.ptr()) && nb::cast<int>(nb::borrow<nb::tuple>(max_version)[0]) >= 1;
  if (!versioned) return capsule_of<managed>(std::move(what), "dltensor", [](managed &) {});
  const bool read_only = what.read_only;
  return capsule_of<managed_versioned>(std::move(what), "dltensor_versioned",
                                       [read_only](managed_versioned &made) {
                                         made.major = 1;
                                         if (read_only) made.flags = flag_read_only;
                                       });
}

}  // namespace pycubby::dlpack
