#include "store/expert_name.hpp"

#include <charconv>

namespace cubby::store {
namespace {

bool drop(std::string_view &text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// Drops all up to the end of the first `mark`.
bool drop_through(std::string_view &text, std::string_view mark) {
  const size_t at = text.find(mark);
  if (at == std::string_view::npos) return false;
  text.remove_prefix(at + mark.size());
  return true;
}

std::optional<uint32_t> drop_number(std::string_view &text) {
  uint32_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

/// "3." off the front, or nothing.
std::optional<uint32_t> drop_number_and_dot(std::string_view &text) {
  std::string_view rest = text;
  const auto number = drop_number(rest);
  if (!number || !drop(rest, ".")) return std::nullopt;
  text = rest;
  return number;
}

struct projection {
  const char *written, *part;
  uint32_t order;
};

template <size_t Count>
bool drop_one_of(const projection (&known)[Count], std::string_view &text, expert_name &name) {
  for (const projection &one : known) {
    if (!drop(text, one.written)) continue;
    name.part = one.part;
    name.order = one.order;
    return true;
  }
  return false;
}

/// Takes a projection off the front. Longer names first: "gate" begins "gate_up".
bool drop_projection(std::string_view &text, expert_name &name) {
  static constexpr projection known[] = {
      {"gate_up", "gate_up", 0}, {"gate", "gate", 0}, {"up", "up", 1}, {"down", "down", 2},
      {"w13", "gate_up", 0},     {"w1", "gate", 0},   {"w3", "up", 1}, {"w2", "down", 2},
      {"fc1", "gate_up", 0},     {"fc2", "down", 2}};
  return drop_one_of(known, text, name);
}

/// What is left after the projection: the weight itself, or a bias or scale, which is a part of its
/// own.
void add_suffix(std::string_view rest, expert_name &name) {
  if (!rest.empty() && (rest.front() == '.' || rest.front() == '_')) rest.remove_prefix(1);
  if (rest.empty() || rest == "weight") return;
  name.part += '_';
  for (const char c : rest) name.part += c == '.' ? '_' : c;
}

/// "blk.3.ffn_up_exps.weight"; "blk.3.ffn_up.7.weight" of old files; KTransformers numbers stacked
/// names and says for which NUMA node ("blk.3.ffn_up_exps.7.numa.0.weight").
std::optional<expert_name> read_ggml_name(std::string_view text) {
  expert_name name;
  if (!drop(text, "blk.")) return std::nullopt;
  const auto layer = drop_number(text);
  if (!layer || !drop(text, ".ffn_") || !drop_projection(text, name)) return std::nullopt;
  name.layer = *layer;
  const bool stacked = drop(text, "_exps.");
  if (!stacked && !drop(text, ".")) return std::nullopt;
  name.column = drop_number_and_dot(text);
  if (!stacked && !name.column) return std::nullopt;
  add_suffix(text, name);
  return name;
}

/// Behind ".experts.": numbered or stacked.
bool read_experts(std::string_view text, expert_name &name) {
  static constexpr projection dbrx[] = {{"w1", "gate", 0}, {"v1", "up", 1}, {"w2", "down", 2}};
  if (drop(text, "mlp.")) {
    name.merged = drop_one_of(dbrx, text, name);
    add_suffix(text, name);
    return name.merged;
  }
  name.column = drop_number_and_dot(text);
  drop(text, "switch_glu.");
  if (!drop_projection(text, name)) return false;
  drop(text, "_proj");
  add_suffix(text, name);
  return true;
}

/// Stacked experts whose names do not say so.
bool read_other_stack(std::string_view text, expert_name &name) {
  static constexpr struct {
    const char *mark;
    projection known[4];
  } layouts[] = {
      {".switch_mlp.",
       {{"gate_up_proj", "gate_up", 0},
        {"gate_proj", "gate", 0},
        {"up_proj", "up", 1},
        {"down_proj", "down", 2}}},
      {".moe.",
       {{"gate_up_proj", "gate_up", 0},
        {"gate_proj", "gate", 0},
        {"up_proj", "up", 1},
        {"down_proj", "down", 2}}},
      {".block_sparse_moe.", {{"input_linear", "gate_up", 0}, {"output_linear", "down", 2}}},
      {".mlp.", {{"mlp1", "gate_up", 0}, {"mlp2", "down", 2}}},
  };
  for (const auto &layout : layouts) {
    std::string_view rest = text;
    if (!drop_through(rest, layout.mark)) continue;
    for (const projection &one : layout.known) {
      if (!one.written || !drop(rest, one.written)) continue;
      name.part = one.part;
      name.order = one.order;
      add_suffix(rest, name);
      return true;
    }
  }
  return false;
}

/// "model.layers.3.mlp.experts.7.up_proj.weight" and its kin.
std::optional<expert_name> read_python_name(std::string_view text) {
  for (const char *mark : {"layers.", "blocks.", "block."}) {
    expert_name name;
    std::string_view rest = text;
    if (!drop_through(rest, mark)) continue;
    name.block = text.substr(0, text.size() - rest.size());
    const auto layer = drop_number(rest);
    if (!layer || !rest.starts_with('.')) continue;
    name.layer = *layer;
    std::string_view experts = rest;
    const bool found = drop_through(experts, ".experts.") ? read_experts(experts, name)
                                                          : read_other_stack(rest, name);
    if (found) return name;
  }
  return std::nullopt;
}

}  // namespace

std::optional<expert_name> read_expert_name(std::string_view text) {
  auto name = read_ggml_name(text);
  return name ? name : read_python_name(text);
}

}  // namespace cubby::store
