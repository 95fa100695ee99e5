// The metrics of a runtime as other processes see them: a page, and when it is to be renewed.
#pragma once

#include <string>

#include "api/log_ring.hpp"
#include "api/metrics_page.hpp"
#include "base/clock.hpp"
#include "engine/engine.hpp"

namespace cubby::api {

/// For whoever holds the pump.
class published_metrics {
 public:
  /// From here on, in the place of the page before; 0 ends it.
  result<void> begin(uint32_t interval_ms);
  /// When renew() has something to do; base::never_ns where nothing is shown.
  [[nodiscard]] uint64_t due_ns() const { return due_ns_; }
  /// When it is time. Where there is no memory for the text, the page stays as it is.
  void renew(engine::parts &of, const log_ring &log) noexcept {
    if (due_ns_ == base::never_ns) return;  // as nearly always: not even the clock is looked at
    renew_if_due(of, log, base::now_ns());
  }

 private:
  void renew_if_due(engine::parts &of, const log_ring &log, uint64_t now_ns) noexcept;

  metrics_page page_;
  uint64_t interval_ns_ = 0, due_ns_ = base::never_ns;
  std::string text_;
};

}  // namespace cubby::api
