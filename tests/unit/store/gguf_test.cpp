// GGUF files, good ones and hostile ones.
#include "support/catch.hpp"

#include "base/digest.hpp"
#include "scratch.hpp"
#include "store/model_file.hpp"

namespace gguf_test {

using cubby::store::open_model;

namespace {

/// The tensors of one layer of a model with `experts` experts of 3 parts; types are ggml's numbers.
void add_layer(scratch::gguf &file, uint32_t layer, uint64_t hidden, uint64_t ffn, uint64_t experts,
               const std::vector<std::pair<uint32_t, uint64_t>> &types, bool bias) {
  const char *const names[] = {"gate", "up", "down"};
  for (size_t p = 0; p < 3; p++) {
    const std::string at =
        "blk." + std::to_string(layer) + ".ffn_" + std::string(names[p]) + "_exps.";
    const uint64_t in = p == 2 ? ffn : hidden, out = p == 2 ? hidden : ffn;
    file.tensor(at + "weight", types[p].first, {in, out, experts}, types[p].second * experts);
    if (bias) file.floats(at + "bias", {out, experts});
  }
}

/// Opens it and gives the error; fails the test when there is none.
cubby::error refused(const std::string &path) {
  auto model = open_model(path, "");
  REQUIRE_FALSE(model.ok());
  return model.failure();
}

}  // namespace

TEST_CASE("a stacked model gives rows, parts and strides, also with mixed types") {
  const scratch::folder folder;
  const std::string bytes = scratch::mixed_model().bytes();
  auto model = open_model(folder.write("m.gguf", bytes), "");
  REQUIRE(model.ok());
  REQUIRE(model->files.size() == 1);
  CHECK(model->files[0].bytes == bytes.size());
  // All metadata, without the padding before the tensors.
  const std::string unpadded = scratch::mixed_model().header_bytes();
  CHECK(model->files[0].header_digest == cubby::base::digest64(unpadded.data(), unpadded.size()));
  const auto &bank = model->banks.at(0);
  CHECK(bank.columns == 4);
  CHECK(bank.routed_count == 2);
  CHECK(bank.part_names == std::vector<std::string>{"gate", "up", "down"});
  REQUIRE(bank.rows.size() == 2);
  CHECK(bank.rows[0].parts[2].type == "Q8_0");
  CHECK(bank.rows[0].parts[2].bytes == 68);
  CHECK(bank.rows[1].parts[2].type == "Q4_0");
  CHECK(bank.rows[1].parts[2].bytes == 36);
  CHECK(bank.rows[1].parts[0].type == "MXFP4");
  const auto &last = bank.rows[1].parts[1];
  CHECK(last.run.stride_bytes == 128);
  CHECK(last.run.offset_bytes + 4 * 128 == bytes.size());
}

TEST_CASE("experts with a tensor each give one run per column") {
  const scratch::folder folder;
  scratch::gguf file;
  for (const char *name : {"down", "gate", "up"})
    for (uint32_t e : {1u, 0u, 2u})
      file.tensor("blk.7.ffn_" + std::string(name) + "." + std::to_string(e) + ".weight", 0, {8, 2},
                  64);
  auto model = open_model(folder.write("m.gguf", file.bytes()), "");
  REQUIRE(model.ok());
  const auto &bank = model->banks.at(0);
  CHECK(bank.columns == 3);
  REQUIRE(bank.rows.size() == 1);
  CHECK(bank.rows[0].layer == 7);
  const auto &gate = bank.rows[0].parts[0];
  REQUIRE(gate.column_runs.size() == 3);
  CHECK(gate.column_runs[0].offset_bytes == gate.column_runs[1].offset_bytes + 64);
  CHECK(gate.tensor == "blk.7.ffn_gate.0.weight");
}

TEST_CASE("a split set is found from any of its files, and a missing one is named") {
  const scratch::folder folder;
  for (uint32_t i = 0; i < 2; i++) {
    scratch::gguf file;
    file.pair("split.no", i).pair("split.count", 2);
    const std::string at = "blk." + std::to_string(i) + ".ffn_";
    file.tensor(at + "gate_up_exps.weight", 1, {4, 4, 3}, 96);
    file.tensor(at + "down_exps.weight", 1, {4, 2, 3}, 48);
    folder.write("m-0000" + std::to_string(i + 1) + "-of-00002.gguf", file.bytes());
  }
  auto model = open_model(folder.path("m-00002-of-00002.gguf"), "");
  REQUIRE(model.ok());
  REQUIRE(model->files.size() == 2);
  CHECK(model->banks[0].rows[1].parts[0].run.file == 1);
  CHECK(model->banks[0].part_names == std::vector<std::string>{"gate_up", "down"});
  std::filesystem::remove(folder.path("m-00001-of-00002.gguf"));
  const auto failure = refused(folder.path("m-00002-of-00002.gguf"));
  CHECK(failure.text.find("m-00001-of-00002.gguf") != std::string::npos);
}

TEST_CASE("a pattern takes other tensors, and one that matches nothing is refused") {
  const scratch::folder folder;
  const std::string path = folder.write("m.gguf", scratch::mixed_model().bytes());
  auto model = open_model(path, "token_*");
  REQUIRE(model.ok());
  CHECK(model->banks[0].rows[0].parts[0].bytes == 384);
  auto none = open_model(path, "nothing*");
  REQUIRE_FALSE(none.ok());
  CHECK(none.failure().status == CUBBY_ERR_INVALID);
}

TEST_CASE("a file cut short at any byte is refused") {
  const scratch::folder folder;
  const std::string bytes = scratch::mixed_model().bytes();
  for (size_t length = 0; length < bytes.size(); length++) {
    const std::string path = folder.write("m.gguf", bytes.substr(0, length));
    const auto failure = refused(path);
    if (failure.status != CUBBY_ERR_FORMAT || failure.offset_bytes > length)
      FAIL("cut to " << length << ": " << failure.text);
  }
}

TEST_CASE("no change of one header byte crashes the reader or leads outside the file") {
  const scratch::folder folder;
  const std::string bytes = scratch::mixed_model().bytes();
  const size_t header = bytes.size() - scratch::mixed_model().data_bytes();
  for (size_t at = 0; at < header; at++) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0xff);
    auto model = open_model(folder.write("m.gguf", changed), "");
    if (!model) continue;
    for (const auto &row : model->banks[0].rows)
      for (const auto &part : row.parts) {
        const uint64_t before_last = (model->banks[0].columns - 1) * part.run.stride_bytes;
        const uint64_t last = part.run.offset_bytes + before_last + part.bytes;
        if (part.column_runs.empty() && last > bytes.size()) FAIL("byte " << at);
      }
  }
}

