// A folder served by a program (FUSE), as stores over a network look from here: bindfs, where it
// can be had.
#pragma once

#include <sys/mount.h>

#include "cli/folder.hpp"
#include "cli/process.hpp"

namespace process {

class served_folder {
 public:
  served_folder() {
    for (const folder *one : {&behind_, &front_}) REQUIRE(std::filesystem::is_empty(one->path));
    const outcome seen = shell("bindfs " + behind_.path.string() + " " + path() + " 2>&1");
    mounted_ = seen.exit_status == 0;
    if (!mounted_) why_ = seen.text;
  }
  served_folder(const served_folder &) = delete;
  served_folder &operator=(const served_folder &) = delete;
  ~served_folder() {
    if (!mounted_) return;
    // Files that a process left open are let go of a moment after it.
    if (::umount2(path().c_str(), MNT_DETACH) != 0) shell("fusermount3 -uz " + path() + " 2>&1");
  }

  /// Empty where there is one, else why not.
  [[nodiscard]] const std::string &why_not() const { return why_; }
  [[nodiscard]] std::string path() const { return front_.path.string(); }
  /// Where the bytes are.
  [[nodiscard]] const std::filesystem::path &behind() const { return behind_.path; }

 private:
  folder behind_, front_;
  bool mounted_ = false;
  std::string why_;
};

}  // namespace process
