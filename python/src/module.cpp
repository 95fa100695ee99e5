#include <nanobind/nanobind.h>

#include <array>
#include <exception>
#include <typeinfo>

#include "handles.hpp"
#include "pins.hpp"
#include "queue.hpp"
#include "request.hpp"

NB_MODULE(_cubby, m) {
  using namespace pycubby;
  nb::set_leak_warnings(false);
  watch_forks();
  // What no call has a sentence of its own for.
  nb::register_exception_translator([](const std::exception_ptr &thrown, void *) {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::bad_cast &) {
      PyErr_SetString(PyExc_TypeError,
                      "an argument is of another type than this call takes, or out of its range");
    }
  });
  m.doc() = "The calls of cubby.h. Use `import cubby`.";
  bind_requests(m);
  bind_queues(m);
  bind_pins(m);
  bind_reservations(m);
  bind_tiers(m);
  bind_banks(m);
  bind_spaces(m);
  bind_runtime(m);
  bind_policies(m);
  m.def(
      "version",
      [] {
        const uint32_t v = cubby_version();
        return nb::make_tuple(v >> 16, (v >> 8) & 255u, v & 255u);
      },
      "Version of the library: (major, minor, patch).");
  m.def(
      "status_name",
      [](int status) { return cubby_status_name(static_cast<cubby_status>(status)); },
      nb::arg("status"), "Name of a status, without its prefix.");
  m.def(
      "policies",
      [] {
        std::array<const char *, 64> names{};
        const uint32_t count = cubby_policy_list(names.data(), names.size());
        nb::list out;
        for (uint32_t i = 0; i < count && i < names.size(); ++i) out.append(names[i]);
        return out;
      },
      "Names of the placement policies that a runtime or a bank may be given.");
  m.def(
      "_close_all", [] { close_all(); }, "Closes every open runtime; at the interpreter's end.");
}
