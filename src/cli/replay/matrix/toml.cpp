#include "cli/replay/matrix/toml.hpp"

#include <cctype>
#include <charconv>

#include "cli/printable.hpp"

namespace cubby_cli::replay {
namespace {

/// One pass over the text; the first trouble sticks.
class toml_reader {
 public:
  toml_reader(const std::string &text, const std::string &path) : text_(text), path_(path) {}

  outcome<toml_table> read() {
    toml_table made;
    for (skip_lines(); !ended() && why_.empty(); skip_lines()) {
      const uint32_t line = line_;
      const std::string key = read_key();
      if (!why_.empty()) break;
      skip_spaces();
      if (!take('=')) return refused("\"" + key + "\" is not followed by = and a value");
      toml_value value = {read_value(), line};
      if (!why_.empty()) break;
      end_line();
      if (why_.empty() && !made.emplace(key, std::move(value)).second)
        return refused("\"" + key + "\" is there twice", line);
    }
    if (!why_.empty()) return refused(why_);
    return made;
  }

 private:
  [[nodiscard]] bool ended() const { return at_ >= text_.size(); }
  [[nodiscard]] char next() const { return ended() ? '\n' : text_[at_]; }
  bool take(char wanted) {
    if (ended() || text_[at_] != wanted) return false;
    at_++;
    return true;
  }
  trouble refused(const std::string &why, uint32_t line = 0) const {
    return usage_trouble(path_ + ":" + std::to_string(line == 0 ? line_ : line) + ": " +
                         printable(why));
  }
  void fail(const std::string &why) {
    if (why_.empty()) why_ = why;
  }
  void skip_spaces() {
    while (!ended() && (text_[at_] == ' ' || text_[at_] == '\t')) at_++;
    if (next() == '#')
      while (!ended() && text_[at_] != '\n') at_++;
  }
  /// Empty lines and comments too.
  void skip_lines() {
    for (skip_spaces(); !ended() && (text_[at_] == '\n' || text_[at_] == '\r'); skip_spaces())
      if (text_[at_++] == '\n') line_++;
  }
  void end_line() {
    skip_spaces();
    take('\r');
    if (!ended() && text_[at_] != '\n') fail("there is more on the line after its value");
  }
  std::string read_key() {
    if (next() == '[') {
      fail("tables ([name]) are not read here: write all keys without one");
      return {};
    }
    std::string key;
    while (!ended() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                        text_[at_] == '-' || text_[at_] == '_'))
      key += text_[at_] == '_' ? '-' : text_[at_], at_++;
    if (key.empty()) fail(std::string("a key is expected, not '") + next() + "'");
    return key;
  }
  std::string read_string() {
    std::string made;
    while (!ended() && text_[at_] != '"' && text_[at_] != '\n') {
      char letter = text_[at_++];
      if (letter == '\\') {
        letter = next();
        at_++;
        if (letter == 'n')
          letter = '\n';
        else if (letter == 't')
          letter = '\t';
        else if (letter != '"' && letter != '\\')
          fail(std::string("the escape \\") + letter + " is not read here");
      }
      made += letter;
    }
    if (!take('"')) fail("a string does not end on its line");
    return made;
  }
  std::vector<std::string> read_list() {
    std::vector<std::string> made;
    for (skip_lines(); why_.empty() && !take(']'); skip_lines()) {
      if (ended())
        fail("a list has no ]");
      else if (!take('"'))
        fail("a list holds strings in \"quotes\", nothing else");
      else
        made.push_back(read_string());
      skip_lines();
      if (next() == ']') continue;
      if (why_.empty() && !take(',')) fail("a comma is expected in the list");
    }
    return made;
  }
  decltype(toml_value::what) read_value() {
    skip_spaces();
    if (take('"')) return read_string();
    if (take('[')) return read_list();
    std::string word;
    while (!ended() && std::isspace(static_cast<unsigned char>(text_[at_])) == 0 &&
           text_[at_] != '#')
      word += text_[at_++];
    if (word == "true" || word == "false") return word == "true";
    std::erase(word, '_');
    int64_t number = 0;
    const auto read = std::from_chars(word.data(), word.data() + word.size(), number);
    if (word.empty() || read.ec != std::errc() || read.ptr != word.data() + word.size())
      fail("\"" + word + "\" is no string in quotes, whole number, true, false or list of strings");
    return number;
  }

  const std::string &text_, &path_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  std::string why_;
};

}  // namespace

outcome<toml_table> read_toml(const std::string &text, const std::string &path) {
  return toml_reader(text, path).read();
}

}  // namespace cubby_cli::replay
