#include "store/tensor_list.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/checked.hpp"
#include "base/printable.hpp"
#include "store/chunks.hpp"
#include "store/expert_name.hpp"
#include "store/header_reader.hpp"

namespace cubby::store {
namespace {

constexpr uint32_t columns_max = 1u << 16;  // far beyond any model; keeps hostile numbers small
constexpr size_t blocks_max = 8;            // of layers in one bank, and below: as columns_max
constexpr size_t kinds_max = 256;           // of rows by the parts they have
constexpr char type_remedy[] =
    "another program may use the number for a type of its own: convert the model to a type of "
    "ggml's, or choose other tensors by a pattern";
constexpr char pattern_remedy[] =
    "choose some of the tensors by a pattern of their names (experts are numbered there)";

using part_key = std::pair<uint32_t, std::string>;  // order, name
using column_map = std::map<uint32_t, const tensor_info *>;

/// One part of one layer before it is a row_part: a stacked tensor, or tensors by column.
struct gathered_part {
  const tensor_info *stacked = nullptr;
  bool merged = false;
  column_map columns;

  [[nodiscard]] const tensor_info &first() const {
    return stacked ? *stacked : *columns.begin()->second;
  }
  [[nodiscard]] const tensor_info *of(uint32_t column) const {
    const auto found = columns.find(column);
    return found == columns.end() ? nullptr : found->second;
  }
};
using gathered_row = std::map<part_key, gathered_part>;
using gathered_block = std::map<uint32_t, gathered_row>;  // by layer

/// A row before the parts of all rows are known.
struct made_row {
  uint32_t layer = 0;
  std::vector<uint32_t> experts;  // their numbers in the file, in the order of columns
  std::map<part_key, row_part> parts;

