#include "base/result.hpp"

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <new>
#include <system_error>

namespace cubby {
namespace {

std::string format_va(const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (length <= 0) return {};
  std::string text(static_cast<size_t>(length), '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, arguments);
  return text;
}

cubby_status status_of_errno(int native) {
  switch (native) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return CUBBY_ERR_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
      return CUBBY_ERR_DENIED;
    case ENOMEM:
      return CUBBY_ERR_NO_MEMORY;
    case EINVAL:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case ESPIPE:
    case ENXIO:
      return CUBBY_ERR_INVALID;
    case ENOSYS:
    case ENOTSUP:
      return CUBBY_ERR_NOT_SUPPORTED;
    case ECANCELED:
      return CUBBY_ERR_CANCELED;
    default:
      return CUBBY_ERR_IO;
  }
}

/// The same, or nothing where there is no memory for it.
std::string try_format_va(const char *format, va_list arguments) noexcept try {
  return format_va(format, arguments);
} catch (const std::bad_alloc &) {
  return {};
}

}  // namespace

void sentence::set(const std::string &text) noexcept try {
  assign(text);
} catch (const std::bad_alloc &) {
  clear();
}

error no_memory() noexcept {
  error made;
  made.status = CUBBY_ERR_NO_MEMORY;
  made.retryable = true;
  return made;
}

std::string format_text(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string text = format_va(format, arguments);
  va_end(arguments);
  return text;
}

error fail(cubby_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  error made;
  made.status = status;
  made.text = try_format_va(format, arguments);
  va_end(arguments);
  return made;
}

const char *open_remedy(int native) {
  switch (native) {
    case ENOENT:
    case ENOTDIR:
      return "; look at the path";
    case EACCES:
    case EPERM:
      return "; let this user read it (chmod, chown), or run as its owner";
    case EMFILE:
    case ENFILE:
      return "; raise ulimit -n";
    case ELOOP:
      return "; name the file itself, not a link to it";
    case EISDIR:
      return "; it is not a regular file but a folder, name a file in it";
    case ESPIPE:
    case ENXIO:
      return "; it is not a regular file, name one";
    default:
      return "";
  }
}

error fail_errno(int native, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  error made;
  made.status = status_of_errno(native);
  made.native = native;
  made.text = try_format_va(format, arguments);
  try {
    made.text += ": " + std::generic_category().message(native);
  } catch (const std::bad_alloc &) {  // the sentence goes without
  }
  va_end(arguments);
  made.retryable = native == EAGAIN || native == EINTR || native == ENOMEM || native == EMFILE ||
                   native == ENFILE;
  return made;
}

}  // namespace cubby
