// The reference kernels without a GPU: their bodies against plain code written apart from them, and
// launched by a driver that runs them on the processor, in the order of its streams.
#include "cuda/kernels/kernels.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/digest.hpp"
#include "base/prng.hpp"
#include "cuda/device.hpp"
#include "cuda/kernels/kernel_image.hpp"
#include "support/catch.hpp"
#include "support/fake_cuda.hpp"
#include "support/services.hpp"

namespace {

namespace slot = cubby_device;
using namespace cubby_kernels;
using cubby::base::prng;
using cubby_test::fake_cuda;

float random_float(prng &random) {
  return static_cast<float>(random.next() >> 40) * 0x1p-23f - 1.0f;
}

/// Bytes of so many weights: any numbers, with scales that are finite and of many sizes.
std::vector<uint8_t> random_blocks(uint32_t type, uint64_t weights, prng &random) {
  std::vector<uint8_t> out(weights / 32 * block_bytes(type));
  for (uint8_t &byte : out) byte = static_cast<uint8_t>(random.next());
  for (uint64_t at = 0; at < out.size(); at += block_bytes(type)) {
    if (type == q8_0 || type == q4_0) {
      // Exponents from the smallest, which has no leading one, to 2^5; both signs.
      const auto half = static_cast<uint16_t>((random.next() & 0x83FF) | random.next() % 21 << 10);
      std::memcpy(&out[at], &half, 2);
    }
    if (type == mxfp4) out[at] = static_cast<uint8_t>(112 + random.next() % 24);
    for (uint32_t i = 0; type == bf16 && i < 32; ++i) {
      const float value = random_float(random);
      std::memcpy(&out[at + 2 * i], reinterpret_cast<const char *>(&value) + 2, 2);
    }
  }
  return out;
}

double half_value(const uint8_t *at) {
  const int bits = at[0] + 256 * at[1], exponent = bits / 1024 % 32, mantissa = bits % 1024;
  const double size =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits >= 0x8000 ? -size : size;
}

/// Weight `i` of a block, as the formats are described.
double weight_of(uint32_t type, const uint8_t *block, uint32_t i) {
  constexpr std::array<double, 16> fp4 = {0,  0.5,  1,  1.5,  2,  3,  4,  6,
                                          -0, -0.5, -1, -1.5, -2, -3, -4, -6};
  switch (type) {
    case q8_0:
      return half_value(block) * (block[2 + i] < 128 ? block[2 + i] : block[2 + i] - 256);
    case q4_0:
      return half_value(block) * ((i < 16 ? block[2 + i] % 16 : block[2 + i - 16] / 16) - 8);
    case mxfp4: {
      const int code = i < 16 ? block[1 + i] % 16 : block[1 + i - 16] / 16;
      return std::ldexp(fp4[static_cast<size_t>(code)], block[0] - 127);
    }
    default: {
      float value = 0;
      std::memcpy(reinterpret_cast<char *>(&value) + 2, block + 2 * i, 2);
      return value;
    }
  }
}

struct sum_of_products {
  double sum = 0, magnitude = 0;
};

sum_of_products plain_product(uint32_t type, const uint8_t *row, uint32_t columns,
                              const float *with) {
  sum_of_products out;
  for (uint32_t i = 0; i < columns; ++i) {
    const double product = weight_of(type, row + i / 32 * block_bytes(type), i % 32) * with[i];
    out.sum += product;
    out.magnitude += std::abs(product);
  }
  return out;
}

/// The kernels, loaded by a driver that runs their twins.
struct kernels_fixture {
  fake_cuda driver{{.memory_bytes = uint64_t{64} << 20}};
  cubby_test::test_services host;
  cubby_backend_services services = host.services();
  cubby_cuda::device gpu{*driver.table(), services};
  cubby_cuda::kernels set{*driver.table()};
  uint64_t stream = driver.make_stream();

