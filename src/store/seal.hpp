// Seals: side-car files with the digests of an adopted file, written by `cubby seal` and held
// against every later load.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "store/model_file.hpp"

namespace cubby::store {

/// Digests of every chunk of every bank of one model, in the order bank, locker, part, chunk. A
/// zero digest is one not yet taken (an interrupted seal resumes there).
struct seal {
  uint32_t chunk_bytes = 0;
  std::vector<model_part_file> files;        // identity at sealing
  std::vector<std::vector<uint64_t>> banks;  // [bank][chunk digests]
  bool complete = false;
};

/// "<first file>.cubby-seal" unless `seal_path` says otherwise.
std::string seal_path_of(const model_file &model, const std::string &seal_path);

/// Reads a seal. FORMAT with offset when damaged; MISS status (as error status CUBBY_MISS) when
/// there is none.
result<seal> read_seal(const std::string &path);

/// Writes it whole to a temporary name beside it, flushes and renames: a seal is there entirely or
/// not at all.
result<void> write_seal(const std::string &path, const seal &content);

/// Does the seal describe these files as they are now? An error names the file and what differs.
result<void> check_seal(const seal &content, const model_file &model);

}  // namespace cubby::store
