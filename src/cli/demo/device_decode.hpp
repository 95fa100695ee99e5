// The decode loop on a device, with a part of the experts there, in turn with all of them there and
// with a cache that the host fills at each miss.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/demo/cubby_source.hpp"
#include "cli/demo/device_choice.hpp"
#include "cli/demo/routes.hpp"
#include "cli/demo/source.hpp"

namespace cubby_cli::demo {

struct device_run {
  cubby_options settings;  // driver and ordinal are the device's
  uint32_t rounds = 3;
  uint32_t check_tokens = 2;  // so many are computed by the processor, too
  bool baselines = true;
  bool quiet = false;  // without a line of progress
};

/// The largest difference of a state from the processor's, as a share of its largest number. The
/// products have the same bits on both sides; exponentials and the sums of squares have not.
inline constexpr double error_max = 1e-4;

/// The one object of --json, but for what the command adds. Trouble where the device or a run
/// fails.
outcome<nlohmann::json> decode_on_device(const device_choice &chosen, const expert_file &file,
                                         const routes &taken, const device_run &how);
void print_device_result(const expert_file &file, const routes &taken,
                         const nlohmann::json &result);

}  // namespace cubby_cli::demo
