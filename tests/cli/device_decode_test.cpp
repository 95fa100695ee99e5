// The decode loop on a device, over a driver that needs no GPU: the reference kernels' own bodies,
// on the processor.
#include "cli/demo/device_decode.hpp"

#include <cmath>
#include <fstream>

#include "cli/model/make_model.hpp"
#include "support/catch.hpp"
#include "support/fake_cuda.hpp"
#include "unit/store/scratch.hpp"

using namespace cubby_cli;
using namespace cubby_cli::demo;
using cubby_test::fake_cuda;
using nlohmann::json;

namespace {

constexpr uint32_t layers = 4, experts = 8, top_k = 2, tokens = 10;

struct fixture {
  scratch::folder folder;
  fake_cuda driver;
  expert_file file;
  routes taken;
  device_run how;
  uint32_t looks_max = 4'000'000'000;

  explicit fixture(model::weight_type type = model::weight_type::q8_0, bool mixed = false,
                   uint32_t depth = layers,
                   const cubby_test::fake_cuda_options &with = {.threads = true})
      : driver(with) {
    model::geometry shape;
    shape.layers = depth;
    shape.experts = experts;
    shape.top_k = top_k;
    shape.hidden = 96;
    shape.ffn = 64;
    shape.type = type;
    shape.mixed_quant = mixed;
    const std::string path = folder.path("m.gguf");
    REQUIRE(model::make_model(shape, path, true));
    auto seen = look_at_model(path, true);
    REQUIRE(seen);
    file = *seen;
    taken = make_routes(depth, experts, top_k, tokens, 5);
    how.settings.device_bytes = file.expert_bytes / 2;
    how.settings.policy = "lru";
    how.rounds = 2;
    how.check_tokens = tokens;
    how.quiet = true;
  }
  [[nodiscard]] device_choice device() const {
    static constexpr std::byte image[1] = {};  // any: a kernel is the processor's twin of its name
    return {driver.table(), image, 0, looks_max};
  }
  [[nodiscard]] outcome<json> run() { return decode_on_device(device(), file, taken, how); }
};

std::string why_not(const outcome<json> &came) { return came ? "" : came.failure().text; }

}  // namespace

TEST_CASE("half of the experts on a device: the processor's outputs, and no wait of the host") {
  const auto type = GENERATE(model::weight_type::q8_0, model::weight_type::q4_0,
                             model::weight_type::mxfp4, model::weight_type::bf16);
  fixture f(type);
  const auto came = f.run();
  INFO(why_not(came));
  REQUIRE(came);
  const json &all = *came;
  INFO(all.dump(1));
  CHECK(all["identical"] == true);
  CHECK(all["processor"]["agrees"] == true);
  CHECK(all["processor"]["tokens"] == tokens);
  CHECK(all["host_waits_per_token"] == 0);
  CHECK(all["tokens_per_s"].get<double>() > 0);
  const auto misses = all["misses"].get<uint64_t>();
  CHECK(misses > 0);
  CHECK(all["hits"].get<uint64_t>() > 0);
  CHECK(all["hits"].get<uint64_t>() + misses == f.how.rounds * tokens * layers * top_k);
  CHECK(all["evictions"].get<uint64_t>() > 0);
  CHECK(all["stall"]["waited_ns"].get<uint64_t>() > 0);
  uint64_t by_cause_ns = 0;
  for (const auto &[cause, ns] : all["stall"]["by_cause_ns"].items()) {
    by_cause_ns += ns.get<uint64_t>();
  }
  CHECK(by_cause_ns > 0);
  CHECK(all["visits"] == f.how.rounds * tokens * layers);
  CHECK(all["device"]["name"] == "cuda:0");
  CHECK(all["device"]["emulated"] == false);
  CHECK(all["tiers"][0]["peak_bytes"].get<uint64_t>() <= f.how.settings.device_bytes);

  REQUIRE(all["baselines"].size() == 3);
  for (const json &one : all["baselines"]) {
    INFO(one["name"]);
    CHECK(one["output_digest"] == all["output_digest"]);
    CHECK(one["ratio"].get<double>() > 0);
    const bool resident = one["name"] == "resident";
    CHECK((one["misses"] == 0) == resident);
    CHECK((one["host_waits_per_token"] == 0) == resident);
    const auto waits = one["host_waits_per_token"].get<double>() * f.how.rounds * tokens;
    CHECK(std::llround(waits) == one["misses"].get<int64_t>());
  }
  // Everything has been given back.
  CHECK(f.driver.count().memory_bytes == 0);
  CHECK(f.driver.count().events == 0);
  CHECK(f.driver.count().contexts == 0);
  CHECK(f.driver.count().registered == 0);
}

