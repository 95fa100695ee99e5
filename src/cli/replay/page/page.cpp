#include "cli/replay/page/page.hpp"

#include "cli/replay/page/parts.hpp"

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

std::string filled(std::string text, const std::string &name, const std::string &with) {
  const std::string mark = "{{" + name + "}}";
  return text.replace(text.find(mark), mark.size(), with);
}

}  // namespace

std::string embedded(const json &report) {
  std::string text;
  for (const char c : report.dump(-1, ' ', true, json::error_handler_t::replace)) {
    if (c == '<')
      text += "\\u003c";
    else if (c == '>')
      text += "\\u003e";
    else if (c == '&')
      text += "\\u0026";
    else
      text += c;
  }
  return text;
}

std::string page_of(const json &report) {
  const std::string body = report["kind"] == "mixed" ? mixed_body_of(report) : body_of(report);
  // Last in, first filled: what is put in is not looked through for marks again.
  std::string text = filled(page_template, "data", embedded(report));
  text = filled(std::move(text), "body", body);
  return filled(std::move(text), "title", escaped(title_of(report)));
}

}  // namespace cubby_cli::replay
