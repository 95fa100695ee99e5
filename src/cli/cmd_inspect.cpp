// cubby inspect: which banks of lockers a model file holds and what identifies it. Reads headers
// only.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/commands.hpp"
#include "cli/opened_model.hpp"
#include "cli/printable.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;

struct options {
  model_choice model;
  bool json = false;
};

const char *kind_name(uint32_t kind) {
  static constexpr const char *names[] = {"experts", "kv", "rows", "other"};
  return kind < std::size(names) ? names[kind] : "unknown";
}

/// One part over all rows. Its type and bytes are those of the first row that has it; where mixed
/// quantisation makes rows differ, the lists have them all, with 0 bytes where a row lacks it.
cubby_status part_json(const opened_model &of, uint32_t part, json &out) {
  json types = json::array(), sizes = json::array(), shape = json::array();
  for (uint32_t row = 0; row < of.bank.rows(); row++) {
    cubby_part_info info = {};
    info.struct_size = sizeof info;
    const cubby_status status =
        cubby_bank_part(of.runtime.handle(), of.bank.handle(), row, part, &info);
    if (status != CUBBY_OK) return status;
    if (out.is_null() && info.bytes > 0) {
      for (const uint64_t dim : info.shape) shape.push_back(dim);
      out = {{"name", info.name},
             {"type", info.type},
             {"bytes", info.bytes},
             {"tensor", info.tensor},
             {"shape", shape}};
    }
    types.push_back(info.type);
    sizes.push_back(info.bytes);
  }
  out["row_types"] = std::move(types);
  out["row_bytes"] = std::move(sizes);
  return CUBBY_OK;
}

/// Files of the bank, until there are no more.
cubby_status files_json(const opened_model &of, json &files, bool &sealed) {
  sealed = true;
  for (uint32_t i = 0;; i++) {
    cubby_file_info info = {};
    info.struct_size = sizeof info;
    const cubby_status status = cubby_bank_file(of.runtime.handle(), of.bank.handle(), i, &info);
    if (status == CUBBY_MISS) return CUBBY_OK;
    if (status != CUBBY_OK) return status;
    sealed = sealed && info.sealed == 1;
    files.push_back({{"path", info.path},
                     {"bytes", info.bytes},
                     {"device", info.device},
                     {"inode", info.inode},
                     {"mtime_ns", info.mtime_ns},
                     {"header_digest", hex_text(info.header_digest)}});
  }
}

cubby_status model_json(const opened_model &of, json &out) {
  const cubby_bank_desc &desc = of.bank.info();
  json files = json::array(), parts = json::array(), row_bytes = json::array();
  json layers = json::array();
  bool sealed = false;
  cubby_status status = files_json(of, files, sealed);
  for (uint32_t p = 0; p < of.bank.part_count() && status == CUBBY_OK; p++)
    status = part_json(of, p, parts.emplace_back());
  if (status != CUBBY_OK) return status;
  for (uint32_t row = 0; row < desc.rows; row++) {
    row_bytes.push_back(of.bank.locker_bytes(row));
    layers.push_back(desc.row_layers ? desc.row_layers[row] : row);
  }
  out["banks"] = json::array({{{"name", desc.name ? desc.name : ""},
                               {"kind", kind_name(desc.kind)},
                               {"rows", desc.rows},
                               {"columns", desc.columns},
                               {"row_bytes", std::move(row_bytes)},
                               {"row_layers", std::move(layers)},
                               {"parts", std::move(parts)},
                               {"align_bytes", desc.align_bytes},
                               {"routed_count", desc.routed_count},
                               {"chunk_bytes", desc.chunk_bytes},
                               {"sealed", sealed}}});
  out["identity"] = {{"files", std::move(files)}};
  return CUBBY_OK;
}

/// Rows that are alike follow each other as one line: "0-11, 24-35" would need a list, a change of
/// size is what people look for.
void print_rows(const json &bank) {
  std::vector<std::vector<std::string>> lines = {{"layers", "experts", "a locker", "parts"}};
  const json &sizes = bank["row_bytes"];
  for (size_t row = 0; row < sizes.size();) {
    size_t end = row + 1;
    const auto same = [&](size_t other) {
      for (const json &part : bank["parts"])
        if (part["row_types"][other] != part["row_types"][row]) return false;
      return sizes[other] == sizes[row];
    };
    while (end < sizes.size() && same(end)) end++;
    std::string layers = bank["row_layers"][row].dump();
    if (end - row > 1) layers += "-" + bank["row_layers"][end - 1].dump();
    std::string parts;
    for (const json &part : bank["parts"]) {
      if (part["row_bytes"][row] == 0) continue;  // this row lacks it
      parts += (parts.empty() ? "" : ", ") + part["name"].get<std::string>() + " " +
               part["row_types"][row].get<std::string>() + " " +
               bytes_text(part["row_bytes"][row].get<uint64_t>());
    }
    lines.push_back(
        {layers, bank["columns"].dump(), bytes_text(sizes[row].get<uint64_t>()), parts});
    row = end;
  }
  print_table(lines);
}

void print_model(const json &model) {
  const json &bank = model["banks"][0];
  uint64_t bytes = 0;
  for (const json &size : bank["row_bytes"])
    bytes += size.get<uint64_t>() * bank["columns"].get<uint64_t>();
  const uint64_t lockers = bank["rows"].get<uint64_t>() * bank["columns"].get<uint64_t>();
  std::cout << "bank " << printable(bank["name"].get<std::string>()) << ": " << count_text(lockers)
            << " lockers (" << bank["rows"] << " rows x " << bank["columns"] << " columns), "
            << bytes_text(bytes) << "; "
            << (bank["sealed"].get<bool>() ? "sealed: every load is held against its digests"
                                           : "not sealed: `cubby seal` writes digests")
            << "\n";
  if (bank["routed_count"] != 0)
    std::cout << "a token uses " << bank["routed_count"] << " of a row\n";
  print_rows(bank);
  std::vector<std::vector<std::string>> lines = {{"file", "size", "inode", "header digest"}};
  for (const json &file : model["identity"]["files"])
    lines.push_back({printable(file["path"].get<std::string>()),
                     bytes_text(file["bytes"].get<uint64_t>()), file["inode"].dump(),
                     "x" + file["header_digest"].get<std::string>()});
  std::cout << "\n";
  print_table(lines);
  for (const json &note : model["notes"]) std::cout << note.get<std::string>() << "\n";
}

int run(const options &chosen) {
  auto opened = open_model(chosen.model);
  if (!opened) return report_failure("inspect", opened.why(), chosen.json);
  json model;
  const cubby_status status = model_json(*opened, model);
  if (status != CUBBY_OK) return report_failure("inspect", cubby::error::last(status), chosen.json);
  model["notes"] = show_log(opened->runtime);
  if (chosen.json)
    print_json(model);
  else
    print_model(model);
  return exit_good;
}

}  // namespace

void add_inspect(command &program) {
  command one = program.subcommand("inspect", "Show the banks of lockers in a model file");
  auto chosen = std::make_shared<options>();
  chosen->model.add_options(one, "The seal, where not beside the file");
  one.flag("--json", chosen->json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
