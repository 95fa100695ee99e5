// Models as people publish them: each layout is served, or refused by its right name. Only where
// bytes are missing does the error ask for another download.
#include "support/catch.hpp"

#include "scratch.hpp"
#include "store/model_file.hpp"

namespace model_kinds_test {

using cubby::store::model_file;
using cubby::store::open_model;

namespace {

constexpr uint64_t bf16_bytes = 2;
const std::vector<std::string> three = {"gate", "up", "down"};

/// A safetensors file of tensors that follow each other.
class safetensors {
 public:
  safetensors &tensor(const std::string &name, const std::string &type,
                      const std::vector<uint64_t> &shape, uint64_t element_bytes) {
    uint64_t bytes = element_bytes;
    std::string dims;
    for (const uint64_t dim : shape) {
      bytes *= dim;
      dims += (dims.empty() ? "" : ",") + std::to_string(dim);
    }
    header_ += (header_.empty() ? "\"" : ",\"") + name + "\":{\"dtype\":\"" + type +
               "\",\"shape\":[" + dims + "],\"data_offsets\":[" + std::to_string(data_bytes_) +
               "," + std::to_string(data_bytes_ + bytes) + "]}";
    data_bytes_ += bytes;
    return *this;
  }
  safetensors &bf16(const std::string &name, const std::vector<uint64_t> &shape) {
    return tensor(name, "BF16", shape, bf16_bytes);
  }
  /// Experts `from` to `to` of a layer, gate, up and down of each.
  safetensors &experts(const std::string &before, uint32_t from, uint32_t to, uint64_t width = 4) {
    for (uint32_t e = from; e <= to; e++)
      for (const std::string &part : three)
        bf16(before + std::to_string(e) + "." + part + "_proj.weight", {width, 4});
    return *this;
  }
  std::string bytes() const {
    return scratch::text("{" + header_ + "}") + std::string(data_bytes_, 'd');
  }