TEST_CASE("llama.cpp #18674: an offset or size that wraps around is refused") {
  const scratch::folder folder;
  const std::string name = "blk.0.ffn_gate_exps.weight";
  const std::vector<std::vector<uint64_t>> sizes = {
      {1ull << 62, 4, 4}, {32, 1ull << 31, 1ull << 31}, {UINT64_MAX, 1, 1}, {32, 0, 4}};
  for (const auto &dims : sizes) {
    scratch::gguf file;
    file.tensor_at(name, 0, dims, 0);
    CHECK(refused(folder.write("m.gguf", file.bytes())).status == CUBBY_ERR_FORMAT);
  }
  const std::vector<uint64_t> offsets = {UINT64_MAX - 31, UINT64_MAX - 127, 1ull << 63};
  for (const uint64_t offset : offsets) {
    scratch::gguf file;
    file.tensor("pad", 0, {32}, 128).tensor_at(name, 0, {8, 2, 2}, offset);
    const auto failure = refused(folder.write("m.gguf", file.bytes()));
    CHECK(failure.text.find("inside the file") != std::string::npos);
  }
}

TEST_CASE("ggml #1516: a file of 160 bytes that asks for GiB is refused before anything is taken") {
  const scratch::folder folder;
  const uint64_t huge = 1ull << 32;
  const std::string start = "GGUF" + scratch::little(3, 4);
  const std::string one_pair = start + scratch::little(0, 8) + scratch::little(1, 8);
  std::vector<std::string> files = {
      start + scratch::little(huge, 8) + scratch::little(0, 8),
      start + scratch::little(0, 8) + scratch::little(huge, 8), one_pair + scratch::little(huge, 8),
      one_pair + scratch::text("k") + scratch::little(8, 4) + scratch::little(huge, 8)};
  for (const uint64_t type : std::vector<uint64_t>{0, 8, 12})
    files.push_back(one_pair + scratch::text("k") + scratch::little(9, 4) +
                    scratch::little(type, 4) + scratch::little(UINT64_MAX / 4, 8));
  for (std::string &bytes : files) {
    bytes.resize(160);
    const std::string path = folder.write("m.gguf", bytes);
    scratch::largest_allocation() = 0;
    CHECK(refused(path).status == CUBBY_ERR_FORMAT);
    CHECK(scratch::largest_allocation() < (1u << 16));
  }
}

