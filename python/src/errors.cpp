#include "errors.hpp"

#include <string>

namespace pycubby {

nb::object failure::exception() const {
  nb::object maker = nb::module_::import_("cubby.errors").attr("_make");
  nb::object sentence =
      nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  if (!sentence.is_valid()) throw nb::python_error();
  return maker(static_cast<int>(status), sentence, known.native, known.retryable != 0,
               known.data_loss != 0, known.tier, known.id, known.offset_bytes, known.needed_bytes);
}

failure last_failure(cubby_status status) {
  cubby_error known{};
  known.struct_size = sizeof known;
  char text[1024] = "";
  cubby_explain(&known, text, sizeof text);
  if (known.status != status && status != CUBBY_PARTIAL) return {status, {}, {}};  // an item's
  return {status, known, text};
}

nb::object plain_error(cubby_status status, const char *text) {
  return failure{status, {}, text}.exception();
}

void raise(const nb::object &error) {
  PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(error.ptr())), error.ptr());
  throw nb::python_error();
}

void raise_last(cubby_status status) { raise(last_error(status)); }
void raise_plain(cubby_status status, const char *text) { raise(plain_error(status, text)); }

void raise_refused(cubby_status status, const char *what) {
  const std::string name = what;
  if (status == CUBBY_ERR_FORKED) {
    raise_plain(status,
                (name + " belongs to the parent process; open one in this process").c_str());
  }
  raise_plain(status, (name + " is closed").c_str());
}

}  // namespace pycubby
