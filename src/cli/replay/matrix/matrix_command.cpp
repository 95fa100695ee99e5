#include <iostream>

#include "cli/printable.hpp"
#include "cli/replay/formats/save.hpp"
#include "cli/replay/matrix/matrix.hpp"
#include "cli/support.hpp"

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

/// The lines themselves are in a file of their own.
outcome<json> run(const std::string &path, const matrix_run &how) {
  const auto wish = read_matrix(path);
  if (!wish) return wish.failure();
  const named_file page = {"page", wish->page, is_page};
  std::vector<named_file> read = {{"--matrix", path}};
  for (const std::string &trace : wish->traces) read.push_back({"traces", trace});
  if (auto good = check_distinct(read, {{"results", wish->results, {}}, page}); !good)
    return good.failure();
  if (auto good = check_place(page); !good) return good.failure();
  const auto found = run_matrix(*wish, how);
  if (!found) return found.failure();
  if (auto good = save_page(wish->page, matrix_page(*wish, found->lines)); !good)
    return good.failure();
  json report = {{"matrix", path},        {"results", wish->results},
                 {"page", wish->page},    {"cells", found->lines.size()},
                 {"known", found->known}, {"added", found->added}};
  for (const json &line : found->lines)
    if (line.contains("broken")) report["broken"].push_back(line);
  return report;
}

}  // namespace

int matrix_command(const std::string &path, const matrix_run &how, bool as_json) {
  const auto report = run(path, how);
  if (!report) return report_trouble("replay", report.failure(), as_json);
  if (as_json)
    print_json(*report);
  else
    std::cout << (*report)["cells"] << " cells, " << (*report)["added"] << " of them new, in "
              << printable((*report)["results"].get<std::string>()) << "; page "
              << printable((*report)["page"].get<std::string>()) << "\n";
  if (!report->contains("broken")) return exit_good;
  for (const json &line : (*report)["broken"])
    std::cerr << "cubby replay: "
              << printable(line["trace"].get<std::string>() + ", " +
                           line["policy"].get<std::string>() + ": " +
                           line["broken"].get<std::string>())
              << "\n";
  return exit_usage;
}

}  // namespace cubby_cli::replay
