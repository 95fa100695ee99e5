#include "store/tensor_list.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "store/chunks.hpp"
#include "store/header_reader.hpp"

namespace cubby::store {
namespace {

constexpr uint32_t columns_max = 1u << 16;  // far beyond any model; keeps hostile numbers small

/// What a tensor's name says about it.
struct expert_name {
  uint32_t layer = 0;
  uint32_t order = 0;  // gate, up, down: the order of parts in a locker
  std::string part;
  std::optional<uint32_t> column;  // of per-expert tensors
};

bool drop(std::string_view &text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::optional<uint32_t> drop_number(std::string_view &text) {
  uint32_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

/// Takes a projection off the front. Longer names first: "gate" begins "gate_up".
bool drop_projection(std::string_view &text, expert_name &name) {
  static constexpr struct {
    const char *written, *part;
    uint32_t order;
  } known[] = {{"gate_up", "gate_up", 0}, {"gate", "gate", 0}, {"up", "up", 1},
               {"down", "down", 2},       {"w1", "gate", 0},   {"w3", "up", 1},
               {"w2", "down", 2}};
  for (const auto &one : known) {
    if (!drop(text, one.written)) continue;
    name.part = one.part;
    name.order = one.order;
    return true;
  }
  return false;
}

/// What is left after the projection: the weight itself, or a bias or scale, which is a part of its
/// own.
void add_suffix(std::string_view rest, expert_name &name) {
  if (!rest.empty() && (rest.front() == '.' || rest.front() == '_')) rest.remove_prefix(1);
  if (rest.empty() || rest == "weight") return;
  name.part += '_';
  for (const char c : rest) name.part += c == '.' ? '_' : c;
}

std::optional<expert_name> read_gguf_name(std::string_view text) {
  expert_name name;
  if (!drop(text, "blk.")) return std::nullopt;
  const auto layer = drop_number(text);
  if (!layer || !drop(text, ".ffn_") || !drop_projection(text, name)) return std::nullopt;
  name.layer = *layer;
  if (!drop(text, "_exps.")) {
    if (!drop(text, ".")) return std::nullopt;
    name.column = drop_number(text);
    if (!name.column || !drop(text, ".")) return std::nullopt;
  }
  add_suffix(text, name);
  return name;
}

std::optional<expert_name> read_safetensors_name(std::string_view text) {
  expert_name name;
  const size_t layers = text.find("layers.");
  if (layers == std::string_view::npos) return std::nullopt;
  text.remove_prefix(layers + 7);
  const auto layer = drop_number(text);
  const size_t experts = text.find(".experts.");
  if (!layer || experts == std::string_view::npos) return std::nullopt;
  name.layer = *layer;
  text.remove_prefix(experts + 9);
  name.column = drop_number(text);
  if (name.column && !drop(text, ".")) return std::nullopt;
  if (!drop_projection(text, name)) return std::nullopt;
  drop(text, "_proj");
  add_suffix(text, name);
  return name;
}

using part_key = std::pair<uint32_t, std::string>;
using column_map = std::map<uint32_t, const tensor_info *>;

/// One part of one layer before it is a row_part: a stacked tensor, or tensors by column.
struct gathered_part {
  const tensor_info *stacked = nullptr;
  column_map columns;
};
using gathered_row = std::map<part_key, gathered_part>;

error tensor_error(const tensor_list &list, const tensor_info &tensor, const std::string &what) {
  return format_error(list.files[tensor.file].path, tensor.record_offset,
                      "tensor " + tensor.name + " " + what);
}

/// `plain`: the weights themselves. A scale may be a single number an expert.
result<row_part> stacked_part(const tensor_list &list, const tensor_info &tensor, bool plain) {
  if (tensor.rank < (plain ? 2 : 1) || tensor.outer == 0 || tensor.outer > columns_max)
    return tensor_error(list, tensor, "has no plausible number of experts");
  row_part part;
  part.bytes = tensor.bytes / tensor.outer;
  if (part.bytes == 0 || tensor.bytes % tensor.outer != 0)
    return tensor_error(list, tensor, "does not divide into its experts");
  part.run = {tensor.file, tensor.offset_bytes, part.bytes};
  part.shape = tensor.shape;
  if (tensor.rank <= part.shape.size()) part.shape[tensor.rank - 1] = 1;
  part.tensor = tensor.name;
  part.type = tensor.type;
  return part;
}

result<row_part> column_part(const tensor_list &list, const column_map &columns) {
  const tensor_info &first = *columns.begin()->second;
  row_part part;
  part.bytes = first.bytes;
  part.shape = first.shape;
  part.tensor = first.name;
  part.type = first.type;
  for (const auto &[column, tensor] : columns) {
    if (column != part.column_runs.size())
      return tensor_error(list, *tensor, "follows a gap: the tensor of an expert is missing");
    if (tensor->bytes != part.bytes || tensor->type != part.type)
      return tensor_error(list, *tensor, "differs in size or type from " + first.name);
    part.column_runs.push_back({tensor->file, tensor->offset_bytes, 0});
  }
  if (part.bytes == 0) return tensor_error(list, first, "is empty");
  part.run = part.column_runs.front();
  return part;
}

result<bank_row> make_row(const tensor_list &list, uint32_t layer, const gathered_row &gathered,
                          model_bank &bank) {
  bank_row row;
  row.layer = layer;
  const bool first_row = bank.rows.empty();
  for (const auto &[key, found] : gathered) {
    const tensor_info &tensor = found.stacked ? *found.stacked : *found.columns.begin()->second;
    if (found.stacked && !found.columns.empty())
      return tensor_error(list, tensor, "is there both stacked and one by one");
    const bool plain = key.second.find('_') == std::string::npos || key.second == "gate_up";
    auto part =
        found.stacked ? stacked_part(list, tensor, plain) : column_part(list, found.columns);
    if (!part) return part.failure();
    if (part->bytes > part_bytes_max)
      return tensor_error(list, tensor, "has experts of an implausible size");
    const uint64_t columns = found.stacked ? tensor.outer : found.columns.size();
    if (bank.columns == 0) bank.columns = static_cast<uint32_t>(columns);
    if (columns != bank.columns)
      return tensor_error(list, tensor, "has another number of experts than those before it");
    if (first_row) bank.part_names.push_back(key.second);
    if (bank.part_names.size() > CUBBY_PARTS_MAX)
      return fail(CUBBY_ERR_NOT_SUPPORTED,
                  "%s keeps each expert in more than %d parts (%s is one too many); choose some"
                  " of its tensors by a pattern",
                  list.files[tensor.file].path.c_str(), CUBBY_PARTS_MAX, key.second.c_str());
    if (row.parts.size() >= bank.part_names.size() ||
        bank.part_names[row.parts.size()] != key.second)
      return tensor_error(list, tensor,
                          "is a part that other layers lack, or follows a missing one");
    row.parts.push_back(std::move(*part));
  }
  if (row.parts.size() != bank.part_names.size()) {
    const auto &found = gathered.begin()->second;
    return tensor_error(list, found.stacked ? *found.stacked : *found.columns.begin()->second,
                        "lies in a layer that lacks " + bank.part_names[row.parts.size()]);
  }
  return row;
}

result<model_bank> expert_bank(const tensor_list &list,
                               const std::vector<const tensor_info *> &chosen) {
  std::map<uint32_t, gathered_row> rows;
  for (const tensor_info *tensor : chosen) {
    const auto name =
        list.format == "gguf" ? read_gguf_name(tensor->name) : read_safetensors_name(tensor->name);
    if (!name) continue;
    gathered_part &part = rows[name->layer][{name->order, name->part}];
    if (name->column.value_or(0) >= columns_max)
      return tensor_error(list, *tensor, "is of an expert with an implausible number");
    const tensor_info *&slot = name->column ? part.columns[*name->column] : part.stacked;
    if (slot) return tensor_error(list, *tensor, "means the same part as " + slot->name);
    slot = tensor;
  }
  model_bank bank;
  bank.name = "experts";
  bank.routed_count = list.routed_count;
  for (const auto &[layer, gathered] : rows) {
    auto row = make_row(list, layer, gathered, bank);
    if (!row) return row.failure();
    bank.rows.push_back(std::move(*row));
  }
  return bank;
}

/// Two tensors in one place: a locker would deliver bytes that another claims too.
result<void> check_overlap(const tensor_list &list) {
  std::vector<const tensor_info *> order;
  for (const tensor_info &tensor : list.tensors)
    if (tensor.bytes > 0) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const tensor_info *a, const tensor_info *b) {
    return std::pair(a->file, a->offset_bytes) < std::pair(b->file, b->offset_bytes);
  });
  for (size_t i = 1; i < order.size(); i++) {
    const tensor_info &before = *order[i - 1], &tensor = *order[i];
    if (before.file == tensor.file && tensor.offset_bytes - before.offset_bytes < before.bytes)
      return tensor_error(list, tensor,
                          "begins at byte " + std::to_string(tensor.offset_bytes) +
                              " of the file, inside tensor " + before.name);
  }
  return {};
}

/// Without top-k the runtime cannot tell that a budget is too small; that is no reason to refuse.
void note_routed_count(tensor_list &list, model_bank &bank) {
  const std::string &path = list.files.front().path;
  if (bank.routed_count > bank.columns) {
    list.notes.push_back(
        format_text("%s: %u experts a token of %u in a layer cannot be; the number"
                    " is taken as unknown",
                    path.c_str(), bank.routed_count, bank.columns));
    bank.routed_count = 0;
  } else if (bank.routed_count == 0 && list.notes.empty()) {
    list.notes.push_back(path +
                         " does not say how many experts a token uses; budgets cannot be"
                         " held against it");
  }
}

/// Tensors that are no experts: a row each, of one locker.
result<model_bank> plain_bank(const tensor_list &list,
                              const std::vector<const tensor_info *> &chosen) {
  model_bank bank;
  bank.name = "tensors";
  bank.columns = 1;
  bank.part_names = {"tensor"};
  for (const tensor_info *tensor : chosen) {
    if (tensor->bytes == 0) continue;  // safetensors has such; there is nothing to load
    if (tensor->bytes > part_bytes_max) return tensor_error(list, *tensor, "is implausibly long");
    bank_row row;
    row.layer = static_cast<uint32_t>(bank.rows.size());
    row_part part;
    part.bytes = tensor->bytes;
    part.shape = tensor->shape;
    part.run = {tensor->file, tensor->offset_bytes, tensor->bytes};
    part.tensor = tensor->name;
    part.type = tensor->type;
    row.parts.push_back(std::move(part));
    bank.rows.push_back(std::move(row));
  }
  return bank;
}

}  // namespace

result<model_file> make_banks(tensor_list list, const std::string &pattern) {
  auto apart = check_overlap(list);
  if (!apart) return apart.failure();
  std::vector<const tensor_info *> chosen;
  std::set<std::string_view> names;
  bool experts = true;
  for (const tensor_info &tensor : list.tensors) {
    if (!names.insert(tensor.name).second) return tensor_error(list, tensor, "is there twice");
    const bool wanted = pattern.empty() || fnmatch(pattern.c_str(), tensor.name.c_str(), 0) == 0;
    if (!wanted) continue;
    chosen.push_back(&tensor);
    const bool expert = list.format == "gguf" ? read_gguf_name(tensor.name).has_value()
                                              : read_safetensors_name(tensor.name).has_value();
    experts = experts && expert;
  }
  experts = experts || pattern.empty();
  auto bank = experts ? expert_bank(list, chosen) : plain_bank(list, chosen);
  if (!bank) return bank.failure();
  if (bank->rows.empty())
    return fail(CUBBY_ERR_INVALID, "%s holds no tensor that %s; name other tensors by a pattern",
                list.files.front().path.c_str(),
                pattern.empty() ? "belongs to an expert" : ("matches " + pattern).c_str());
  model_file model;
  if (experts) {
    note_routed_count(list, *bank);
    model.notes = std::move(list.notes);
  }
  model.format = list.format;
  model.files = std::move(list.files);
  model.banks.push_back(std::move(*bank));
  return model;
}

}  // namespace cubby::store
