// A value, or why there is none: what the pieces of the larger subcommands give back.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

#include "cli/support.hpp"

namespace cubby_cli {

/// A sentence with cause and remedy, and the exit status it deserves.
struct trouble {
  std::string text;
  int exit_status = exit_bad;
};

inline trouble usage_trouble(std::string text) { return {std::move(text), exit_usage}; }

/// The sentence of this thread's last failed call of the library.
inline trouble last_trouble() { return {last_error_text(), exit_bad}; }

/// "what: why the system refused". `number` is an errno.
inline trouble system_trouble(const std::string &what, int number) {
  std::string text = what + ": " + std::strerror(number);
  if (number == ENOSPC) text += "; free some space, or name a path on another disk";
  if (number == EDQUOT) text += "; the quota is used up, free some space or name another path";
  if (number == EACCES || number == EPERM || number == EROFS)
    text += "; choose a path that this user may use";
  if (number == EFBIG) text += "; raise the limit of file sizes (ulimit -f), or make less";
  return {text, exit_bad};
}

/// Tells it on stderr and, for JSON, as the one object on stdout. Gives the exit status.
int report_trouble(const std::string &command, const trouble &failed, bool json);

template <typename T>
class [[nodiscard]] outcome {
 public:
  outcome(T value) : state_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  outcome(trouble failed) : state_(std::move(failed)) {}  // NOLINT(google-explicit-constructor)
  explicit operator bool() const { return state_.index() == 0; }
  T &operator*() { return std::get<0>(state_); }
  const T &operator*() const { return std::get<0>(state_); }
  T *operator->() { return &std::get<0>(state_); }
  const T *operator->() const { return &std::get<0>(state_); }
  const trouble &failure() const { return std::get<1>(state_); }

 private:
  std::variant<T, trouble> state_;
};

struct nothing {};
using done = outcome<nothing>;

}  // namespace cubby_cli
