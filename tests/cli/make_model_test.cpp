// cubby make-model: the same bytes for the same seed, geometry that holds together, and nothing
// left behind when it cannot be done.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "cli/model/blocks.hpp"
#include "cli/model/make_model.hpp"
#include "cli/model/new_file.hpp"
#include "cli/process.hpp"
#include "unit/store/scratch.hpp"

namespace make_model_test {

using namespace cubby_cli;
using nlohmann::json;
using process::command;
using process::command_json;

namespace {

const std::string small = "make-model --layers 4 --experts 6 --top-k 2 --hidden 96 --ffn 160 ";

size_t entries(const std::string &folder) {
  const std::filesystem::directory_iterator all(folder);
  return static_cast<size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

TEST_CASE("every half-precision number survives the way to single and back") {
  for (uint32_t half = 0; half < 0x7c00; half++) {
    const float value = model::half_to_float(static_cast<uint16_t>(half));
    REQUIRE(model::float_to_half(value) == half);
    REQUIRE(model::float_to_half(-value) == (half | 0x8000u));
    REQUIRE(model::half_to_float(static_cast<uint16_t>(half | 0x8000u)) == -value);
  }
  CHECK(model::half_to_float(0x3c00) == 1.0f);
  CHECK(model::half_to_float(0x0001) == 0x1p-24f);
  CHECK(std::isinf(model::half_to_float(0x7c00)));
}

TEST_CASE("a seed fixes every byte, another seed changes them") {
  const scratch::folder folder;
  const std::string quant = GENERATE("--type q8_0", "--type q4_0", "--mixed-quant");
  for (const char *name : {"a", "b"})
    CHECK(command(small + quant + " --seed 7 --out " + folder.path(name)).exit_status == 0);
  CHECK(command(small + quant + " --seed 8 --out " + folder.path("c")).exit_status == 0);
  const std::string a = scratch::read(folder.path("a")), c = scratch::read(folder.path("c"));
  CHECK(a == scratch::read(folder.path("b")));
  CHECK(a.size() == c.size());
  CHECK(a != c);
  CHECK(entries(folder.path("")) == 3);
}

TEST_CASE("the library adopts what was made, with rows of two sizes where types are mixed") {
  const scratch::folder folder;
  const std::string path = folder.path("m.gguf");
  const json made = command_json(small + "--mixed-quant --out " + path, 0);
  CHECK(made["bytes"] == std::filesystem::file_size(path));
  const json seen = command_json("inspect " + path, 0);
  const json &bank = seen["banks"].at(0);
  CHECK(bank["rows"] == 4);
  CHECK(bank["columns"] == 6);
  const uint64_t blocks = 3 * 96 * 160 / 32;
  CHECK(bank["row_bytes"] == json({blocks * 34, blocks * 18, blocks * 34, blocks * 18}));
  CHECK(made["expert_bytes"] == 6 * 2 * blocks * (34 + 18));
  model::geometry shape;
  shape.layers = 4, shape.experts = 6, shape.top_k = 2, shape.hidden = 96, shape.ffn = 160;
  shape.mixed_quant = true;
  CHECK(model::file_bytes(shape) == std::filesystem::file_size(path));
}

TEST_CASE("impossible geometry is a usage error that names the flag, and makes nothing") {
  const scratch::folder folder;
  const struct {
    const char *arguments, *named;
  } wrong[] = {{"--hidden 100", "--hidden"}, {"--ffn 31", "--ffn"},
               {"--layers 0", "--layers"},   {"--experts 0", "--experts"},
               {"--top-k 0", "--top-k"},     {"--top-k 33", "--top-k"},
               {"--type q9_9", "--type"},    {"--hidden -32", "--hidden"}};
  for (const auto &one : wrong) {
    const auto found =
        command(std::string("make-model ") + one.arguments + " --out " + folder.path("m.gguf"));
    INFO(one.arguments << " said: " << found.text);
    CHECK(found.exit_status == 2);
    CHECK(found.text.find(one.named) != std::string::npos);
  }
  CHECK(command("make-model").exit_status == 2);
  CHECK(command("make-model --out " + folder.path("")).exit_status == 2);
  CHECK(entries(folder.path("")) == 0);
}

TEST_CASE("a missing folder is named with its remedy") {
  const scratch::folder folder;
  const auto found = command(small + "--out " + folder.path("not/there.gguf"));
  CHECK(found.exit_status == 2);
  CHECK(found.text.find("make it first") != std::string::npos);
  CHECK(entries(folder.path("")) == 0);
}

TEST_CASE("what make-model did not make stays, and is reported before work is spent") {
  const scratch::folder folder;
  const std::string gguf("GGUF\3\0\0\0 of another make", 24);
  folder.write("notes", "something else");
  folder.write("other.gguf", gguf);
  folder.write("empty", "");
  std::filesystem::create_symlink(folder.path("notes"), folder.path("link"));
  std::filesystem::create_symlink(folder.path("nowhere"), folder.path("dangling"));
  for (const char *name : {"notes", "other.gguf", "empty", "link", "dangling"}) {
    const auto refused = command("make-model --layers 100000 --out " + folder.path(name));
    INFO(refused.text);
    CHECK(refused.exit_status == 2);
  }
  CHECK(command("make-model --out ''").text.find("--out") != std::string::npos);
  CHECK(command("make-model --out ''").exit_status == 2);
  CHECK(scratch::read(folder.path("notes")) == "something else");
  CHECK(scratch::read(folder.path("other.gguf")) == gguf);
  CHECK(entries(folder.path("")) == 5);
}

TEST_CASE("a model that stands there by the end stays") {
  const scratch::folder folder;
  model::new_file file([](std::string_view begin, uint64_t) { return begin == "own"; });
  const std::string path = folder.path("f"), text = "own";
  REQUIRE(file.open(path, 0));
  REQUIRE(file.write(std::as_bytes(std::span(text))));
  folder.write("f", "of another");
  CHECK_FALSE(file.publish());
  CHECK(scratch::read(path) == "of another");
}

TEST_CASE("what a killed run left is named, what a living one writes is not") {
  const scratch::folder folder;
  const std::string path = folder.path("m.gguf");
  folder.write("m.gguf.partial-4194305", "left");
  folder.write("m.gguf.partial-12x", "of another kind");
  const std::string living = folder.write("m.gguf.partial-4194306", "being written");
  const int writer = open(living.c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(flock(writer, LOCK_EX) == 0);
  const auto ran = command(small + "--out " + path);
  close(writer);
  INFO(ran.text);
  CHECK(ran.exit_status == 0);
  CHECK(ran.text.find("partial-4194305 (4 B) was left by a run that was killed; remove it") !=
        std::string::npos);
  CHECK(ran.text.find("4194306") == std::string::npos);
  CHECK(ran.text.find("12x") == std::string::npos);
  CHECK(entries(folder.path("")) == 4);
}

TEST_CASE("a model that was there is replaced whole, and stays when the new one fails") {
  const scratch::folder folder;
  const std::string path = folder.path("m.gguf");
  REQUIRE(command(small + "--seed 9 --out " + path).exit_status == 0);
  const std::string before = scratch::read(path);
  const auto failed =
      process::shell("ulimit -f 64; " CUBBY_COMMAND " " + small + "--out " + path + " 2>&1");
  INFO(failed.text);
  CHECK(failed.exit_status == 1);
  CHECK(failed.text.find("ulimit -f") != std::string::npos);
  CHECK(scratch::read(path) == before);
  CHECK(entries(folder.path("")) == 1);
  CHECK(command(small + "--out " + path).exit_status == 0);
  CHECK(scratch::read(path) != before);
  CHECK(scratch::read(path).starts_with("GGUF"));
  CHECK(entries(folder.path("")) == 1);
}

TEST_CASE("a full disk is said before work is spent, and leaves nothing") {
  const scratch::folder folder;
  const std::string mount =
      "unshare -rm sh -c 'mount -t tmpfs -o size=64k none " + folder.path("") + " && ";
  if (process::shell(mount + "true' 2>&1").exit_status != 0) {
    WARN("SKIPPED: mounting a small file system in a namespace of its own is not allowed here");
    return;
  }
  const auto found =
      process::shell(mount + CUBBY_COMMAND " " + small + "--out " + folder.path("m.gguf") +
                     " 2>&1; echo status $?; ls -A " + folder.path("") + " | wc -l'");
  INFO(found.text);
  CHECK(found.text.find("No space left") != std::string::npos);
  CHECK(found.text.find("free some space") != std::string::npos);
  CHECK(found.text.find("status 1\n0\n") != std::string::npos);
}

TEST_CASE("an interrupt or a kill while it works leaves nothing") {
  const int signal_number = GENERATE(SIGTERM, SIGKILL);
  const scratch::folder folder;
  const std::string path = folder.path("m.gguf");
  const std::string program = CUBBY_COMMAND;
  std::vector<std::string> words = {program, "make-model", "--layers", "64",    "--hidden",
                                    "2048",  "--ffn",      "2048",     "--out", path};
  std::vector<char *> arguments;
  for (std::string &word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  REQUIRE(posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments.data(), environ) == 0);
  // It is at work once it has its file open; the model is far too large to be done by then.
  const auto at_work = [&] {
    std::error_code failed;
    for (const auto &one :
         std::filesystem::directory_iterator("/proc/" + std::to_string(child) + "/fd", failed))
      if (std::filesystem::read_symlink(one.path(), failed).string().starts_with(folder.path("")))
        return true;
    return false;
  };
  int status = 0;
  while (!at_work() && waitpid(child, &status, WNOHANG) == 0) usleep(1000);
  kill(child, signal_number);
  waitpid(child, &status, 0);
  if (signal_number == SIGTERM) CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 1));
  if (signal_number == SIGKILL) CHECK(WIFSIGNALED(status));
  // Where a file system has no files without a name, a killed run leaves one.
  const int nameless = open(folder.path("").c_str(), O_TMPFILE | O_WRONLY, 0600);
  if (nameless >= 0) close(nameless);
  CHECK(entries(folder.path("")) == (nameless < 0 && signal_number == SIGKILL ? 1u : 0u));
}

}  // namespace make_model_test
