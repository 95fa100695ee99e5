#include "cli/plan/read/model_facts.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>

namespace cubby_cli::plan {
namespace {

constexpr uint32_t experts_max = 100000;  // of a layer
constexpr double parameters_max = 1e18;

/// How architectures are known to lay their windows out: one layer of so many sees all; 1 = all
/// have windows, 0 = none has.
struct architecture {
  const char *name;
  int full_every;
};
constexpr architecture known[] = {
    {"llama", 1},       {"mistral", 1},     {"mixtral", 1},     {"qwen2", 0},
    {"qwen2moe", 0},    {"qwen2_moe", 0},   {"qwen3", 0},       {"qwen3moe", 0},
    {"qwen3_moe", 0},   {"gpt-oss", 2},     {"gpt_oss", 2},     {"deepseek", 0},
    {"deepseek2", 0},   {"deepseek_v2", 0}, {"deepseek_v3", 0}, {"deepseek_v32", 0},
    {"deepseek_v4", 0}, {"kimi_k2", 0},     {"olmoe", 0},       {"olmo2", 0},
    {"glm4moe", 0},     {"glm4_moe", 0},    {"glm_moe_dsa", 0}, {"gemma", 0},
    {"gemma2", 2},      {"gemma3", 6},      {"gemma3_text", 6}, {"phi3", 1},
    {"granitemoe", 0},  {"dbrx", 0},        {"command-r", 0},   {"cohere", 0}};

const architecture *find_architecture(const std::string &name) {
  for (const architecture &one : known)
    if (name == one.name) return &one;
  return nullptr;
}

class reader {
 public:
  reader(const fact_map &from, const fact_map &over) : from_(from), over_(over) {}
  [[nodiscard]] const std::vector<double> *list(const char *name) const {
    for (const fact_map *map : {&over_, &from_})
      if (const auto found = map->find(name); found != map->end() && !found->second.empty())
        return &found->second;
    return nullptr;
  }
  /// The largest of a list; 0 where there is none.
  [[nodiscard]] double number(const char *name, double otherwise = 0) const {
    const auto *found = list(name);
    return found == nullptr ? otherwise : *std::max_element(found->begin(), found->end());
  }
  [[nodiscard]] uint32_t count(const char *name, double otherwise = 0) const {
    return static_cast<uint32_t>(number(name, otherwise));
  }

