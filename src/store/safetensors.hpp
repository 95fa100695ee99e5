// safetensors headers, also sharded models (index.json).
#pragma once

#include <string>

#include "base/result.hpp"
#include "store/tensor_list.hpp"

namespace cubby::store {

/// `path`: one file, an index.json, or a directory that holds either.
result<tensor_list> read_safetensors(const std::string &path);

}  // namespace cubby::store
