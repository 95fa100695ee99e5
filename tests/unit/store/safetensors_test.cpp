// safetensors files: one, sharded, hostile.
#include "support/catch.hpp"

#include "scratch.hpp"
#include "store/model_file.hpp"

namespace safetensors_test {

using cubby::store::open_model;

namespace {

std::string entry(const std::string &name, const std::string &shape, uint64_t from, uint64_t to) {
  return "\"" + name + "\":{\"dtype\":\"BF16\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(from) + "," + std::to_string(to) + "]}";
}

std::string file_of(const std::string &header, uint64_t data_bytes) {
  return scratch::text(header) + std::string(data_bytes, 'd');
}

const std::string layer = "model.layers.";
const std::string fused = "{" + entry(layer + "3.mlp.experts.gate_up_proj", "[2,4,4]", 0, 64) +
                          "," + entry(layer + "3.mlp.experts.down_proj", "[2,2,4]", 64, 96) + "}";

}  // namespace

TEST_CASE("fused experts of a safetensors file are stacked") {
  const scratch::folder folder;
  folder.write("config.json", "{\"num_experts_per_tok\":1}");
  auto model = open_model(folder.write("m.safetensors", file_of(fused, 96)), "");
  REQUIRE(model.ok());
  const auto &bank = model->banks.at(0);
  CHECK(bank.columns == 2);
  CHECK(bank.routed_count == 1);
  CHECK(bank.part_names == std::vector<std::string>{"gate_up", "down"});
  CHECK(bank.rows.at(0).layer == 3);
  CHECK(bank.rows[0].parts[1].run.offset_bytes == 8 + fused.size() + 64);
  CHECK(bank.rows[0].parts[1].bytes == 16);
}