TEST_CASE("one output whatever the tiers, the pump and the lookahead") {
  fixture f(model::weight_type::q8_0, true);
  f.how.baselines = false;
  f.how.rounds = 1;
  const auto first = f.run();
  INFO(why_not(first));
  REQUIRE(first);
  CHECK((*first)["processor"]["agrees"] == true);
  f.how.check_tokens = 0;
  const uint64_t all_bytes = f.file.expert_bytes;
  struct way {
    cubby::pump pump;
    uint32_t lookahead;
    uint64_t device_bytes, host_bytes;
    const char *policy;
  };
  for (const way &one : {way{cubby::pump::caller, 1, all_bytes / 2, 0, "lru"},
                         way{cubby::pump::caller, 0, all_bytes / 2, all_bytes / 2, "auto"},
                         way{cubby::pump::thread, 0, all_bytes / 4, all_bytes * 2, "auto"},
                         way{cubby::pump::thread, 1, all_bytes / 4, all_bytes / 4, "lru"},
                         way{cubby::pump::thread, 1, all_bytes * 2, 0, "lru"}}) {
    f.how.settings.pump = one.pump;
    f.how.settings.ahead.layers = one.lookahead;
    f.how.settings.device_bytes = one.device_bytes;
    f.how.settings.host_bytes = one.host_bytes;
    f.how.settings.policy = one.policy;
    const auto came = f.run();
    INFO(one.device_bytes << " and " << one.host_bytes << ": " << why_not(came));
    REQUIRE(came);
    INFO(came->dump(1));
    CHECK((*came)["output_digest"] == (*first)["output_digest"]);
    CHECK((*came)["host_waits_per_token"] == 0);
    if (one.device_bytes > all_bytes) CHECK((*came)["misses"] == 0);
    if (one.host_bytes > all_bytes) CHECK((*came)["loaded_first"]["bytes"] == all_bytes);
  }
}

TEST_CASE("a deep model does not fill the stream, in which work waits for experts") {
  // Two tokens of it are 1,280 launches. A stream that is full holds up all callers of the driver,
  // also those that bring what its work waits for.
  constexpr uint32_t deep = 80, few = 3;
  const auto pump = GENERATE(cubby::pump::caller, cubby::pump::thread);
  fixture f(model::weight_type::q8_0, false, deep,
            {.threads = true, .queued_max = 600, .patience_ms = 2000});
  f.looks_max = 200'000'000;  // a minute, so that it fails and does not hang
  f.taken = make_routes(deep, experts, top_k, few, 5);
  f.how.settings.pump = pump;
  f.how.settings.ahead.layers = 1;
  f.how.baselines = false;
  f.how.rounds = 1;
  f.how.check_tokens = 1;
  const auto came = f.run();
  INFO(why_not(came));
  REQUIRE(came);
  CHECK((*came)["processor"]["agrees"] == true);
  CHECK((*came)["visits"] == few * deep);
  CHECK(f.driver.count().full_queues == 0);
  CHECK(f.driver.count().queued_peak > 256);  // the host is ahead all the same
  CHECK(f.driver.count().queued_peak <= 530);
}

TEST_CASE("an expert with wrong bytes ends the run, with the sentence of the library") {
  fixture f;
  f.how.baselines = false;
  f.how.rounds = 1;
  f.how.check_tokens = 0;
  {
    auto opened = open_model({f.file.path, {}, {}});
    REQUIRE(opened);
    cubby_adopt_desc desc{};
    desc.struct_size = sizeof desc;
    cubby_ticket ticket = 0;
    cubby_handle *rt = opened->runtime.handle();
    REQUIRE(cubby_seal(rt, f.file.path.c_str(), &desc, nullptr, &ticket) == CUBBY_PENDING);
    REQUIRE(cubby_wait(rt, ticket, -1) == CUBBY_OK);
  }
  const auto before = std::filesystem::last_write_time(f.file.path);
  {
    const uint32_t used = f.taken.at(0, 1)[0];
    std::fstream file(f.file.path, std::ios::binary | std::ios::in | std::ios::out);
    const auto at = static_cast<std::streamoff>(f.file.at(1, 2).offsets[used] + 77);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 1));
  }
  std::filesystem::last_write_time(f.file.path, before);
  const auto came = f.run();
  REQUIRE_FALSE(came);
  INFO(came.failure().text);
  CHECK(came.failure().text.find("could not have theirs") != std::string::npos);
}

TEST_CASE("a device that cannot be used says what to do") {
  fixture f;
  device_choice none = f.device();
  none.image = {};
  const auto no_kernels = decode_on_device(none, f.file, f.taken, f.how);
  REQUIRE_FALSE(no_kernels);
  CHECK(no_kernels.failure().text.find("without a CUDA toolkit") != std::string::npos);
  CHECK(no_kernels.failure().exit_status == exit_bad);
  device_choice other = f.device();
  other.ordinal = 3;
  const auto no_device = decode_on_device(other, f.file, f.taken, f.how);
  REQUIRE_FALSE(no_device);
  CHECK(no_device.failure().text.find("there is no device 3") != std::string::npos);
  f.driver.take_elsewhere(uint64_t{250} << 20);
  const auto no_room = f.run();
  REQUIRE_FALSE(no_room);
  INFO(no_room.failure().text);
  CHECK(no_room.failure().text.find("nvidia-smi") != std::string::npos);
}
