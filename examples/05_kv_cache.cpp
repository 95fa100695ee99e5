// 05: the same in C++: KV blocks in memory and on disk, found again by another runtime.
// Usage: 05_kv_cache DIRECTORY   (the store is made there, of 64 MiB, and left there)
#include <cubby/cubby.hpp>

#include <cstdio>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

namespace {

constexpr uint64_t block_bytes = 256 << 10;
constexpr const char *names[] = {"A dog", "A dog ran", "A dog ran home", "A dog ran away"};

/// A runtime with memory, a store on disk, and the keys of one model.
std::pair<cubby::runtime, cubby_space> open_cache(const char *directory) {
  auto rt = cubby::runtime::open().value();
  (void)rt.add_tier({.name = "host:0", .budget_bytes = 16u << 20}).value();
  const cubby::tier_options disk = {.backend = "file",
                                    .name = "nvme:0",
                                    .rank = 1,
                                    .budget_bytes = 64u << 20,
                                    .paths = {&directory, 1}};
  (void)rt.add_tier(disk).value();
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_KV;
  desc.name = "kv";
  desc.rows = 1;
  desc.columns = 256;
  desc.locker_bytes = block_bytes;
  const cubby_space space = rt.add_space(rt.add_bank(desc).value(), "model, fp16").value();
  return {std::move(rt), space};
}

}  // namespace

int main(int argc, char **argv) try {
  if (argc != 2) return std::fprintf(stderr, "05_kv_cache DIRECTORY\n"), 2;
  std::vector<std::byte> block(block_bytes);
  const cubby_span memory = cubby::span_of(block);
  {
    auto [rt, space] = open_cache(argv[1]);
    for (int i = 0; i < 3; ++i) {
      std::memset(block.data(), 'a' + i, block.size());
      const cubby_key parent = cubby::key_of(names[i == 0 ? 0 : i - 1]);
      const cubby_item item = {
          0, space, 1, cubby::key_of(names[i]), i == 0 ? nullptr : &parent, &memory, 0};
      rt.wait(rt.put({&item, 1}, {.keep = CUBBY_KEEP_RESTART}).value()).value();
    }
  }
  auto [rt, space] = open_cache(argv[1]);  // as another process would
  const cubby_key asked[] = {cubby::key_of(names[0]), cubby::key_of(names[1]),
                             cubby::key_of(names[3])};
  const uint32_t hits = rt.match(space, asked).value();
  const cubby_item last = {0, space, 1, asked[1], nullptr, &memory, 0};
  rt.wait(rt.get({&last, 1}).value()).value();
  std::printf("%u of 3 blocks are there; the second begins with %c\n", hits,
              static_cast<char>(block[0]));
} catch (const std::exception &why) {
  std::fprintf(stderr, "05_kv_cache: %s\n", why.what());
  return 1;
}