TEST_CASE("a sharded model of experts one by one is read through its index or its directory") {
  const scratch::folder folder;
  for (const char *e : {"0", "1"}) {
    const std::string at = layer + "0.mlp.experts." + e + ".";
    folder.write(std::string(e) + ".safetensors",
                 file_of("{" + entry(at + "gate_proj.weight", "[4]", 0, 8) + "," +
                             entry(at + "up_proj.weight", "[4]", 8, 16) + "," +
                             entry(at + "down_proj.weight", "[4]", 16, 24) + "}",
                         24));
  }
  REQUIRE(open_model(folder.path(""), "").ok());
  std::string map;
  for (const char *e : {"0", "1"})
    for (const char *part : {"gate", "up", "down"})
      map += (map.empty() ? "\"" : ",\"") + layer + "0.mlp.experts." + e + "." + part +
             "_proj.weight\":\"" + e + ".safetensors\"";
  const std::string index =
      folder.write("model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  auto model = open_model(index, "");
  REQUIRE(model.ok());
  CHECK(model->banks[0].columns == 2);
  CHECK(model->banks[0].rows[0].parts[2].column_runs[1].file == 1);
  folder.write("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../x\"}}");
  CHECK_FALSE(open_model(index, "").ok());
}

TEST_CASE("trouble with config.json is reported in a note, not hidden") {
  const scratch::folder folder;
  const std::string path = folder.write("m.safetensors", file_of(fused, 96));
  const auto note = [&] {
    auto model = open_model(path, "");
    REQUIRE(model.ok());
    CHECK(model->banks[0].routed_count == 0);
    REQUIRE(model->notes.size() == 1);
    return model->notes[0];
  };
  CHECK(note().find("No such file") != std::string::npos);
  folder.write("config.json", "{\"num_experts_per_tok\":");
  CHECK(note().find("config.json, at byte 23: the JSON text ends early") != std::string::npos);
  folder.write("config.json", "{\"hidden_size\":8}");
  CHECK(note().find("does not say") != std::string::npos);
  folder.write("config.json", "{\"num_experts_per_tok\":3}");
  CHECK(note().find("3 experts a token of 2") != std::string::npos);
  std::filesystem::remove(folder.path("config.json"));
  std::filesystem::create_directory(folder.path("config.json"));
  CHECK(note().find("not a regular file") != std::string::npos);
  auto tensors = open_model(path, "*down_proj");
  REQUIRE(tensors.ok());
}

TEST_CASE("gpt-oss: fused gate_up in blocks and scales with biases") {
  const scratch::folder folder;
  folder.write("config.json", "{\"experts_per_token\":4,\"num_local_experts\":32}");
  const struct {
    const char *name, *type, *shape;
    uint64_t bytes;
  } tensors[] = {{"down_proj_bias", "BF16", "[32,64]", 32 * 64 * 2},
                 {"down_proj_blocks", "U8", "[32,64,2,16]", 32 * 64 * 2 * 16},
                 {"down_proj_scales", "U8", "[32,64,2]", 32 * 64 * 2},
                 {"gate_up_proj_bias", "BF16", "[32,128]", 32 * 128 * 2},
                 {"gate_up_proj_blocks", "U8", "[32,128,2,16]", 32 * 128 * 2 * 16},
                 {"gate_up_proj_scales", "U8", "[32,128,2]", 32 * 128 * 2}};
  std::string header = "{";
  uint64_t at = 0;
  for (const auto &tensor : tensors) {
    header += header.size() > 1 ? ",\"" : "\"";
    header += layer + "0.mlp.experts." + tensor.name + "\":{\"dtype\":\"" + tensor.type +
              "\",\"shape\":" + tensor.shape + ",\"data_offsets\":[" + std::to_string(at) + "," +
              std::to_string(at + tensor.bytes) + "]}";
    at += tensor.bytes;
  }
  auto model = open_model(folder.write("m.safetensors", file_of(header + "}", at)), "");
  REQUIRE(model.ok());
  const auto &bank = model->banks[0];
  CHECK(bank.part_names == std::vector<std::string>{"gate_up_bias", "gate_up_blocks",
                                                    "gate_up_scales", "down_bias", "down_blocks",
                                                    "down_scales"});
  CHECK(bank.columns == 32);
  CHECK(bank.routed_count == 4);
  CHECK(place_of(bank, 31, 1).bytes == 128 * 2 * 16);
}

TEST_CASE("a safetensors refusal says where: malformed text, a key twice, shared bytes") {
  const scratch::folder folder;
  const auto failure_of = [&](const std::string &header) {
    auto model = open_model(folder.write("m.safetensors", file_of(header, 96)), "");
    REQUIRE_FALSE(model.ok());
    CHECK(model.failure().status == CUBBY_ERR_FORMAT);
    return model.failure();
  };
  CHECK(failure_of("{\"a\": nonsense}").offset_bytes == 8 + 7);
  const std::string one = entry(layer + "0.mlp.experts.down_proj", "[2,4]", 0, 16);
  const auto twice = failure_of("{" + one + "," + one + "}");
  CHECK(twice.offset_bytes == 8 + 1 + one.size() + 1);
  CHECK(twice.text.find("is there twice") != std::string::npos);
  const auto shared =
      failure_of("{" + one + "," + entry(layer + "0.mlp.experts.up_proj", "[2,4]", 8, 24) + "}");
  CHECK(shared.text.find("inside tensor") != std::string::npos);
}

TEST_CASE("a shard that the index names but is not there is named") {
  const scratch::folder folder;
  const std::string index =
      folder.write("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
  auto model = open_model(index, "");
  REQUIRE_FALSE(model.ok());
  CHECK(model.failure().text.find("gone.safetensors") != std::string::npos);
  for (const char *name : {"\"\"", "\"../b\"", "\"a/../../b\"", "\"/b\"", "3", "\"x\\u0000y\""}) {
    folder.write("model.safetensors.index.json",
                 "{\"weight_map\":{\"a\":" + std::string(name) + "}}");
    auto other = open_model(index, "");
    REQUIRE_FALSE(other.ok());
    CHECK(other.failure().status == CUBBY_ERR_FORMAT);
  }
}

TEST_CASE("a safetensors file cut short or with impossible offsets is refused") {
  const scratch::folder folder;
  const std::string bytes = file_of(fused, 96);
  for (size_t length = 0; length < bytes.size(); length++) {
    auto model = open_model(folder.write("m.safetensors", bytes.substr(0, length)), "");
    if (model || model.failure().status != CUBBY_ERR_FORMAT) FAIL("cut to " << length);
  }
  const std::string name = layer + "0.mlp.experts.down_proj";
  for (const std::string &header :
       {"{" + entry(name, "[2,4611686018427387904,4]", 0, 0) + "}",
        "{" + entry(name, "[2,4]", 16, 0) + "}", "{" + entry(name, "[2,4]", 90, 106) + "}",
        std::string("[1]"), std::string(60000, '['), std::string("{\"a\":3}")}) {
    auto model = open_model(folder.write("m.safetensors", file_of(header, 96)), "");
    REQUIRE_FALSE(model.ok());
    CHECK(model.failure().status == CUBBY_ERR_FORMAT);
  }
}

}  // namespace safetensors_test
