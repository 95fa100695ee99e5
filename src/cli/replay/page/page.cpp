#include "cli/replay/page/page.hpp"

#include "cli/replay/page/parts.hpp"

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

std::string filled(std::string text, const std::string &name, const std::string &with) {
  const std::string mark = "{{" + name + "}}";
  return text.replace(text.find(mark), mark.size(), with);
}

/// JSON that ends no script and needs no escapes of XML.
std::string embedded(const json &told) {
  std::string text;
  for (const char c : told.dump(-1, ' ', true, json::error_handler_t::replace)) {
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

}  // namespace

std::string page_of(const json &told) {
  const std::string body = told["kind"] == "mixed" ? mixed_body_of(told) : body_of(told);
  // Last in, first filled: what is put in is not looked through for marks again.
  std::string text = filled(page_template, "data", embedded(told));
  text = filled(std::move(text), "body", body);
  return filled(std::move(text), "title", escaped(title_of(told)));
}

}  // namespace cubby_cli::replay
