// Names and numbers that stand without a runtime.
#include "base/abi.hpp"

uint32_t cubby_version(void) {
  return (CUBBY_VERSION_MAJOR << 16) | (CUBBY_VERSION_MINOR << 8) | CUBBY_VERSION_PATCH;
}

const char *cubby_status_name(cubby_status status) {
  switch (status) {
    case CUBBY_OK:
      return "OK";
    case CUBBY_PENDING:
      return "PENDING";
    case CUBBY_MISS:
      return "MISS";
    case CUBBY_PARTIAL:
      return "PARTIAL";
    case CUBBY_ERR_INVALID:
      return "INVALID";
    case CUBBY_ERR_STALE:
      return "STALE";
    case CUBBY_ERR_BUSY:
      return "BUSY";
    case CUBBY_ERR_BUDGET:
      return "BUDGET";
    case CUBBY_ERR_NO_SPACE:
      return "NO_SPACE";
    case CUBBY_ERR_NO_MEMORY:
      return "NO_MEMORY";
    case CUBBY_ERR_IO:
      return "IO";
    case CUBBY_ERR_CORRUPT:
      return "CORRUPT";
    case CUBBY_ERR_CANCELED:
      return "CANCELED";
    case CUBBY_ERR_TIMEOUT:
      return "TIMEOUT";
    case CUBBY_ERR_NOT_SUPPORTED:
      return "NOT_SUPPORTED";
    case CUBBY_ERR_DENIED:
      return "DENIED";
    case CUBBY_ERR_IN_USE:
      return "IN_USE";
    case CUBBY_ERR_FORMAT:
      return "FORMAT";
    case CUBBY_ERR_DEVICE:
      return "DEVICE";
    case CUBBY_ERR_FORKED:
      return "FORKED";
    case CUBBY_ERR_SHUTDOWN:
      return "SHUTDOWN";
  }
  return "unknown status";
}
