// What may be written over: nothing, or a file of the own kind.
#include "support/catch.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "base/own_file.hpp"
#include "unit/store/scratch.hpp"

namespace own_file_test {

using namespace cubby::base;

namespace {

bool begins_with_own(std::string_view begin, uint64_t bytes) {
  return begin.starts_with("own") && bytes >= 3;
}

}  // namespace

TEST_CASE("a name is judged by what lies under it, and nothing is opened or followed") {
  const scratch::folder folder;
  const auto look = [&](const std::string &name) {
    return look_at_name(folder.path(name), begins_with_own).what;
  };
  CHECK(look("none") == at_name::nothing);
  CHECK(look("no/such/folder") == at_name::nothing);
  folder.write("own", "own");
  folder.write("other", "not own");
  folder.write("empty", "");
  CHECK(look("own") == at_name::own);
  CHECK(look("other") == at_name::other);
  CHECK(look("empty") == at_name::other);
  std::filesystem::create_symlink(folder.path("own"), folder.path("link"));
  CHECK(look("link") == at_name::link);
  REQUIRE(mkfifo(folder.path("pipe").c_str(), 0600) == 0);
  CHECK(look("pipe") == at_name::irregular);
  CHECK(look("") == at_name::irregular);
  CHECK(look_at_name("/dev/null", begins_with_own).what == at_name::irregular);
  const name_state below_a_file = look_at_name(folder.path("own/x"), begins_with_own);
  CHECK(below_a_file.what == at_name::unknown);
  CHECK(below_a_file.native == ENOTDIR);
}

TEST_CASE("a name is given only where nothing or the own kind stands by then") {
  const scratch::folder folder;
  const auto give = [&](const std::string &to) {
    folder.write("new", "own, new");
    return give_name(folder.path("new"), folder.path(to), begins_with_own);
  };
  CHECK(give("a").native == 0);
  CHECK(scratch::read(folder.path("a")) == "own, new");
  folder.write("a", "own, old");
  CHECK(give("a").native == 0);
  CHECK(scratch::read(folder.path("a")) == "own, new");
  folder.write("a", "else");
  const name_state refused = give("a");
  CHECK(refused.native == EEXIST);
  CHECK(refused.what == at_name::other);
  CHECK_FALSE(refused.may_be_written());
  CHECK(scratch::read(folder.path("a")) == "else");
  CHECK(scratch::read(folder.path("new")) == "own, new");
  CHECK(give("no/such/folder").native == ENOENT);
}

}  // namespace own_file_test