  [[nodiscard]] const std::string &tensor() const { return parts.begin()->second.tensor; }
};

error tensor_error(const tensor_list &list, const tensor_info &tensor, const std::string &what) {
  return format_error(list.files[tensor.file].path, tensor.record_offset,
                      "tensor " + tensor.name + " " + what);
}

error unknown_tensor(const tensor_list &list, const tensor_info &tensor, const std::string &what,
                     const char *remedy = pattern_remedy) {
  return unknown_error(list.files[tensor.file].path, tensor.record_offset,
                       "tensor " + tensor.name + " " + what, remedy);
}

/// What is shown of a tensor; names come from files nobody vouches for.
void describe(const tensor_info &tensor, row_part &part) {
  part.shape = tensor.shape;
  part.tensor = base::printable(tensor.name);
  part.type = base::printable(tensor.type);
}

/// `plain`: the weights themselves. A scale may be a single number an expert.
result<row_part> stacked_part(const tensor_list &list, const gathered_part &found, bool plain) {
  const tensor_info &tensor = *found.stacked;
  const uint64_t experts = found.merged ? list.expert_count : tensor.outer;
  if (found.merged && (experts == 0 || tensor.outer % experts != 0))
    return unknown_tensor(
        list, tensor,
        "has its experts one after the other within a dimension of " + std::to_string(tensor.outer),
        "config.json beside it must say how many there are");
  if (tensor.rank < (plain ? 2 : 1) || experts == 0 || experts > columns_max)
    return tensor_error(list, tensor, "has no plausible number of experts");
  row_part part;
  part.bytes = tensor.bytes / experts;
  if (part.bytes == 0 || tensor.bytes % experts != 0)
    return tensor_error(list, tensor, "does not divide into its experts");
  part.run = {tensor.file, tensor.offset_bytes, part.bytes};
  describe(tensor, part);
  if (tensor.rank <= part.shape.size()) part.shape[tensor.rank - 1] = tensor.outer / experts;
  return part;
}

row_part column_part(const gathered_part &found, const std::vector<uint32_t> &experts) {
  row_part part;
  const tensor_info &first = *found.of(experts.front());
  part.bytes = first.bytes;
  describe(first, part);
  for (const uint32_t expert : experts) {
    const tensor_info &tensor = *found.of(expert);
    part.column_runs.push_back({tensor.file, tensor.offset_bytes, 0});
  }
  part.run = part.column_runs.front();
  return part;
}

/// Do two experts of a layer have the same parts, of the same sizes and types?
bool are_alike(const gathered_row &gathered, uint32_t one, uint32_t other) {
  return std::all_of(gathered.begin(), gathered.end(), [&](const auto &part) {
    const tensor_info *a = part.second.of(one), *b = part.second.of(other);
    return a && b ? a->bytes == b->bytes && a->type == b->type : !a && !b;
  });
}

/// Experts of two sizes in one layer are two rows (of text and of images, say), where each half has
/// as many. What is no such model is refused: with a missing part, as incomplete.
result<void> check_halves(const tensor_list &list, const gathered_row &gathered,
                          const std::vector<std::vector<uint32_t>> &runs) {
  const uint32_t one = runs[0].front(), other = runs[1].front();
  const tensor_info *only[2] = {}, *common = nullptr, *differs = nullptr;
  for (const auto &[key, part] : gathered) {
    const tensor_info *a = part.of(one), *b = part.of(other);
    if (a && !b) only[0] = a;
    if (b && !a) only[1] = b;
    if (!a || !b || (a->bytes == b->bytes && a->type == b->type)) continue;
    common = a;
    differs = b;
  }
  if (!differs && !(only[0] && only[1])) {
    const bool first_has = only[0] != nullptr;
    return tensor_error(list, first_has ? *only[0] : *only[1],
                        "has no fellow of expert " + std::to_string(first_has ? other : one) +
                            ": the tensor of an expert is missing");
  }
  if (runs.size() == 2 && runs[0].size() == runs[1].size()) return {};
  if (!differs)
    return unknown_tensor(list, *only[1],
                          "is a part that expert " + std::to_string(one) +
                              " lacks; experts of a layer are quantised alike, or "
                              "in two halves of as many");
  return unknown_tensor(list, *differs,
                        "differs in size or type from " + common->name +
                            "; experts of a layer are alike, or two halves of as many");
}

/// Experts with a tensor each, in runs of such as are alike. `picked`: chosen by a pattern, so that
/// numbers may be missing.
result<std::vector<std::vector<uint32_t>>> runs_of(const tensor_list &list,
                                                   const gathered_row &gathered, bool picked) {
  std::map<uint32_t, const tensor_info *> experts;
  for (const auto &[key, part] : gathered) experts.insert(part.columns.begin(), part.columns.end());
  std::vector<std::vector<uint32_t>> runs;
  uint32_t next = 0;
  for (const auto &[expert, tensor] : experts) {
    if (!picked && expert != next)
      return tensor_error(list, *tensor, "follows a gap: the tensor of an expert is missing");
    next = expert + 1;
    if (runs.empty() || !are_alike(gathered, runs.back().front(), expert)) runs.emplace_back();
    runs.back().push_back(expert);
  }
  if (runs.size() > 1)
    if (auto checked = check_halves(list, gathered, runs); !checked) return checked.failure();
  return runs;
}

result<void> add_part(const tensor_list &list, const part_key &key, const gathered_part &found,
                      made_row &row) {
  const tensor_info &tensor = found.first();
  const bool plain = key.second.find('_') == std::string::npos || key.second == "gate_up";
  auto part = found.stacked ? stacked_part(list, found, plain)
                            : result<row_part>(column_part(found, row.experts));
  if (!part) return part.failure();
  if (part->bytes == 0) return tensor_error(list, tensor, "is empty");
  if (part->bytes > part_bytes_max)
    return tensor_error(list, tensor, "has experts of an implausible size");
  if (found.stacked) {
    const uint64_t experts = found.merged ? list.expert_count : tensor.outer;
    if (row.experts.empty()) {
      row.experts.resize(experts);
      std::iota(row.experts.begin(), row.experts.end(), 0u);
    }
    if (experts != row.experts.size())
      return tensor_error(list, tensor, "has another number of experts than those before it");
  }
  row.parts.emplace(key, std::move(*part));
  return {};
}

/// One row, or two where the layer's experts are of two sizes.
result<std::vector<made_row>> rows_of_layer(const tensor_list &list, uint32_t layer,
                                            const gathered_row &gathered, bool picked) {
  auto runs = runs_of(list, gathered, picked);
  if (!runs) return runs.failure();
  if (runs->empty()) runs->emplace_back();  // all parts are stacked
  std::vector<made_row> rows;
  for (const std::vector<uint32_t> &run : *runs) {
    made_row &row = rows.emplace_back();
    row.layer = layer;
    row.experts = run;
    for (const auto &[key, found] : gathered) {
      if (found.stacked && !found.columns.empty())
        return unknown_tensor(list, found.first(), "is there both stacked and one by one");
      if (!found.stacked && !found.of(run.front())) continue;
      if (auto added = add_part(list, key, found, row); !added) return added.failure();
    }
  }
  return rows;
}

bool is_fused(const made_row &row) {
  return std::any_of(row.parts.begin(), row.parts.end(),
                     [](const auto &part) { return part.first.second.starts_with("gate_up"); });
}

/// A row may lack a part, for its layer is quantised otherwise. But where it has of a projection
/// only what another row has too, and not the largest of that, the weights are missing.
struct lack {
  const made_row *row;
  std::string part;
};

std::optional<lack> find_lack(const std::vector<made_row> &rows) {
  struct kind {
    const made_row *row = nullptr;
    std::string largest;
  };
  for (uint32_t order = 0; order < 3; order++) {
    std::map<std::set<std::string>, kind> kinds;
    for (const made_row &row : rows) {
      std::set<std::string> names;
      kind one{&row, {}};
      uint64_t most = 0;
      for (const auto &[key, part] : row.parts) {
        if (key.first != order) continue;
        names.insert(key.second);
        if (part.bytes > most) one.largest = key.second;
        most = std::max(most, part.bytes);
      }
      if (kinds.size() < kinds_max) kinds.emplace(std::move(names), one);
    }
    for (const auto &[few, one] : kinds)
      for (const auto &[more, other] : kinds) {
        const bool fewer = few.size() < more.size() &&
                           std::includes(more.begin(), more.end(), few.begin(), few.end());
        if (!fewer || few.contains(other.largest) || (order == 1 && is_fused(*one.row))) continue;
        return lack{one.row, other.largest};
      }
  }
  return std::nullopt;
}

std::set<part_key> parts_of(const std::vector<made_row> &rows) {
  std::set<part_key> parts;
  for (const made_row &row : rows)
    for (const auto &[key, part] : row.parts) parts.insert(key);
  return parts;
}

/// May the rows be of one bank?
result<void> check_rows(const tensor_list &list, const std::vector<made_row> &rows, bool picked) {
  const std::string &path = list.files[rows.front().parts.begin()->second.run.file].path;
  const made_row &first = rows.front();
  for (const made_row &row : rows) {
    if (row.experts.size() != first.experts.size())
      return unknown_error(
          path, 0,
          format_text("layer %u has %zu experts, layer %u has %zu (%s)", first.layer,
                      first.experts.size(), row.layer, row.experts.size(), row.tensor().c_str()),
          "tensors are missing, or the model is made so: a bank has as many in each layer; choose "
          "layers by a pattern of their tensors' names");
    const bool as_in_first =
        row.experts == first.experts ||
        (rows[1].layer == first.layer && row.experts == rows[1].experts);  // the second half
    if (picked && !as_in_first)
      return fail(CUBBY_ERR_INVALID,
                  "the pattern takes experts %u to %u of layer %u and %u to %u of layer %u; choose "
                  "the same in each",
                  first.experts.front(), first.experts.back(), first.layer, row.experts.front(),
                  row.experts.back(), row.layer);
  }
  const std::set<part_key> parts = parts_of(rows);
  if (parts.size() > CUBBY_PARTS_MAX)
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "%s keeps experts in %zu parts (the last is %s), %d are possible; choose some of "
                "its tensors by a pattern",
                path.c_str(), parts.size(), parts.rbegin()->second.c_str(), CUBBY_PARTS_MAX);
  if (const auto found = find_lack(rows))
    return format_error(path, 0,
                        "layer " + std::to_string(found->row->layer) + " lacks " + found->part +
                            ", which other layers have");
  return {};
}

result<std::vector<made_row>> rows_of_block(const tensor_list &list, const gathered_block &block,
                                            bool picked) {
  std::vector<made_row> rows;
  for (const auto &[layer, gathered] : block) {
    auto made = rows_of_layer(list, layer, gathered, picked);
    if (!made) return made.failure();
    for (made_row &row : *made) rows.push_back(std::move(row));
  }
  if (auto checked = check_rows(list, rows, picked); !checked) return checked.failure();
  return rows;
}

using block_map = std::map<std::string_view, gathered_block>;

result<block_map> gather(const tensor_list &list, const std::vector<const tensor_info *> &chosen) {
  block_map blocks;
  for (const tensor_info *tensor : chosen) {
    const auto name = read_expert_name(tensor->name);
    if (!name) continue;
    if (!tensor->trouble.empty())
      return unknown_tensor(list, *tensor, tensor->trouble, type_remedy);
    if (name->column.value_or(0) >= columns_max)
      return tensor_error(list, *tensor, "is of an expert with an implausible number");
    gathered_part &part = blocks[name->block][name->layer][{name->order, name->part}];
    const tensor_info *&slot = name->column ? part.columns[*name->column] : part.stacked;
    if (slot) return unknown_tensor(list, *tensor, "means the same part as " + slot->name);
    slot = tensor;
    part.merged = name->merged;
  }
  return blocks;
}

/// The block of most layers; the others are those of an MTP head, say.
const std::pair<const std::string_view, gathered_block> &main_block(const block_map &blocks) {
  return *std::max_element(blocks.begin(), blocks.end(), [](const auto &a, const auto &b) {
    return a.second.size() < b.second.size();
  });
}

/// Rows of another block behind those of the main one, or a notice of why they are left out.
void add_block(tensor_list &list, const std::string &name, const gathered_block &block, bool picked,
               std::vector<made_row> &rows) {
  const uint32_t after = rows.back().layer + 1;
  auto more = rows_of_block(list, block, picked);
  std::vector<made_row> all = rows;
  if (more)
    for (made_row &row : *more) {
      if (base::checked_add(uint64_t{row.layer}, after).value_or(UINT64_MAX) > UINT32_MAX) return;
      row.layer += after;
      all.push_back(std::move(row));
    }
  const auto fits = more ? check_rows(list, all, picked) : result<void>(more.failure());
  if (!fits) {
    list.notices.push_back("left out: the experts of " + name + "* (" + fits.failure().text + ")");
    return;
  }
  list.notices.push_back(format_text("layers from %u on are those of %s*", after, name.c_str()));
  rows = std::move(all);
}

/// Parts by number, the same in each row; a row that lacks one has 0 bytes there.
model_bank bank_of(const std::vector<made_row> &rows, std::vector<std::string> &notices) {
  model_bank bank;
  bank.name = "experts";
  bank.columns = static_cast<uint32_t>(rows.front().experts.size());
  const std::set<part_key> parts = parts_of(rows);
  for (const part_key &key : parts) bank.part_names.push_back(base::printable(key.second, 80));
  std::string lacking;
  for (const part_key &key : parts) {
    const auto with = std::count_if(rows.begin(), rows.end(),
                                    [&](const made_row &row) { return row.parts.contains(key); });
    if (static_cast<size_t>(with) == rows.size()) continue;
    lacking += (lacking.empty() ? "" : ", ") + base::printable(key.second, 80) +
               format_text(" (in %td of %zu)", with, rows.size());
  }
  if (!lacking.empty()) notices.push_back("parts that not every row has: " + lacking);
  for (const made_row &made : rows) {
    bank_row &row = bank.rows.emplace_back();
    row.layer = made.layer;
    for (const part_key &key : parts) {
      const auto found = made.parts.find(key);
      row.parts.push_back(found == made.parts.end() ? row_part{} : found->second);
    }
  }
  return bank;
}

/// What columns are where they are not the experts by number.
void note_columns(const std::vector<made_row> &rows, std::vector<std::string> &notices) {
  for (const made_row &row : rows) {
    const std::vector<uint32_t> &experts = row.experts;
    if (row.layer != rows.front().layer) break;
    if (experts.front() == 0 && experts.back() + 1 == experts.size() &&
        (rows.size() == 1 || rows[1].layer != row.layer))
      break;
    notices.push_back(format_text("rows as that of %s: column 0 is expert %u, column %zu is %u",
                                  row.tensor().c_str(), experts.front(), experts.size() - 1,
                                  experts.back()));
  }
}

result<model_bank> expert_bank(tensor_list &list, const std::vector<const tensor_info *> &chosen,
                               bool picked) {
  auto blocks = gather(list, chosen);
  if (!blocks) return blocks.failure();
  if (blocks->empty()) return model_bank{};
  const auto &[main_name, main] = main_block(*blocks);
  auto rows = rows_of_block(list, main, picked);
  if (!rows) return rows.failure();
  if (blocks->size() > blocks_max)
    list.notices.push_back("left out: the experts beside those of " + std::string(main_name) +
                           "*, which are of too many blocks");
  else
    for (const auto &[name, block] : *blocks)
      if (name != main_name) add_block(list, std::string(name), block, picked, *rows);
  note_columns(*rows, list.notices);
  model_bank bank = bank_of(*rows, list.notices);
  bank.routed_count = list.routed_count;
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
                              " of the file, inside tensor " + before.name + " of type " +
                              before.type + " and " + std::to_string(before.bytes) + " bytes");
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
    if (!tensor->trouble.empty())
      return unknown_tensor(list, *tensor, tensor->trouble, type_remedy);
    if (tensor->bytes == 0) continue;  // safetensors has such; there is nothing to load
    if (tensor->bytes > part_bytes_max) return tensor_error(list, *tensor, "is implausibly long");
    bank_row row;
    row.layer = static_cast<uint32_t>(bank.rows.size());
    row_part part;
    part.bytes = tensor->bytes;
    part.run = {tensor->file, tensor->offset_bytes, tensor->bytes};
    describe(*tensor, part);
    row.parts.push_back(std::move(part));
    bank.rows.push_back(std::move(row));
  }
  return bank;
}

