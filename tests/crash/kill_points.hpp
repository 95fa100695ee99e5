// A backend of files that kills its process at a named point of the store's protocol: before, in
// the middle of or after one of its writes and flushes.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <map>
#include <optional>
#include <string>

#include "api/in_process.hpp"
#include "store/durable/format.hpp"
#include "support/wrapped_backend.hpp"
#include "threadpool/threadpool.hpp"

namespace kill_points {

enum class subject { payload, record, entries, head, flush };
enum class moment { before, half, after };

struct point {
  const char *name;
  subject what;
  moment when;
};

inline constexpr std::array<point, 14> points{{
    {"before a block's bytes", subject::payload, moment::before},
    {"in a block's bytes", subject::payload, moment::half},
    {"between a block's bytes and its record", subject::payload, moment::after},
    {"before a record", subject::record, moment::before},
    {"in a page of records", subject::record, moment::half},
    {"after a record", subject::record, moment::after},
    {"before a manifest's entries", subject::entries, moment::before},
    {"in a manifest's entries", subject::entries, moment::half},
    {"after a manifest's entries", subject::entries, moment::after},
    {"before a head", subject::head, moment::before},
    {"in a head", subject::head, moment::half},
    {"after a head", subject::head, moment::after},
    {"before a flush", subject::flush, moment::before},
    {"after a flush", subject::flush, moment::after},
}};

/// Where and when the process ends.
struct plan {
  point at = points[0];
  uint32_t count = 1;  // the how manieth time it comes to this
};

[[noreturn]] inline void die() {
  for (;;) ::raise(SIGKILL);
}

/// An opened instance, for whoever holds the pump.
struct instance {
  const cubby_backend_ops *inner_ops = nullptr;
  cubby_backend *inner = nullptr;
  plan *to = nullptr;

  void set_user(void *user) { to = static_cast<plan *>(user); }

  struct store_file {
    std::optional<cubby::store::layout> places;
    std::string path;
  };
  std::map<uint32_t, store_file> files;
  uint32_t seen = 0;
  std::optional<uint64_t> deadly_cookie;  // when this has completed

  void opened(uint32_t file, const char *path) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    alignas(cubby::store::page_bytes) unsigned char page[cubby::store::page_bytes];
    const bool read = ::pread(fd, page, sizeof page, 0) == static_cast<ssize_t>(sizeof page);
    ::close(fd);
    const auto found = read ? cubby::store::decode_superblock(page, sizeof page) : std::nullopt;
    if (!found) return;
    if (auto places = cubby::store::layout::of(found->shape)) files[file] = {*places, path};
  }

  [[nodiscard]] std::optional<subject> subject_of(const cubby_backend_io &io) const {
    const auto known = files.find(io.file);
    if (known == files.end()) return std::nullopt;
    if (io.op == CUBBY_BACKEND_FLUSH) return subject::flush;
    if (io.op != CUBBY_BACKEND_WRITE) return std::nullopt;
    const cubby::store::layout &places = *known->second.places;
    const uint64_t page = io.offset_bytes / cubby::store::page_bytes;
    if (page >= places.first_data_page(0)) return subject::payload;
    for (const uint64_t slot : {places.slot_page(0), places.slot_page(1)}) {
      if (page == slot || page == slot + places.slot_pages() - 1) return subject::head;
      if (page > slot && page < slot + places.slot_pages()) return subject::entries;
    }
    return subject::record;
  }

  /// Half of its bytes are in the file, and no more will be.
  void write_half(const cubby_backend_io &io) const {
    const int fd = ::open(files.at(io.file).path.c_str(), O_WRONLY | O_CLOEXEC);
    const uint64_t half = io.bytes / 2 / 512 * 512;
    if (::pwrite(fd, io.memory, half, static_cast<off_t>(io.offset_bytes)) < 0) ::_exit(9);
  }

  void before(const cubby_backend_io &io) {
    if (subject_of(io) != to->at.what || ++seen != to->count) return;
    if (to->at.when == moment::half) write_half(io);
    if (to->at.when != moment::after) die();
    deadly_cookie = io.cookie;
  }

  uint32_t submit(uint64_t now_ns, const cubby_backend_io *ios, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      before(ios[i]);
      if (inner_ops->submit(inner, now_ns, ios + i, 1) == 0) return i;
    }
    return count;
  }
  uint32_t reap(uint64_t now_ns, cubby_backend_done *out, uint32_t max_count, uint64_t *next_ns) {
    const uint32_t count = inner_ops->reap(inner, now_ns, out, max_count, next_ns);
    for (uint32_t i = 0; i < count; ++i) {
      if (deadly_cookie && out[i].cookie == *deadly_cookie) die();
    }
    return count;
  }
};

/// The thread pool, with `plan` as the user's pointer.
inline const cubby_backend_ops *operations() {
  static const cubby_backend_ops ops = [] {
    auto made = cubby_test::wrapped_backend<instance, cubby_threadpool_backend>("deadly_files");
    made.file_open = [](cubby_backend *self, const char *path, uint32_t flags,
                        cubby_backend_file *out) {
      auto &here = cubby_test::instance_of<instance>(self);
      const int32_t status = here.inner_ops->file_open(here.inner, path, flags, out);
      if (status == 0) here.opened(out->file, path);
      return status;
    };
    return made;
  }();
  return &ops;
}

}  // namespace kill_points
