// cubby run: what the program finds in its environment, and that its end is the command's.
#include <sys/stat.h>

#include <filesystem>

#include "cli/process.hpp"
#include "support/catch.hpp"
#include "unit/store/scratch.hpp"

namespace run_test {

using process::outcome;

namespace {

/// A folder that has the libraries by name; they are only looked for.
std::string adapter(const scratch::folder &folder) {
  folder.write("libcubby-preload.so", {});
  return std::filesystem::path(folder.write("libggml-cubby.so", {})).parent_path().string();
}

outcome run(const std::string &place, const std::string &arguments) {
  return process::shell("CUBBY_LIBRARY_DIR=" + place + " " CUBBY_COMMAND " run " + arguments +
                        " 2>&1");
}

}  // namespace

TEST_CASE("run sets the budget, the policy and where the backend is") {
  const scratch::folder folder;
  const std::string place = adapter(folder);
  const outcome found =
      run(place, "--host-budget 12MiB --policy lru --no-summary --no-preload -- env");
  INFO(found.text);
  CHECK(found.exit_status == 0);
  CHECK(found.text.find("CUBBY_HOST_BUDGET=12582912\n") != std::string::npos);
  CHECK(found.text.find("CUBBY_POLICY=lru\n") != std::string::npos);
  CHECK(found.text.find("CUBBY_SUMMARY=0\n") != std::string::npos);
  CHECK(found.text.find("GGML_BACKEND_PATH=" + place + "/libggml-cubby.so\n") != std::string::npos);
  CHECK(found.text.find("LD_PRELOAD=") == std::string::npos);
}

TEST_CASE("run takes a small budget that names its unit") {
  const scratch::folder folder;
  const outcome found = run(adapter(folder), "--host-budget 700KiB --no-preload -- env");
  CHECK(found.exit_status == 0);
  CHECK(found.text.find("CUBBY_HOST_BUDGET=716800\n") != std::string::npos);
}

TEST_CASE("run passes words and the exit status on") {
  const scratch::folder folder;
  const std::string place = adapter(folder);
  const outcome ended =
      run(place, "--no-preload -- sh -c 'echo \"$0 $1\"; exit 7' --host-budget -x");
  CHECK(ended.exit_status == 7);
  CHECK(ended.text == "--host-budget -x\n");
  const outcome killed =
      process::shell("CUBBY_LIBRARY_DIR=" + place +
                     " sh -c '" CUBBY_COMMAND
                     " run --no-preload -- sh -c \"kill -TERM \\$\\$\"; echo status $?' 2>&1");
  CHECK(killed.text.find("status 143") != std::string::npos);
}

TEST_CASE("run says that nothing can be loaded into a program that is linked statically") {
  const scratch::folder folder;
  const std::string place = adapter(folder);
  // A header of a program without parts: enough to be looked at, too little to be run.
  std::string header(64, '\0');
  header.replace(0, 5,
                 "\x7f"
                 "ELF\2");
  header[54] = 56;
  const std::string program = folder.write("static", header);
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const outcome found = run(place, "--no-preload -- " + program);
  INFO(found.text);
  CHECK(found.text.find("linked statically") != std::string::npos);
  CHECK(found.text.find("BUILD_SHARED_LIBS=ON") != std::string::npos);
  CHECK(run(place, "--no-preload -- true").text.empty());
  const std::string linker = "/lib64/ld-linux-x86-64.so.2";
  if (std::filesystem::exists(linker))
    CHECK(run(place, "--no-preload -- " + linker + " /bin/true").text.empty());
}

TEST_CASE("run says what it lacks") {
  const scratch::folder folder;
  const std::string place = adapter(folder);
  const outcome no_program = run(place, "--no-preload -- /no/such/program");
  CHECK(no_program.exit_status == 127);
  CHECK(no_program.text.find("/no/such/program") != std::string::npos);
  const outcome bad_size = run(place, "--host-budget much --no-preload -- true");
  CHECK(bad_size.exit_status == 2);
  CHECK(bad_size.text.find("12GiB") != std::string::npos);
  CHECK(run(place, "--no-preload").exit_status == 2);
  const std::string pipe = folder.path("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0700) == 0);
  const outcome no_file =
      process::shell("CUBBY_LIBRARY_DIR=" + place +
                     " timeout 20 " CUBBY_COMMAND " run --no-preload -- " + pipe + " 2>&1");
  CHECK(no_file.exit_status == 126);
  CHECK(no_file.text.find(pipe) != std::string::npos);
  if (std::filesystem::exists(std::filesystem::path(CUBBY_COMMAND).parent_path() / ".." / "lib" /
                              "libggml-cubby.so"))
    return;  // the adapter is built, so it is found
  const outcome not_built = run("/no/such/folder", "-- true");
  CHECK(not_built.exit_status == 1);
  CHECK(not_built.text.find("-DCUBBY_WITH_GGML") != std::string::npos);
}

}  // namespace run_test
