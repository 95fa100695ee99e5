#include "sim/world.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

namespace cubby_sim {
namespace {

bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  const uint64_t a_end = a + std::min(a_bytes, ~uint64_t{0} - a);
  const uint64_t b_end = b + std::min(b_bytes, ~uint64_t{0} - b);
  return a < b_end && b < a_end;
}

bool is_silent(fault which) {
  return which == fault::flip_transit || which == fault::flip_rest || which == fault::misdirected ||
         which == fault::stale_block;
}

}  // namespace

world::world(const world_options &options)
    : options_(options), random_(mix(options.seed + 7)), memory_(options.arena_bytes) {}

disk_file &world::add_file(const std::string &path, uint64_t bytes) {
  const file_identity identity{bytes, 77, inode_next_++, 1'700'000'000'000'000'000u};
  auto made = std::make_shared<disk_file>(options_.seed, path, identity);
  files_[path] = made;
  return *made;
}

disk_file *world::find(const std::string &path) {
  const auto found = files_.find(path);
  return found == files_.end() ? nullptr : found->second.get();
}

std::shared_ptr<disk_file> world::open(const std::string &path, bool create, int *error) {
  if (strikes(fault::open_failure, path, 0, ~uint64_t{0})) {
    *error = EIO;
    return nullptr;
  }
  const auto found = files_.find(path);
  if (found != files_.end()) return found->second;
  if (options_.real_files) {
    const int access = create ? O_RDWR | O_CREAT : O_RDWR;
    int fd = ::open(path.c_str(), access | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EACCES || errno == EROFS)) fd = ::open(path.c_str(), O_RDONLY);
    if (fd < 0) {
      *error = errno;
      return nullptr;
    }
    return std::make_shared<disk_file>(path, fd);
  }
  if (!create) {
    *error = ENOENT;
    return nullptr;
  }
  add_file(path, 0);
  return files_[path];
}

void world::replace(const std::string &path) {
  disk_file *file = find(path);
  if (file == nullptr) return;
  file_identity identity = file->identity();
  identity.inode = inode_next_++;
  file->set_identity(identity);
}

void world::touch(const std::string &path, uint64_t now_ns) {
  disk_file *file = find(path);
  if (file == nullptr) return;
  file_identity identity = file->identity();
  identity.mtime_ns = std::max(identity.mtime_ns + 1, now_ns);
  file->set_identity(identity);
}

void world::resize(const std::string &path, uint64_t bytes) {
  disk_file *file = find(path);
  if (file == nullptr) return;
  file_identity identity = file->identity();
  identity.bytes = bytes;
  ++identity.mtime_ns;
  file->set_identity(identity);
}

void world::force(fault which, const std::string &path, uint64_t offset_bytes, uint64_t bytes,
                  uint64_t count) {
  forced_.push_back({which, path, offset_bytes, bytes, count});
}

void world::heal() {
  options_.rates = fault_rates{};
  forced_.clear();
  sticky_.clear();
  stuck_now_ = 0;
  for (auto &[path, file] : files_) file->heal();
  ++heal_count_;
}

void world::flip_memory(void *address, uint8_t mask) {
  *static_cast<unsigned char *>(address) ^= mask;
  struck(fault::frame_flip, {}, 0, 1);
}

void world::note_landed(void *memory, uint64_t bytes) {
  constexpr size_t landed_max = 64;
  if (bytes == 0 || !memory_.holds(memory)) return;
  if (landed_.size() == landed_max) landed_.erase(landed_.begin());
  landed_.push_back({static_cast<unsigned char *>(memory), bytes});
}

void world::release_memory(void *base, uint64_t bytes) {
  // What is taken next at this address may be another tier's.
  const auto *const first = static_cast<unsigned char *>(base);
  std::erase_if(landed_, [&](const landed_range &one) {
    return one.memory >= first && one.memory < first + bytes;
  });
  memory_.give(base);
}

bool world::flip_resting_frame() {
  if (landed_.empty()) return false;
  const landed_range &frame = landed_[random_.below(landed_.size())];
  const uint64_t at = random_.below(frame.bytes);
  flip_memory(frame.memory + at, static_cast<uint8_t>(1u << random_.below(8)));
  return true;
}

void world::struck(fault which, const std::string &path, uint64_t offset_bytes, uint64_t bytes) {
  ++counts_[static_cast<size_t>(which)];
  if (on_strike) on_strike(which, path, offset_bytes, bytes);
}

bool world::strikes(fault which, const std::string &path, uint64_t offset_bytes, uint64_t bytes) {
  for (auto forced = forced_.begin(); forced != forced_.end(); ++forced) {
    const bool here =
        forced->path.empty() ||
        (forced->path == path && overlap(forced->offset_bytes, forced->bytes, offset_bytes, bytes));
    if (forced->which != which || !here) continue;
    if (--forced->left == 0) forced_.erase(forced);
    struck(which, path, offset_bytes, bytes);
    return true;
  }
  // The draw comes first, so that what is allowed does not shift every later draw.
  const uint32_t rate = rate_of(options_.rates, which);
  if (rate == 0 || random_.below(1'000'000) >= rate) return false;
  if (is_silent(which) && !(silent_allowed && silent_allowed(path, offset_bytes, bytes))) {
    return false;
  }
  if (which == fault::eio_sticky && sticky_.size() >= options_.sticky_max) return false;
  if (which == fault::stuck && stuck_now_ >= options_.stuck_max) return false;
  struck(which, path, offset_bytes, bytes);
  return true;
}

bool world::rots(disk_file &file, uint64_t offset_bytes, uint64_t bytes) {
  uint64_t first = offset_bytes, end = offset_bytes + bytes;
  for (const forced_fault &one : forced_) {
    if (one.which != fault::flip_rest || one.path != file.path()) continue;
    if (!overlap(one.offset_bytes, one.bytes, offset_bytes, bytes)) continue;
    first = std::max(first, one.offset_bytes);
    end = std::min(end, one.offset_bytes + one.bytes);
    break;
  }
  if (!strikes(fault::flip_rest, file.path(), offset_bytes, bytes)) return false;
  file.rot(first + random_.below(end - first), static_cast<uint8_t>(1u << random_.below(8)));
  return true;
}

bool world::is_sticky(const std::string &path, uint64_t offset_bytes, uint64_t bytes) const {
  return std::any_of(sticky_.begin(), sticky_.end(), [&](const range &bad) {
    return bad.path == path && overlap(bad.offset_bytes, bad.bytes, offset_bytes, bytes);
  });
}

void world::make_sticky(const std::string &path, uint64_t offset_bytes, uint64_t bytes) {
  sticky_.push_back({path, offset_bytes, bytes});
}

}  // namespace cubby_sim
