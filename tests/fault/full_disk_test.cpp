// Disks that are full or read-only, mounted for real in a namespace of the command's own.
#include "cli/process.hpp"
#include "store/durable/posix_store.hpp"
#include "unit/store/scratch.hpp"

namespace {

using process::shell;

/// Where "PLACE" stands in `line`, a file system mounted so; "" when mounting is not allowed here.
std::string on_mount(const scratch::folder &folder, const std::string &options,
                     const std::string &line) {
  const std::string place = folder.path("disk");
  std::filesystem::create_directory(place);
  const std::string inside = "mount -t tmpfs -o " + options + " none " + place + " && ";
  const auto wrap = [&](const std::string &what) {
    // Root has no need of a user namespace, and some machines allow none.
    const char *how = geteuid() == 0 ? "unshare -m" : "unshare -rm";
    return std::string(how) + " sh -c '" + inside + what + "' 2>&1";
  };
  if (shell(wrap("true")).exit_status != 0) {
    WARN("SKIPPED: mounting a small file system in a namespace of its own is not allowed here");
    return "";
  }
  std::string whole = line;
  for (size_t at = 0; (at = whole.find("PLACE")) != std::string::npos;) {
    whole.replace(at, 5, place);
  }
  const auto found = shell(wrap(whole));
  return found.text + "exit " + std::to_string(found.exit_status) + "\n";
}

bool has(const std::string &text, const std::string &words) {
  return text.find(words) != text.npos;
}

const std::string command = CUBBY_COMMAND;
/// A model whose seal takes more than the few KiB that are left.
const std::string model_flags = "--layers 4 --experts 32 --hidden 64 --ffn 64 ";

}  // namespace

TEST_CASE("seal on a full disk: NO_SPACE, and neither a seal nor half of one") {
  const scratch::folder folder;
  REQUIRE(shell(command + " make-model " + model_flags + "--out " + folder.path("m.gguf") + " 2>&1")
              .exit_status == 0);
  const std::string fill = "dd if=/dev/zero of=PLACE/fill bs=4096 2>/dev/null; ";
  const std::string said =
      on_mount(folder, "size=64k",
               fill + command + " seal " + folder.path("m.gguf") +
                   " --seal-path PLACE/m.seal 2>&1; echo status $?; ls -A PLACE");
  if (said.empty()) return;
  INFO(said);
  CHECK(has(said, "NO_SPACE"));
  CHECK(has(said, "No space left"));
  CHECK(has(said, "make room"));
  CHECK(has(said, "status 1\nfill\nexit 0"));
}

TEST_CASE("seal on a full disk keeps the seal that was there") {
  const scratch::folder folder;
  const std::string make = command + " make-model " + model_flags;
  REQUIRE(shell(make + "--out " + folder.path("m.gguf") + " 2>&1").exit_status == 0);
  const std::string seal = command + " seal " + folder.path("m.gguf") + " --seal-path PLACE/m.seal";
  const std::string said =
      on_mount(folder, "size=64k",
               seal + " >/dev/null && cp PLACE/m.seal " + folder.path("before") + " && touch " +
                   folder.path("m.gguf") +
                   "; dd if=/dev/zero of=PLACE/fill bs=4096 "
                   "2>/dev/null; " +
                   seal + " 2>&1; echo status $?; cmp PLACE/m.seal " + folder.path("before") +
                   " && echo same; ls -A PLACE");
  if (said.empty()) return;
  INFO(said);
  CHECK(has(said, "NO_SPACE"));
  CHECK(has(said, "status 1\nsame\nfill\nm.seal\nexit 0"));
}

TEST_CASE("seal beside a file on a read-only disk: DENIED with EROFS, at once") {
  const scratch::folder folder;
  REQUIRE(shell(command + " make-model " + model_flags + "--out " + folder.path("m.gguf") + " 2>&1")
              .exit_status == 0);
  const std::string said =
      on_mount(folder, "size=4m",
               "cp " + folder.path("m.gguf") + " PLACE/ && mount -o remount,ro PLACE && " +
                   command + " seal PLACE/m.gguf 2>&1; echo status $?; ls -A PLACE; " + command +
                   " seal PLACE/m.gguf --seal-path " + folder.path("elsewhere.seal") +
                   " >/dev/null 2>&1; echo elsewhere $?");
  if (said.empty()) return;
  INFO(said);
  CHECK(has(said, "DENIED"));
  CHECK(has(said, "Read-only file system"));
  CHECK(has(said, "seal path"));
  CHECK(has(said, "status 1\nm.gguf\n"));
  CHECK(has(said, "elsewhere 0"));  // the remedy
}

TEST_CASE("store info and verify on a read-only disk; trim is DENIED") {
  const scratch::folder folder;
  REQUIRE(cubby::store::posix_store::open({{folder.path("")}, 4 << 20, 16384, 0}));
  const std::string said =
      on_mount(folder, "size=8m",
               "cp " + folder.path("cubby.store") + " PLACE/ && mount -o remount,ro PLACE && for " +
                   "what in info verify trim; do " + command +
                   " store $what PLACE 2>&1; echo $what $?; done; ls -A PLACE");
  if (said.empty()) return;
  INFO(said);
  CHECK(has(said, "0 blocks"));
  CHECK(has(said, "info 0\n"));
  CHECK(has(said, "verify 0\n"));
  CHECK(has(said, "DENIED"));
  CHECK(has(said, "trim 1\ncubby.store\nexit 0"));
}

TEST_CASE("make-model on a full disk: said, and nothing under the final name") {
  const scratch::folder folder;
  const std::string said = on_mount(folder, "size=64k",
                                    command + " make-model " + model_flags +
                                        "--out PLACE/m.gguf 2>&1; echo status $?; ls -A PLACE");
  if (said.empty()) return;
  INFO(said);
  CHECK(has(said, "No space left"));
  CHECK(has(said, "status 1\nexit 0"));
}

TEST_CASE("make-model when the disk fills while it writes: nothing under the final name") {
  const scratch::folder folder;
  // A limit on the size of files fails in the middle, where the room was there before.
  const auto found = shell("ulimit -f 64; " + command + " make-model " + model_flags + "--out " +
                           folder.path("m.gguf") + " 2>&1");
  INFO(found.text);
  CHECK(found.exit_status == 1);
  CHECK(std::filesystem::is_empty(folder.path("")));
}
