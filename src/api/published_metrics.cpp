#include "api/published_metrics.hpp"

#include <exception>
#include <utility>

#include "api/metrics.hpp"

namespace cubby::api {

result<void> published_metrics::begin(uint32_t interval_ms) {
  metrics_page made;
  const uint64_t interval_ns = uint64_t{interval_ms} * 1'000'000;
  if (interval_ms != 0) {
    auto opened = metrics_page::make(interval_ns);
    if (!opened) return opened.failure();
    made = std::move(*opened);
  }
  page_ = std::move(made);
  interval_ns_ = interval_ns;
  due_ns_ = interval_ms == 0 ? base::never_ns : 0;
  return {};
}

void published_metrics::renew_if_due(engine::parts &of, const log_ring &log,
                                     uint64_t now_ns) noexcept {
  if (now_ns < due_ns_) return;
  due_ns_ = now_ns + interval_ns_;
  try {
    write_metrics(of, log.dropped(), text_);
    page_.write(text_, now_ns);
  } catch (const std::exception &) {
    return;
  }
}

}  // namespace cubby::api
