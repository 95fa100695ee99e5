// Seals: written whole, read back, and held against damage and change.
#include "support/catch.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "scratch.hpp"
#include "store/seal.hpp"

namespace seal_test {

using namespace cubby::store;

namespace {

seal seal_of(const model_file &model) {
  seal content;
  content.chunk_bytes = 65536;
  content.files = model.files;
  content.banks = {{1, 2, UINT64_MAX}, {}, {7}};
  content.complete = true;
  return content;
}

}  // namespace

TEST_CASE("a seal comes back as it was written, and leaves no temporary file") {
  const scratch::folder folder;
  auto model = open_model(folder.write("m.gguf", scratch::mixed_model().bytes()), "");
  REQUIRE(model.ok());
  const std::string path = seal_path_of(*model, "");
  CHECK(path == folder.path("m.gguf.cubby-seal"));
  CHECK(seal_path_of(*model, "x") == "x");
  auto missing = read_seal(path);
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.failure().status == CUBBY_MISS);
  const seal content = seal_of(*model);
  REQUIRE(write_seal(path, content).ok());
  auto again = read_seal(path);
  REQUIRE(again.ok());
  CHECK(again->banks == content.banks);
  CHECK(again->complete);
  CHECK(again->chunk_bytes == 65536);
  CHECK(check_seal(*again, *model).ok());
  const std::filesystem::directory_iterator entries(folder.path(""));
  CHECK(std::distance(begin(entries), end(entries)) == 2);
}

TEST_CASE("a seal with any byte flipped or cut off is refused") {
  const scratch::folder folder;
  auto model = open_model(folder.write("m.gguf", scratch::mixed_model().bytes()), "");
  REQUIRE(model.ok());
  REQUIRE(write_seal(folder.path("s"), seal_of(*model)).ok());
  const std::string bytes = scratch::read(folder.path("s"));
  for (size_t at = 0; at < bytes.size(); at++) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0xff);
    auto flipped = read_seal(folder.write("t", changed));
    if (flipped || flipped.failure().status != CUBBY_ERR_FORMAT) FAIL("byte " << at);
    auto cut = read_seal(folder.write("t", bytes.substr(0, at)));
    if (cut || cut.failure().status != CUBBY_ERR_FORMAT) FAIL("cut at " << at);
  }
  CHECK_FALSE(read_seal(folder.write("t", bytes + "x")).ok());
}

TEST_CASE("a file changed since it was sealed is named, with what differs") {
  const scratch::folder folder;
  const std::string path = folder.write("m.gguf", scratch::mixed_model().bytes());
  auto before = open_model(path, "");
  REQUIRE(before.ok());
  const seal content = seal_of(*before);
  folder.write("m.gguf", scratch::mixed_model().pair("more", 1).bytes());
  auto after = open_model(path, "");
  REQUIRE(after.ok());
  auto checked = check_seal(content, *after);
  REQUIRE_FALSE(checked.ok());
  CHECK(checked.failure().status == CUBBY_ERR_CORRUPT);
  CHECK(checked.failure().text.find(path) != std::string::npos);
  CHECK(checked.failure().text.find("size differs") != std::string::npos);
}

TEST_CASE("an interrupted seal comes back with its gaps, a complete one may have none") {
  const scratch::folder folder;
  auto model = open_model(folder.write("m.gguf", scratch::mixed_model().bytes()), "");
  REQUIRE(model.ok());
  seal content = seal_of(*model);
  content.banks[0][1] = 0;
  content.complete = false;
  REQUIRE(write_seal(folder.path("s"), content).ok());
  auto again = read_seal(folder.path("s"));
  REQUIRE(again.ok());
  CHECK_FALSE(again->complete);
  CHECK(again->banks[0] == std::vector<uint64_t>{1, 0, UINT64_MAX});
  auto digests = take_digests(*again, 0, 3);
  REQUIRE(digests.ok());
  CHECK(digests->size() == 3);
  CHECK(take_digests(*again, 0, 2).failure().status == CUBBY_ERR_FORMAT);
  content.complete = true;
  REQUIRE(write_seal(folder.path("s"), content).ok());
  auto refused = read_seal(folder.path("s"));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().text.find("a digest is missing") != std::string::npos);
  CHECK(refused.failure().text.find("seal the model again") != std::string::npos);
}

TEST_CASE("a foreign file is not taken for a seal") {
  const scratch::folder folder;
  for (const std::string &bytes : {std::string(), std::string("{}"), scratch::mixed_model().bytes(),
                                   std::string(5000, '\0')}) {
    auto foreign = read_seal(folder.write("s", bytes));
    REQUIRE_FALSE(foreign.ok());
    CHECK(foreign.failure().status == CUBBY_ERR_FORMAT);
  }
  CHECK(read_seal(folder.path("")).failure().status == CUBBY_ERR_INVALID);
}

TEST_CASE("a damaged seal may be replaced") {
  const scratch::folder folder;
  auto model = open_model(folder.write("m.gguf", scratch::mixed_model().bytes()), "");
  REQUIRE(model.ok());
  REQUIRE(write_seal(folder.path("s"), seal_of(*model)).ok());
  folder.write("s", scratch::read(folder.path("s")).substr(0, 50));
  CHECK_FALSE(read_seal(folder.path("s")).ok());
  CHECK(write_seal(folder.path("s"), seal_of(*model)).ok());
  CHECK(read_seal(folder.path("s")).ok());
}

