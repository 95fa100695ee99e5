// safetensors files: one, sharded, hostile.
#include "support/catch.hpp"

#include "scratch.hpp"
#include "store/model_file.hpp"

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
  const std::string index = folder.write("model.safetensors.index.json",
                                         "{\"weight_map\":{\"a\":\"0.safetensors\","
                                         "\"b\":\"1.safetensors\"}}");
  auto model = open_model(index, "");
  REQUIRE(model.ok());
  CHECK(model->banks[0].columns == 2);
  CHECK(model->banks[0].rows[0].parts[2].column_runs[1].file == 1);
  folder.write("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"../x\"}}");
  CHECK_FALSE(open_model(index, "").ok());
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
