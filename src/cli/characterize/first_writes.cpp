#include "cli/characterize/first_writes.hpp"

#include <unistd.h>

#include <cerrno>

#include "cli/characterize/bare_loop.hpp"

namespace cubby_cli::characterize {

outcome<figures> first_writes(const work_file &in, uint64_t block_bytes, double seconds,
                              energy_source &energy) {
  const bench::huge_buffer block(block_bytes);
  if (block.data() == nullptr) return system_trouble("memory to write with", ENOMEM);
  make_noise(block);
  if (auto taken = in.take_anew(); !taken) return taken.failure();
  latencies took;
  uint64_t written = 0;
  meter watch(energy, seconds);
  while (!watch.over() && written + block_bytes <= in.bytes()) {
    const uint64_t start_ns = clock_ns();
    const ssize_t put = ::pwrite(in.fd(), block.data(), block_bytes, static_cast<off_t>(written));
    if (put != static_cast<ssize_t>(block_bytes))
      return system_trouble("a write to the file that is measured", put < 0 ? errno : EIO);
    took.add(clock_ns() - start_ns);
    written += block_bytes;
    watch.ended(block_bytes);
  }
  return watch.stop(written, took);
}

}  // namespace cubby_cli::characterize
