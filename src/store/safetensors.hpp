// safetensors headers, also sharded models (index.json).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "store/tensor_list.hpp"

namespace cubby::store {

inline constexpr uint64_t safetensors_header_bytes_max = 100'000'000;  // by the format

/// `path`: one file, any file of a sharded model, an index.json, or a directory whose entries are
/// `files`, in order.
result<tensor_list> read_safetensors(const std::string &path,
                                     const std::vector<std::string> *files = nullptr);

}  // namespace cubby::store
