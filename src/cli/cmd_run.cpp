// cubby run: starts a program with what it needs to keep the experts of its model in lockers. The
// program takes this process's place, so signals and its exit status are its own.
#include <elf.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "cli/commands.hpp"
#include "cli/outcome.hpp"
#include "cli/printable.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

namespace fs = std::filesystem;

struct options {
  std::string host_budget, policy, copies;
  bool no_summary = false, populate = false;
  std::vector<std::string> program;
};

/// As a shell has it: the program is not there, or cannot be run.
constexpr int exit_not_found = 127, exit_cannot_run = 126;

constexpr char backend_name[] = "libggml-cubby.so", preload_name[] = "libcubby-preload.so";

/// Where the libraries of the adapter are: beside this program as it was built or installed.
outcome<fs::path> adapter_folder() {
  std::error_code failed;
  std::vector<fs::path> places;
  if (const char *named = std::getenv("CUBBY_LIBRARY_DIR")) places.emplace_back(named);
  const fs::path here = fs::read_symlink("/proc/self/exe", failed).parent_path();
  places.push_back(here / ".." / "lib");
  places.push_back(here / ".." / CUBBY_INSTALL_LIBDIR / "cubby");
  for (const fs::path &place : places)
    if (fs::exists(place / backend_name, failed)) return fs::canonical(place, failed);
  return trouble{std::string(backend_name) +
                 " is in none of the folders beside this program; build with "
                 "-DCUBBY_WITH_GGML=<ggml's sources>, or name its folder in CUBBY_LIBRARY_DIR"};
}

done set_variable(const char *name, const std::string &value) {
  if (setenv(name, value.c_str(), 1) != 0) return system_trouble(name, errno);
  return nothing{};
}

/// The preload comes before what is preloaded already.
done set_preload(const fs::path &library) {
  const std::string path = library.string();
  if (path.find_first_of(": ") != std::string::npos)
    return trouble{path +
                   ": the dynamic linker takes colons and spaces for the end of a name; "
                   "install cubby in a folder without them"};
  const char *others = std::getenv("LD_PRELOAD");
  return set_variable("LD_PRELOAD",
                      others == nullptr || *others == '\0' ? path : path + ":" + others);
}

done set_up(const options &chosen) {
  if (!chosen.host_budget.empty()) {
    const auto bytes = byte_count(chosen.host_budget);
    const auto last = static_cast<unsigned char>(chosen.host_budget.back());
    const bool lacks_unit = std::isdigit(last) != 0;
    constexpr double least = 1 << 20;  // less, without a unit, was not meant so
    if (!bytes || *bytes < 1 || (lacks_unit && *bytes < least))
      return usage_trouble("--host-budget is \"" + chosen.host_budget +
                           "\"; it must be a size such as 12GiB or 800MiB");
    const std::string text = std::to_string(static_cast<uint64_t>(*bytes));
    if (auto good = set_variable("CUBBY_HOST_BUDGET", text); !good) return good;
  }
  if (!chosen.policy.empty())
    if (auto good = set_variable("CUBBY_POLICY", chosen.policy); !good) return good;
  if (!chosen.copies.empty())
    if (auto good = set_variable("CUBBY_MODEL_COPIES", chosen.copies); !good) return good;
  if (chosen.no_summary)
    if (auto good = set_variable("CUBBY_SUMMARY", "0"); !good) return good;
  const auto folder = adapter_folder();
  if (!folder) return folder.failure();
  const std::string backend = (*folder / backend_name).string();
  if (const char *other = std::getenv("GGML_BACKEND_PATH"); other != nullptr && backend != other)
    std::cerr << "cubby run: GGML_BACKEND_PATH names " << printable(other)
              << "; it names cubby's backend for this program, ggml takes one there\n";
  if (auto good = set_variable("GGML_BACKEND_PATH", backend); !good) return good;
  return chosen.populate ? nothing{} : set_preload(*folder / preload_name);
}

/// The file that execvp() would take; empty when there is none.
fs::path program_file(const std::string &name) {
  if (name.find('/') != std::string::npos) return name;
  const char *path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/bin:/usr/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path file = fs::path(folder.empty() ? "." : folder) / name;
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

/// An ELF program that names no dynamic linker, so that nothing can be loaded into it. The dynamic
/// linker itself names none either.
bool is_linked_statically(const fs::path &file) {
  std::error_code failed;
  const std::string name = fs::canonical(file, failed).filename();
  // A pipe would keep whoever opens it waiting.
  if (failed || !fs::is_regular_file(file, failed) || name.starts_with("ld-")) return false;
  std::ifstream in(file, std::ios::binary);
  Elf64_Ehdr header = {};
  if (!in.read(reinterpret_cast<char *>(&header), sizeof header) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_phentsize != sizeof(Elf64_Phdr))
    return false;
  std::vector<Elf64_Phdr> parts(header.e_phnum);
  in.seekg(static_cast<std::streamoff>(header.e_phoff));
  if (!in.read(reinterpret_cast<char *>(parts.data()),
               static_cast<std::streamsize>(parts.size() * sizeof(Elf64_Phdr))))
    return false;
  return std::none_of(parts.begin(), parts.end(),
                      [](const Elf64_Phdr &one) { return one.p_type == PT_INTERP; });
}

int run(const options &chosen) {
  if (auto good = set_up(chosen); !good) return report_trouble("run", good.failure(), false);
  if (is_linked_statically(program_file(chosen.program[0])))
    std::cerr << "cubby run: " << printable(chosen.program[0])
              << " is linked statically, so nothing can be loaded into it and it runs as without "
                 "cubby; take a build of llama.cpp with shared libraries (BUILD_SHARED_LIBS=ON)\n";
  std::vector<char *> words;
  for (const std::string &word : chosen.program) words.push_back(const_cast<char *>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  const int number = errno;
  (void)report_trouble("run", system_trouble(printable(chosen.program[0]), number), false);
  return number == ENOENT ? exit_not_found : exit_cannot_run;
}

}  // namespace

void add_run(command &program) {
  command one = program.subcommand(
      "run",
      "Run a program of llama.cpp with the experts of its model in a fixed budget of host memory: "
      "cubby run --host-budget 12GiB -- llama-server -m model.gguf");
  auto chosen = std::make_shared<options>();
  one.option("--host-budget", chosen->host_budget,
             "Memory for experts (12GiB, 800MiB); without it half of what there is")
      .not_empty();
  one.option("--policy", chosen->policy, "Placement policy instead of the experts' own")
      .not_empty();
  one.option("--copies", chosen->copies,
             "Copies of the model's (first) file on other devices, to be read as well; colons "
             "between them")
      .not_empty();
  one.flag("--no-summary", chosen->no_summary, "Print nothing at the program's end");
  one.flag("--no-preload", chosen->populate,
           "Set GGML_BACKEND_PATH alone: the program reads the whole model at its start, and must "
           "load backends itself");
  one.option("program", chosen->program, "The program and its words, after --").required();
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
