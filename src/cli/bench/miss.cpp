#include "cli/bench/miss.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "cli/bench/blocks.hpp"
#include "cli/bench/cubby_blocks.hpp"

namespace cubby_cli::bench {
namespace {

/// Request, wait, bytes there; the frame is given back outside of the time.
outcome<uint64_t> one_miss(cubby_blocks &by, uint32_t block) {
  cubby_item item{};
  item.id = CUBBY_ID(by.bank(), block);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_VISIT | CUBBY_BYPASS;
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  const void *address = nullptr;
  const uint64_t start = clock_ns();
  cubby_status status = cubby_pin(by.rt(), &item, 1, by.tier(), &how, &pins, &address, &ticket);
  if (status == CUBBY_PENDING) status = cubby_wait(by.rt(), ticket, -1);
  const uint64_t took = clock_ns() - start;
  if (status == CUBBY_OK) status = cubby_unpin(by.rt(), pins, 0, 0, nullptr);
  if (status != CUBBY_OK) return last_trouble();
  return took;
}

nlohmann::json summary(const char *name, const std::vector<double> &ns, double pread_ns) {
  const double half = median(ns);
  return {
      {"name", name}, {"p50_ns", half}, {"p99_ns", quantile(ns, 0.99)}, {"ratio", half / pread_ns}};
}

}  // namespace

outcome<nlohmann::json> miss_latency(const layout &file, uint32_t rounds) {
  cubby_blocks caller, thread;
  if (auto opened = caller.open(file, 4, true, CUBBY_PUMP_CALLER); !opened) {
    return opened.failure();
  }
  if (auto opened = thread.open(file, 4, true, CUBBY_PUMP_THREAD); !opened) {
    return opened.failure();
  }
  const int fd = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (fd < 0) return system_trouble(file.path, errno);
  const huge_buffer memory(file.block_bytes);
  std::vector<double> bare_ns, caller_ns, thread_ns;
  for (uint32_t round = 0; round < rounds; round++) {
    // Three different blocks, so that no way warms the disk for another.
    const auto blocks = random_blocks(file.count(), 3, round + 1);
    const uint64_t start = clock_ns();
    const ssize_t got =
        ::pread(fd, memory.data(), file.block_bytes, static_cast<off_t>(file.offset(blocks[0])));
    bare_ns.push_back(static_cast<double>(clock_ns() - start));
    auto first = one_miss(caller, blocks[1]), second = one_miss(thread, blocks[2]);
    if (got != static_cast<ssize_t>(file.block_bytes) || !first || !second) {
      ::close(fd);
      if (!first) return first.failure();
      if (!second) return second.failure();
      return system_trouble("pread of " + file.path, got < 0 ? errno : EIO);
    }
    caller_ns.push_back(static_cast<double>(*first));
    thread_ns.push_back(static_cast<double>(*second));
  }
  ::close(fd);
  const double bare = median(bare_ns);
  return nlohmann::json{{"block_bytes", file.block_bytes},
                        {"rounds", rounds},
                        {"results",
                         {summary("pread", bare_ns, bare), summary("caller pump", caller_ns, bare),
                          summary("thread pump", thread_ns, bare)}}};
}

}  // namespace cubby_cli::bench
