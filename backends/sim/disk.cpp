#include "sim/disk.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "sim/prng.hpp"

namespace cubby_sim {
namespace {

uint64_t key_of(uint64_t seed, std::string_view path) {
  uint64_t key = mix(seed + 0x51);
  for (const char c : path) key = mix(key ^ static_cast<unsigned char>(c));
  return key;
}

}  // namespace

disk_file::disk_file(uint64_t seed, std::string path, const file_identity &identity)
    : path_(std::move(path)),
      key_(key_of(seed, path_)),
      older_key_(mix(key_ + 1)),
      identity_(identity) {}

disk_file::disk_file(std::string path, int real_fd) : path_(std::move(path)), real_fd_(real_fd) {}

disk_file::~disk_file() {
  if (real_fd_ >= 0) ::close(real_fd_);
}

file_identity disk_file::identity() const {
  if (real_fd_ < 0) return identity_;
  struct stat seen {};
  if (fstat(real_fd_, &seen) != 0) return {};
  return {static_cast<uint64_t>(seen.st_size), seen.st_dev, seen.st_ino,
          static_cast<uint64_t>(seen.st_mtim.tv_sec) * 1'000'000'000u +
              static_cast<uint64_t>(seen.st_mtim.tv_nsec)};
}

void disk_file::generate(uint64_t key, uint64_t block, unsigned char *to) const {
  const uint64_t first = block * (block_bytes / 8);
  for (uint64_t i = 0; i < block_bytes / 8; ++i) {
    const uint64_t word = mix(key + first + i);
    std::memcpy(to + i * 8, &word, 8);
  }
}

uint64_t disk_file::read(uint64_t offset_bytes, void *to, uint64_t bytes) const {
  auto out = static_cast<unsigned char *>(to);
  const uint64_t end = identity().bytes;
  if (offset_bytes >= end) return 0;
  bytes = std::min(bytes, end - offset_bytes);
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t at = offset_bytes + done;
    if (real_fd_ >= 0) {
      const ssize_t got = pread(real_fd_, out + done, bytes - done, static_cast<off_t>(at));
      if (got <= 0) return done;
      done += static_cast<uint64_t>(got);
      continue;
    }
    const uint64_t block = at / block_bytes, skip = at % block_bytes;
    const uint64_t part = std::min(block_bytes - skip, bytes - done);
    const auto found = blocks_.find(block);
    unsigned char fresh[block_bytes];
    const unsigned char *from = fresh;
    if (found != blocks_.end()) {
      from = found->second.now.data();
    } else if (part == block_bytes) {
      generate(key_, block, out + done);
      done += part;
      continue;
    } else {
      generate(key_, block, fresh);
    }
    std::memcpy(out + done, from + skip, part);
    done += part;
  }
  return bytes;
}

bool disk_file::write(uint64_t offset_bytes, const void *from, uint64_t bytes, uint64_t now_ns) {
  const auto in = static_cast<const unsigned char *>(from);
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t at = offset_bytes + done;
    if (real_fd_ >= 0) {
      const ssize_t put = pwrite(real_fd_, in + done, bytes - done, static_cast<off_t>(at));
      if (put <= 0) return false;
      done += static_cast<uint64_t>(put);
      continue;
    }
    const uint64_t block = at / block_bytes, skip = at % block_bytes;
    const uint64_t part = std::min(block_bytes - skip, bytes - done);
    overwritten &slot = blocks_[block];
    if (slot.now.empty()) {
      slot.now.resize(block_bytes);
      // Behind the old end there was nothing but zeros.
      const bool was_there = block * block_bytes < identity_.bytes;
      if (was_there) generate(key_, block, slot.now.data());
    }
    slot.before = slot.now;
    std::memcpy(slot.now.data() + skip, in + done, part);
    done += part;
  }
  identity_.bytes = std::max(identity_.bytes, offset_bytes + bytes);
  identity_.mtime_ns = std::max(identity_.mtime_ns + 1, now_ns);
  return true;
}

void disk_file::read_older(uint64_t block, unsigned char *to) const {
  const auto found = blocks_.find(block);
  if (found != blocks_.end()) {
    std::memcpy(to, found->second.before.data(), block_bytes);
  } else {
    generate(older_key_, block, to);
  }
}

void disk_file::apply_rot(uint64_t offset_bytes, unsigned char *bytes, uint64_t count) const {
  for (auto bad = rotten_.lower_bound(offset_bytes);
       bad != rotten_.end() && bad->first < offset_bytes + count; ++bad) {
    bytes[bad->first - offset_bytes] ^= bad->second;
  }
}

bool disk_file::is_rotten(uint64_t offset_bytes, uint64_t bytes) const {
  const auto bad = rotten_.lower_bound(offset_bytes);
  return bad != rotten_.end() && bad->first < offset_bytes + bytes;
}

}  // namespace cubby_sim
