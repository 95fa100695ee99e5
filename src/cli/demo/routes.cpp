#include "cli/demo/routes.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/model/weights.hpp"
#include "cli/replay/formats/lines.hpp"

namespace cubby_cli::demo {
namespace {

trouble wrong_shape(const std::string &path, const char *what, uint64_t file, uint64_t model) {
  return usage_trouble(path + ": its routes are of a model with " + std::to_string(file) + " " +
                       what + ", this model has " + std::to_string(model) +
                       "; make a model of that geometry, or give other routes");
}

/// One token's choices in every layer; false when some were not recorded or make no sense.
bool take_token(const nlohmann::json &token, uint32_t experts, routes &to) {
  const size_t before = to.experts.size();
  bool good = token.size() == to.layers;
  for (size_t layer = 0; good && layer < token.size(); ++layer) {
    good = token[layer].size() >= to.top_k;
    for (uint32_t k = 0; good && k < to.top_k; ++k) {
      const int64_t expert = token[layer][k].get<int64_t>();
      good = expert >= 0 && expert < experts;
      if (good) to.experts.push_back(static_cast<uint16_t>(expert));
    }
  }
  if (!good) to.experts.resize(before);
  return good;
}

}  // namespace

outcome<routes> read_routes(const std::string &path, uint32_t layers, uint32_t experts,
                            uint32_t top_k, uint32_t tokens) try {
  const auto source = replay::open_bytes(path);
  replay::line_reader lines(*source, {});
  std::string line;
  if (!lines.next(line)) {
    return usage_trouble(path + " cannot be read as routes (JSONL, or JSONL packed with xz)");
  }
  const auto head = nlohmann::json::parse(line);
  if (head.at("moe_layers") != layers) {
    return wrong_shape(path, "layers", head.at("moe_layers"), layers);
  }
  if (head.at("experts_per_layer") > experts) {
    return wrong_shape(path, "experts a layer", head.at("experts_per_layer"), experts);
  }
  if (head.at("top_k") < top_k) {
    return wrong_shape(path, "experts a token", head.at("top_k"), top_k);
  }
  routes read;
  read.layers = layers;
  read.top_k = top_k;
  read.origin = path;
  while (read.tokens < tokens && lines.next(line)) {
    const auto sequence = nlohmann::json::parse(line);
    for (const auto &token : sequence.at("routed_experts")) {
      if (read.tokens == tokens) break;
      if (take_token(token, experts, read)) ++read.tokens;
    }
  }
  if (read.tokens == 0) return usage_trouble(path + " holds no recorded token");
  return read;
} catch (const nlohmann::json::exception &) {
  return usage_trouble(path +
                       " is no file of routes: a line with moe_layers, experts_per_layer and top_k "
                       "comes first, then lines with routed_experts; give such a JSONL");
}

routes make_routes(uint32_t layers, uint32_t experts, uint32_t top_k, uint32_t tokens,
                   uint64_t seed) {
  routes made;
  made.layers = layers;
  made.top_k = top_k;
  made.tokens = tokens;
  made.origin = "made up (seed " + std::to_string(seed) + ")";
  model::random_stream random(seed, 77);
  std::vector<std::vector<double>> up_to(layers);  // cumulated popularity
  for (auto &layer : up_to) {
    std::vector<double> weight(experts);
    for (uint32_t e = 0; e < experts; ++e) weight[e] = 1 / std::sqrt(e + 1.0);
    for (uint32_t e = experts; e-- > 1;) std::swap(weight[e], weight[random.below(e + 1)]);
    double sum = 0;
    for (const double one : weight) layer.push_back(sum += one);
  }
  for (uint32_t token = 0; token < tokens; ++token) {
    for (uint32_t layer = 0; layer < layers; ++layer) {
      std::vector<uint16_t> chosen;
      while (chosen.size() < top_k) {
        uint16_t expert = 0;
        if (token != 0 && random.unit() < 0.45F) {
          expert = made.at(token - 1, layer)[random.below(top_k)];
        } else {
          const double at = static_cast<double>(random.unit()) * up_to[layer].back();
          const auto found = std::upper_bound(up_to[layer].begin(), up_to[layer].end(), at);
          expert = static_cast<uint16_t>(
              std::min<std::ptrdiff_t>(found - up_to[layer].begin(), experts - 1));
        }
        if (std::find(chosen.begin(), chosen.end(), expert) == chosen.end())
          chosen.push_back(expert);
      }
      made.experts.insert(made.experts.end(), chosen.begin(), chosen.end());
    }
  }
  return made;
}

}  // namespace cubby_cli::demo
