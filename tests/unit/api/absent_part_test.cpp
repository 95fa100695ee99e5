// Rows that lack a part: pins give NULL for it and the right bytes for the others, whatever the
// layout of the frames.
#include <cstring>

#include "unit/api/runtime_fixture.hpp"
#include "unit/store/scratch.hpp"

namespace absent_part_test {

using namespace api_test;

namespace {

/// Two layers of three experts, a tensor each, in an order that has no stride; only the second
/// layer has scales, before the weights.
std::string write_model(const scratch::folder &folder) {
  scratch::safetensors model;
  const auto add = [&](const std::string &name, uint64_t bytes) {
    std::string data;
    for (uint64_t i = 0; i < bytes; i++)
      data += static_cast<char>(std::hash<std::string>{}(name) + i * 7);
    model.add(name, data);
  };
  for (const char *layer : {"0", "1"})
    for (const char *expert : {"2", "0", "1"}) {
      const std::string at = "layers." + std::string(layer) + ".experts." + expert + ".";
      if (*layer == '1') add(at + "up_proj.a_scale", 5000);
      add(at + "up_proj.weight", 300'001);
      if (*layer == '1') add(at + "up_proj.z_scale", 12);
    }
  return folder.write("m.safetensors", model.bytes());
}

void check_pins(runtime_fixture &h, cubby_tier tier, const std::string &bytes) {
  for (uint32_t round = 0; round < 2; ++round) {  // from the file, then resident
    for (uint32_t first = 0; first < 6; first += 3) {
      const auto items = h.items({first, first + 1, first + 2});
      std::vector<const void *> addr(9, &items);
      cubby_pins pins = 0;
      cubby_ticket ticket = 0;
      cubby_status status =
          cubby_pin(h.rt, items.data(), 3, tier, nullptr, &pins, addr.data(), &ticket);
      if (status == CUBBY_PENDING) status = cubby_wait(h.rt, ticket, 20'000'000'000);
      INFO(explain());
      REQUIRE(status == CUBBY_OK);
      for (uint32_t i = 0; i < 9; ++i) {
        cubby_extent here{};
        REQUIRE(cubby_bank_extent(h.rt, h.bank, first + i / 3, i % 3, &here) == CUBBY_OK);
        CHECK((addr[i] == nullptr) == (here.bytes == 0));
        if (addr[i] == nullptr) continue;
        CHECK(std::memcmp(addr[i], bytes.data() + here.offset_bytes, here.bytes) == 0);
      }
      CHECK((addr[1] == nullptr) == (first == 0));
      CHECK(addr[0] != nullptr);
      CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
    }
  }
}

}  // namespace

TEST_CASE("a part that a row lacks has the address NULL, and the others have their bytes") {
  const scratch::folder folder;
  const std::string path = write_model(folder), bytes = scratch::read(path);
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const cubby_tier device = h.tier("device:0", 0, 8u << 20, 100'000'000'000);
  const cubby_tier host = h.tier("host:0", 1, 8u << 20);
  const cubby_status adopted = cubby_bank_adopt(h.rt, path.c_str(), nullptr, &h.bank);
  INFO(explain());
  REQUIRE(adopted == CUBBY_OK);
  cubby_part_info info{};
  info.struct_size = sizeof info;
  REQUIRE(cubby_bank_part(h.rt, h.bank, 0, 1, &info) == CUBBY_OK);
  CHECK(std::string(info.name) == "up_a_scale");
  CHECK(info.bytes == 0);
  CHECK(std::string(info.tensor).empty());
  check_pins(h, host, bytes);
  check_pins(h, device, bytes);
}

}  // namespace absent_part_test
