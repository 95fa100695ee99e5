#include "cli/characterize/file_systems.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "cli/printable.hpp"
#include "platform/file_system_kind.hpp"

namespace cubby_cli::characterize {
namespace {

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
  using cubby::platform::file_system_medium;
  const auto known = cubby::platform::file_system_kind_of(number);
  if (known.medium == file_system_medium::memory) made.kind = file_system::place::memory;
  if (known.medium == file_system_medium::network) made.kind = file_system::place::network;
  // fuseblk is a program's, too, but of a disk.
  if (known.medium == file_system_medium::program && as.type != "fuseblk") {
    made.kind = file_system::place::network;
    made.of_a_program = true;
  } else if (known.medium != file_system_medium::program && known.name != nullptr) {
    made.name = known.name;
  }
  return made;
}

outcome<file_system> file_system_of(const std::string &folder) {
  struct stat seen {};
  struct statfs system {};
  if (::stat(folder.c_str(), &seen) != 0 || ::statfs(folder.c_str(), &system) != 0)
    return system_trouble(folder, errno);
  return file_system_of(static_cast<uint32_t>(system.f_type), mount_of(seen.st_dev));
}

std::string text_of(const file_system &one) {
  return one.name + (one.from.empty() ? "" : " of " + one.from);
}

std::string why_no_disk(const file_system &one) {
  if (one.kind == file_system::place::disk) return {};
  if (one.kind == file_system::place::memory)
    return "in memory (" + one.name +
           "), so there is no device to measure; name a directory on a disk";
  const std::string on =
      one.of_a_program ? "on a file system that a program serves (" : "on a network file system (";
  return on + text_of(one) +
         "), whose figures would be those of caches and of other users; name a directory on a "
         "local disk";
}

}  // namespace cubby_cli::characterize
