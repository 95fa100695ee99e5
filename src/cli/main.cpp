// The `cubby` command. Over the public interface: what a subcommand needs and cannot say is a hole
// in that interface; but `store` reads the runtime's own files.
#include <cerrno>
#include <cstring>
#include <exception>
#include <iostream>

#include "cli/commands.hpp"
#include "cli/printable.hpp"

namespace {

/// What was said is worth nothing where it did not get there: a full disk must not look like
/// success.
int flush_output(int exit_status) {
  errno = 0;
  if (std::cout.flush()) return exit_status;
  std::cerr << "cubby: the output could not be written"
            << (errno == 0 ? std::string() : std::string(": ") + std::strerror(errno))
            << "; what has been printed is not whole, send it elsewhere\n";
  return exit_status == 0 ? 1 : exit_status;
}

}  // namespace

int main(int argc, char **argv) {
  cubby_cli::command_line program("cubby: numbered lockers for model memory");
  program.require_subcommand();
  cubby_cli::add_inspect(program);
  cubby_cli::add_seal(program);
  cubby_cli::add_verify(program);
  cubby_cli::add_store(program);
  cubby_cli::add_make_model(program);
  cubby_cli::add_demo(program);
  cubby_cli::add_bench(program);
  cubby_cli::add_characterize(program);
  cubby_cli::add_conformance(program);
  cubby_cli::add_replay(program);
  cubby_cli::add_plan(program);
  cubby_cli::add_top(program);
  cubby_cli::add_run(program);
  try {
    return flush_output(program.parse(argc, argv).value_or(0));
  } catch (const std::exception &failure) {
    std::cerr << "cubby: " << cubby_cli::printable(failure.what()) << "\n";
    return 1;
  }
}