 private:
  std::string header_;
  uint64_t data_bytes_ = 0;
};

const std::string layers = "model.layers.";
const std::string experts0 = layers + "0.mlp.experts.", experts1 = layers + "1.mlp.experts.";

model_file opened(const std::string &path, const std::string &pattern = "") {
  auto model = open_model(path, pattern);
  if (!model) FAIL(model.failure().text);
  return std::move(*model);
}

cubby::error refused(const std::string &path, const std::string &pattern = "") {
  auto model = open_model(path, pattern);
  REQUIRE_FALSE(model.ok());
  return model.failure();
}

bool has(const std::string &text, const std::string &words) {
  return text.find(words) != std::string::npos;
}

bool notices(const model_file &model, const std::string &words) {
  for (const std::string &notice : model.notices)
    if (has(notice, words)) return true;
  return false;
}

/// A layer of four stacked experts, gate and down of the type.
void add_layer(scratch::gguf &file, uint32_t layer, uint32_t type, uint64_t part_bytes) {
  for (const char *part : {"gate", "down"})
    file.tensor("blk." + std::to_string(layer) + ".ffn_" + std::string(part) + "_exps.weight", type,
                {256, 2, 4}, part_bytes * 4);
}

std::string map_of(const std::vector<std::pair<std::string, std::string>> &places) {
  std::string map;
  for (const auto &[tensor, file] : places)
    map += (map.empty() ? "\"" : ",\"") + tensor + "\":\"" + file + "\"";
  return "{\"weight_map\":{" + map + "}}";
}

std::vector<std::pair<std::string, std::string>> places_of(const std::string &before, uint32_t from,
                                                           uint32_t to, const std::string &file) {
  std::vector<std::pair<std::string, std::string>> places;
  for (uint32_t e = from; e <= to; e++)
    for (const std::string &part : three)
      places.emplace_back(before + std::to_string(e) + "." + part + "_proj.weight", file);
  return places;
}

}  // namespace

TEST_CASE("new ggml types and those of ik_llama.cpp have their sizes, with bytes of a row") {
  const scratch::folder folder;
  const struct {
    uint32_t type;
    const char *name;
    uint64_t bytes;  // of two rows of 256
  } types[] = {{40, "NVFP4", 288},  {41, "Q1_0", 72},     {42, "Q2_0", 144},
               {139, "IQ4_K", 288}, {144, "IQ4_KS", 280}, {156, "IQ3_KS", 208}};
  for (const auto &one : types) {
    scratch::gguf file;
    add_layer(file, 0, one.type, one.bytes);
    file.floats("end", {8});
    const model_file model = opened(folder.write("m.gguf", file.bytes()));
    CHECK(model.banks[0].rows[0].parts[0].type == one.name);
    CHECK(model.banks[0].rows[0].parts[0].bytes == one.bytes);
  }
}

TEST_CASE("an unknown ggml type is refused by its number, and only where it is wanted") {
  const scratch::folder folder;
  scratch::gguf file;
  add_layer(file, 0, 4711, 300);
  const cubby::error failure = refused(folder.write("m.gguf", file.bytes()));
  CHECK(failure.status == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(has(failure.text, "ggml type 4711"));
  CHECK_FALSE(has(failure.text, "download"));
  scratch::gguf other;
  other.tensor("token_embd.weight", 4711, {256, 3}, 320);
  add_layer(other, 0, 8, 544);
  CHECK(opened(folder.write("n.gguf", other.bytes())).banks[0].columns == 4);
  CHECK(refused(folder.path("n.gguf"), "token*").status == CUBBY_ERR_NOT_SUPPORTED);
}

TEST_CASE(
    "a type whose number has another meaning is refused: its tensors span other than it needs") {
  const scratch::folder folder;
  scratch::gguf file;
  add_layer(file, 0, 12, 288 + 16);
  const cubby::error failure = refused(folder.write("m.gguf", file.bytes()));
  CHECK(has(failure.text, "spans 1216 bytes"));
  CHECK(has(failure.text, "Q4_K (ggml type 12) needs 1152"));
  CHECK_FALSE(has(failure.text, "download"));
  scratch::gguf last;
  add_layer(last, 0, 12, 288);
  const model_file model = opened(folder.write("n.gguf", last.bytes() + std::string(99, 'x')));
  CHECK(notices(model, "99 bytes follow the last tensor"));
}

TEST_CASE("metadata of unknown types has a sentence of its own, arrays of arrays are read") {
  const scratch::folder folder;
  const auto file_of = [](const std::string &pair) {
    return "GGUF" + scratch::little(3, 4) + scratch::little(0, 8) + scratch::little(1, 8) + pair;
  };
  const std::string unknown = scratch::text("k") + scratch::little(13, 4) + scratch::little(0, 8);
  cubby::error failure = refused(folder.write("m.gguf", file_of(unknown)));
  CHECK(failure.status == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(has(failure.text, "metadata k is of type 13"));
  std::string nested = scratch::text("k");
  const std::string inner =
      scratch::little(4, 4) + scratch::little(2, 8) + scratch::little(7, 4) + scratch::little(8, 4);
  nested += scratch::little(9, 4) + scratch::little(9, 4) + scratch::little(2, 8) + inner + inner;
  failure = refused(folder.write("m.gguf", file_of(nested)));
  CHECK(has(failure.text, "holds no tensor that belongs to an expert"));
}

TEST_CASE("an MTP block that begins with layer 0 has rows of its own") {
  const scratch::folder folder;
  folder.write("config.json", "{\"num_experts_per_tok\":2}");
  const auto fused = [](safetensors &file, const std::string &before) {
    file.bf16(before + "gate_up_proj", {4, 8, 4}).bf16(before + "down_proj", {4, 4, 4});
  };
  safetensors singly, both, mixed;
  singly.experts(experts0, 0, 3).experts(experts1, 0, 3).experts("mtp.layers.0.mlp.experts.", 0, 3);
  for (safetensors *file : {&both, &mixed})
    for (const std::string &before : {experts0, experts1}) fused(*file, before);
  fused(both, "mtp.layers.0.mlp.experts.");
  mixed.experts("mtp.layers.0.mlp.experts.", 0, 3);
  for (const safetensors *file : {&singly, &both, &mixed}) {
    const model_file model = opened(folder.write("m.safetensors", file->bytes()));
    const auto &rows = model.banks[0].rows;
    REQUIRE(rows.size() == 3);
    CHECK(rows[1].layer == 1);
    CHECK(rows[2].layer == 2);
    CHECK(has(rows[2].parts.back().tensor, "mtp.layers.0"));
    CHECK(notices(model, "layers from 2 on are those of mtp.layers."));
  }
  const auto bank = opened(folder.path("m.safetensors")).banks[0];
  CHECK(bank.part_names == std::vector<std::string>{"gate", "gate_up", "up", "down"});
  CHECK(place_of(bank, 0, 0).bytes == 0);
  CHECK(place_of(bank, 0, 1).bytes == 64);
  CHECK(place_of(bank, 8, 1).bytes == 0);
}

TEST_CASE("an MTP block that does not fit the others is left out with a notice") {
  const scratch::folder folder;
  safetensors file;
  file.experts(experts0, 0, 3).experts(experts1, 0, 3).experts("mtp.layers.0.mlp.experts.", 0, 1);
  const model_file model = opened(folder.write("m.safetensors", file.bytes()));
  CHECK(model.banks[0].rows.size() == 2);
  CHECK(notices(model, "left out: the experts of mtp.layers."));
  CHECK(opened(folder.path("m.safetensors"), "mtp.*").banks[0].columns == 2);
}

TEST_CASE("a layer that is not quantised lacks the scales, and one without weights is incomplete") {
  const scratch::folder folder;
  safetensors file;
  for (uint32_t e = 0; e < 2; e++) {
    file.tensor(experts0 + std::to_string(e) + ".up_proj.weight", "F8_E4M3", {8, 8}, 1);
    file.tensor(experts0 + std::to_string(e) + ".up_proj.weight_scale", "F32", {8}, 4);
    file.bf16(experts1 + std::to_string(e) + ".up_proj.weight", {8, 8});
  }
  const model_file model = opened(folder.write("m.safetensors", file.bytes()));
  const auto &bank = model.banks[0];
  CHECK(bank.part_names == std::vector<std::string>{"up", "up_weight_scale"});
  CHECK(place_of(bank, 1, 1).bytes == 32);
  CHECK(place_of(bank, 2, 0).bytes == 128);
  CHECK(place_of(bank, 2, 1).bytes == 0);
  CHECK(notices(model, "parts that not every row has: up_weight_scale (in 1 of 2)"));

  for (uint32_t e = 0; e < 2; e++)
    file.bf16(layers + "2.mlp.experts." + std::to_string(e) + ".up_proj.weight_scale", {8});
  const cubby::error failure = refused(folder.write("m.safetensors", file.bytes()));
  CHECK(failure.status == CUBBY_ERR_FORMAT);
  CHECK(has(failure.text, "layer 2 lacks up, which other layers have"));
  CHECK(has(failure.text, "damaged or incomplete"));
}

TEST_CASE("experts of two widths in a layer are two rows; a pattern takes either by number") {
  const scratch::folder folder;
  safetensors file;
  for (const std::string &before : {experts0, experts1})
    file.experts(before, 0, 3, 12).experts(before, 4, 7, 4);
  const std::string path = folder.write("m.safetensors", file.bytes());
  const model_file model = opened(path);
  const auto &bank = model.banks[0];
  CHECK(bank.columns == 4);
  REQUIRE(bank.rows.size() == 4);
  CHECK(bank.rows[1].layer == 0);
  CHECK(bank.rows[1].parts[0].bytes == 32);
  CHECK(bank.rows[2].parts[0].bytes == 96);
  CHECK(has(bank.rows[3].parts[0].tensor, "layers.1.mlp.experts.4."));
  CHECK(notices(model, "column 0 is expert 4, column 3 is 7"));
  const model_file half = opened(path, "*.experts.[4-7].*");
  CHECK(half.banks[0].rows.size() == 2);
  CHECK(half.banks[0].rows[0].parts[0].bytes == 32);
  CHECK(notices(half, "column 0 is expert 4, column 3 is 7"));
}

TEST_CASE("experts that differ otherwise are refused by name, missing ones as incomplete") {
  const scratch::folder folder;
  const auto failure_of = [&](const safetensors &file) {
    return refused(folder.write("m.safetensors", file.bytes()));
  };
  safetensors one_other, gap, part;
  one_other.experts(experts0, 0, 2).experts(experts0, 3, 3, 8).experts(experts0, 4, 7);
  CHECK(failure_of(one_other).status == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(has(failure_of(one_other).text, "experts.3.down_proj.weight differs in size or type"));
  CHECK_FALSE(has(failure_of(one_other).text, "download"));
  gap.experts(experts0, 0, 1).experts(experts0, 3, 3);
  CHECK(failure_of(gap).status == CUBBY_ERR_FORMAT);
  CHECK(has(failure_of(gap).text, "follows a gap"));
  part.experts(experts0, 0, 1).bf16(experts0 + "2.gate_proj.weight", {4, 4});
  CHECK(failure_of(part).status == CUBBY_ERR_FORMAT);
  CHECK(has(failure_of(part).text, "the tensor of an expert is missing"));
  safetensors stacked;
  stacked.bf16(experts0 + "gate_proj", {5, 4, 4});
  for (const char *expert : {"0", "1", "2"})
    stacked.bf16(experts0 + expert + ".up_proj.weight", {4, 4});
  CHECK(has(failure_of(stacked).text, "another number of experts"));
  safetensors counts;
  counts.experts(experts0, 0, 3).experts(experts1, 0, 2);
  CHECK(failure_of(counts).status == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(has(failure_of(counts).text, "layer 0 has 4 experts, layer 1 has 3"));
}

TEST_CASE("files beside models are refused by the word for what they are") {
  const scratch::folder folder;
  scratch::gguf statistics, adapter;
  statistics.string("general.type", "imatrix").floats("blk.0.ffn_up_exps.weight.counts", {1, 8});
  CHECK(has(refused(folder.write("m.gguf", statistics.bytes())).text, "is an imatrix"));
  adapter.string("general.type", "adapter").floats("blk.0.ffn_up_exps.weight.lora_a", {4, 8});
  CHECK(has(refused(folder.write("m.gguf", adapter.bytes())).text, "is an adapter"));
  safetensors low_rank;
  low_rank.bf16("base_model.model." + experts0 + "0.up_proj.lora_A.weight", {4, 4});
  CHECK(has(refused(folder.write("m.safetensors", low_rank.bytes())).text, "is an adapter"));

  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  const std::string page = "<!DOCTYPE html><html>";
  for (const char *name : {"m.gguf", "m.safetensors", "blob"}) {
    const cubby::error lfs = refused(folder.write(name, pointer));
    CHECK(lfs.status == CUBBY_ERR_FORMAT);
    CHECK(has(lfs.text, "git-lfs pointer"));
    CHECK_FALSE(has(lfs.text, "download or convert"));
    CHECK(has(refused(folder.write(name, page)).text, "web page"));
  }
}

TEST_CASE("content tells a safetensors file whose name says nothing") {
  const scratch::folder folder;
  const safetensors file = safetensors().experts(experts0, 0, 3);
  CHECK(opened(folder.write("0f1e2d", file.bytes())).format == "safetensors");
  CHECK(has(refused(folder.write("c0", "{\"num_experts\":2}")).text, "this is JSON text"));
}

TEST_CASE("the index says which tensor of which file is the model's") {
  const scratch::folder folder;
  std::filesystem::create_directory(folder.path("w"));
  const std::string a = "a.safetensors", b = "b.safetensors";
  auto places = places_of(experts0, 0, 1, "./w//" + a);
  for (const auto &place : places_of(experts1, 0, 1, "./" + b)) places.push_back(place);
  folder.write("model.safetensors.index.json", map_of(places));
  // The former expert 0 of layer 1 and a third layer are in the first file too.
  folder.write("w/" + a, safetensors()
                             .experts(experts0, 0, 1)
                             .experts(experts1, 0, 0)
                             .experts(layers + "2.mlp.experts.", 0, 1)
                             .bytes());
  folder.write(b, safetensors().experts(experts1, 0, 1).bytes());
  const model_file model = opened(folder.path(""));
  CHECK(model.banks[0].rows.size() == 2);
  CHECK(has(model.files[place_of(model.banks[0], 2, 0).file].path, b));
  CHECK(notices(model, "left out: 6 tensors that the index does not list"));

  places.emplace_back(experts1 + "2.up_proj.weight", b);
  folder.write("model.safetensors.index.json", map_of(places));
  const cubby::error failure = refused(folder.path(""));
  CHECK(failure.status == CUBBY_ERR_FORMAT);
  CHECK(has(failure.text, "lists tensor " + experts1 + "2.up_proj.weight in " + b));
}

TEST_CASE("a shard that is named takes its set, by the index or by its name") {
  const scratch::folder folder;
  const std::string first = "m-00001-of-000002.safetensors",
                    second = "m-00002-of-000002.safetensors";
  folder.write(first, safetensors().experts(experts0, 0, 2).bytes());
  folder.write(second, safetensors().experts(experts0, 3, 3).experts(experts1, 0, 3).bytes());
  for (const std::string &name : {first, second}) {
    const model_file model = opened(folder.path(name));
    CHECK(model.banks[0].columns == 4);
    CHECK(model.banks[0].rows.size() == 2);
    CHECK(has(model.files.front().path, first));
  }
  std::filesystem::rename(folder.path(second), folder.path("odd.safetensors"));
  CHECK(has(refused(folder.path(first)).text, second + " could not be opened"));
  auto places = places_of(experts0, 0, 2, first);
  for (const auto &place : places_of(experts0, 3, 3, "odd.safetensors")) places.push_back(place);
  for (const auto &place : places_of(experts1, 0, 3, "odd.safetensors")) places.push_back(place);
  folder.write("m.safetensors.index.json", map_of(places));
  CHECK(opened(folder.path(first)).banks[0].rows.size() == 2);
}

TEST_CASE("GGUF files under odd names: whole as a shard, renamed shards, pieces, a folder") {
  const scratch::folder folder;
  scratch::gguf whole, shard;
  add_layer(whole, 0, 8, 544);
  folder.write("a-00001-of-00003.gguf", whole.bytes());
  CHECK(opened(folder.path("a-00001-of-00003.gguf")).files.size() == 1);
  folder.write("mmproj-a.gguf", whole.bytes());
  CHECK(opened(folder.path("")).banks[0].columns == 4);
  shard.pair("split.no", 1).pair("split.count", 2);
  add_layer(shard, 0, 8, 544);
  const cubby::error renamed = refused(folder.write("c_2.gguf", shard.bytes()));
  CHECK(renamed.status == CUBBY_ERR_INVALID);
  CHECK(has(renamed.text, "c_2-00002-of-00002.gguf"));
  const cubby::error several = refused(folder.path(""));
  CHECK(has(several.text, "2 GGUF models: a-00001-of-00003.gguf, c_2.gguf"));
  const std::string bytes = whole.bytes();
  const cubby::error cut =
      refused(folder.write("b.gguf.part1of2", bytes.substr(0, bytes.size() / 2)));
  CHECK(has(cut.text, "join the pieces"));
  CHECK(has(refused(folder.write("b.gguf.part2of2", "xyz")).text, "join the pieces"));
}

TEST_CASE("how many experts a token uses is found under all names that config.json has for it") {
  const scratch::folder folder;
  folder.write("m.safetensors", safetensors().experts(experts0, 0, 15).bytes());
  const struct {
    const char *config;
    uint32_t count;
  } configs[] = {
      {"{\"limit\": [0.0, Infinity, -Infinity, NaN], \"num_experts_per_tok\": 6}", 6},
      {"{\"note\": \"NaN \\\\\\\" Infinity\", \"num_experts_per_tok\": 6}", 6},
      {"{\"text_config\": {\"top_k_experts\": 8}}", 8},
      {"{\"moe_topk\": [8, 7]}", 8},
      {"{\"moe_topk\": 12}", 12},
      {"{\"moe_k\": 6}", 6},
      {"{\"text_config\": {\"moe_top_k\": 3}}", 3},
      {"{\"llm_config\": {\"num_experts_per_tok\": 8}}", 8},
      {"{\"thinker_config\": {\"text_config\": {\"num_experts_per_tok\": 8}}}", 8},
      {"{\"block_configs\": [{\"num_experts_per_tok\": 4}, {\"num_experts_per_tok\": 12}]}", 12},
      {"{\"num_experts_per_tok\": null, \"text_config\": {\"num_experts_per_tok\": 8}}", 8}};
  for (const auto &one : configs) {
    folder.write("config.json", one.config);
    const model_file model = opened(folder.path("m.safetensors"));
    INFO(one.config);
    CHECK(model.banks[0].routed_count == one.count);
    CHECK(model.notes.empty());
  }
}

TEST_CASE("stacked experts are known by the names that model families give them") {
  const scratch::folder folder;
  folder.write("config.json", "{\"ffn_config\":{\"moe_num_experts\":4,\"moe_top_k\":2}}");
  const std::vector<std::string> fused = {"gate_up", "down"};
  const struct {
    std::vector<std::string> tensors, parts;
    uint64_t outer;
  } families[] = {
      {{layers + "0.block_sparse_moe.input_linear.weight",
        layers + "0.block_sparse_moe.output_linear.weight"},
       fused,
       4},
      {{layers + "0.moe.gate_proj.weight", layers + "0.moe.up_proj.weight",
        layers + "0.moe.down_proj.weight"},
       three,
       4},
      {{layers + "0.moe.gate_up_proj", layers + "0.moe.down_proj"}, fused, 4},
      {{layers + "0.mlp.switch_mlp.up_proj.weight", layers + "0.mlp.switch_mlp.up_proj.scales"},
       {"up", "up_scales"},
       4},
      {{layers + "0.experts.switch_glu.up_proj.weight"}, {"up"}, 4},
      {{"block.0.mlp.mlp1_weight.blocks", "block.0.mlp.mlp2_bias"},
       {"gate_up_weight_blocks", "down_bias"},
       4},
      {{"transformer.blocks.0.ffn.experts.mlp.w1", "transformer.blocks.0.ffn.experts.mlp.v1",
        "transformer.blocks.0.ffn.experts.mlp.w2"},
       three,
       32}};
  for (const auto &family : families) {
    safetensors file;
    for (const std::string &name : family.tensors) file.bf16(name, {family.outer, 8});
    file.bf16(layers + "0.moe.gate.weight", {4, 8});
    const model_file model = opened(folder.write("m.safetensors", file.bytes()));
    CHECK(model.banks[0].part_names == family.parts);
    CHECK(model.banks[0].columns == 4);
    CHECK(place_of(model.banks[0], 1, 0).bytes == family.outer * 4);
  }
  safetensors numa;
  for (uint32_t e = 0; e < 4; e++)
    for (const char *what : {"scale", "weight"})
      numa.bf16("blk.3.ffn_up_exps." + std::to_string(e) + ".numa.0." + what, {8});
  const model_file model = opened(folder.write("m.safetensors", numa.bytes()));
  CHECK(model.banks[0].columns == 4);
  CHECK(model.banks[0].part_names ==
        std::vector<std::string>{"up_numa_0_scale", "up_numa_0_weight"});
}

TEST_CASE("experts of twelve parts are served, as NVFP4 and GPTQ checkpoints have them") {
  const scratch::folder folder;
  safetensors file;
  for (uint32_t e = 0; e < 2; e++)
    for (const std::string &part : three)
      for (const char *suffix : {"weight", "weight_scale", "weight_scale_2", "input_scale"})
        file.bf16(experts0 + std::to_string(e) + "." + part + "_proj." + suffix, {4});
  CHECK(opened(folder.write("m.safetensors", file.bytes())).banks[0].part_names.size() == 12);
}

TEST_CASE("what is left out of the experts' bank is reported by kind") {
  const scratch::folder folder;
  scratch::gguf file;
  add_layer(file, 0, 8, 544);
  file.floats("blk.0.ffn_gate_shexp.weight", {8}).floats("blk.0.nextn.eh_proj.weight", {8});
  file.floats("token_embd.weight", {8}).floats("out\x1b[2J\xff", {8});
  const model_file model = opened(folder.write("m.gguf", file.bytes()));
  CHECK(notices(model, "left out: 1 tensor of shared experts, 32 bytes"));
  CHECK(notices(model, "left out: 1 tensor of the MTP head"));
  CHECK(notices(model, "left out: 2 tensors of other kinds, 64 bytes (token_embd.weight, …)"));
  CHECK(opened(folder.path("m.gguf"), "out*").banks[0].rows[0].parts[0].tensor ==
        "out\\x1b[2J\\xff");
}

}  // namespace model_kinds_test