 private:
  const fact_map &from_, &over_;
};

void read_experts(const reader &facts, model_shape &made) {
  made.routed_experts = facts.count("experts");
  if (made.routed_experts == 0) {
    made.dense_layers = made.layers;
    made.dense_intermediate = facts.count("dense-size");
    return;
  }
  made.dense_layers = std::min(facts.count("dense-layers"), made.layers);
  made.dense_intermediate = facts.count("dense-size");
  made.moe_layers = made.layers - made.dense_layers;
  made.top_k = facts.count("top-k");
  made.moe_intermediate = facts.count("expert-size", made.dense_intermediate);
  const uint32_t shared = facts.count("shared-size");
  made.shared_experts = facts.count(
      "shared-experts",
      made.moe_intermediate > 0 ? std::round(double{1} * shared / made.moe_intermediate) : 0);
}

void read_attention(const reader &facts, model_shape &made) {
  made.q_heads = facts.count("heads");
  made.kv_heads = facts.count("kv-heads", made.q_heads);
  made.head_dim = facts.count("head-dim", made.q_heads > 0 ? made.hidden / made.q_heads : 0);
  made.value_dim = facts.count("value-dim");
  made.latent_rank = facts.count("latent");
  made.rope_dim = facts.count("rope");
  made.q_rank = facts.count("q-rank");
  made.o_groups = facts.count("o-groups");
  made.o_rank = facts.count("o-rank");
  if (made.latent_rank > 0)
    made.kind = attention::latent;
  else if (facts.list("compress-ratios") != nullptr)
    made.kind = attention::entry;
  else
    made.rope_dim = 0;
}

layer_group with_index(layer_group group, const reader &facts) {
  group.index_heads = facts.count("index-heads");
  group.index_dim = facts.count("index-dim");
  group.index_top = facts.count("index-top");
  return group;
}

/// Layers by the ratios in which they compress: 0 keeps the window alone, 4 has an indexer.
void group_by_ratio(const reader &facts, const std::vector<double> &ratios, model_shape &made) {
  constexpr uint32_t index_up_to = 8;
  std::map<uint32_t, uint32_t> counts;
  for (size_t layer = 0; layer < ratios.size() && layer < made.layers; layer++)
    counts[static_cast<uint32_t>(ratios[layer])]++;
  const uint32_t window = facts.count("window", 128);
  for (const auto &[ratio, count] : counts) {
    layer_group group = {count, ratio > 0, window, std::max(1u, ratio)};
    made.groups.push_back(ratio > 0 && ratio <= index_up_to ? with_index(group, facts) : group);
  }
}

void read_groups(const model_facts &of, const reader &facts, model_shape &made) {
  if (const auto *ratios = facts.list("compress-ratios"))
    return group_by_ratio(facts, *ratios, made);
  uint32_t layers = made.layers;
  if (const auto *heads = facts.list("kv-heads"); heads != nullptr && heads->size() > 1)
    layers = static_cast<uint32_t>(
        std::count_if(heads->begin(), heads->end(), [](double one) { return one > 0; }));
  const uint32_t window = facts.count("window");
  const architecture *known_one = find_architecture(of.architecture);
  uint32_t every = known_one == nullptr ? 1 : static_cast<uint32_t>(known_one->full_every);
  every = facts.count("full-every", every);
  uint32_t full = window == 0 || every == 0 ? layers : every == 1 ? 0 : layers / every;
  if (window > 0 && !of.layer_kinds.empty())
    full = static_cast<uint32_t>(
        std::count(of.layer_kinds.begin(), of.layer_kinds.end(), std::string("full_attention")));
  full = std::min(full, layers);
  if (full > 0) made.groups.push_back(with_index({full}, facts));
  if (full < layers) made.groups.push_back({layers - full, false, window});
}

std::string all_fact_names() {
  std::string names;
  for (const fact_name &one : fact_names())
    names += (names.empty() ? "" : ", ") + std::string(one.name);
  return names;
}

/// Architectures whose models all have experts: without their number a model would be taken for a
/// small dense one.
bool always_has_experts(const std::string &name) {
  constexpr const char *names[] = {"mixtral", "gpt-oss", "gpt_oss",   "olmoe",
                                   "dbrx",    "kimi",    "deepseek_v"};
  if (name.find("moe") != std::string::npos) return true;
  return std::any_of(std::begin(names), std::end(names),
                     [&](const char *one) { return name.starts_with(one); });
}

/// Query heads share the heads with keys and values evenly.
done heads_fit(const std::string &place, const model_facts &of, const model_shape &made) {
  const auto by_layer = of.numbers.find("kv-heads");
  const bool one_number = by_layer == of.numbers.end() || by_layer->second.size() == 1;
  if (made.kind != attention::heads || made.kv_heads == 0) return nothing{};
  if (made.kv_heads <= made.q_heads && (!one_number || made.q_heads % made.kv_heads == 0))
    return nothing{};
  return usage_trouble(place + ": " + std::to_string(made.q_heads) + " query heads cannot share " +
                       std::to_string(made.kv_heads) +
                       " heads with keys and values; correct it by --geometry heads=N,kv-heads=N");
}

done complete(const model_facts &of, const fact_map &given, const model_shape &made) {
  std::string missing;
  const auto need = [&](const char *name, double value) {
    if (value <= 0) missing += (missing.empty() ? "" : ",") + std::string(name) + "=N";
  };
  need("layers", made.layers);
  need("hidden", made.hidden);
  need("heads", made.q_heads);
  need("vocab", made.vocab);
  if (made.kind == attention::heads) need("kv-heads", made.kv_heads);
  need("head-dim", made.head_dim);
  const bool said = of.numbers.contains("experts") || given.contains("experts");  // 0, too
  if (made.routed_experts == 0 && !said && always_has_experts(of.architecture)) {
    need("experts", 0);
  } else if (made.has_experts()) {
    need("top-k", made.top_k);
    need("expert-size", made.moe_intermediate);
  } else {
    need("dense-size", made.dense_intermediate);
  }
  const std::string place = of.path.empty() ? "the model" : of.path;
  if (!missing.empty())
    return usage_trouble(place + " does not say all of its geometry; give --geometry " + missing);
  if (made.has_experts() && made.top_k > made.routed_experts)
    return usage_trouble(place + ": a token uses " + std::to_string(made.top_k) + " of " +
                         std::to_string(made.routed_experts) +
                         " experts, which cannot be; correct it by --geometry top-k=N,experts=N");
  if (auto good = heads_fit(place, of, made); !good) return good;
  if (made.routed_experts > experts_max)
    return usage_trouble(place + " has " + std::to_string(made.routed_experts) +
                         " experts in a layer, and " + std::to_string(experts_max) +
                         " is the most that is reckoned with; correct it by --geometry experts=N");
  if (const double parameters = total_parameters(made); parameters > parameters_max)
    return usage_trouble(place + " would have " + short_number(parameters) +
                         " parameters, which no machine holds; correct layers, hidden, vocab or "
                         "the sizes by --geometry");
  return nothing{};
}

done architecture_known(const model_facts &of, const fact_map &given) {
  if (of.architecture.empty() || find_architecture(of.architecture) != nullptr) return nothing{};
  bool enough = true;
  for (const char *name : {"layers", "hidden", "heads", "kv-heads", "head-dim"})
    enough = enough && given.count(name) != 0;
  if (enough) return nothing{};
  return usage_trouble(of.path + " is of the architecture \"" + of.architecture +
                       "\", which is not known here; say what it keeps of a token: --geometry "
                       "layers=N,hidden=N,heads=N,kv-heads=N,head-dim=N (and latent, window, "
                       "full-every … where it has them)");
}

}  // namespace

const std::vector<fact_name> &fact_names() {
  static const std::vector<fact_name> names = {
      {"layers", "of the model"},
      {"hidden", "width of the residual stream"},
      {"vocab", "entries of the vocabulary"},
      {"heads", "query heads"},
      {"kv-heads", "heads with keys and values of their own"},
      {"head-dim", "elements of a key"},
      {"value-dim", "elements of a value, where other than of a key"},
      {"latent", "elements of MLA's latent vector"},
      {"rope", "elements of MLA's rotary key"},
      {"q-rank", "rank of the queries, where it is low"},
      {"o-groups", "groups of a low-rank output projection"},
      {"o-rank", "its rank"},
      {"experts", "routed experts of a layer"},
      {"top-k", "experts that a token uses"},
      {"shared-experts", "experts that every token uses"},
      {"shared-size", "their inner size together"},
      {"expert-size", "inner size of an expert"},
      {"dense-size", "inner size of a dense layer"},
      {"dense-layers", "first layers without experts"},
      {"window", "tokens that a layer with a window sees"},
      {"full-every", "one layer of so many sees all tokens"},
      {"index-heads", "heads of a lightning indexer"},
      {"index-dim", "elements of its keys"},
      {"index-top", "entries that it chooses"},
      {"compress-ratios", "tokens in an entry, by layer"},
      {"tied", "1 when input and output embeddings are one matrix"},
      {"context", "tokens that the model was made for"}};
  return names;
}

outcome<fact_map> read_geometry(const std::vector<std::string> &words) {
  fact_map made;
  for (const std::string &word : words) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const bool there = std::any_of(fact_names().begin(), fact_names().end(),
                                   [&](const fact_name &one) { return name == one.name; });
    if (equals == std::string::npos || !there)
      return usage_trouble("--geometry: \"" + word + "\" is none of NAME=N with NAME of " +
                           all_fact_names());
    char *end = nullptr;
    const std::string digits = word.substr(equals + 1);
    const double value = std::strtod(digits.c_str(), &end);
    if (digits.empty() || *end != 0 || !(value >= 0) || value > count_max ||
        value != std::floor(value))
      return usage_trouble("--geometry: \"" + word + "\" needs a whole number from 0 to 10^9");
    made[name].push_back(value);
  }
  return made;
}

