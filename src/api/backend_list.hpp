// The backends that a runtime can open: those of the library, and those that the caller loaded.
#pragma once

#include <cubby/backend.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "tier/backend_instance.hpp"

namespace cubby::api {

/// A backend of files, and what is to be known of it (empty: nothing).
struct opened_files {
  std::unique_ptr<tier::backend_instance> backend;
  std::string note;
};

/// Used with the pump held.
class backend_list {
 public:
  explicit backend_list(const cubby_backend_services &services) : services_(services) {}

  void add(const tier::backend_kind &kind) { loaded_.push_back(kind); }
  /// A loaded one before one of the library.
  [[nodiscard]] result<tier::backend_kind> find(const std::string &name) const;
  /// For the tier `name`. "file" is io_uring, and a pool of threads where that cannot be had; the
  /// log and the note then say why.
  [[nodiscard]] result<opened_files> open_files(const std::string &asked,
                                                const std::string &name) const;

 private:
  [[nodiscard]] result<opened_files> open(const tier::backend_kind &kind, const std::string &name,
                                          std::string note = {}) const;

  const cubby_backend_services &services_;
  std::vector<tier::backend_kind> loaded_;
};

}  // namespace cubby::api
