#include "api/metrics_page.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>

namespace cubby::api {
namespace {

using base::metrics_page_bytes;
using base::metrics_page_header;

// The page is read as it lies.
static_assert(std::endian::native == std::endian::little);

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/// Words, so that a reader that comes meanwhile reads old ones or new ones; each after the sequence
/// was made odd.
void store_words(std::byte *to, const char *from, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, from + at, std::min<size_t>(8, bytes - at));
    std::atomic_ref(*reinterpret_cast<uint64_t *>(to + at)).store(word, std::memory_order_release);
  }
}

}  // namespace

result<metrics_page> metrics_page::make(uint64_t interval_ns) {
  metrics_page made;
  made.fd_ = ::memfd_create(base::metrics_page_name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made.fd_ < 0) {
    return fail_errno(errno, "a page for metrics could not be had; raise ulimit -n");
  }
  if (::ftruncate(made.fd_, metrics_page_bytes) != 0) {
    return fail_errno(errno, "no memory for a page of metrics");
  }
  void *const at =
      ::mmap(nullptr, metrics_page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made.fd_, 0);
  if (at == MAP_FAILED) return fail_errno(errno, "no memory for a page of metrics");
  made.header_ = new (at) metrics_page_header;
  made.header_->pid = static_cast<uint32_t>(::getpid());
  made.header_->interval_ns = interval_ns;
  // Nobody can make it shorter, so that no write here faults. Where the kernel is older than 5.1
  // the rights of /proc alone prevent that others write to it.
  ::fcntl(made.fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
  ::fcntl(made.fd_, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
  ::fcntl(made.fd_, F_ADD_SEALS, F_SEAL_SEAL);
  return made;
}

metrics_page::~metrics_page() {
  if (header_ != nullptr) ::munmap(header_, metrics_page_bytes);
  if (fd_ >= 0) ::close(fd_);
}

void metrics_page::write(std::string_view text, uint64_t now_ns) {
  constexpr size_t room_bytes = metrics_page_bytes - sizeof(metrics_page_header);
  const size_t all_bytes = text.size();
  if (all_bytes > room_bytes) text = text.substr(0, text.rfind('\n', room_bytes - 1) + 1);
  metrics_page_header &header = *header_;
  const std::atomic_ref sequence(header.sequence);
  const uint64_t before = sequence.load(std::memory_order_relaxed);
  sequence.store(before + 1, std::memory_order_relaxed);
  std::atomic_ref(header.published_ns).store(now_ns, std::memory_order_release);
  std::atomic_ref(header.text_bytes).store(text.size(), std::memory_order_release);
  std::atomic_ref(header.lost_bytes).store(all_bytes - text.size(), std::memory_order_release);
  store_words(reinterpret_cast<std::byte *>(header_ + 1), text.data(), text.size());
  sequence.store(before + 2, std::memory_order_release);
}

}  // namespace cubby::api