  kernels_fixture() {
    REQUIRE(gpu.open(0) == 0);
    const auto here = gpu.enter();
    const std::array<std::byte, 4> image{};
    REQUIRE(set.load(image).empty());
  }
  [[nodiscard]] cubby_cuda::stream in() const {
    return reinterpret_cast<cubby_cuda::stream>(stream);
  }
  template <class T>
  uint64_t put(const std::vector<T> &values) {
    void *const at = driver.allocate(values.size() * sizeof(T));
    driver.write(at, values.data(), values.size() * sizeof(T));
    return reinterpret_cast<uintptr_t>(at);
  }
  template <class T>
  std::vector<T> get(uint64_t at, size_t count) {
    std::vector<T> out(count);
    driver.read(reinterpret_cast<const void *>(at), out.data(), count * sizeof(T));
    return out;
  }
  void run() {
    while (driver.step(64) != 0) {
    }
  }
};

/// A table of one row with two parts, made by hand: frame f of part p is at base[p] + f * stride.
struct made_table {
  kernels_fixture &of;
  cubby_slots view{};
  std::vector<uint64_t> shared = std::vector<uint64_t>(8 + 64);

  made_table(kernels_fixture &f, const std::vector<uint64_t> &words, uint64_t base,
             uint64_t stride_bytes, uint64_t second_part)
      : of(f) {
    const auto here = of.gpu.enter();
    REQUIRE(of.gpu.register_host(shared.data(), shared.size() * sizeof shared[0]) == 0);
    view.struct_size = sizeof view;
    view.layout = CUBBY_SLOTS_LAYOUT;
    view.rows = 1;
    view.columns = static_cast<uint32_t>(words.size());
    view.part_count = 2;
    view.miss_count_max = 64;
    std::vector<uint64_t> memory(words);
    memory.resize(2 * words.size());
    memory.insert(memory.end(), {0, second_part, 0, 0});
    view.entries = f.put(memory);
    view.asked = view.entries + 8 * words.size();
    view.part_offsets = view.asked + 8 * words.size();
    view.state = view.part_offsets + 2 * 8;
    view.shared = reinterpret_cast<uintptr_t>(shared.data());
    view.base[0] = view.base[1] = base;
    view.stride_bytes[0] = view.stride_bytes[1] = stride_bytes;
  }
  made_table(const made_table &) = delete;
  made_table &operator=(const made_table &) = delete;
  ~made_table() { of.gpu.unregister_host(shared.data()); }
};

}  // namespace

TEST_CASE("a row's product is that of its weights, in every format") {
  const uint32_t type = GENERATE(uint32_t{q8_0}, uint32_t{q4_0}, uint32_t{mxfp4}, uint32_t{bf16});
  const uint32_t columns = GENERATE(32u, 64u, 992u, 1024u, 2880u);
  prng random(type * 1000 + columns);
  for (int round = 0; round < 20; ++round) {
    // A part of a file, and so a block, lies anywhere.
    std::vector<uint8_t> row = random_blocks(type, columns, random);
    row.insert(row.begin(), static_cast<size_t>(round % 3), uint8_t{0xEE});
    const uint8_t *const blocks = row.data() + round % 3;
    std::vector<float> with(columns);
    for (float &one : with) one = random_float(random);
    const sum_of_products plain = plain_product(type, blocks, columns, with.data());
    const float seen = row_product(type, blocks, columns, with.data());
    INFO("type " << type << ", columns " << columns);
    CHECK(std::abs(seen - plain.sum) <= plain.magnitude * 4e-6);
    CHECK(plain.magnitude > 0);
  }
}

