// The pages of metrics of running processes (src/base/metrics_page.hpp).
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::top {

struct page_place {
  pid_t pid = 0;
  std::string process;  // its name
  std::string path;     // below /proc
};

struct page_look {
  std::string text;  // as of cubby_metrics()
  uint64_t published_ns = 0, interval_ns = 0;
};

/// Of one process, or (0) of all that this user may look at. Empty where none is shown.
outcome<std::vector<page_place>> find_pages(pid_t pid);

/// A page that stays mapped. Not thread-safe.
class page_reader {
 public:
  static outcome<page_reader> open(const page_place &at);
  page_reader(page_reader &&other) noexcept
      : place_(std::move(other.place_)), memory_(std::exchange(other.memory_, nullptr)) {}
  page_reader(const page_reader &) = delete;
  page_reader &operator=(const page_reader &) = delete;
  ~page_reader();

  [[nodiscard]] const page_place &place() const { return place_; }
  /// Fails where the process has ended, or ended this page.
  [[nodiscard]] outcome<page_look> look() const;

 private:
  page_reader(page_place place, const void *memory) : place_(std::move(place)), memory_(memory) {}
  page_place place_;
  const void *memory_;
};

}  // namespace cubby_cli::top
