#include "keys.hpp"

#include <limits>
#include <string>

namespace pycubby {

namespace {

cubby_key key_of(PyObject *item) {
  char *data = nullptr;
  Py_ssize_t bytes = 0;
  if (!PyBytes_Check(item)) {
    const std::string is = nb::inst_name(nb::handle(item)).c_str();
    throw nb::type_error(("a key is bytes, not " + is).c_str());
  }
  if (PyBytes_AsStringAndSize(item, &data, &bytes) != 0) throw nb::python_error();
  if (bytes > CUBBY_KEY_BYTES_MAX) {
    PyErr_Format(PyExc_ValueError, "a key of %zd bytes; %d are the most", bytes,
                 CUBBY_KEY_BYTES_MAX);
    throw nb::python_error();
  }
  return {data, static_cast<uint32_t>(bytes)};
}

uint32_t count_of(size_t count) {
  if (count > std::numeric_limits<uint32_t>::max()) throw nb::value_error("too many keys");
  return static_cast<uint32_t>(count);
}

}  // namespace

key_array::key_array(nb::handle bytes_list) : list_(nb::steal(PySequence_Tuple(bytes_list.ptr()))) {
  if (!list_.is_valid()) throw nb::python_error();
  const Py_ssize_t count = PyTuple_Size(list_.ptr());
  keys_.reserve(count_of(static_cast<size_t>(count)));
  for (Py_ssize_t i = 0; i < count; ++i) keys_.push_back(key_of(PyTuple_GetItem(list_.ptr(), i)));
}

key_array::key_array(nb::handle buffer, uint32_t key_bytes) {
  if (key_bytes == 0 || key_bytes > CUBBY_KEY_BYTES_MAX) {
    throw nb::value_error("key_bytes is from 1 to 64");
  }
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(buffer.ptr(), view.get(), PyBUF_SIMPLE) != 0) throw nb::python_error();
  buffer_ = std::move(view);
  const auto total = static_cast<size_t>(buffer_->len);
  if (total % key_bytes != 0) {
    PyBuffer_Release(buffer_.get());
    buffer_.reset();
    throw nb::value_error("the buffer is not a multiple of key_bytes long");
  }
  keys_.resize(count_of(total / key_bytes));
  const char *at = static_cast<const char *>(buffer_->buf);
  for (cubby_key &key : keys_) {
    key = {at, key_bytes};
    at += key_bytes;
  }
}

key_array::~key_array() {
  if (buffer_ != nullptr) PyBuffer_Release(buffer_.get());
}

key_view::key_view(nb::handle from) : from_(from) {
  PyObject *object = from.ptr();
  if (PyBytes_Check(object)) {
    few_[0] = key_of(object);
    data_ = few_.data();
    size_ = 1;
    single_ = true;
  } else if (PyList_Check(object)) {
    fill(static_cast<size_t>(PyList_Size(object)),
         [object](size_t i) { return PyList_GetItem(object, static_cast<Py_ssize_t>(i)); });
  } else if (PyTuple_Check(object)) {
    fill(static_cast<size_t>(PyTuple_Size(object)),
         [object](size_t i) { return PyTuple_GetItem(object, static_cast<Py_ssize_t>(i)); });
  } else if (nb::isinstance<key_array>(from)) {
    const auto &made = nb::cast<const key_array &>(from);
    data_ = made.data();
    size_ = made.size();
  } else {
    throw nb::type_error("keys are bytes, a list or tuple of bytes, or cubby.Keys");
  }
}

template <class Item>
void key_view::fill(size_t count, const Item &item) {
  size_ = count_of(count);
  cubby_key *to = few_.data();
  if (count > few_.size()) {
    many_.resize(count);
    to = many_.data();
  }
  data_ = to;
  for (size_t i = 0; i < count; ++i) to[i] = key_of(item(i));
}

void key_view::hold() {
  if (PyList_Check(from_.ptr())) {
    held_ = nb::steal(PyList_AsTuple(from_.ptr()));
    if (!held_.is_valid()) throw nb::python_error();
  }
}

cubby_key key_or_none(nb::handle from) {
  return from.is_none() ? cubby_key{nullptr, 0} : key_of(from.ptr());
}

}  // namespace pycubby
