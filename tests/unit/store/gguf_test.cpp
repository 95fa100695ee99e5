// GGUF files, good ones and hostile ones.
#include "support/catch.hpp"

#include "base/digest.hpp"
#include "scratch.hpp"
#include "store/model_file.hpp"

using cubby::store::open_model;

namespace {

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
    CHECK(refused(folder.write("m.gguf", bytes)).status == CUBBY_ERR_FORMAT);
  }
}