TEST_CASE("version 2 is read like version 3, and others are refused by number") {
  const scratch::folder folder;
  auto three = open_model(folder.write("3.gguf", scratch::mixed_model().bytes()), "");
  auto two = open_model(folder.write("2.gguf", scratch::mixed_model().version(2).bytes()), "");
  REQUIRE(three.ok());
  REQUIRE(two.ok());
  CHECK(two->banks[0].rows[1].parts[2].run.offset_bytes ==
        three->banks[0].rows[1].parts[2].run.offset_bytes);
  CHECK(two->banks[0].routed_count == 2);
  for (const uint32_t version : {0u, 1u, 4u, 0x03000000u}) {
    const auto failure =
        refused(folder.write("x.gguf", scratch::mixed_model().version(version).bytes()));
    CHECK(failure.status == CUBBY_ERR_NOT_SUPPORTED);
    CHECK(failure.offset_bytes == 4);
  }
}

TEST_CASE("gpt-oss geometry: MXFP4 parts of 4406400 bytes with a bias each, none aligned") {
  const scratch::folder folder;
  scratch::gguf file;
  file.pair("gpt-oss.expert_used_count", 4);
  for (uint32_t layer = 0; layer < 2; layer++)
    add_layer(file, layer, 2880, 2880, 32, {{39, 4406400}, {39, 4406400}, {39, 4406400}}, true);
  const std::string header = file.header_bytes();
  const uint64_t data = (header.size() + 31) / 32 * 32;
  auto model =
      open_model(scratch::write_sparse(folder, "m.gguf", header, data + file.data_bytes()), "");
  REQUIRE(model.ok());
  const auto &bank = model->banks[0];
  CHECK(bank.part_names ==
        std::vector<std::string>{"gate", "gate_bias", "up", "up_bias", "down", "down_bias"});
  CHECK(bank.routed_count == 4);
  CHECK(model->notes.empty());
  CHECK(bank.rows[1].parts[0].type == "MXFP4");
  const auto weight = place_of(bank, 32 + 31, 0), bias = place_of(bank, 32 + 31, 1);
  CHECK(weight.bytes == 4406400);
  CHECK(weight.offset_bytes == place_of(bank, 32, 0).offset_bytes + 31 * 4406400ull);
  CHECK(weight.offset_bytes % 4096 != 0);
  CHECK(bias.bytes == 11520);
  CHECK(bias.offset_bytes == place_of(bank, 32, 0).offset_bytes + 32 * 4406400ull + 31 * 11520);
}

