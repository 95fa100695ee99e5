// cubby make-model: a deterministic GGUF of any geometry with random weights.
#include <cctype>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/model/make_model.hpp"
#include "cli/printable.hpp"

namespace cubby_cli {
namespace {

struct options {
  model::geometry shape;
  std::string type = "q8_0", out;
  bool json = false;
};

int run(options chosen) {
  std::string type = chosen.type;
  for (char &letter : type) letter = static_cast<char>(std::toupper(letter));
  chosen.shape.type = model::expert_type_of(type).value();
  if (auto good = model::check(chosen.shape); !good)
    return report_trouble("make-model", good.failure(), chosen.json);
  const auto made = model::make_model(chosen.shape, chosen.out, chosen.json);
  if (!made) return report_trouble("make-model", made.failure(), chosen.json);
  const double speed = static_cast<double>(made->bytes) / made->seconds;
  if (chosen.json) {
    const nlohmann::json object = {{"path", chosen.out},
                                   {"bytes", made->bytes},
                                   {"tensors", made->tensor_count},
                                   {"expert_bytes", made->expert_bytes},
                                   {"seconds", made->seconds},
                                   {"gb_per_s", speed / 1e9}};
    print_json(object);
  } else {
    std::cout << printable(chosen.out) << ": " << bytes_text(made->bytes) << ", of them "
              << bytes_text(made->expert_bytes) << " experts (" << chosen.shape.layers
              << " layers of " << chosen.shape.experts << ", " << chosen.shape.top_k
              << " used), made at " << speed_text(speed) << "\n";
  }
  return exit_good;
}

}  // namespace

void add_make_model(command &program) {
  command one =
      program.subcommand("make-model", "Make a deterministic mixture-of-experts GGUF to try with");
  auto chosen = std::make_shared<options>();
  model::geometry &shape = chosen->shape;
  one.option("--layers", shape.layers, "Layers").show_default();
  one.option("--experts", shape.experts, "Experts of a layer").show_default();
  one.option("--top-k", shape.top_k, "Experts a token uses").show_default();
  one.option("--hidden", shape.hidden, "Width of the model, a multiple of 32").show_default();
  one.option("--ffn", shape.ffn, "Width of an expert, a multiple of 32").show_default();
  one.option("--type", chosen->type, "Block format of the experts")
      .one_of({"q8_0", "q4_0", "mxfp4", "bf16"})
      .show_default();
  one.flag("--mixed-quant", shape.mixed_quant,
           "Layers take turns between the format and q8_0 (q4_0 where it is that), so their "
           "experts differ in size");
  one.option("--seed", shape.seed, "The same seed gives the same bytes").show_default();
  one.option("--out", chosen->out, "Where to write it").required().not_empty();
  one.flag("--json", chosen->json, "One JSON object on stdout");
  one.runs([chosen] { return run(*chosen); });
}

}  // namespace cubby_cli
