// The reference kernels on the device: the same bits as the same lines give on a processor; a
// choice that is looked up, waited for and multiplied in a stream, also from a captured graph's
// point of view (nothing here makes a host wait); and how long a look-up takes.
#include <algorithm>
#include <cstring>

#include "base/digest.hpp"
#include "base/prng.hpp"
#include "cuda/kernels/kernel_image.hpp"
#include "cuda/kernels/kernels.hpp"
#include "gpu.hpp"

namespace gpu {
namespace {

namespace slot = cubby_device;
using namespace cubby_kernels;

/// Memory of the device, with a registered twin in host memory that copies pass through.
class device_buffer {
 public:
  explicit device_buffer(uint64_t size) : host_(size) {
    const cubby_cuda::driver_table &driver = counted_driver();
    cubby_cuda::allocation_properties of;
    of.type = cubby_cuda::allocation_pinned;
    of.location = {cubby_cuda::location_device, 0};
    cubby_cuda::access_description may;
    may.location = of.location;
    may.flags = cubby_cuda::access_read_write;
    bytes_ = (size + 2 * mib - 1) / (2 * mib) * (2 * mib);
    cubby_cuda::memory_handle handle = 0;
    need_driver(driver.memory_create(&handle, bytes_, &of, 0), "cuMemCreate");
    need_driver(driver.address_reserve(&at_, bytes_, 0, 0, 0), "cuMemAddressReserve");
    need_driver(driver.memory_map(at_, bytes_, 0, handle, 0), "cuMemMap");
    need_driver(driver.memory_release(handle), "cuMemRelease");
    need_driver(driver.memory_set_access(at_, bytes_, &may, 1), "cuMemSetAccess");
  }
  device_buffer(const device_buffer &) = delete;
  device_buffer &operator=(const device_buffer &) = delete;
  ~device_buffer() {
    counted_driver().memory_unmap(at_, bytes_);
    counted_driver().address_free(at_, bytes_);
  }
  [[nodiscard]] uint64_t at() const { return at_; }
  [[nodiscard]] std::vector<uint8_t> &host() { return host_; }
  template <class T>
  [[nodiscard]] T *as() {
    return reinterpret_cast<T *>(host_.data());
  }
  void copy_in(cubby_cuda::stream in) {
    need_driver(counted_driver().copy_in(at_, host_.data(), host_.size(), in), "copy in");
    need_driver(counted_driver().stream_synchronize(in), "cuStreamSynchronize");
  }
  void copy_out(cubby_cuda::stream in) {
    need_driver(counted_driver().copy_out(host_.data(), at_, host_.size(), in), "copy out");
    need_driver(counted_driver().stream_synchronize(in), "cuStreamSynchronize");
  }

 private:
  cubby_cuda::device_pointer at_ = 0;
  uint64_t bytes_ = 0;
  std::vector<uint8_t> host_;
};

struct loaded_kernels {
  loaded_kernels() : set(counted_driver()) {
    why_not = set.load(cubby_cuda::kernel_image());
    if (!why_not.empty()) return;
    need_driver(counted_driver().stream_create(&own, cubby_cuda::stream_non_blocking, 0),
                "cuStreamCreate");
  }
  loaded_kernels(const loaded_kernels &) = delete;
  loaded_kernels &operator=(const loaded_kernels &) = delete;
  ~loaded_kernels() {
    if (own != nullptr) counted_driver().stream_destroy(own);
  }
  void finish() const {
    need_driver(counted_driver().stream_synchronize(own), "cuStreamSynchronize");
  }

  cubby_cuda::kernels set;
  cubby_cuda::stream own = nullptr;
  std::string why_not;
};

/// A runtime's slot table, and a choice of eight of its lockers.
struct table_fixture {
  static constexpr uint32_t used = 8;

  explicit table_fixture(device_runtime &on) : on_(on) {
    view.struct_size = sizeof view;
    need(cubby_slots_add(on.rt, on.bank, on.device, &view), "cubby_slots_add");
  }
  table_fixture(const table_fixture &) = delete;
  table_fixture &operator=(const table_fixture &) = delete;
  ~table_fixture() { need(cubby_slots_remove(on_.rt, on_.bank, on_.device), "cubby_slots_remove"); }

  void choose(cubby_cuda::stream in, uint32_t first, uint32_t step) {
    for (uint32_t i = 0; i < used; ++i) {
      chosen.as<int32_t>()[i] = static_cast<int32_t>((first + i * step) % view.columns);
    }
    chosen.copy_in(in);
  }
  [[nodiscard]] acquire_work look_up() const {
    return {view, chosen.at(), words.at(), outcome.at(), 0, 0, used, 1u << 24, 0};
  }

