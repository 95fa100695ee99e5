// The `cubby` command. Over the public interface alone: what a subcommand needs and cannot say is a
// hole in that interface.
#include <exception>
#include <iostream>

#include "cli/commands.hpp"

int main(int argc, char **argv) {
  CLI::App app{"cubby: numbered lockers for model memory"};
  app.require_subcommand(1);
  int exit_status = 0;
  cubby_cli::add_inspect(app, exit_status);
  cubby_cli::add_seal(app, exit_status);
  cubby_cli::add_verify(app, exit_status);
  cubby_cli::add_make_model(app, exit_status);
  cubby_cli::add_demo(app, exit_status);
  cubby_cli::add_bench(app, exit_status);
  cubby_cli::add_conformance(app, exit_status);
  cubby_cli::add_replay(app, exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &failure) {
    return app.exit(failure) == 0 ? 0 : 2;
  } catch (const std::exception &failure) {
    std::cerr << "cubby: " << failure.what() << "\n";
    return 1;
  }
  return exit_status;
}
