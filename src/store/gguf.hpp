// GGUF headers, versions 2 and 3, also split sets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "store/tensor_list.hpp"

namespace cubby::store {

/// `path`: the file, or any file of a split set (…-00002-of-00005.gguf), whose others lie beside
/// it.
result<tensor_list> read_gguf(const std::string &path);

/// The models among the files of a folder, each by its first file; `folder` ends in a slash.
std::vector<std::string> gguf_models_in(const std::string &folder,
                                        const std::vector<std::string> &names);

}  // namespace cubby::store
