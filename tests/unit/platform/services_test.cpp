// The services of a backend as the library fills them, and the loop beneath first touch.
#include "platform/services.hpp"

#include <atomic>
#include <cerrno>
#include <string>
#include <vector>

#include "platform/affinity.hpp"
#include "platform/parallel.hpp"
#include "support/catch.hpp"

namespace services_test {

using namespace cubby;

namespace {

void keep_line(void *context, uint32_t, const char *text) {
  static_cast<std::vector<std::string> *>(context)->emplace_back(text);
}

}  // namespace

TEST_CASE("a backend takes memory, gives it back, asks for nodes, logs and reads the clock") {
  std::vector<std::string> lines;
  platform::services services(keep_line, &lines);
  const cubby_backend_services &table = services.table();
  CHECK(table.struct_size == sizeof table);
  CHECK(table.abi_version == CUBBY_BACKEND_ABI_VERSION);

  cubby_backend_memory memory{};
  memory.struct_size = sizeof memory;
  REQUIRE(table.memory_take(table.context, 3u << 20, 0, &memory) == 0);
  CHECK(memory.bytes >= 3u << 20);
  static_cast<char *>(memory.base)[memory.bytes - 1] = 1;
  table.memory_give(table.context, &memory);

  const uint64_t everywhere = table.nodes_near(table.context, -1);
  CHECK(everywhere == services.nodes().memory_nodes());
  CHECK(table.nodes_near(table.context, 0) == everywhere);
  services.device_at(0, "no such device");
  CHECK(table.nodes_near(table.context, 0) == everywhere);
  memory = {};
  REQUIRE(table.memory_take(table.context, 4096, everywhere, &memory) == 0);
  table.memory_give(table.context, &memory);

  lines.clear();
  table.log(table.context, 2, "a line");
  CHECK(lines == std::vector<std::string>{"a line"});
  const uint64_t earlier_ns = table.now_ns(table.context);
  CHECK(earlier_ns <= table.now_ns(table.context));
}

TEST_CASE("what a backend cannot have is a negative errno and a line that says why") {
  std::vector<std::string> lines;
  platform::services services(keep_line, &lines);
  const cubby_backend_services &table = services.table();
  cubby_backend_memory memory{};
  memory.struct_size = sizeof memory;
  CHECK(table.memory_take(table.context, uint64_t{1} << 60, 0, &memory) == -ENOMEM);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("1152921504606846976") != std::string::npos);
  CHECK(table.memory_take(table.context, 0, 0, &memory) == -EINVAL);
  CHECK(table.memory_take(table.context, 4096, 0, nullptr) == -EINVAL);
  memory.struct_size = 4;
  CHECK(table.memory_take(table.context, 4096, 0, &memory) == -EINVAL);
}

TEST_CASE("services without a log work") {
  platform::services services(nullptr, nullptr);
  services.table().log(services.table().context, 0, "nobody hears this");
  cubby_backend_memory memory{};
  CHECK(services.table().memory_take(services.table().context, 0, 0, &memory) == -EINVAL);
}

TEST_CASE("a parallel loop does every piece exactly once") {
  CHECK(platform::usable_cpu_count() >= 1);
  for (const uint32_t threads : {0u, 1u, 2u, 5u}) {
    for (const uint64_t count : {uint64_t{0}, uint64_t{1}, uint64_t{1000}}) {
      std::vector<std::atomic<int>> done(count);
      const uint32_t ran = platform::parallel_for(count, threads, {0, 1u << 20}, [&](uint64_t i) {
        done[i].fetch_add(1, std::memory_order_relaxed);
      });
      CHECK(ran >= 1);
      CHECK(ran <= std::max(1u, threads));
      for (const auto &times : done) REQUIRE(times.load() == 1);
    }
  }
}

}  // namespace services_test
