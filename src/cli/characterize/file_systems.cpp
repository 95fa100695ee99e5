#include "cli/characterize/file_systems.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "cli/printable.hpp"

namespace cubby_cli::characterize {
namespace {

using place = file_system::place;

struct known_system {
  uint64_t number;
  const char *name;
  place kind;
};

/// Numbers of linux/magic.h, some of which it lacks.
constexpr known_system known_systems[] = {
    {0x01021994, "tmpfs", place::memory},     {0x858458f6, "ramfs", place::memory},
    {0x958458f6, "hugetlbfs", place::memory}, {0x6969, "NFS", place::network},
    {0xff534d42, "CIFS", place::network},     {0xfe534d42, "SMB", place::network},
    {0x00c36400, "Ceph", place::network},     {0x01021997, "9p", place::network},
    {0x5346414f, "AFS", place::network},      {0x0bd00bd0, "Lustre", place::network},
    {0x47504653, "GPFS", place::network},     {0x19830326, "BeeGFS", place::network},
};

constexpr uint64_t fuse_number = 0x65735546;

/// The kernel writes blanks as \040.
std::string unescaped(const std::string &text) {
  std::string made;
  for (size_t i = 0; i < text.size(); i++) {
    const bool escape = text[i] == '\\' && i + 3 < text.size();
    made += escape ? static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8)) : text[i];
    if (escape) i += 3;
  }
  return printable(made);
}

}  // namespace

mounted mount_in(const std::string &mountinfo, uint64_t device) {
  const std::string number = std::to_string(major(device)) + ":" + std::to_string(minor(device));
  std::istringstream in(mountinfo);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string id, parent, at;
    words >> id >> parent >> at;
    const size_t end = line.find(" - ");
    if (at != number || end == std::string::npos) continue;
    mounted made;
    std::istringstream rest(line.substr(end + 3));
    rest >> made.type >> made.from;
    made.from = unescaped(made.from);
    return made;
  }
  return {};
}

mounted mount_of(uint64_t device) {
  std::stringstream text;
  text << std::ifstream("/proc/self/mountinfo").rdbuf();
  return mount_in(text.str(), device);
}

file_system file_system_of(uint64_t number, const mounted &as) {
  file_system made;
  made.name = as.type.empty() ? "an unknown file system" : as.type;
  made.from = as.from;
  for (const known_system &one : known_systems) {
    if (one.number != number) continue;
    made.kind = one.kind;
    made.name = one.name;
  }
  // fuseblk is a program's, too, but of a disk.
  if (number == fuse_number && as.type != "fuseblk") {
    made.kind = place::network;
    made.of_a_program = true;
  }
  return made;
}

outcome<file_system> file_system_of(const std::string &folder) {
  struct stat seen {};
  struct statfs system {};
  if (::stat(folder.c_str(), &seen) != 0 || ::statfs(folder.c_str(), &system) != 0)
    return system_trouble(folder, errno);
  return file_system_of(static_cast<uint64_t>(system.f_type) & 0xffffffffu, mount_of(seen.st_dev));
}

std::string text_of(const file_system &one) {
  return one.name + (one.from.empty() ? "" : " of " + one.from);
}

std::string why_no_disk(const file_system &one) {
  if (one.kind == place::disk) return {};
  if (one.kind == place::memory)
    return "in memory (" + one.name +
           "), so there is no device to measure; name a directory on a disk";
  const std::string on =
      one.of_a_program ? "on a file system that a program serves (" : "on a network file system (";
  return on + text_of(one) +
         "), whose figures would be those of caches and of other users; name a directory on a "
         "local disk";
}

}  // namespace cubby_cli::characterize
