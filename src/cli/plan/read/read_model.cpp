#include <filesystem>

#include "cli/plan/presets/presets.hpp"
#include "cli/plan/read/model_facts.hpp"

namespace cubby_cli::plan {
namespace {

namespace fs = std::filesystem;

std::string preset_names() {
  std::string names;
  for (const model_shape &one : model_presets()) names += (names.empty() ? "" : ", ") + one.name;
  return names;
}

/// A folder of safetensors or with a GGUF in it.
outcome<model_facts> read_folder(const std::string &path) {
  std::error_code failed;
  if (fs::exists(fs::path(path) / "config.json", failed)) return read_config_facts(path);
  std::string found;
  for (const auto &one : fs::directory_iterator(path, failed))
    if (one.path().extension() == ".gguf" && (found.empty() || one.path().string() < found))
      found = one.path().string();
  if (found.empty())
    return usage_trouble(path + " holds neither a config.json nor a GGUF; name the model's file");
  return read_gguf_facts(found);
}

outcome<model_facts> read_facts(const std::string &path) {
  std::error_code failed;
  if (fs::is_directory(path, failed)) return read_folder(path);
  const std::string extension = fs::path(path).extension().string();
  if (extension == ".json" || extension == ".safetensors") return read_config_facts(path);
  return read_gguf_facts(path);
}

}  // namespace

outcome<model_shape> read_model(const std::string &name, const fact_map &given) {
  std::error_code failed;
  if (const model_shape *preset = find_model(name)) {
    if (!given.empty())
      return usage_trouble("--geometry does not change the preset " + preset->name +
                           "; name a file, or say --model by-hand with the whole geometry");
    return *preset;
  }
  if (plain_name(name) == "by-hand") return shape_of({}, given);
  if (!fs::exists(name, failed))
    return usage_trouble("there is no model \"" + name + "\": neither a file nor one of " +
                         preset_names() +
                         "; name one, or say --model by-hand with --geometry layers=N,…");
  const auto facts = read_facts(name);
  if (!facts) return facts.failure();
  return shape_of(*facts, given);
}

}  // namespace cubby_cli::plan
