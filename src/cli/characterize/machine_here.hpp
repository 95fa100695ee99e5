// This machine as a profile describes it.
#pragma once

#include <string>

#include "cli/characterize/platform_here.hpp"
#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

profile::machine describe_machine(const platform_here &here, const std::vector<uint64_t> &devices);

struct block_device {
  std::string text;              // "ext4 on vda (a model, no rotation)", "nfs4 of server:/export"
  profile::ordered_json object;  // null where neither /sys nor the list of mounts knows it
};

/// `device`: st_dev of a file.
block_device block_device_of(uint64_t device);

}  // namespace cubby_cli::characterize