TEST_CASE("Qwen3-30B-A3B in Q4_K_M: rows of two sizes, by the type of the down projection") {
  const scratch::folder folder;
  scratch::gguf file;
  file.pair("qwen3moe.expert_used_count", 8);
  for (uint32_t layer = 0; layer < 4; layer++) {
    const bool larger = layer % 2 == 0;
    add_layer(file, layer, 2048, 768, 128,
              {{12, 884736}, {12, 884736}, {larger ? 14u : 12u, larger ? 1290240 : 884736}}, false);
  }
  const std::string header = file.header_bytes();
  const uint64_t data = (header.size() + 31) / 32 * 32;
  auto model =
      open_model(scratch::write_sparse(folder, "m.gguf", header, data + file.data_bytes()), "");
  REQUIRE(model.ok());
  for (uint32_t row = 0; row < 4; row++) {
    uint64_t bytes = 0;
    for (const auto &part : model->banks[0].rows[row].parts) bytes += part.bytes;
    CHECK(bytes == (row % 2 == 0 ? 3059712 : 2654208));
  }
  CHECK(model->banks[0].rows[0].parts[2].type == "Q6_K");
  CHECK(model->banks[0].rows[1].parts[2].type == "Q4_K");
}

TEST_CASE("a fused gate_up, its bias and a scale of one number an expert are parts") {
  const scratch::folder folder;
  scratch::gguf file;
  file.tensor("blk.0.ffn_gate_up_exps.weight", 39, {32, 4, 3}, 3 * 4 * 17);
  file.floats("blk.0.ffn_gate_up_exps.bias", {4, 3}).floats("blk.0.ffn_gate_up_exps.scale", {3});
  file.tensor("blk.0.ffn_down_exps.weight", 39, {32, 2, 3}, 3 * 2 * 17);
  auto model = open_model(folder.write("m.gguf", file.bytes()), "");
  REQUIRE(model.ok());
  CHECK(model->banks[0].part_names ==
        std::vector<std::string>{"gate_up", "gate_up_bias", "gate_up_scale", "down"});
  CHECK(place_of(model->banks[0], 2, 2).bytes == 4);
  REQUIRE(model->notes.size() == 1);
  CHECK(model->notes[0].find("does not say how many experts") != std::string::npos);
}

TEST_CASE("tensors that share bytes are refused, those that only touch are not") {
  const scratch::folder folder;
  for (const uint64_t offset : {uint64_t{96}, uint64_t{128}}) {
    scratch::gguf file;
    file.tensor("blk.0.ffn_gate_exps.weight", 0, {8, 2, 2}, 128);
    file.tensor("pad", 0, {64}, 256).tensor_at("other", 0, {8}, 0);
    scratch::gguf shared;
    shared.tensor("blk.0.ffn_gate_exps.weight", 0, {8, 2, 2}, 128);
    shared.tensor_at("blk.0.ffn_down_exps.weight", 0, {8, 2, 2}, offset);
    shared.tensor_at("end", 0, {8}, 128 + offset);
    std::string bytes = shared.bytes();
    bytes.resize(bytes.size() + 256);
    auto model = open_model(folder.write("m.gguf", bytes), "");
    CHECK(model.ok() == (offset == 128));
    if (!model)
      CHECK(model.failure().text.find("inside tensor blk.0.ffn_gate_e") != std::string::npos);
    const auto failure = refused(folder.write("n.gguf", file.bytes()));
    CHECK(failure.status == CUBBY_ERR_FORMAT);
  }
}

TEST_CASE("experts of more parts than a locker may have are refused, a pattern helps") {
  const scratch::folder folder;
  scratch::gguf file;
  for (const char *part : {"gate", "up", "down"})
    for (const char *kind : {"weight", "bias", "scale", "a", "b", "c"})
      file.floats("blk.0.ffn_" + std::string(part) + "_exps." + kind, {8, 2});
  const std::string path = folder.write("m.gguf", file.bytes());
  CHECK(refused(path).status == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(open_model(path, "*_exps.weight").ok());
}

TEST_CASE("what a file calls its tensors is shown without control characters") {
  const scratch::folder folder;
  scratch::gguf file;
  file.tensor_at("blk.0.\x1b[2J" + std::string(900, 'x'), 0, {8}, 1ull << 40);
  const auto failure = refused(folder.write("m.gguf", file.bytes()));
  CHECK(failure.text.find("blk.0.\\x1b[2Jxxx") != std::string::npos);
  CHECK(failure.text.size() < 700);
}

}  // namespace gguf_test
