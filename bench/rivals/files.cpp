// A file a block, through the page cache, as vLLM's fs tier (a temporary name, then the real one)
// and LMCache's local disk write them.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "rival.hpp"

namespace rivals {
namespace {

class plain_files final : public rival {
 public:
  explicit plain_files(place at) : at_(std::move(at)) {}
  void put(std::span<const block_key> keys, const char *from, outlives what) override {
    for (size_t i = 0; i < keys.size(); ++i) {
      write_one(path_of(keys[i]), from + i * at_.block_bytes, what == outlives::power_cut);
    }
    if (what == outlives::power_cut) flush_directory();
  }
  void get(std::span<const block_key> keys, char *into) override {
    for (size_t i = 0; i < keys.size(); ++i) {
      read_one(path_of(keys[i]), into + i * at_.block_bytes);
    }
  }
  void erase(std::span<const block_key> keys) override {
    for (const block_key &one : keys) ::unlink(path_of(one).c_str());
  }
  void reopen(void (*between)(const std::string &)) override { between(at_.directory); }

 private:
  [[nodiscard]] std::string path_of(const block_key &key) const {
    return at_.directory + "/" + key.text();
  }
  static int opened(const std::string &path, int flags) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
    if (fd < 0) give_up(path + ": " + std::strerror(errno));
    return fd;
  }
  void write_one(const std::string &path, const char *from, bool flush) const {
    const std::string temporary = path + ".tmp";
    const int fd = opened(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    for (uint64_t done = 0; done < at_.block_bytes;) {
      const ssize_t put = ::write(fd, from + done, at_.block_bytes - done);
      if (put <= 0) give_up(path + ": " + std::strerror(errno));
      done += static_cast<uint64_t>(put);
    }
    if (flush && ::fdatasync(fd) != 0) give_up(path + ": " + std::strerror(errno));
    ::close(fd);
    if (::rename(temporary.c_str(), path.c_str()) != 0) give_up(path + ": " + std::strerror(errno));
  }
  void read_one(const std::string &path, char *into) const {
    const int fd = opened(path, O_RDONLY);
    for (uint64_t done = 0; done < at_.block_bytes;) {
      const ssize_t got = ::read(fd, into + done, at_.block_bytes - done);
      if (got <= 0) give_up(path + " is not whole");
      done += static_cast<uint64_t>(got);
    }
    ::close(fd);
  }
  void flush_directory() const {
    const int fd = opened(at_.directory, O_RDONLY | O_DIRECTORY);
    if (::fsync(fd) != 0) give_up(at_.directory + ": " + std::strerror(errno));
    ::close(fd);
  }

  const place at_;
};

}  // namespace

std::unique_ptr<rival> make_files(const place &at) { return std::make_unique<plain_files>(at); }

}  // namespace rivals
