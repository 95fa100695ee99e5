#include "cli/command_line.hpp"

#include <CLI/CLI.hpp>
#include <charconv>
#include <iostream>

#include "cli/printable.hpp"

namespace cubby_cli {
namespace {

/// CLI11 reads "-1" into an unsigned number as its largest, one beyond 64 bits as the largest, and
/// "010" as eight.
std::string not_below_zero(const std::string &given) {
  if (given.starts_with('-')) return given + " is below 0; give a number from 0 on";
  uint64_t value = 0;
  const char *const end = given.data() + given.size();
  const auto [stop, failed] = std::from_chars(given.data(), end, value);
  if (stop != end) return {};
  if (failed == std::errc::result_out_of_range)
    return given + " is above " + std::to_string(UINT64_MAX) + ", the largest number there is";
  if (given.size() > 1 && given.starts_with('0'))
    return given + " begins with a 0; give " + std::to_string(value) + " as it is";
  return {};
}

/// What is missing is often what a mistyped word was meant to be, so that word is reported first.
std::string unknown_word(const CLI::App &app) {
  for (const std::string &word : app.remaining(true))
    if (word != "--") return word;
  return {};
}

}  // namespace

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

command_option &command_option::not_negative() {
  option_->check(not_below_zero);
  return *this;
}

command_option &command_option::show_default() {
  option_->capture_default_str();
  return *this;
}

template <class T>
command_option command::option(const std::string &name, T &value, const std::string &description) {
  command_option made(app_->add_option(name, value, description));
  if constexpr (!std::is_same_v<T, std::string> && !std::is_same_v<T, std::vector<std::string>>)
    made.not_negative();
  return made;
}
template command_option command::option(const std::string &, std::string &, const std::string &);
template command_option command::option(const std::string &, std::vector<std::string> &,
                                        const std::string &);
template command_option command::option(const std::string &, uint32_t &, const std::string &);
template command_option command::option(const std::string &, uint64_t &, const std::string &);
template command_option command::option(const std::string &, std::optional<uint32_t> &,
                                        const std::string &);
template command_option command::option(const std::string &, std::optional<uint64_t> &,
                                        const std::string &);

command_option command::words(const std::string &name, std::vector<std::string> &value,
                              const std::string &description) {
  const auto split = [&value, name](const std::vector<std::string> &given) {
    value.clear();
    for (const std::string &one : given) {
      size_t from = 0;
      for (size_t comma = 0; comma != std::string::npos; from = comma + 1) {
        comma = one.find(',', from);
        value.push_back(one.substr(from, comma == std::string::npos ? comma : comma - from));
        if (value.back().empty())
          throw CLI::ValidationError(name, '"' + one +
                                               "\" has an empty word at a comma; write one between "
                                               "every two commas, or leave the comma out");
      }
    }
  };
  return command_option(
      app_->add_option_function<std::vector<std::string>>(name, split, description));
}

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
    const std::string unknown = unknown_word(*app_);
    if (said.get_exit_code() == 0 || unknown.empty()) return app_->exit(said) == 0 ? 0 : 2;
    const auto chosen = app_->get_subcommands();
    const std::string name = chosen.empty() ? "cubby" : "cubby " + chosen.front()->get_name();
    std::cerr << name << ": there is no " << (unknown.starts_with('-') ? "option " : "word ")
              << printable(unknown) << " here; " << name << " --help lists what there is\n";
    return 2;
  }
  return status_ < 0 ? std::nullopt : std::optional(status_);
}

}  // namespace cubby_cli