  cubby_slots view{};
  device_buffer chosen{used * 4}, words{used * 8}, outcome{4};

 private:
  device_runtime &on_;
};

float random_float(uint64_t random) { return static_cast<float>(random >> 40) * 0x1p-23f - 1.0f; }

/// Any bytes are weights; what is no number is none on both sides.
bool same_bits(float a, float b) { return a == b || (a != a && b != b); }

void check_products(facts &out, const loaded_kernels &by, const model_file &model) {
  constexpr uint32_t columns = 2880, rows = 64, used = table_fixture::used;
  device_runtime on(model, 64 * mib, 0, false, true);
  table_fixture table(on);
  device_buffer input(columns * 4), output(used * rows * 4);
  for (uint32_t i = 0; i < columns; ++i) input.as<float>()[i] = random_float(model.word_of(7, i));
  input.copy_in(by.own);
  uint32_t first = 0;
  for (const auto &[name, type] :
       {std::pair{"q8_0", q8_0}, {"q4_0", q4_0}, {"mxfp4", mxfp4}, {"bf16", bf16}}) {
    const uint64_t before = host_sync_count();
    table.choose(by.own, first, 5);  // most are missing: the stream waits for them
    const uint64_t own = host_sync_count() - before;
    gemv_work work{table.view,
                   table.words.at(),
                   table.outcome.at(),
                   input.at(),
                   output.at(),
                   0,
                   0,
                   used,
                   type,
                   rows,
                   columns,
                   0,
                   0};
    need_driver(by.set.acquire(table.look_up(), by.own), "acquire");
    need_driver(by.set.gemv(work, by.own), "gemv");
    need_driver(by.set.leave({table.view}, by.own), "leave");
    out.check(std::string("products, ") + name + ": 0 host synchronisations",
              host_sync_count() - before == own, "");
    by.finish();
    table.outcome.copy_out(by.own);
    output.copy_out(by.own);
    uint32_t wrong = *table.outcome.as<int32_t>() == slot::found ? 0 : used * rows;
    for (uint32_t i = 0; i < used && wrong == 0; ++i) {
      const auto number = static_cast<uint32_t>(table.chosen.as<int32_t>()[i]);
      std::vector<uint64_t> bytes(model.bytes / 8);
      for (uint64_t w = 0; w < bytes.size(); ++w) bytes[w] = model.word_of(number, w * 8);
      const auto *blocks = reinterpret_cast<const uint8_t *>(bytes.data());
      const uint64_t row_bytes = uint64_t{columns / block_weights} * block_bytes(type);
      for (uint32_t row = 0; row < rows; ++row) {
        const float plain = row_product(type, blocks + row * row_bytes, columns, input.as<float>());
        if (!same_bits(plain, output.as<float>()[i * rows + row])) ++wrong;
      }
    }
    out.check(std::string("products, ") + name + ": the bits of the processor's", wrong == 0,
              std::to_string(wrong) + " of " + std::to_string(used * rows) + " differ");
    first += 41;
  }
}

void check_digests(facts &out, const loaded_kernels &by) {
  constexpr uint64_t size = 16 * mib, chunk = 256 << 10;
  device_buffer bytes(size), list(size / chunk * sizeof(digest_chunk)), results(size / chunk * 8);
  for (uint64_t i = 0; i < size / 8; ++i) bytes.as<uint64_t>()[i] = cubby::base::mix64(i);
  for (uint32_t i = 0; i < size / chunk; ++i) {
    // Some short, some that begin anywhere.
    const uint64_t skew = i % 4 == 3 ? i : 0, bytes_here = i % 8 == 5 ? i * 11 : chunk - skew;
    list.as<digest_chunk>()[i] = {bytes.at() + i * chunk + skew, bytes_here, i * 77u};
  }
  bytes.copy_in(by.own);
  list.copy_in(by.own);
  std::vector<double> rates;
  for (int round = 0; round < 5; ++round) {
    const uint64_t start = now_ns();
    need_driver(by.set.digest({list.at(), results.at(), size / chunk, 0}, by.own), "digest");
    by.finish();
    rates.push_back(static_cast<double>(size) / static_cast<double>(now_ns() - start));
  }
  results.copy_out(by.own);
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < size / chunk; ++i) {
    const digest_chunk &one = list.as<digest_chunk>()[i];
    const uint64_t plain =
        cubby::base::digest64(bytes.host().data() + (one.at - bytes.at()), one.bytes, one.seed);
    if (plain != results.as<uint64_t>()[i]) ++wrong;
  }
  out.check("digests of the device are the processor's", wrong == 0,
            std::to_string(wrong) + " differ");
  out.number("digests of 64 chunks of 256 KiB by one launch, GB/s", median(rates));
}

void check_copies(facts &out, const loaded_kernels &by) {
  constexpr uint64_t block = 64 << 10, count = 1024;
  device_buffer from(count * block), to(count * block), list(count * sizeof(span));
  for (uint64_t i = 0; i < count * block / 8; ++i) from.as<uint64_t>()[i] = cubby::base::mix64(i);
  for (uint64_t i = 0; i < count; ++i) {
    list.as<span>()[i] = {to.at() + i * block, from.at() + i * 389 % count * block, block};
  }
  from.copy_in(by.own);
  list.copy_in(by.own);
  std::vector<double> rates;
  for (int round = 0; round < 5; ++round) {
    const uint64_t start = now_ns();
    need_driver(by.set.copy_spans({list.at(), count, 0}, by.own), "copy_spans");
    by.finish();
    rates.push_back(static_cast<double>(count * block) / static_cast<double>(now_ns() - start));
  }
  to.copy_out(by.own);
  uint32_t wrong = 0;
  for (uint64_t i = 0; i < count; ++i) {
    if (std::memcmp(to.host().data() + i * block, from.host().data() + i * 389 % count * block,
                    block) != 0) {
      ++wrong;
    }
  }
  out.check("spans copied by a kernel", wrong == 0, std::to_string(wrong) + " are wrong");
  out.number("1,024 scattered blocks of 64 KiB within the device, GB/s", median(rates));
}

/// Of launches one behind the other, so that launching is hidden behind them where they are longer.
double each_us(const loaded_kernels &by, const table_fixture &table, bool look_up) {
  constexpr int launches = 200;
  std::vector<double> times;
  for (int round = 0; round < 5; ++round) {
    by.finish();
    const uint64_t start = now_ns();
    for (int i = 0; i < launches; ++i) {
      if (look_up) need_driver(by.set.acquire(table.look_up(), by.own), "acquire");
      need_driver(by.set.leave({table.view}, by.own), "leave");
    }
    by.finish();
    times.push_back(static_cast<double>(now_ns() - start) / launches / 1e3);
  }
  return median(times);
}

/// Eight of 384, as a layer of many small experts has them.
void measure_look_ups(facts &out, const loaded_kernels &by, const model_file &model) {
  device_runtime on(model, model.count * model.bytes + 64 * mib, 0, false, true);
  table_fixture table(on);
  std::vector<uint32_t> all(model.count);
  for (uint32_t i = 0; i < model.count; ++i) all[i] = i;
  on.prefetch(all, on.device);
  table.choose(by.own, 3, 47);
  need_driver(by.set.acquire(table.look_up(), by.own), "acquire");
  need_driver(by.set.leave({table.view}, by.own), "leave");
  const double leaving = each_us(by, table, false), both = each_us(by, table, true);
  out.number("slot table: look-up of 8 of 384, and letting go, us a pair of launches", both);
  out.number("slot table: letting go alone, us a launch", leaving);
  // A miss: the runtime sees it, reads the file's cached pages, copies, and the stream goes on.
  std::vector<double> misses;
  for (uint32_t i = 0; i < 20; ++i) {
    const cubby_item item = {.id = CUBBY_ID(on.bank, i),
                             .space = 0,
                             .span_count = 0,
                             .key = {},
                             .parent = nullptr,
                             .spans = nullptr,
                             .at_bytes = 0};
    need(cubby_drop(on.rt, &item, 1, on.device), "cubby_drop");
    need(cubby_drain(on.rt, 60'000'000'000), "cubby_drain");
    table.choose(by.own, i, 13);
    const uint64_t start = now_ns();
    need_driver(by.set.acquire(table.look_up(), by.own), "acquire");
    need_driver(by.set.leave({table.view}, by.own), "leave");
    by.finish();
    misses.push_back(static_cast<double>(now_ns() - start) / 1e3);
  }
  out.number("slot table: 1 of 8 missing, served while the stream waits, us", median(misses));
}

}  // namespace

int run_kernels(facts &out) {
  const in_device here;
  const loaded_kernels by;
  if (!by.why_not.empty()) {
    out.text("kernels", "skipped: " + by.why_not);
    return 0;
  }
  {
    const model_file model(96, 2 * mib);
    check_products(out, by, model);
  }
  check_digests(out, by);
  check_copies(out, by);
  const model_file model(384, 256 << 10);
  measure_look_ups(out, by, model);
  return 0;
}

}  // namespace gpu
