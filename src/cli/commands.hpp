// The subcommands of `cubby`, one file each. Every one adds itself to the app and, when it has run,
// leaves its exit status: 0 good, 1 wrong or lost bytes or a missed target, 2 usage.
#pragma once

#include <CLI/CLI.hpp>

namespace cubby_cli {

void add_inspect(CLI::App &app, int &exit_status);
void add_seal(CLI::App &app, int &exit_status);
void add_verify(CLI::App &app, int &exit_status);
void add_make_model(CLI::App &app, int &exit_status);
void add_demo(CLI::App &app, int &exit_status);
void add_bench(CLI::App &app, int &exit_status);
void add_conformance(CLI::App &app, int &exit_status);
void add_replay(CLI::App &app, int &exit_status);

}  // namespace cubby_cli
