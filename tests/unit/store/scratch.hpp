// A folder of its own for each test, and a small writer of GGUF files.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace scratch {

class folder {
 public:
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "cubby-store-XXXXXX").string();
    if (!mkdtemp(name.data())) abort();
    path_ = name;
  }
  ~folder() { std::filesystem::remove_all(path_); }
  folder(const folder &) = delete;
  folder &operator=(const folder &) = delete;

  std::string path(const std::string &name) const { return path_ + "/" + name; }
  std::string write(const std::string &name, const std::string &bytes) const {
    std::ofstream(path(name), std::ios::binary | std::ios::trunc) << bytes;
    return path(name);
  }

 private:
  std::string path_;
};

/// A file of `bytes` bytes of which only the first are written; the rest is a hole.
inline std::string write_sparse(const folder &in, const std::string &name, const std::string &first,
                                uint64_t bytes) {
  const std::string path = in.write(name, first);
  std::filesystem::resize_file(path, bytes);
  return path;
}

/// Bytes of the largest single allocation since this was last set; see allocation_count_test.cpp.
size_t &largest_allocation();

inline std::string read(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string little(uint64_t value, uint32_t bytes) {
  std::string out;
  for (uint32_t i = 0; i < bytes; i++) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

inline std::string text(const std::string &value) { return little(value.size(), 8) + value; }

/// A safetensors file of bytes, tensor by tensor.
class safetensors {
 public:
  void add(const std::string &name, const std::string &bytes) {
    header_ += (header_.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"U8\",\"shape\":[" +
               std::to_string(bytes.size()) + "],\"data_offsets\":[" +
               std::to_string(data_.size()) + "," + std::to_string(data_.size() + bytes.size()) +
               "]}";
    data_ += bytes;
  }
  [[nodiscard]] std::string bytes() const { return text(header_ + "}") + data_; }

 private:
  std::string header_, data_;
};

class gguf {
 public:
  gguf &pair(const std::string &key, uint32_t value) {
    pairs_ += text(key) + little(4, 4) + little(value, 4);
    pair_count_++;
    return *this;
  }
  gguf &string(const std::string &key, const std::string &value) {
    pairs_ += text(key) + little(8, 4) + text(value);
    pair_count_++;
    return *this;
  }
  gguf &strings(const std::string &key, const std::vector<std::string> &values) {
    pairs_ += text(key) + little(9, 4) + little(8, 4) + little(values.size(), 8);
    for (const auto &value : values) pairs_ += text(value);
    pair_count_++;
    return *this;
  }
  /// At the next aligned place of the data section.
  gguf &tensor(const std::string &name, uint32_t type, const std::vector<uint64_t> &dims,
               uint64_t bytes) {
    data_bytes_ = (data_bytes_ + 31) / 32 * 32;
    tensor_at(name, type, dims, data_bytes_);
    data_bytes_ += bytes;
    return *this;
  }
  gguf &tensor_at(const std::string &name, uint32_t type, const std::vector<uint64_t> &dims,
                  uint64_t offset) {
    tensors_ += text(name) + little(dims.size(), 4);
    for (const uint64_t dim : dims) tensors_ += little(dim, 8);
    tensors_ += little(type, 4) + little(offset, 8);
    tensor_count_++;
    return *this;
  }
  /// F32 numbers of one run, with their bytes; used for biases.
  gguf &floats(const std::string &name, const std::vector<uint64_t> &dims) {
    uint64_t bytes = 4;
    for (const uint64_t dim : dims) bytes *= dim;
    return tensor(name, 0, dims, bytes);
  }
  gguf &version(uint32_t number) {
    version_ = number;
    return *this;
  }
  std::string header_bytes() const {
    return "GGUF" + little(version_, 4) + little(tensor_count_, 8) + little(pair_count_, 8) +
           pairs_ + tensors_;
  }
  std::string bytes() const {
    std::string out = header_bytes();
    out.resize((out.size() + 31) / 32 * 32);
    for (uint64_t i = 0; i < data_bytes_; i++) out += static_cast<char>(i * 31 + 7);
    return out;
  }
  uint64_t data_bytes() const { return data_bytes_; }

 private:
  uint32_t version_ = 3;
  std::string pairs_, tensors_;
  uint64_t pair_count_ = 0, tensor_count_ = 0, data_bytes_ = 0;
};

/// Two layers of four experts; the down projection is Q8_0 in one layer and Q4_0 in the other.
inline gguf mixed_model() {
  gguf file;
  file.pair("qwen3moe.expert_used_count", 2).strings("tokenizer.ggml.tokens", {"a", "", "bc"});
  file.tensor("token_embd.weight", 0, {32, 3}, 384);
  for (uint32_t layer = 0; layer < 2; layer++) {
    const std::string at = "blk." + std::to_string(layer) + ".ffn_";
    file.tensor(at + "gate_inp.weight", 0, {32, 4}, 512);
    file.tensor(at + "down_exps.weight", layer ? 2 : 8, {32, 2, 4}, 8u * (layer ? 18 : 34));
    file.tensor(at + "gate_exps.weight", 39, {32, 2, 4}, 8 * 17);
    file.tensor(at + "up_exps.weight", 30, {32, 2, 4}, 8 * 64);
  }
  return file;
}

}  // namespace scratch