outcome<model_shape> shape_of(const model_facts &of, const fact_map &given) {
  if (auto good = architecture_known(of, given); !good) return good.failure();
  const reader facts(of.numbers, given);
  model_shape made;
  made.name = of.path;
  made.title = of.path + (of.architecture.empty() ? "" : " (" + of.architecture + ")");
  made.from = of.path.empty() ? origin::given : origin::file;
  made.source = of.path.empty() ? "--geometry" : of.path;
  made.layers = facts.count("layers");
  made.hidden = facts.count("hidden");
  made.vocab = facts.count("vocab");
  made.context_max = static_cast<uint64_t>(facts.number("context"));
  made.tied_embeddings = facts.number("tied") > 0;
  read_experts(facts, made);
  read_attention(facts, made);
  read_groups(of, facts, made);
  made.expert_type = of.expert_type.empty() ? "bf16" : of.expert_type;
  made.dense_type = of.dense_type.empty() ? "bf16" : of.dense_type;
  made.expert_weight_bytes = weight_bytes_of(made.expert_type).value_or(2);
  made.dense_weight_bytes = weight_bytes_of(made.dense_type).value_or(2);
  if (auto good = complete(of, given, made); !good) return good.failure();
  if (of.has_tensors) {
    if (made.has_experts()) made.expert_bytes = of.expert_bytes;
    made.dense_bytes = of.dense_bytes + (made.has_experts() ? 0 : of.expert_bytes);
    if (of.input_embedding_bytes > 0) made.input_embedding_bytes = of.input_embedding_bytes;
    made.table_bytes = of.table_bytes;
  }
  return made;
}

}  // namespace cubby_cli::plan
