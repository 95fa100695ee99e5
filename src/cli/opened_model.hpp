// A model file in a runtime of its own: what inspect, verify, seal, demo and replay begin with.
#pragma once

#include <cubby/cubby.hpp>

#include <string>

#include "cli/command_line.hpp"

namespace cubby_cli {

/// A model as the words of a command name it.
struct model_choice {
  std::string file, tensors, seal_path;
  bool table = false;  // the tensor is a table of rows

  /// For calls of cubby.h; stands as long as this object.
  [[nodiscard]] cubby_adopt_desc desc() const;
  /// The options that several commands have. `seal` says what --seal-path names.
  void add_options(command &to, const std::string &seal);
};

/// Advanced by the waiter, so that a command needs no thread.
inline constexpr cubby::runtime_options without_thread = {.pump = cubby::pump::caller};

struct opened_model {
  cubby::runtime runtime;
  cubby::bank bank;
};

cubby::result<opened_model> open_model(const model_choice &which,
                                       const cubby::runtime_options &how = without_thread);

}  // namespace cubby_cli
