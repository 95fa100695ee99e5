// What a directory lies on: a disk of this machine, memory, or what comes over a network.
#pragma once

#include <cstdint>
#include <string>

#include "cli/outcome.hpp"

namespace cubby_cli::characterize {

/// As the kernel lists it; empty where it does not.
struct mounted {
  std::string type, from;  // "nfs4", "server:/export"
};

/// `device`: st_dev of a file.
mounted mount_of(uint64_t device);
/// Out of the text of /proc/self/mountinfo.
mounted mount_in(const std::string &mountinfo, uint64_t device);

struct file_system {
  enum class place { disk, memory, network };
  place kind = place::disk;
  bool of_a_program = false;  // FUSE: what is behind it, nobody can see from here
  std::string name, from;     // "NFS" or as the kernel calls it; what is mounted
};

/// By the number that statfs gives it.
file_system file_system_of(uint64_t number, const mounted &as);
outcome<file_system> file_system_of(const std::string &folder);

/// "NFS of server:/export".
std::string text_of(const file_system &one);

/// Empty where a disk of this machine can be measured, else what it is and why not.
std::string why_no_disk(const file_system &one);

}  // namespace cubby_cli::characterize
