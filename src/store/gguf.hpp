// GGUF headers, versions 2 and 3, also split sets.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.hpp"
#include "store/tensor_list.hpp"

namespace cubby::store {

/// `path`: the file, or any file of a split set (…-00002-of-00005.gguf), whose others lie beside
/// it.
result<tensor_list> read_gguf(const std::string &path);

}  // namespace cubby::store
