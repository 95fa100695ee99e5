// Runtime, Tier, Bank, Space and Region as Python holds them: a number and its runtime.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <cubby/cubby.h>

#include "core.hpp"

namespace pycubby {

struct tier {
  std::shared_ptr<core> owner;
  cubby_tier handle = 0;
  std::string name;
  int32_t device = -1;  // whose memory it is, where no processor reaches that; -1 = the host's
};

// Geometry of a bank, copied when it was made.
struct bank {
  std::shared_ptr<core> owner;
  cubby_bank handle = 0;
  uint32_t kind = 0, rows = 0, columns = 0, part_count = 1;
  uint32_t table_row_bytes = 0;
  uint64_t table_row_count = 0;
  std::vector<uint64_t> row_bytes;   // [rows]
  std::vector<uint64_t> part_bytes;  // [rows * part_count]
  std::vector<uint32_t> row_layers;  // [rows]

  // The same handle with its geometry read from the runtime.
  static std::shared_ptr<bank> describe(const std::shared_ptr<core> &owner, cubby_bank handle);
  uint64_t locker_count() const noexcept { return uint64_t{rows} * columns; }
};

struct space {
  std::shared_ptr<core> owner;
  std::shared_ptr<bank> of;
  cubby_space handle = 0;
};

struct region {
  std::shared_ptr<core> owner;
  cubby_region handle = 0;
  uint64_t bytes = 0;
  int32_t device = -1;  // -1 = the host's
};

// The tier a call names: a Tier, or None for "everywhere" (0).
cubby_tier tier_of(nb::handle from);

// `from` as a T, or TypeError(`what`).
template <class T>
T cast_or(nb::handle from, const char *what) {
  T made{};
  if (!nb::try_cast<T>(from, made)) throw nb::type_error(what);
  return made;
}

// A path, as open() takes it: str, bytes or os.PathLike; nothing of None.
std::optional<std::string> path_or_none(nb::handle from);
std::string path_of(nb::handle from);
std::vector<std::string> paths_of(nb::handle list);
// Paths and names that files and systems gave may be no UTF-8.
nb::object path_text(const char *path);
nb::object text_of(const char *text);

// Counters as a dict, and lines of the log as a list of tuples.
nb::dict stats_of(core &of);
nb::list log_of(core &of, uint32_t max_count);
// Text for Prometheus, and the same shown to other processes every so many seconds.
nb::str metrics_of(core &of);
void publish(core &of, double seconds);

void bind_runtime(nb::module_ &m);
void bind_tiers(nb::module_ &m);
void bind_banks(nb::module_ &m);
void bind_spaces(nb::module_ &m);
void bind_policies(nb::module_ &m);
void bind_looking(nb::class_<space> &c);

}  // namespace pycubby
