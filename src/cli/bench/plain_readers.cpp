// Reads as others do them: pread by some threads, and fio.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <system_error>
#include <thread>
#include <utility>

#include "cli/bench/reader.hpp"

namespace cubby_cli::bench {
namespace {

constexpr uint32_t threads_max = 8;

class pread_reader : public reader {
 public:
  pread_reader(const layout &file, uint32_t depth)
      : file_(file), threads_(std::min(depth, threads_max)), memory_(threads_ * file.block_bytes) {}
  ~pread_reader() override {
    if (fd_ >= 0) ::close(fd_);
  }
  done open() {
    fd_ = ::open(file_.path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
    if (fd_ < 0) return system_trouble(file_.path, errno);
    if (memory_.data() == nullptr) return system_trouble("memory for pread", ENOMEM);
    return nothing{};
  }
  outcome<sample> run(const std::vector<uint32_t> &blocks) override {
    const stopwatch watch;
    std::atomic<size_t> next{0};
    std::atomic<int> error{0};
    const auto work = [&](uint32_t t) {
      for (size_t i = next++; i < blocks.size(); i = next++) {
        const ssize_t got = ::pread(fd_, memory_.data() + t * file_.block_bytes, file_.block_bytes,
                                    static_cast<off_t>(file_.offset(blocks[i])));
        if (got != static_cast<ssize_t>(file_.block_bytes)) error = got < 0 ? errno : EIO;
      }
    };
    // The calling thread is one of them, so that there is always one.
    std::vector<std::thread> others;
    try {
      while (others.size() + 1 < threads_)
        others.emplace_back(work, static_cast<uint32_t>(others.size() + 1));
    } catch (const std::system_error &refused) {
      warn_fewer(others.size() + 1, refused);
    }
    work(0);
    for (std::thread &other : others) other.join();
    if (error != 0) return system_trouble("pread of " + file_.path, error);
    return watch.stop(blocks.size() * file_.block_bytes);
  }

 private:
  /// Once: what pread gives is then less than it could.
  void warn_fewer(size_t count, const std::system_error &why) {
    if (!std::exchange(warned_fewer_, true))
      std::cerr << "cubby: " << count << " of " << threads_
                << " threads read, no more could be made (" << why.code().message()
                << "): raise ulimit -u, ulimit -v or the container's limit of processes\n";
  }

  const layout file_;
  const uint32_t threads_;
  bool warned_fewer_ = false;
  huge_buffer memory_;
  int fd_ = -1;
};

class fio_reader : public reader {
 public:
  fio_reader(const layout &file, uint32_t depth) : file_(file), depth_(depth) {}
  outcome<sample> run(const std::vector<uint32_t> &blocks) override {
    const uint64_t bytes = blocks.size() * file_.block_bytes;
    const std::string command =
        "fio --name=bench --readonly --rw=randread --direct=1 --ioengine=io_uring --bs=" +
        std::to_string(file_.block_bytes) + " --iodepth=" + std::to_string(depth_) +
        " --io_size=" + std::to_string(bytes) + " --filename='" + file_.path +
        "' --output-format=json --eta=never 2>&1";
    FILE *pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return system_trouble("fio", errno);
    std::string text;
    char piece[4096];
    for (size_t got = 0; (got = ::fread(piece, 1, sizeof piece, pipe)) != 0;) {
      text.append(piece, got);
    }
    const int status = ::pclose(pipe);
    const size_t start = text.find('{');
    const auto report = start == std::string::npos
                            ? nlohmann::json(nlohmann::json::value_t::discarded)
                            : nlohmann::json::parse(text.substr(start), nullptr, false);
    if (status != 0 || report.is_discarded()) {
      return trouble{"fio failed: " + text.substr(0, std::min(text.find('\n'), size_t{200}))};
    }
    const auto &read = report.at("jobs").at(0).at("read");
    const double speed = read.at("bw_bytes").get<double>();
    if (!(speed > 0)) return trouble{"fio read nothing"};
    return sample{static_cast<double>(bytes) / speed, bytes, 0};
  }

 private:
  const layout file_;
  const uint32_t depth_;
};

}  // namespace

outcome<std::unique_ptr<reader>> make_pread(const layout &file, uint32_t depth) {
  auto made = std::make_unique<pread_reader>(file, depth);
  if (auto opened = made->open(); !opened) return opened.failure();
  return std::unique_ptr<reader>(std::move(made));
}

outcome<std::unique_ptr<reader>> make_fio(const layout &file, uint32_t depth) {
  if (file.path.find('\'') != std::string::npos) {
    return usage_trouble("fio cannot be given a path with a quote in it: " + file.path);
  }
  if (std::system("fio --version >/dev/null 2>&1") != 0) {
    return trouble{"fio is not installed (Debian: apt-get install fio)"};
  }
  return std::unique_ptr<reader>(std::make_unique<fio_reader>(file, depth));
}

}  // namespace cubby_cli::bench
