// The conformance suite: the rules for every backend behind backend.h. The command runs it over a
// third-party library, the tests of this tree over the library's own backends.
#pragma once
#include <cubby/backend.h>

#include <string>
#include <vector>

namespace cubby_conformance {

enum class verdict { pass, fail, skip };

struct outcome {
  verdict result = verdict::pass;
  std::string detail;  // of a fail: which operation, what was expected, what came
};

/// The backend under test, and how it is tested.
struct subject {
  cubby_backend_ops ops{};
  std::string folder = ".";              // files are made here; a real disk tells more than tmpfs
  uint64_t patience_ns = 5'000'000'000;  // for a completion, then it counts as lost
  mutable const char *volatile *doing = nullptr;  // the operation under way, for the observer
};

class bench;

struct check {
  const char *name;
  uint32_t needs;  // CUBBY_CAP_* that it is for; 0 = every backend
  void (*run)(bench &);
};

/// Is the table of operations complete? Nothing else may be asked of one that is not.
outcome check_table(const cubby_backend_ops *table);
/// The table as far as it says it goes; members beyond are NULL.
cubby_backend_ops read_table(const cubby_backend_ops &table);

/// The checks for a backend of these capabilities, in order.
std::vector<check> checks_for(uint32_t capabilities);

/// Runs one check in this process.
outcome run_here(const subject &on, const check &what);

/// Runs one check in a process of its own: a crash, a hang or a printed word is a fail, not an end.
outcome run_isolated(const subject &on, const check &what);

// The checks by what they look at; each list in a file of its own.
void add_open_checks(std::vector<check> &all);
void add_queue_checks(std::vector<check> &all);
void add_wait_checks(std::vector<check> &all);
void add_file_checks(std::vector<check> &all);
void add_read_checks(std::vector<check> &all);
void add_write_checks(std::vector<check> &all);
void add_memory_checks(std::vector<check> &all);
void add_link_checks(std::vector<check> &all);
void add_stream_checks(std::vector<check> &all);

}  // namespace cubby_conformance