/// What a bank of the experts leaves in the file, by kind.
void note_left_out(tensor_list &list) {
  struct kind {
    const char *is;
    std::vector<const char *> marks;  // in a name; none: all that are left
    uint64_t count = 0, bytes = 0;
    const tensor_info *first = nullptr;
  };
  kind kinds[] = {{"shared experts", {"shexp", "shared_expert", "share_expert", "shared_mlp"}},
                  {"the MTP head", {"mtp.", "nextn."}},
                  {"other kinds", {}}};
  for (const tensor_info &tensor : list.tensors) {
    if (read_expert_name(tensor.name)) continue;
    for (kind &one : kinds) {
      const bool is = one.marks.empty() ||
                      std::any_of(one.marks.begin(), one.marks.end(), [&](const char *mark) {
                        return tensor.name.find(mark) != std::string::npos;
                      });
      if (!is) continue;
      one.count++;
      one.bytes += tensor.bytes;
      if (!one.first) one.first = &tensor;
      break;
    }
  }
  for (const kind &one : kinds)
    if (one.count > 0)
      list.notices.push_back(
          format_text("left out: %llu tensor%s of %s, %llu bytes (%s%s)",
                      static_cast<unsigned long long>(one.count), one.count > 1 ? "s" : "", one.is,
                      static_cast<unsigned long long>(one.bytes),
                      base::printable(one.first->name, 80).c_str(), one.count > 1 ? ", …" : ""));
}

