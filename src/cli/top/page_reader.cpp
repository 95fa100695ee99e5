#include "cli/top/page_reader.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/metrics_page.hpp"

namespace cubby_cli::top {
namespace {

namespace fs = std::filesystem;
using cubby::base::metrics_page_bytes;
using cubby::base::metrics_page_header;

std::optional<pid_t> pid_of(const std::string &text) {
  pid_t pid = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return pid;
}

std::string first_line(const fs::path &of) {
  std::ifstream file(of);
  std::string line;
  std::getline(file, line);
  return line;
}

/// What the process itself takes for its number; a container counts its own.
pid_t own_pid(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("NSpid:")) continue;
    return pid_of(line.substr(line.find_last_of("\t ") + 1)).value_or(pid);
  }
  return pid;
}

bool is_page(const fs::path &link) {
  std::error_code failed;
  const std::string target = fs::read_symlink(link, failed).string();
  return !failed && target.starts_with("/memfd:" + std::string(cubby::base::metrics_page_name));
}

struct mapped_page {
  const metrics_page_header *header = nullptr;
  int error = 0;
};

mapped_page map_page(const std::string &path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {nullptr, errno};
  struct stat seen {};
  void *at = MAP_FAILED;
  if (::fstat(fd, &seen) == 0 && seen.st_size == static_cast<off_t>(metrics_page_bytes))
    at = ::mmap(nullptr, metrics_page_bytes, PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (at == MAP_FAILED) return {nullptr, EINVAL};
  const auto *const header = static_cast<const metrics_page_header *>(at);
  const metrics_page_header expected;
  if (std::memcmp(header->magic, expected.magic, sizeof expected.magic) == 0 &&
      header->header_bytes == sizeof expected)
    return {header, 0};
  ::munmap(at, metrics_page_bytes);
  return {nullptr, EINVAL};
}

/// After a fork a child has the descriptors of its parent, too.
bool is_of(const std::string &path, pid_t pid) {
  const mapped_page page = map_page(path);
  if (page.header == nullptr) return false;
  const bool own = page.header->pid == static_cast<uint32_t>(own_pid(pid));
  ::munmap(const_cast<metrics_page_header *>(page.header), metrics_page_bytes);
  return own;
}

/// 0, or why the descriptors of the process cannot be looked at.
int add_pages_of(pid_t pid, std::vector<page_place> &to) {
  const fs::path folder = "/proc/" + std::to_string(pid);
  std::error_code failed;
  fs::directory_iterator descriptors(folder / "fd", failed);
  if (failed) return failed.value();
  for (; descriptors != fs::directory_iterator(); descriptors.increment(failed)) {
    if (failed) break;
    const std::string path = descriptors->path().string();
    if (is_page(path) && is_of(path, pid)) to.push_back({pid, first_line(folder / "comm"), path});
  }
  return 0;
}

}  // namespace

outcome<std::vector<page_place>> find_pages(pid_t pid) {
  std::vector<page_place> found;
  if (pid != 0) {
    const int error = add_pages_of(pid, found);
    const std::string process = "process " + std::to_string(pid);
    if (error == ENOENT || error == ESRCH) return usage_trouble("there is no " + process);
    if (error != 0) return system_trouble(process + " cannot be looked at", error);
    return found;
  }
  std::error_code failed;
  for (const auto &entry : fs::directory_iterator("/proc", failed)) {
    const auto one = pid_of(entry.path().filename().string());
    if (one) add_pages_of(*one, found);
  }
  return found;
}

outcome<page_reader> page_reader::open(const page_place &at) {
  const mapped_page page = map_page(at.path);
  if (page.header == nullptr) return system_trouble(at.path, page.error);
  return page_reader(at, page.header);
}

page_reader::~page_reader() {
  if (memory_ != nullptr) ::munmap(const_cast<void *>(memory_), metrics_page_bytes);
}

outcome<page_look> page_reader::look() const {
  if (!is_page(place_.path))
    return trouble{"process " + std::to_string(place_.pid) + " has ended, or shows no more metrics",
                   exit_good};
  // Atomic reads take no const object.
  auto &header = *static_cast<metrics_page_header *>(const_cast<void *>(memory_));
  const auto *const words = reinterpret_cast<const uint64_t *>(&header + 1);
  constexpr size_t room_bytes = metrics_page_bytes - sizeof header;
  for (int tries = 0; tries < 1000; ++tries) {
    const uint64_t before = std::atomic_ref(header.sequence).load(std::memory_order_acquire);
    if (before % 2 != 0) {
      ::usleep(100);
      continue;
    }
    page_look seen;
    seen.published_ns = std::atomic_ref(header.published_ns).load(std::memory_order_acquire);
    seen.interval_ns = header.interval_ns;
    const uint64_t bytes = std::min<uint64_t>(
        std::atomic_ref(header.text_bytes).load(std::memory_order_acquire), room_bytes);
    seen.text.resize((bytes + 7) / 8 * 8);
    for (size_t at = 0; at < bytes; at += 8) {
      const uint64_t word =
          std::atomic_ref(const_cast<uint64_t &>(words[at / 8])).load(std::memory_order_acquire);
      std::memcpy(seen.text.data() + at, &word, 8);
    }
    seen.text.resize(bytes);
    if (std::atomic_ref(header.sequence).load(std::memory_order_relaxed) == before) return seen;
  }
  return trouble{"the metrics of process " + std::to_string(place_.pid) +
                 " are in the middle of a change: is it stopped?"};
}

}  // namespace cubby_cli::top
