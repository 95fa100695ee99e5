#include "store/file_copy.hpp"

#include <algorithm>

#include "store/header_reader.hpp"

namespace cubby::store {
namespace {

constexpr uint64_t head_bytes = uint64_t{1} << 20, sample_bytes = 4096, sample_count = 256;

bool same_file(const model_part_file &a, const model_part_file &b) {
  return a.device == b.device && a.inode == b.inode;
}

result<bool> same_piece(const header_reader &a, const header_reader &b, uint64_t offset_bytes,
                        uint64_t bytes) {
  const auto of_a = a.piece(offset_bytes, bytes);
  if (!of_a) return of_a.failure();
  const auto of_b = b.piece(offset_bytes, bytes);
  if (!of_b) return of_b.failure();
  return *of_a == *of_b;
}

error differs(const std::string &original, const std::string &copy) {
  return fail(CUBBY_ERR_INVALID, "%s is no copy of %s: their content differs; copy the file again",
              copy.c_str(), original.c_str());
}

}  // namespace

result<model_part_file> check_copy(const model_part_file &original, const std::string &copy) {
  const auto first = header_reader::open(original.path);
  if (!first) return first.failure();
  const model_part_file &now = first->identity();
  if (!same_file(now, original) || now.bytes != original.bytes ||
      now.mtime_ns != original.mtime_ns) {
    return fail(CUBBY_ERR_INVALID,
                "%s changed, or was replaced, since it was adopted, so %s cannot be held against "
                "it; adopt the file again, then add its copies",
                original.path.c_str(), copy.c_str());
  }
  const auto second = header_reader::open(copy);
  if (!second) return second.failure();
  if (same_file(now, second->identity())) {
    return fail(CUBBY_ERR_INVALID,
                "%s is the file that the bank reads already; name a copy on another device",
                copy.c_str());
  }
  const uint64_t size_bytes = now.bytes;
  if (size_bytes != second->identity().bytes) return differs(original.path, copy);
  const auto same = same_piece(*first, *second, 0, std::min(head_bytes, size_bytes));
  if (!same) return same.failure();
  if (!*same) return differs(original.path, copy);
  const uint64_t last = size_bytes - std::min(size_bytes, sample_bytes);
  for (uint64_t i = 1; i <= sample_count && size_bytes > head_bytes; ++i) {
    const auto alike =
        same_piece(*first, *second,
                   last / sample_count * i + last % sample_count * i / sample_count, sample_bytes);
    if (!alike) return alike.failure();
    if (!*alike) return differs(original.path, copy);
  }
  return second->identity();
}

}  // namespace cubby::store