/// The tensors that match, and whether all of them are experts.
struct choice {
  std::vector<const tensor_info *> tensors;
  bool experts = true;
};

result<choice> choose(const tensor_list &list, const std::string &pattern) {
  choice made;
  std::set<std::string_view> names;
  for (const tensor_info &tensor : list.tensors) {
    if (!names.insert(tensor.name).second)
      return unknown_tensor(list, tensor, "is there twice",
                            "remove the file that is not wanted, or add an index.json that says "
                            "which file has the model's");
    if (!pattern.empty() && fnmatch(pattern.c_str(), tensor.name.c_str(), 0) != 0) continue;
    made.tensors.push_back(&tensor);
    made.experts = made.experts && read_expert_name(tensor.name).has_value();
  }
  made.experts = made.experts || pattern.empty();
  return made;
}

/// Files that describe a model, or change one, and are none.
result<void> check_kind(const tensor_list &list) {
  std::string kind = list.kind == "imatrix" || list.kind == "adapter" ? list.kind : "";
  for (const tensor_info &tensor : list.tensors) {
    const bool low_rank = tensor.name.find(".lora_") != std::string::npos;
    if (low_rank && read_expert_name(tensor.name)) kind = "adapter";
  }
  if (kind.empty()) return {};
  return fail(CUBBY_ERR_INVALID, "%s is an %s, not a model: name the model that it belongs to",
              list.files.front().path.c_str(), kind.c_str());
}

