// While it stands, SIGINT and SIGTERM go to a handler of the subcommand's own, so that it can clear
// up before it ends; then they do again what they did before.
#pragma once

#include <csignal>

namespace cubby_cli {

class interrupt_guard {
 public:
  explicit interrupt_guard(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(SIGINT, &action, &before_interrupt_);
    ::sigaction(SIGTERM, &action, &before_terminate_);
  }
  ~interrupt_guard() { restore(); }
  interrupt_guard(const interrupt_guard &) = delete;
  interrupt_guard &operator=(const interrupt_guard &) = delete;
  /// At once: as in a child that is to die of them.
  void restore() const {
    ::sigaction(SIGINT, &before_interrupt_, nullptr);
    ::sigaction(SIGTERM, &before_terminate_, nullptr);
  }

 private:
  struct sigaction before_interrupt_ {
  }, before_terminate_{};
};

}  // namespace cubby_cli
