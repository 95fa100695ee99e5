#include "cli/demo/recording.hpp"

namespace cubby_cli::demo {

done recording::start(cubby *rt) {
  if (cubby_trace_start(rt, nullptr) != CUBBY_OK) return trouble{last_error().text};
  return nothing{};
}

done recording::drain(cubby *rt) {
  for (;;) {
    uint64_t got = 0;
    if (cubby_trace_read(rt, piece_.data(), piece_.size(), &got) != CUBBY_OK)
      return trouble{last_error().text};
    if (auto good = file_.write({piece_.data(), got}); !good) return good;
    if (got < piece_.size()) return nothing{};
  }
}

done recording::finish(cubby *rt) {
  if (cubby_trace_stop(rt) != CUBBY_OK) return trouble{last_error().text};
  if (auto good = drain(rt); !good) return good;
  seen_.struct_size = sizeof seen_;
  if (cubby_trace_describe(rt, &seen_) != CUBBY_OK) return trouble{last_error().text};
  return file_.publish();
}

}  // namespace cubby_cli::demo
