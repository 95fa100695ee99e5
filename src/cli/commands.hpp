// The subcommands of `cubby`, one file each. Every one adds itself to the program and
// gives an exit status when it has run: 0 good, 1 wrong or lost bytes or a missed target, 2 usage.
#pragma once

#include "cli/command_line.hpp"

namespace cubby_cli {

void add_inspect(command &program);
void add_seal(command &program);
void add_verify(command &program);
void add_make_model(command &program);
void add_demo(command &program);
void add_bench(command &program);
void add_bench_decode(command &bench);
void add_characterize(command &program);
void add_conformance(command &program);
void add_replay(command &program);
void add_plan(command &program);
void add_store(command &program);
void add_top(command &program);
void add_run(command &program);

}  // namespace cubby_cli
