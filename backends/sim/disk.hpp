// A virtual disk. The content of a file is a function of (seed, path, offset) plus what was written
// over it, so that a disk of any size costs nothing until it is read. One file may instead be a
// real one, so that faults can be put over real bytes.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cubby_sim {

inline constexpr uint64_t block_bytes = 4096;

struct file_identity {
  uint64_t bytes = 0, device = 0, inode = 0, mtime_ns = 0;
};

class disk_file {
 public:
  disk_file(uint64_t seed, std::string path, const file_identity &identity);
  /// Takes the descriptor over.
  disk_file(std::string path, int real_fd);
  disk_file(const disk_file &) = delete;
  disk_file &operator=(const disk_file &) = delete;
  ~disk_file();

  const std::string &path() const { return path_; }
  /// Of a real file: as it is now.
  file_identity identity() const;
  void set_identity(const file_identity &identity) { identity_ = identity; }

  /// The right bytes, up to the end of the file; returns how many there were.
  uint64_t read(uint64_t offset_bytes, void *to, uint64_t bytes) const;
  /// Writes over them; a write behind the end makes the file longer. False when a real file
  /// refuses.
  bool write(uint64_t offset_bytes, const void *from, uint64_t bytes, uint64_t now_ns);
  /// What block number `block` held before it was last written over; for a block never written, the
  /// content of an earlier life of the file.
  void read_older(uint64_t block, unsigned char *to) const;

  /// Bits that have turned at rest: read() does not see them, apply_rot() puts them in.
  void rot(uint64_t offset_bytes, uint8_t mask) { rotten_[offset_bytes] ^= mask; }
  void apply_rot(uint64_t offset_bytes, unsigned char *bytes, uint64_t count) const;
  bool is_rotten(uint64_t offset_bytes, uint64_t bytes) const;
  void heal() { rotten_.clear(); }

 private:
  struct overwritten {
    std::vector<unsigned char> now, before;
  };
  void generate(uint64_t key, uint64_t block, unsigned char *to) const;

  std::string path_;
  uint64_t key_ = 0, older_key_ = 0;
  file_identity identity_;
  std::unordered_map<uint64_t, overwritten> blocks_;
  std::map<uint64_t, uint8_t> rotten_;
  int real_fd_ = -1;
};

}  // namespace cubby_sim