error no_bank(const tensor_list &list, const std::string &pattern) {
  const std::string &path = list.files.front().path;
  if (!pattern.empty())
    return fail(CUBBY_ERR_INVALID, "%s holds no tensor that matches %s; name others", path.c_str(),
                pattern.c_str());
  std::string kind = list.kind.empty() ? "" : "; it calls itself \"" + list.kind + "\"";
  for (const tensor_info &tensor : list.tensors) {
    const bool like = tensor.name.find("expert") != std::string::npos && tensor.rank >= 3;
    if (!like) continue;
    kind = "; " + base::printable(tensor.name, 80) +
           " may be one, stacked in a layout that is not "
           "known here";
    break;
  }
  return fail(CUBBY_ERR_INVALID,
              "%s holds no tensor that belongs to an expert, as in models without experts%s; name "
              "other tensors by a pattern",
              path.c_str(), kind.c_str());
}

/// Types whose rows are interleaved by four and more: no row lies in one piece.
bool has_interleaved_rows(const std::string &type) {
  const size_t mark = type.rfind("_R");
  return mark != std::string::npos && mark + 2 < type.size() &&
         type.find_first_not_of("0123456789", mark + 2) == std::string::npos;
}

result<const tensor_info *> find_table(const tensor_list &list, const std::string &pattern) {
  const std::string &path = list.files.front().path;
  if (pattern.empty()) {
    return fail(CUBBY_ERR_INVALID,
                "%s: a table is one tensor; name it in cubby_adopt_desc.tensors, as "
                "\"token_embd.weight\"",
                path.c_str());
  }
  auto chosen = choose(list, pattern);
  if (!chosen) return chosen.failure();
  if (chosen->tensors.empty()) return no_bank(list, pattern);
  const tensor_info &table = *chosen->tensors.front();
  const std::string name = base::printable(table.name, 80);
  if (chosen->tensors.size() > 1) {
    return fail(CUBBY_ERR_INVALID,
                "%s holds %zu tensors that match %s, %s among them, and a table is one; name it",
                path.c_str(), chosen->tensors.size(), pattern.c_str(), name.c_str());
  }
  if (!table.trouble.empty()) return unknown_tensor(list, table, table.trouble, type_remedy);
  if (table.rank != 2 || table.outer == 0 || table.bytes == 0) {
    return fail(CUBBY_ERR_INVALID,
                "%s: tensor %s has %u dimensions, and a table of rows has two; name another tensor",
                path.c_str(), name.c_str(), table.rank);
  }
  if (has_interleaved_rows(table.type)) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "%s: tensor %s is of type %s, whose rows are interleaved; convert the model to a "
                "type whose rows lie one after the other",
                path.c_str(), name.c_str(), base::printable(table.type).c_str());
  }
  return &table;
}

}  // namespace

