// Adopted model files: which banks of lockers a GGUF or safetensors file (or set of files) holds,
// and where their bytes lie. Nothing is copied; tensors are described as parts of lockers by
// arithmetic (base + column * stride) or, where the file keeps one tensor per expert, by one run
// per locker and part.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace cubby::store {

/// Where one part of the lockers of one row lies: the part of column c is `bytes` bytes at
/// offset_bytes + c * stride_bytes of file number `file`. Experts stored as one tensor each have
/// one run per column instead (column_runs).
struct part_run {
  uint32_t file = 0;
  uint64_t offset_bytes = 0;
  uint64_t stride_bytes = 0;
};

/// One part of a row's lockers (gate, up, down, gate_up …).
struct row_part {
  uint64_t bytes = 0;               // of this part of one locker; 0 = the row lacks it
  std::array<uint64_t, 4> shape{};  // of the same, as in cubby_part_info
  part_run run;                     // stacked tensors
  std::vector<part_run>
      column_runs;     // per-expert tensors: [columns], stride unused; empty when stacked
  std::string tensor;  // name of the (first) tensor, for messages
  std::string type;    // "Q8_0", "MXFP4", "BF16" …
};

struct bank_row {
  uint32_t layer = 0;           // the model's layer; those of an MTP block are counted on
  std::vector<row_part> parts;  // same count and order in every row of the bank
};

struct model_bank {
  std::string name;                     // "experts"
  uint32_t columns = 0;                 // experts per layer
  uint32_t routed_count = 0;            // top-k, 0 when the file does not say
  std::vector<std::string> part_names;  // "gate", "up", "down" or "gate_up", "down"; a bias
                                        // belonging to a part is a part too
  std::vector<bank_row> rows;
  // Of a table, whose lockers are pages of its rows, one after the other; the last may be shorter.
  uint32_t table_row_bytes = 0;
  uint64_t table_row_count = 0;
};

/// Where one part of one locker lies.
struct part_place {
  uint32_t file = 0;
  uint64_t offset_bytes = 0;
  uint64_t bytes = 0;
};

/// number = row * columns + column; number and part are the bank's.
[[nodiscard]] part_place place_of(const model_bank &bank, uint64_t number, uint32_t part);

/// One file of the set, with what identifies it.
struct model_part_file {
  std::string path;
  uint64_t bytes = 0;
  uint64_t device = 0, inode = 0, mtime_ns = 0;
  uint64_t header_digest = 0;  // base::digest64 of all metadata before the tensor data
};

struct model_file {
  std::string format;  // "gguf" or "safetensors"
  std::vector<model_part_file> files;
  std::vector<model_bank> banks;     // one, of the experts; `tensors` patterns may give others
  std::vector<std::string> notes;    // what was wanting without being wrong, as sentences for a log
  std::vector<std::string> notices;  // what was left out, and what people may not expect
};

/// Reads headers only. `path`: a GGUF (any split of a set), a safetensors file (any shard), an
/// index.json, or a directory of either. `tensors`: a glob of tensor names to take instead of the
/// model's experts; empty = the experts. Errors: FORMAT with offset and reason; INVALID when
/// nothing matches; IO, DENIED from the file system.
result<model_file> open_model(const std::string &path, const std::string &tensors);

/// The same for a table: the one tensor of two dimensions that `tensor` names, its rows in pages of
/// about `page_bytes`. INVALID when it names none, several, or no table; NOT_SUPPORTED for types
/// whose rows do not lie one after the other.
result<model_file> open_table(const std::string &path, const std::string &tensor,
                              uint64_t page_bytes);

}  // namespace cubby::store