TEST_CASE("writing a seal replaces the old one whole, or leaves it as it was") {
  const scratch::folder folder;
  auto model = open_model(folder.write("m.gguf", scratch::mixed_model().bytes()), "");
  REQUIRE(model.ok());
  const seal content = seal_of(*model);
  const std::string path = folder.path("s");
  REQUIRE(write_seal(path, content).ok());
  const std::string before = scratch::read(path);

  for (const std::string &left : {std::string(), before.substr(0, 40), before + before}) {
    folder.write("s.tmp", left);  // by a writer that was killed
    REQUIRE(write_seal(path, content).ok());
    CHECK(scratch::read(path) == before);
    CHECK_FALSE(std::filesystem::exists(path + ".tmp"));
  }

  const int other = open((path + ".tmp").c_str(), O_WRONLY | O_CREAT, 0600);
  REQUIRE(flock(other, LOCK_EX) == 0);
  CHECK(write_seal(path, content).failure().status == CUBBY_ERR_IN_USE);
  close(other);
  std::filesystem::remove(path + ".tmp");

  std::filesystem::create_symlink(path, path + ".tmp");
  CHECK_FALSE(write_seal(path, content).ok());
  CHECK(scratch::read(path) == before);
  std::filesystem::remove(path + ".tmp");

  auto nowhere = write_seal(folder.path("no/such/place"), content);
  REQUIRE_FALSE(nowhere.ok());
  CHECK(nowhere.failure().text.find("no/such/place") != std::string::npos);
}

TEST_CASE("a seal replaces nothing but a seal, at its place and at its temporary one") {
  const scratch::folder folder;
  const std::string model_bytes = scratch::mixed_model().bytes();
  const std::string model_path = folder.write("m.gguf", model_bytes);
  auto model = open_model(model_path, "");
  REQUIRE(model.ok());
  const seal content = seal_of(*model);
  const auto refused = [&](const std::string &path) {
    INFO(path);
    for (const auto &one : {try_place(path), write_seal(path, content)}) {
      REQUIRE_FALSE(one.ok());
      CHECK(one.failure().status == CUBBY_ERR_INVALID);
      CHECK(one.failure().text.find("left as it is") != std::string::npos);
      CHECK(one.failure().text.find("remove it") != std::string::npos);
    }
  };
  refused(model_path);
  refused(folder.write("notes.txt", "of any content"));
  refused(folder.write("empty", ""));
  CHECK(scratch::read(model_path) == model_bytes);
  CHECK(scratch::read(folder.path("notes.txt")) == "of any content");
  CHECK(std::filesystem::exists(folder.path("empty")));

  std::filesystem::create_symlink(model_path, folder.path("link"));
  std::filesystem::create_symlink(folder.path("nowhere"), folder.path("dangling"));
  REQUIRE(mkfifo(folder.path("pipe").c_str(), 0600) == 0);
  std::filesystem::create_directory(folder.path("folder"));
  for (const char *name : {"link", "dangling", "pipe", "folder"}) {
    refused(folder.path(name));
    std::filesystem::rename(folder.path(name), folder.path("s.tmp"));
    refused(folder.path("s"));
    CHECK_FALSE(std::filesystem::exists(folder.path("s")));
    std::filesystem::remove(folder.path("s.tmp"));
  }
  refused("/dev/full");

  // What lies under the temporary name may be anybody's as well.
  folder.write("s.tmp", "notes");
  refused(folder.path("s"));
  CHECK(scratch::read(folder.path("s.tmp")) == "notes");
  std::filesystem::remove(folder.path("s.tmp"));

  // A leftover that is a second name of a seal leaves the seal whole.
  REQUIRE(write_seal(folder.path("other"), content).ok());
  const std::string other = scratch::read(folder.path("other"));
  std::filesystem::create_hard_link(folder.path("other"), folder.path("s.tmp"));
  seal fewer = content;
  fewer.banks[0].pop_back();
  REQUIRE(write_seal(folder.path("s"), fewer).ok());
  CHECK(scratch::read(folder.path("other")) == other);
}

TEST_CASE("writers that are killed at any moment leave a whole seal") {
  const scratch::folder folder;
  auto model = open_model(folder.write("m.gguf", scratch::mixed_model().bytes()), "");
  REQUIRE(model.ok());
  seal content = seal_of(*model);
  content.banks[0].assign(50000, 3);
  const std::string path = folder.path("s");
  REQUIRE(write_seal(path, content).ok());
  for (uint32_t round = 0; round < 20; round++) {
    const pid_t writer = fork();
    REQUIRE(writer >= 0);
    if (writer == 0)
      for (uint64_t digest = 4;; digest++) {
        content.banks[0].assign(50000, digest);
        if (!write_seal(path, content)) _exit(1);
      }
    usleep(1000 * (round % 7 + 1));
    REQUIRE(kill(writer, SIGKILL) == 0);
    int how = 0;
    REQUIRE(waitpid(writer, &how, 0) == writer);
    CHECK(WIFSIGNALED(how));
    auto found = read_seal(path);
    REQUIRE(found.ok());
    const auto &digests = found->banks[0];
    CHECK(std::count(digests.begin(), digests.end(), digests[0]) == 50000);
  }
}

TEST_CASE("a copied model keeps its seal, but an interrupted one does not go on with it") {
  const scratch::folder folder;
  const std::string bytes = scratch::mixed_model().bytes();
  auto model = open_model(folder.write("m.gguf", bytes), "");
  REQUIRE(model.ok());
  const seal content = seal_of(*model);
  CHECK(is_untouched(content, *model));
  auto copy = open_model(folder.write("copy.gguf", bytes), "");
  REQUIRE(copy.ok());
  CHECK(check_seal(content, *copy).ok());
  CHECK_FALSE(is_untouched(content, *copy));
  std::string changed = bytes;
  changed.back() ^= 1;
  auto touched = open_model(folder.write("copy.gguf", changed), "");
  REQUIRE(touched.ok());
  CHECK(check_seal(content, *touched).ok());
}

}  // namespace seal_test
