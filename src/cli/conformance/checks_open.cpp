// Opening, describing, closing: what stands for how long, and that nothing is left behind.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "cli/conformance/bench.hpp"

namespace cubby_conformance {
namespace {

void describes_itself(bench &table) {
  for (const uint32_t depth : {0u, 1u, 8u}) {
    const instance &in = table.open({depth, 0, 0});
    const cubby_backend_info &info = in.info();
    const uint32_t kinds = CUBBY_CAP_MEMORY | CUBBY_CAP_FILES;
    expect((info.capabilities & kinds) == (in.on().ops.capabilities & kinds),
           "describe: capabilities are ", info.capabilities, ", the table of operations says ",
           in.on().ops.capabilities);
    expect(info.io_bytes_max >= (2u << 20), "describe: io_bytes_max must be at least 2 MiB, came ",
           info.io_bytes_max);
    expect(depth == 0 || info.queue_depth <= depth, "describe: opened with queue_depth ", depth,
           ", came ", info.queue_depth);
    expect(info.emulated <= 1, "describe: emulated is 0 or 1, came ", info.emulated);
    expect(memchr(info.io, '\0', sizeof info.io) != nullptr && info.io[0] != '\0',
           "describe: io must name the path in use, as a string that ends");
    expect(memchr(info.why, '\0', sizeof info.why) != nullptr && info.why[0] != '\0',
           "describe: why must be a sentence on the path in use, as a string that ends");
  }
}

// A caller compiled against an older header has less room: what lies behind is not the backend's.
void keeps_to_struct_size(bench &table) {
  instance &in = table.open();
  cubby_backend_info info;
  std::memset(&info, 0x3c, sizeof info);
  info.struct_size = offsetof(cubby_backend_info, emulated);
  const int32_t status = in.on().ops.describe(in.self(), &info);
  expect(status == 0, "describe with a smaller struct_size: expected 0, came ", errno_text(status));
  auto bytes = reinterpret_cast<const unsigned char *>(&info);
  for (size_t i = offsetof(cubby_backend_info, emulated); i < sizeof info; ++i) {
    expect(bytes[i] == 0x3c, "describe with struct_size ", offsetof(cubby_backend_info, emulated),
           " wrote byte ", i, " of the struct; no more than struct_size bytes are there");
  }
  expect(info.align_bytes == in.info().align_bytes,
         "describe with a smaller struct_size did not fill the fields that fit");
}

// Without memory from the services a backend may return an error; it may not crash.
void older_services(bench &table) {
  static int called;
  called = 0;
  service_host unused;
  cubby_backend_services services = unused.services();
  services.memory_take = [](void *, uint64_t, uint64_t, cubby_backend_memory *) -> int32_t {
    ++called;
    return -ENOMEM;
  };
  services.nodes_near = [](void *, int32_t) -> uint64_t { return ++called, uint64_t{1}; };
  services.log = [](void *, uint32_t, const char *) { ++called; };
  services.now_ns = [](void *) -> uint64_t { return ++called, clock_ns(); };
  services.struct_size = offsetof(cubby_backend_services, memory_take);
  cubby_backend_config config{};
  config.struct_size = offsetof(cubby_backend_config, emulated_bytes_per_s);
  config.device = -1;
  config.name = "conformance:old";
  config.emulated_bytes_per_s = 1;  // behind the end of the struct, so it counts as 0
  config.emulated_latency_ns = 1'000'000'000;
  cubby_backend *self = nullptr;
  const cubby_backend_ops &ops = table.on().ops;
  const int32_t status = ops.open(&services, &config, &self);
  expect(called == 0, "open called a service that lies behind the services' struct_size of ",
         services.struct_size, "; fields beyond it count as NULL");
  if (status != 0) {
    expect(status < 0, "open with fewer services: expected 0 or a negative errno, came ", status);
    skip("it does not open with the services of an older library");
  }
  cubby_backend_info info{};
  info.struct_size = sizeof info;
  const int32_t described = ops.describe(self, &info);
  cubby_backend_memory memory{};
  memory.struct_size = sizeof memory;
  if (ops.memory_reserve != nullptr && ops.memory_reserve(self, 4096, &memory) == 0) {
    ops.memory_release(self, &memory);
  }
  ops.close(self);
  expect(described == 0, "describe: expected 0, came ", errno_text(described));
  expect(called == 0, "a service was called that lies behind the services' struct_size of ",
         services.struct_size, "; fields beyond it count as NULL");
  expect(info.emulated == 0,
         "opened with a config whose struct_size ends before the emulated "
         "link, describe says emulated; fields beyond struct_size count as zero");
}

// The config lies in a page that is taken away after open: a stored pointer into it faults.
void config_is_lent(bench &table) {
  const instance &probe = table.open();  // skips where the backend cannot be opened
  (void)probe;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void *lent = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  expect(lent != MAP_FAILED, "no memory for the config: ", errno_text(errno));
  auto config = static_cast<cubby_backend_config *>(lent);
  char *name = static_cast<char *>(lent) + sizeof *config;
  *config = cubby_backend_config{};
  config->struct_size = sizeof *config;
  config->device = -1;
  config->name = std::strcpy(name, "conformance:lent");
  service_host services;
  const cubby_backend_services given = services.services();
  cubby_backend *self = nullptr;
  const cubby_backend_ops &ops = table.on().ops;
  const int32_t status = ops.open(&given, config, &self);
  mprotect(lent, page, PROT_NONE);
  expect(status == 0, "open a second time: expected 0, came ", errno_text(status));
  cubby_backend_info info{};
  info.struct_size = sizeof info;
  {
    const under_way call(table.on(), "describe");
    ops.describe(self, &info);
  }
  cubby_backend_io wrong = file_io(1, 77, 0, 0, nullptr, 0);
  {
    const under_way call(table.on(), "submit");
    expect(ops.submit(self, clock_ns(), &wrong, 1) == 1, "submit of one I/O was not accepted");
  }
  const uint64_t start = clock_ns();
  cubby_backend_done done{};
  uint64_t next = 0;
  while (ops.reap(self, clock_ns() + 1'000'000'000, &done, 1, &next) == 0) {
    expect(clock_ns() - start < table.on().patience_ns, "an unknown operation did not complete");
  }
  ops.close(self);
  munmap(lent, page);
}

void two_at_once(bench &table) {
  instance &one = table.open({4, 0, 0});
  instance &other = table.open({4, 0, 0});
  const auto first = table.some_ios(one, 4, 100), second = table.some_ios(other, 4, 500);
  const uint32_t accepted = one.submit(first);
  table.expect_good(other.run(second), 4);
  completions done;
  const uint64_t start = clock_ns();
  while (done.size() < accepted) {
    expect(clock_ns() - start < table.on().patience_ns,
           "I/O of one instance did not complete while another one was in use");
    for (const auto &came : one.reap(4)) done[came.cookie] = came;
    if (done.size() < accepted) one.pause();
  }
  table.expect_good(done, accepted);
}

// Numbers of files and marks of memory belong to one instance, and stay good when another closes.
void one_closes_first(bench &table) {
  instance &one = table.open();
  const auto ios = table.some_ios(one, 8, 1);
  cubby_backend *self = nullptr;
  service_host services;
  const cubby_backend_services given = services.services();
  cubby_backend_config config{};
  config.struct_size = sizeof config;
  config.device = -1;
  config.name = "conformance:second";
  const int32_t status = one.on().ops.open(&given, &config, &self);
  expect(status == 0, "open of a second instance: expected 0, came ", errno_text(status));
  one.on().ops.close(self);
  table.expect_good(one.run(ios), 8);
}

size_t entries(const char *folder) {
  size_t count = 0;
  for (const auto &entry : std::filesystem::directory_iterator(folder)) {
    (void)entry;
    ++count;
  }
  return count;
}

std::vector<void *> handlers() {
  std::vector<void *> all;
  for (int number = 1; number < 65; ++number) {
    struct sigaction now {};
    if (sigaction(number, nullptr, &now) == 0) {
      all.push_back(reinterpret_cast<void *>(now.sa_handler));
    }
  }
  return all;
}

// The first instance may load what stays for the process, such as a driver; the second may not.
void leaves_nothing(bench &table) {
  const auto before_all = handlers();
  size_t descriptors = 0, threads = 0;
  for (int round = 0; round < 3; ++round) {
    bench own(table.on());
    instance &in = own.open();
    own.expect_good(in.run(own.some_ios(in, 20, 1)), 20);
    own.finish();
    own.close_files();
    const uint64_t start = clock_ns();
    size_t threads_now = entries("/proc/self/task");
    // A thread that has been joined stays in the list for a moment.
    while (round > 0 && threads_now > threads && clock_ns() - start < 1'000'000'000) {
      usleep(1000);
      threads_now = entries("/proc/self/task");
    }
    const size_t descriptors_now = entries("/proc/self/fd");
    if (round == 0) {
      threads = threads_now;
      descriptors = descriptors_now;
    }
    expect(descriptors_now <= descriptors, "close left ", descriptors_now - descriptors,
           " descriptors open");
    expect(threads_now <= threads, "close left ", threads_now - threads, " threads running");
  }
  expect(handlers() == before_all, "a signal handler was installed; signals are the program's");
}

}  // namespace

void add_open_checks(std::vector<check> &all) {
  all.push_back({"open: describes itself", 0, describes_itself});
  all.push_back({"open: keeps to the struct_size of the caller", 0, keeps_to_struct_size});
  all.push_back({"open: services and config of an older size", 0, older_services});
  all.push_back({"open: the config is lent for the call only", 0, config_is_lent});
  all.push_back({"open: two instances at once", 0, two_at_once});
  all.push_back({"open: another instance closes first", 0, one_closes_first});
  all.push_back({"close: leaves nothing behind", 0, leaves_nothing});
}

}  // namespace cubby_conformance
