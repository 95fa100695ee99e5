// What a file is, by its first bytes: names of files are lost where links are resolved.
#pragma once

#include "base/result.hpp"
#include "store/header_reader.hpp"

namespace cubby::store {

enum class file_kind { gguf, safetensors, json, other };

/// An error, which names the kind, where the bytes are those of a file that people take for a model
/// by mistake: a git-lfs pointer, a web page, an archive.
result<file_kind> kind_of(const header_reader &reader);

}  // namespace cubby::store
