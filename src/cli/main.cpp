// The `cubby` command. Over the public interface alone: what a subcommand needs and cannot say is a
// hole in that interface.
#include <exception>
#include <iostream>

#include "cli/commands.hpp"

int main(int argc, char **argv) {
  cubby_cli::command_line program("cubby: numbered lockers for model memory");
  program.require_subcommand();
  cubby_cli::add_inspect(program);
  cubby_cli::add_seal(program);
  cubby_cli::add_verify(program);
  cubby_cli::add_make_model(program);
  cubby_cli::add_demo(program);
  cubby_cli::add_bench(program);
  cubby_cli::add_conformance(program);
  cubby_cli::add_replay(program);
  try {
    return program.parse(argc, argv).value_or(0);
  } catch (const std::exception &failure) {
    std::cerr << "cubby: " << failure.what() << "\n";
    return 1;
  }
}
