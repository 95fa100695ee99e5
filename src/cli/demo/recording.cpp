#include "cli/demo/recording.hpp"

namespace cubby_cli::demo {

done recording::start(cubby_handle *rt) {
  if (cubby_trace_start(rt, nullptr) != CUBBY_OK) return last_trouble();
  return nothing{};
}

done recording::drain(cubby_handle *rt) {
  for (;;) {
    uint64_t got = 0;
    if (cubby_trace_read(rt, piece_.data(), piece_.size(), &got) != CUBBY_OK) return last_trouble();
    if (auto good = file_.write({piece_.data(), got}); !good) return good;
    if (got < piece_.size()) return nothing{};
  }
}

done recording::finish(cubby_handle *rt) {
  if (cubby_trace_stop(rt) != CUBBY_OK) return last_trouble();
  if (auto good = drain(rt); !good) return good;
  seen_.struct_size = sizeof seen_;
  if (cubby_trace_describe(rt, &seen_) != CUBBY_OK) return last_trouble();
  return file_.publish();
}

}  // namespace cubby_cli::demo
