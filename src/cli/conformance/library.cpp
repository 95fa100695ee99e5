#include "cli/conformance/library.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include "cli/conformance/apart.hpp"
#include "cli/conformance/expect.hpp"

namespace cubby_conformance {
namespace {

using cubby_cli::usage_trouble;

struct opened_library {
  cubby_backend_entry_fn entry = nullptr;
  std::string why;
};

opened_library open_library(const std::string &path) {
  // A bare name would be looked for in the system's folders, not in this one.
  const std::string named = path.find('/') == std::string::npos ? "./" + path : path;
  void *library = ::dlopen(named.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char *why = ::dlerror();
    return {nullptr, text(path, " could not be loaded: ", why == nullptr ? "no reason given" : why,
                          "; is it a shared library for this machine, linked with all it needs?")};
  }
  void *symbol = ::dlsym(library, CUBBY_BACKEND_ENTRY);
  if (symbol == nullptr) {
    return {nullptr, text(path, " exports no ", CUBBY_BACKEND_ENTRY,
                          "(); define it with C linkage and default visibility, as "
                          "examples/backend does")};
  }
  return {reinterpret_cast<cubby_backend_entry_fn>(symbol), {}};
}

}  // namespace

cubby_cli::outcome<const cubby_backend_ops *> load_library(const std::string &path) {
  if (access(path.c_str(), R_OK) != 0) {
    return usage_trouble(path + " cannot be read: " + std::strerror(errno) +
                         "; name the backend's shared library (LIB.so)");
  }
  // First in a process of its own, since code runs while a library is loaded.
  const outcome tried = apart(20'000'000'000, [&](const char *volatile *doing) {
    *doing = "dlopen";
    const opened_library found = open_library(path);
    if (found.entry == nullptr) return outcome{verdict::skip, found.why};
    *doing = CUBBY_BACKEND_ENTRY;
    found.entry();
    return outcome{};
  });
  if (tried.result == verdict::skip) return usage_trouble(tried.detail);
  if (tried.result == verdict::fail) {
    return usage_trouble(path + " cannot be loaded, loading it in a process of its own " +
                         tried.detail + "; loading does nothing but return the table");
  }
  const opened_library found = open_library(path);
  if (found.entry == nullptr) return usage_trouble(found.why);
  return found.entry();
}

}  // namespace cubby_conformance