TEST_CASE("every code and scale of the small formats is what it stands for") {
  for (uint32_t code = 0; code < 16; ++code) {
    std::array<uint8_t, 17> block{};
    block[1] = static_cast<uint8_t>(code);
    for (const int e : {0, 1, 2, 3, 100, 127, 128, 200, 251, 252}) {
      block[0] = static_cast<uint8_t>(e);
      const double plain = weight_of(mxfp4, block.data(), 0);
      std::array<float, 32> one{1.0f};
      CHECK(row_product(mxfp4, block.data(), 32, one.data()) == plain);
    }
  }
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const std::array<uint8_t, 2> bytes = {static_cast<uint8_t>(bits),
                                          static_cast<uint8_t>(bits >> 8)};
    if ((bits >> 10 & 31) == 31) continue;
    REQUIRE(half_to_float(bits) == half_value(bytes.data()));
  }
}

TEST_CASE("a device's digest is the host's, of every size and place") {
  prng random(3);
  std::vector<uint8_t> bytes(300'000);
  for (uint8_t &byte : bytes) byte = static_cast<uint8_t>(random.next());
  const auto check = [&](uint64_t size) {
    const uint64_t at = random.next() % 19, seed = size % 3 == 0 ? 0 : random.next();
    INFO(size << " bytes");
    REQUIRE(xxh3_64(&bytes[at], size, seed) == cubby::base::digest64(&bytes[at], size, seed));
  };
  for (uint64_t size = 0; size <= 2200; ++size) check(size);
  for (const uint64_t size : {4096u, 4097u, 16384u, 65535u, 65536u, 262143u, 262144u}) check(size);
}

TEST_CASE("kernels look lockers up, multiply and let go, in the order of a stream") {
  const uint32_t type = GENERATE(uint32_t{q8_0}, uint32_t{q4_0}, uint32_t{mxfp4}, uint32_t{bf16});
  constexpr uint32_t columns = 128, rows = 11, frames = 3, frame_bytes = 32768, second = 16384;
  kernels_fixture f;
  prng random(type);
  std::vector<uint8_t> memory(frames * frame_bytes);
  for (uint32_t frame = 0; frame < frames; ++frame) {
    const auto blocks = random_blocks(type, rows * columns, random);
    std::copy(blocks.begin(), blocks.end(), &memory[frame * frame_bytes + second]);
  }
  // Columns 0, 2 and 4 are there.
  const std::vector<uint64_t> entries = {slot::word_of(1, 1), 0, slot::word_of(0, 4), 0,
                                         slot::word_of(2, 9)};
  made_table table(f, entries, f.put(memory), frame_bytes, second);
  std::vector<float> input(3 * columns);
  for (float &one : input) one = random_float(random);

  gemv_work work{};
  work.slots = table.view;
  work.words = f.put(std::vector<uint64_t>(3));
  work.outcome = f.put(std::vector<int32_t>{-7});
  work.input = f.put(input);
  work.output = f.put(std::vector<float>(3 * rows, 777.0f));
  work.part = 1;
  work.count = 3;
  work.type = type;
  work.rows = rows;
  work.columns = columns;
  work.input_stride = GENERATE(0u, 128u);  // one for all, or one each
  acquire_work ask{};
  ask.slots = table.view;
  ask.chosen = f.put(std::vector<int32_t>{4, -1, 0});
  ask.words = work.words;
  ask.outcome = work.outcome;
  ask.count = 3;
  ask.looks_max = 1;
  REQUIRE(f.set.acquire(ask, f.in()) == cubby_cuda::success);
  REQUIRE(f.set.gemv(work, f.in()) == cubby_cuda::success);
  REQUIRE(f.set.leave({table.view}, f.in()) == cubby_cuda::success);
  CHECK(f.get<int32_t>(work.outcome, 1)[0] == -7);  // launched, and not run yet
  f.run();
  CHECK(f.driver.count().launches == 3);
  CHECK(f.driver.count().host_syncs == 0);
  REQUIRE(f.get<int32_t>(work.outcome, 1)[0] == slot::found);
  CHECK(table.shared[0] == 1);
  CHECK(table.shared[1] == 1);
  const auto seen = f.get<float>(work.output, 3 * rows);
  const std::array<int, 3> frame_of_item = {2, -1, 1};
  for (uint32_t item = 0; item < 3; ++item) {
    for (uint32_t row = 0; row < rows; ++row) {
      INFO("item " << item << ", row " << row);
      const float value = seen[item * rows + row];
      if (frame_of_item[item] < 0) {
        CHECK(value == 0.0f);
        continue;
      }
      const auto frame = static_cast<uint32_t>(frame_of_item[item]);
      const uint8_t *const blocks =
          &memory[frame * frame_bytes + second + row * columns / 32 * block_bytes(type)];
      const sum_of_products plain =
          plain_product(type, blocks, columns, &input[item * work.input_stride]);
      CHECK(std::abs(value - plain.sum) <= plain.magnitude * 4e-6);
    }
  }

  // One is missing: nothing is multiplied, it is on the list, and what was waited for is counted.
  ask.waits = f.put(std::vector<uint64_t>(2));
  f.driver.write(reinterpret_cast<void *>(ask.chosen), std::array<int32_t, 3>{4, 3, 0}.data(), 12);
  f.driver.write(reinterpret_cast<void *>(work.output), &input[0], 4);
  REQUIRE(f.set.acquire(ask, f.in()) == cubby_cuda::success);
  REQUIRE(f.set.gemv(work, f.in()) == cubby_cuda::success);
  f.run();
  CHECK(f.get<int32_t>(work.outcome, 1)[0] == slot::missing);
  CHECK(f.get<float>(work.output, 1)[0] == input[0]);
  CHECK(table.shared[8] == (uint64_t{1} << 32 | 3));
  CHECK(table.shared[1] == table.shared[0]);  // holds nothing
  CHECK(f.get<uint64_t>(ask.waits, 2)[0] == 1);
  CHECK(f.get<uint64_t>(ask.waits, 2)[1] > 0);
  // What was asked for already is not listed again.
  const foresee_work later = {table.view, ask.chosen, 0, 3};
  REQUIRE(f.set.foresee(later, f.in()) == cubby_cuda::success);
  f.run();
  CHECK(table.shared[9] == 0);
}

TEST_CASE("kernels between the products: gates, and the state that layers hand on") {
  kernels_fixture f;
  prng random(8);
  constexpr uint32_t width = 100, count = 3;  // no multiple of a warp
  const auto floats = [&random](uint32_t n) {
    std::vector<float> out(n);
    for (float &one : out) one = 4 * random_float(random);
    return out;
  };
  const std::vector<float> gates = floats(width), ups = floats(width);
  const uint64_t gate = f.put(gates), up = f.put(ups);
  REQUIRE(f.set.gate({gate, up, gate, width, 0}, f.in()) == cubby_cuda::success);
  f.run();
  const auto gated = f.get<float>(gate, width);
  for (uint32_t i = 0; i < width; ++i) {
    const double with = gates[i], plain = with / (1 + std::exp(-with)) * ups[i];
    CHECK(std::abs(gated[i] - plain) <= 1e-6 * (1 + std::abs(plain)));
  }

  const std::vector<float> from = floats(width), embedding = floats(width),
                           outputs = floats(count * width);
  const bool begins = GENERATE(false, true);  // a token, or the next layer of one
  state_work work{};
  work.from = f.put(from);
  if (begins) work.embedding = f.put(embedding);
  if (!begins) work.outputs = f.put(outputs);
  work.to = begins ? f.put(std::vector<float>(width)) : work.from;
  work.normal = begins ? work.from : f.put(std::vector<float>(width));
  work.width = width;
  work.count = begins ? 0 : count;
  REQUIRE(f.set.next_state(work, f.in()) == cubby_cuda::success);
  f.run();
  const auto to = f.get<float>(work.to, width), normal = f.get<float>(work.normal, width);
  std::vector<double> plain(width);
  double squares = 0;
  for (uint32_t i = 0; i < width; ++i) {
    plain[i] = begins ? from[i] / 2.0 + embedding[i] : double{from[i]};
    for (uint32_t n = 0; n < work.count; ++n) plain[i] += double{outputs[n * width + i]} / count;
    squares += plain[i] * plain[i];
  }
  for (uint32_t i = 0; i < width; ++i) {
    CHECK(std::abs(to[i] - plain[i]) <= 1e-5);
    CHECK(std::abs(normal[i] - plain[i] / std::sqrt(squares / width + 1e-6)) <= 1e-5);
  }
  CHECK(f.set.gate({}, f.in()) == cubby_cuda::success);  // of nothing
  CHECK(f.set.next_state({}, f.in()) == cubby_cuda::success);
}

TEST_CASE("kernels copy spans of any place and size, and digest chunks") {
  kernels_fixture f;
  prng random(5);
  std::vector<uint8_t> from(200'000);
  for (uint8_t &byte : from) byte = static_cast<uint8_t>(random.next());
  const uint64_t source = f.put(from), target = f.put(std::vector<uint8_t>(from.size()));
  std::vector<span> spans;
  std::vector<uint8_t> expected(from.size());
  uint64_t at = 0;
  for (const uint64_t bytes : {0u, 1u, 15u, 16u, 17u, 4096u, 65536u, 1000u, 33u, 48u}) {
    const uint64_t other = 100'000 - at;  // of another alignment, now and then of the same
    spans.push_back({target + at, source + other, bytes});
    std::copy_n(from.begin() + static_cast<int64_t>(other), bytes,
                expected.begin() + static_cast<int64_t>(at));
    at += bytes + (bytes % 2 == 0 ? 16 : 3);
  }
  REQUIRE(f.set.copy_spans({f.put(spans), static_cast<uint32_t>(spans.size()), 0}, f.in()) ==
          cubby_cuda::success);
  f.run();
  CHECK(f.get<uint8_t>(target, from.size()) == expected);

  const std::vector<digest_chunk> chunks = {
      {source, 65536, 1}, {source + 65536, 65536, 2}, {source + 131072, 68928, 3}, {source, 5, 4}};
  const uint64_t results = f.put(std::vector<uint64_t>(chunks.size()));
  REQUIRE(f.set.digest({f.put(chunks), results, 4, 0}, f.in()) == cubby_cuda::success);
  f.run();
  const auto seen = f.get<uint64_t>(results, chunks.size());
  for (size_t i = 0; i < chunks.size(); ++i) {
    CHECK(seen[i] ==
          cubby::base::digest64(&from[chunks[i].at - source], chunks[i].bytes, chunks[i].seed));
  }
}

TEST_CASE("kernels that are not there, or not for such work, are an answer") {
  kernels_fixture f;
  const auto here = f.gpu.enter();
  cubby_cuda::kernels none(*f.driver.table());
  CHECK(none.load({}).find("without a CUDA toolkit") != std::string::npos);
  CHECK_FALSE(none.loaded());
  CHECK(none.leave({}, f.in()) == cubby_cuda::not_supported);
  gemv_work work{};
  work.slots.part_count = 1;
  work.rows = work.count = 1;
  work.columns = 32;
  work.type = 7;
  CHECK(f.set.gemv(work, f.in()) == cubby_cuda::invalid_value);
  work.type = q4_0;
  work.columns = 33;
  CHECK(f.set.gemv(work, f.in()) == cubby_cuda::invalid_value);
  work.columns = 32;
  work.part = 1;
  CHECK(f.set.gemv(work, f.in()) == cubby_cuda::invalid_value);
  f.driver.lose_device();
  CHECK(f.set.leave({}, f.in()) == cubby_cuda::launch_failed);
}

TEST_CASE("what is compiled into the library is an image of kernels, or nothing") {
  const auto image = cubby_cuda::kernel_image();
#ifdef CUBBY_HAVE_KERNELS
  REQUIRE(image.size() > 1000);
  uint32_t magic = 0;
  std::memcpy(&magic, image.data(), sizeof magic);
  CHECK(magic == 0xBA55ED50);  // of a fat binary
#else
  CHECK(image.empty());
#endif
}
