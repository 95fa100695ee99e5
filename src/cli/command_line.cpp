#include "cli/command_line.hpp"

#include <CLI/CLI.hpp>

namespace cubby_cli {

command_option &command_option::required() {
  option_->required();
  return *this;
}

command_option &command_option::between(uint64_t least, uint64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

command_option &command_option::one_of(const std::vector<std::string> &words) {
  option_->check(CLI::IsMember(words));
  return *this;
}

command_option &command_option::existing_folder() {
  option_->check(CLI::ExistingDirectory);
  return *this;
}

command_option &command_option::not_empty() {
  option_->check([](const std::string &given) {
    return given.empty() ? std::string("it is empty; leave it out, or give it a value")
                         : std::string();
  });
  return *this;
}

command_option &command_option::split_at_commas() {
  option_->delimiter(',');
  return *this;
}

command_option &command_option::show_default() {
  option_->capture_default_str();
  return *this;
}

template <class T>
command_option command::option(const std::string &name, T &value, const std::string &description) {
  return command_option(app_->add_option(name, value, description));
}
template command_option command::option(const std::string &, std::string &, const std::string &);
template command_option command::option(const std::string &, std::vector<std::string> &,
                                        const std::string &);
template command_option command::option(const std::string &, uint32_t &, const std::string &);
template command_option command::option(const std::string &, uint64_t &, const std::string &);
template command_option command::option(const std::string &, std::optional<uint64_t> &,
                                        const std::string &);

void command::flag(const std::string &name, bool &value, const std::string &description) {
  app_->add_flag(name, value, description);
}

command command::subcommand(const std::string &name, const std::string &description) {
  return {app_->add_subcommand(name, description), exit_status_};
}

void command::require_subcommand() { app_->require_subcommand(1); }

void command::runs(std::function<int()> action) {
  app_->callback([action = std::move(action), status = exit_status_] { *status = action(); });
}

command_line::command_line(const std::string &description)
    : command(nullptr, &status_), owned_(std::make_unique<CLI::App>(description)) {
  app_ = owned_.get();
}

command_line::~command_line() = default;

std::optional<int> command_line::parse(int argc, char **argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError &said) {  // a wish for help is one of these too
    return app_->exit(said) == 0 ? 0 : 2;
  }
  return status_ < 0 ? std::nullopt : std::optional(status_);
}

}  // namespace cubby_cli
