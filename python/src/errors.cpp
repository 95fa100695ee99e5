#include "errors.hpp"

#include <string>

namespace pycubby {

namespace {

nb::object make(cubby_status status, const char *text, const cubby_error &known) {
  nb::object maker = nb::module_::import_("cubby.errors").attr("_make");
  nb::object sentence =
      nb::steal(PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(strlen(text)), "replace"));
  return maker(static_cast<int>(status), sentence, known.native, known.retryable != 0,
               known.data_loss != 0, known.tier, known.id, known.offset_bytes, known.needed_bytes);
}

}  // namespace

nb::object last_error(cubby_status status) {
  cubby_error known{};
  known.struct_size = sizeof known;
  char text[1024] = "";
  cubby_explain(&known, text, sizeof text);
  if (known.status != status && status != CUBBY_PARTIAL) {  // then it is that of an item
    known = cubby_error{};
    text[0] = '\0';
  }
  return make(status, text, known);
}

nb::object plain_error(cubby_status status, const char *text) {
  return make(status, text, cubby_error{});
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
