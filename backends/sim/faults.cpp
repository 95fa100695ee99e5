#include "sim/faults.hpp"

namespace cubby_sim {

const char *fault_name(fault which) {
  static constexpr std::array<const char *, fault_count> names = {
      "eio_transient",   "eio_sticky",   "short_read", "flip_transit", "flip_rest",
      "misdirected",     "stale_block",  "late",       "stuck",        "open_failure",
      "reserve_failure", "copy_failure", "copy_flip",  "frame_flip"};
  return names[static_cast<std::size_t>(which)];
}

fault_rates lively_rates() {
  fault_rates rates{};
  for (const fault silent :
       {fault::flip_transit, fault::flip_rest, fault::misdirected, fault::stale_block}) {
    rate_of(rates, silent) = 8'000;
  }
  rate_of(rates, fault::eio_transient) = 10'000;
  rate_of(rates, fault::eio_sticky) = 3'000;
  rate_of(rates, fault::short_read) = 6'000;
  rate_of(rates, fault::late) = 20'000;
  rate_of(rates, fault::stuck) = 4'000;
  rate_of(rates, fault::open_failure) = 50'000;
  rate_of(rates, fault::reserve_failure) = 100'000;
  rate_of(rates, fault::copy_failure) = 5'000;
  return rates;
}

}  // namespace cubby_sim
