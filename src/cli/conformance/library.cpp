#include "cli/conformance/library.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include "cli/conformance/expect.hpp"
#include "cli/conformance/isolated.hpp"

namespace cubby_conformance {
namespace {

using cubby_cli::usage_trouble;

struct opened_library {
  cubby_backend_entry_fn backend = nullptr;
  cubby_policy_entry_fn policy = nullptr;
  std::string why;

  bool good() const { return backend != nullptr || policy != nullptr; }
  const char *entry() const {
    return backend != nullptr ? CUBBY_BACKEND_ENTRY : CUBBY_POLICY_ENTRY;
  }
  library_table table() const {
    if (backend != nullptr) return backend();
    return policy();
  }
};

opened_library open_library(const std::string &path) {
  opened_library found;
  // A bare name would be looked for in the system's folders, not in this one.
  const std::string named = path.find('/') == std::string::npos ? "./" + path : path;
  void *library = ::dlopen(named.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char *why = ::dlerror();
    found.why = text(path, " could not be loaded: ", why == nullptr ? "no reason given" : why,
                     "; is it a shared library for this machine, linked with all it needs?");
    return found;
  }
  found.backend = reinterpret_cast<cubby_backend_entry_fn>(::dlsym(library, CUBBY_BACKEND_ENTRY));
  found.policy = reinterpret_cast<cubby_policy_entry_fn>(::dlsym(library, CUBBY_POLICY_ENTRY));
  if (!found.good())
    found.why = text(path, " exports neither ", CUBBY_BACKEND_ENTRY, "() nor ", CUBBY_POLICY_ENTRY,
                     "(); define one with C linkage and default visibility, as examples/backend "
                     "and examples/policy do");
  return found;
}

}  // namespace

cubby_cli::outcome<library_table> load_library(const std::string &path) {
  if (access(path.c_str(), R_OK) != 0) {
    return usage_trouble(path + " cannot be read: " + std::strerror(errno) +
                         "; name the shared library of the backend or policy (LIB.so)");
  }
  // First in a process of its own, since code runs while a library is loaded.
  const outcome tried =
      run_in_child(20'000'000'000,
                   [&](const char *volatile *doing) {
                     *doing = "dlopen";
                     const opened_library found = open_library(path);
                     if (!found.good()) return outcome{verdict::skip, found.why};
                     *doing = found.entry();
                     (void)found.table();
                     return outcome{};
                   },
                   {"library", "loading waits for nothing", "loading prints nothing"});
  if (tried.result == verdict::skip) return usage_trouble(tried.detail);
  if (tried.result == verdict::fail) {
    return usage_trouble(path + " cannot be loaded, loading it in a process of its own " +
                         tried.detail + "; loading does nothing but return the table");
  }
  const opened_library found = open_library(path);
  if (!found.good()) return usage_trouble(found.why);
  return found.table();
}

}  // namespace cubby_conformance
