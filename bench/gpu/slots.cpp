// Lockers that kernels find by number: a choice is looked up, waited for and multiplied in a stream
// (nothing here makes a host wait), what is foreseen comes, and how long a look-up takes.
#include <algorithm>
#include <thread>

#include "device_work.hpp"

namespace gpu {
namespace {

namespace slot = cubby_device;
using namespace cubby_kernels;

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

/// What is foreseen comes though nothing waits for it, and a look that waits for nothing finds it.
void check_foreseen(facts &out, const loaded_kernels &by, const model_file &model) {
  device_runtime on(model, 64 * mib, 0, false, true);
  table_fixture table(on);
  table.choose(by.own, 1, 7);
  need_driver(by.set.foresee({table.view, table.chosen.at(), 0, table_fixture::used}, by.own),
              "foresee");
  by.finish();
  const uint64_t start = now_ns();
  std::vector<uint64_t> entries(model.count);
  const auto all_there = [&] {
    need_driver(
        counted_driver().copy_out(entries.data(), table.view.entries, entries.size() * 8, by.own),
        "copy out");
    by.finish();
    return std::all_of(table.chosen.as<int32_t>(), table.chosen.as<int32_t>() + table_fixture::used,
                       [&](int32_t n) { return slot::is_there(entries[static_cast<size_t>(n)]); });
  };
  constexpr uint64_t patience_ns = 10'000'000'000;
  while (!all_there() && now_ns() - start < patience_ns) std::this_thread::yield();
  acquire_work look = table.look_up();
  look.looks_max = 1;
  need_driver(by.set.acquire(look, by.own), "acquire");
  need_driver(by.set.leave({table.view}, by.own), "leave");
  table.outcome.copy_out(by.own);
  out.check("what is foreseen comes, and is found without a wait",
            *table.outcome.as<int32_t>() == slot::found, "it did not come within 10 s");
  out.number("foreseen: 8 lockers of 2 MiB, until all are listed, us",
             static_cast<double>(now_ns() - start) / 1e3);
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

void run_slots(facts &out) {
  const in_device here;
  const loaded_kernels by;
  if (!by.why_not.empty()) {
    out.text("slot tables", "skipped: " + by.why_not);
    return;
  }
  {
    const model_file model(96, 2 * mib);
    check_products(out, by, model);
    check_foreseen(out, by, model);
  }
  const model_file model(384, 256 << 10);
  measure_look_ups(out, by, model);
}

}  // namespace gpu
