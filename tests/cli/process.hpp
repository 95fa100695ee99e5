// Runs the command as people do, and keeps what it said.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "support/catch.hpp"

namespace process {

struct outcome {
  int exit_status = -1;
  std::string text;  // stdout, and stderr where the line asks for it
};

inline outcome shell(const std::string &line) {
  outcome found;
  FILE *pipe = popen(line.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char block[4096];
  for (size_t got = 0; (got = fread(block, 1, sizeof block, pipe)) > 0;)
    found.text.append(block, got);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) found.exit_status = WEXITSTATUS(status);
  return found;
}

#ifdef CUBBY_COMMAND
inline outcome command(const std::string &arguments) {
  return shell(CUBBY_COMMAND " " + arguments + " 2>&1");
}

inline nlohmann::json command_json(const std::string &arguments, int exit_status) {
  const outcome found = shell(CUBBY_COMMAND " " + arguments + " --json");
  INFO(arguments << " said: " << found.text);
  CHECK(found.exit_status == exit_status);
  nlohmann::json object = nlohmann::json::parse(found.text, nullptr, false);
  REQUIRE(object.is_object());
  return object;
}
#endif

}  // namespace process
