// 02: the same in C++; everything gives itself back.  02_pin MODEL
#include <cubby/cubby.hpp>

#include <cstdio>
#include <exception>

int main(int argc, char **argv) try {
  if (argc != 2) return std::fprintf(stderr, "02_pin MODEL\n"), 2;
  auto rt = cubby::runtime::open().value();
  auto host = rt.add_tier({.backend = "host", .name = "host:0", .budget_bytes = 64u << 20}).value();
  auto experts = rt.adopt(argv[1]).value();
  const uint64_t numbers[] = {experts.number(0, 0), experts.number(0, 1)};
  auto held = rt.pin(experts, numbers, host).value();
  held.wait().value();
  std::printf("%u x %u experts; the first byte of expert 1 is %u\n", experts.rows(),
              experts.columns(), static_cast<unsigned>(held.bytes(1)[0]));
} catch (const std::exception &why) {
  std::fprintf(stderr, "02_pin: %s\n", why.what());
  return 1;
}
