// The words after a command's name. CLI11 reads them, in command_line.cpp alone: its header costs
// every file that includes it ten seconds of compiling, and most of a minute under sanitizers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace cubby_cli {

/// One option of a command, and what else holds for it.
class command_option {
 public:
  explicit command_option(CLI::Option *one) : option_(one) {}
  command_option &required();
  command_option &between(uint64_t least, uint64_t most);
  command_option &one_of(const std::vector<std::string> &words);
  command_option &existing_folder();
  command_option &not_empty();
  command_option &not_negative();
  command_option &show_default();

 private:
  CLI::Option *option_;
};

/// A command, or the program itself. What options fill must live until the program has been parsed.
class command {
 public:
  /// `value` is a string, a list of strings, a uint32_t, a uint64_t or an optional one. A name
  /// without dashes is found by its place.
  template <class T>
  command_option option(const std::string &name, T &value, const std::string &description);
  /// "--name" makes `value` true, "!--name" makes it false.
  /// Words with commas between them, none of them empty. Said more than once, all count.
  command_option words(const std::string &name, std::vector<std::string> &value,
                       const std::string &description);
  void flag(const std::string &name, bool &value, const std::string &description);

  command subcommand(const std::string &name, const std::string &description);
  void require_subcommand();
  /// What is done once the words are read; gives the exit status of the program.
  void runs(std::function<int()> action);

 protected:
  command(CLI::App *app, int *exit_status) : app_(app), exit_status_(exit_status) {}
  CLI::App *app_;
  int *exit_status_;
};

class command_line : public command {
 public:
  explicit command_line(const std::string &description);
  ~command_line();
  command_line(const command_line &) = delete;
  command_line &operator=(const command_line &) = delete;

  /// Reads the words and runs the command they name. Gives the exit status to end with: that of the
  /// command, 0 after help, 2 after telling what is wrong with the words. Nothing when there was no
  /// command to run.
  std::optional<int> parse(int argc, char **argv);

 private:
  std::unique_ptr<CLI::App> owned_;
  int status_ = -1;  // no command has run
};

}  // namespace cubby_cli
