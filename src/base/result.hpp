// Errors as values. `error` is what cubby_explain() shows: a status, where it happened, and one
// sentence with cause and remedy.
#pragma once

#include "base/abi.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/assert.hpp"

namespace cubby {

/// The text of an error. Where there is no memory for it, it is empty: the error is returned all
/// the same, so errors can be made and copied wherever memory has run out.
class sentence : public std::string {
 public:
  sentence() = default;
  sentence(std::string &&text) noexcept : std::string(std::move(text)) {}  // NOLINT
  // The base is not copied from `other`: for that there may be no memory.
  sentence(const sentence &other) noexcept : std::string() { set(other); }  // NOLINT
  sentence(sentence &&) noexcept = default;
  sentence &operator=(const sentence &other) noexcept {
    if (this != &other) set(other);
    return *this;
  }
  sentence &operator=(sentence &&) noexcept = default;
  ~sentence() = default;

 private:
  void set(const std::string &text) noexcept;
};

struct error {
  cubby_status status = CUBBY_ERR_INVALID;
  sentence text;       // a sentence: what, the likely cause, the remedy
  int32_t native = 0;  // errno or a driver's code
  cubby_tier tier = 0;
  cubby_id id = 0;
  uint32_t part = 0;
  uint64_t offset_bytes = 0;
  uint64_t needed_bytes = 0;
  bool retryable = false;
  bool data_loss = false;
};

/// A value or an error. Must be looked at.
template <class T>
class [[nodiscard]] result {
 public:
  result(T value) : value_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  result(error failure) : error_(std::move(failure)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const noexcept { return value_.has_value(); }
  bool ok() const noexcept { return value_.has_value(); }
  T &value() & {
    CUBBY_ASSERT(value_.has_value());
    return *value_;
  }
  const T &value() const & {
    CUBBY_ASSERT(value_.has_value());
    return *value_;
  }
  T &&value() && {
    CUBBY_ASSERT(value_.has_value());
    return *std::move(value_);
  }
  T &operator*() & { return value(); }
  const T &operator*() const & { return value(); }
  T *operator->() { return &value(); }
  const T *operator->() const { return &value(); }
  const error &failure() const {
    CUBBY_ASSERT(error_.has_value());
    return *error_;
  }
  error &failure() {
    CUBBY_ASSERT(error_.has_value());
    return *error_;
  }

 private:
  std::optional<T> value_;
  std::optional<error> error_;
};

template <>
class [[nodiscard]] result<void> {
 public:
  result() = default;
  result(error failure) : error_(std::move(failure)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const noexcept { return !error_.has_value(); }
  bool ok() const noexcept { return !error_.has_value(); }
  const error &failure() const {
    CUBBY_ASSERT(error_.has_value());
    return *error_;
  }
  error &failure() {
    CUBBY_ASSERT(error_.has_value());
    return *error_;
  }

 private:
  std::optional<error> error_;
};

/// printf-style sentence of an error.
std::string format_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// The usual way to make one: fail(CUBBY_ERR_FORMAT, "…%s…", …). Cold, so that compilers keep the
/// ways that lead here apart from the others.
error fail(cubby_status status, const char *format, ...)
    __attribute__((cold, format(printf, 2, 3)));

/// A failed system call: status chosen from errno (ENOSPC → NO_SPACE, EACCES/EPERM/EROFS → DENIED,
/// ENOMEM → NO_MEMORY, else IO), native set, and strerror's words appended to the sentence.
error fail_errno(int native, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// The error of an allocation that failed; allocates nothing itself. All of them share its text.
error no_memory() noexcept;

/// What usually helps when a file cannot be opened with this errno; "" when nothing is usual.
const char *open_remedy(int native);

}  // namespace cubby
