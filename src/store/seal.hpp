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
  uint64_t table_digest = 0;  // table_digest_of() at sealing
};

/// Which table of its files a model is, and how it is cut into pages: two of one shape have as many
/// chunks. 0 where it is no table.
[[nodiscard]] uint64_t table_digest_of(const model_file &model);

/// "<first file>.cubby-seal" unless `seal_path` says otherwise; a table's "<first file>.<tensor>
/// .p<bytes of a page>.cubby-seal", for the experts of the same files may have theirs, and each cut
/// has its own.
std::string seal_path_of(const model_file &model, const std::string &seal_path);

/// Reads a seal. FORMAT with offset when damaged or foreign; MISS status (as error status
/// CUBBY_MISS) when there is none, nor can be one of such a name.
result<seal> read_seal(const std::string &path);

/// Can a seal be written there? Asked before a model is read for it. Leaves nothing. INVALID where
/// something stands that is no seal: a model, a link, a device.
result<void> try_place(const std::string &path);

/// Writes it whole to "<path>.tmp", flushes and renames: a seal is there entirely or not at all,
/// and the next writer removes what an interrupted one left. Replaces nothing but a seal, and at
/// "<path>.tmp" nothing but the beginning of one: INVALID. IN_USE while another writes.
result<void> write_seal(const std::string &path, const seal &content);

/// The digests of a bank of a complete or interrupted seal, in the order locker, part, chunk.
/// FORMAT when the seal is of other banks.
result<std::vector<uint64_t>> take_digests(seal &content, size_t bank, size_t bank_count);

/// Is the seal of these files? By size and header: a copied or moved model keeps its seal, and
/// where bytes were changed in place it is for the digests to say which. An error names the file
/// and what differs; FORMAT where it is of another table of them, or in other pages.
result<void> check_seal(const seal &content, const model_file &model);

/// Have the files not been written or replaced since? Only then may an interrupted seal go on: the
/// digests it has already must be of the same bytes as those it will take.
bool is_untouched(const seal &content, const model_file &model);

}  // namespace cubby::store