result<model_file> make_table(tensor_list list, const std::string &pattern, uint64_t page_bytes) {
  if (auto apart = check_overlap(list); !apart) return apart.failure();
  auto found = find_table(list, pattern);
  if (!found) return found.failure();
  const tensor_info &table = **found;
  const uint64_t row_bytes = table.bytes / table.outer;
  if (row_bytes == 0 || table.bytes % table.outer != 0 || row_bytes > UINT32_MAX)
    return tensor_error(list, table, "does not divide into rows");
  const uint64_t rows = std::clamp<uint64_t>(page_bytes / row_bytes, 1, table.outer);
  const uint64_t pages = (table.outer - 1) / rows + 1;
  if (pages > (uint64_t{1} << 31) || rows * row_bytes > part_bytes_max)
    return unknown_tensor(list, table, "has more pages than can be numbered",
                          "ask for larger ones (cubby_adopt_desc.page_bytes)");
  row_part part;
  part.bytes = rows * row_bytes;
  part.run = {table.file, table.offset_bytes, part.bytes};
  describe(table, part);
  if (part.shape[1] != 0) part.shape[1] = rows;
  model_bank bank;
  bank.name = "rows";
  bank.columns = static_cast<uint32_t>(pages);
  bank.part_names = {"rows"};
  bank.table_row_bytes = static_cast<uint32_t>(row_bytes);
  bank.table_row_count = table.outer;
  bank.rows.emplace_back().parts.push_back(std::move(part));
  model_file model;
  model.format = list.format;
  model.files = std::move(list.files);
  model.banks.push_back(std::move(bank));
  return model;
}

result<model_file> make_banks(tensor_list list, const std::string &pattern) {
  if (auto apart = check_overlap(list); !apart) return apart.failure();
  if (pattern.empty())
    if (auto checked = check_kind(list); !checked) return checked.failure();
  auto chosen = choose(list, pattern);
  if (!chosen) return chosen.failure();
  auto bank = chosen->experts ? expert_bank(list, chosen->tensors, !pattern.empty())
                              : plain_bank(list, chosen->tensors);
  if (!bank) return bank.failure();
  if (bank->rows.empty()) return no_bank(list, pattern);
  model_file model;
  if (chosen->experts) {
    note_routed_count(list, *bank);
    if (pattern.empty()) note_left_out(list);
    model.notes = std::move(list.notes);
    model.notices = std::move(list.notices);
  }
  model.format = list.format;
  model.files = std::move(list.files);
  model.banks.push_back(std::move(*bank));
  return model;
}

}  // namespace cubby::store
