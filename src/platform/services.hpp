// What the library hands to backends: memory, topology, clock, log.
#pragma once

#include <cubby/backend.h>

namespace cubby::platform {

class services {
 public:
  /// `log` takes lines from any thread; it stands as long as this object.
  using log_function = void (*)(void *context, uint32_t level, const char *text);
  services(log_function log, void *context);
  services(const services &) = delete;
  services &operator=(const services &) = delete;

  [[nodiscard]] const cubby_backend_services &table() const { return table_; }

 private:
  cubby_backend_services table_{};
  log_function log_;
  void *context_;
};

}  // namespace cubby::platform
