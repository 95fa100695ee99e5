// The reference kernels on the device, without a runtime: what the same lines give on a processor.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/digest.hpp"
#include "base/prng.hpp"
#include "device_work.hpp"

namespace gpu {
namespace {

namespace slot = cubby_device;
using namespace cubby_kernels;

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

/// The floats of a buffer, made up by a seed; many are small, some are far from one.
void fill_floats(device_buffer &with, uint64_t count, uint64_t seed, float scale) {
  for (uint64_t i = 0; i < count; ++i) {
    with.as<float>()[i] = scale * random_float(cubby::base::mix64(seed + i));
  }
}

/// The exponential is another function on each side, and may differ in its last bits.
void check_gates(facts &out, const loaded_kernels &by) {
  constexpr uint32_t count = 4 * 2880 + 77;  // the last block is not full
  device_buffer gate_with(count * 4), up(count * 4), to(count * 4);
  fill_floats(gate_with, count, 1, 20.0f);
  fill_floats(up, count, 2, 3.0f);
  constexpr std::array<float, 7> edges = {0.0f, -0.0f, 88.0f, -88.0f, 200.0f, -200.0f, 1e-30f};
  std::copy(edges.begin(), edges.end(), gate_with.as<float>());
  gate_with.copy_in(by.own);
  up.copy_in(by.own);
  to.copy_in(by.own);
  need_driver(by.set.gate({gate_with.at(), up.at(), to.at(), count, 0}, by.own), "gate");
  to.copy_out(by.own);
  std::vector<float> plain(count);
  const auto address = [](const float *at) { return reinterpret_cast<uint64_t>(at); };
  const gate_work here = {address(gate_with.as<float>()), address(up.as<float>()),
                          address(plain.data()), count, 0};
  for (uint32_t i = 0; i < count; ++i) gate(here, i, direct_reach{});
  uint32_t wrong = 0;
  double worst = 0;
  constexpr double allowed = 2e-6;
  for (uint32_t i = 0; i < count; ++i) {
    const double right = plain[i], off = std::fabs(to.as<float>()[i] - right);
    if (!(off <= allowed * std::fabs(right))) ++wrong;
    if (off != 0) worst = std::max(worst, off / std::fabs(right));
  }
  out.check("gates are the processor's", wrong == 0,
            std::to_string(wrong) + " of " + std::to_string(count) + " differ by more than 2e-6");
  out.number("gates: the largest difference, as a share", worst);
}

/// A token that begins, and the layer of one: every operation is written out, so bits are the same.
void check_states(facts &out, const loaded_kernels &by) {
  constexpr uint32_t width = 2880, experts = 4;
  for (const uint32_t used : {width, 2863u}) {  // the last lanes have one less
    for (const bool begins : {true, false}) {
      device_buffer from(width * 4), more(experts * width * 4), to(width * 4), normal(width * 4);
      fill_floats(from, used, 3, 4.0f);
      fill_floats(more, experts * width, 4, 4.0f);
      for (device_buffer *one : {&from, &more, &to, &normal}) one->copy_in(by.own);
      const auto work_on = [&](uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
        return state_work{a, begins ? b : 0, begins ? 0 : b, c, d, used, begins ? 0 : experts};
      };
      need_driver(by.set.next_state(work_on(from.at(), more.at(), to.at(), normal.at()), by.own),
                  "next_state");
      std::vector<float> plain(width), plain_normal(width);
      const auto address = [](float *at) { return reinterpret_cast<uint64_t>(at); };
      next_state(work_on(address(from.as<float>()), address(more.as<float>()),
                         address(plain.data()), address(plain_normal.data())),
                 direct_reach{});
      to.copy_out(by.own);
      normal.copy_out(by.own);
      uint32_t wrong = 0;
      for (uint32_t i = 0; i < width; ++i) {
        if (!same_bits(plain[i], to.as<float>()[i])) ++wrong;
        if (!same_bits(plain_normal[i], normal.as<float>()[i])) ++wrong;
      }
      out.check(std::string("states of ") + (begins ? "a token that begins, " : "a layer, ") +
                    std::to_string(used) + " wide: the bits of the processor's",
                wrong == 0, std::to_string(wrong) + " of " + std::to_string(2 * width) + " differ");
    }
  }
}

/// A table of one row that no runtime serves, all of it in one piece of memory that begins at `at`.
struct lone_table {
  static constexpr uint32_t columns = 300, places = 1024, chosen = 100;
  static constexpr uint64_t state = 2 * columns, shared = state + 2, list = shared + 8,
                            choice = list + places, words = choice + chosen / 2;

  static cubby_slots view_at(uint64_t at) {
    cubby_slots view{};
    view.struct_size = sizeof view;
    view.layout = CUBBY_SLOTS_LAYOUT;
    view.rows = 1;
    view.columns = columns;
    view.part_count = 1;
    view.miss_count_max = places;
    view.entries = at;
    view.asked = at + columns * 8;
    view.part_offsets = view.state = at + state * 8;
    view.shared = at + shared * 8;
    return view;
  }
  /// Some are there; a choice has some of each, some twice, some that are none.
  static void fill(uint64_t *memory) {
    std::fill_n(memory, words, uint64_t{0});
    for (uint32_t i = 0; i < columns; i += 3) memory[i] = slot::word_of(i, i + 1);
    for (uint32_t i = 1; i < columns; i += 9) memory[i] = slot::absent_word(i, true);
    for (uint32_t i = 0; i < chosen; ++i) {
      const int32_t one = i % 25 == 7 ? -1 : i % 25 == 9 ? int32_t{columns} : int32_t(i * 37 % 211);
      std::memcpy(reinterpret_cast<uint8_t *>(memory + choice) + i * 4, &one, 4);
    }
  }
  static foresee_work work_at(uint64_t at) { return {view_at(at), at + choice * 8, 0, chosen}; }
  /// The list may be in any order: threads add to it side by side.
  static bool same(const uint64_t *a, const uint64_t *b) {
    if (!std::equal(a, a + list, b)) return false;
    std::array<std::vector<uint64_t>, 2> listed;
    for (uint64_t i = 0; i < places; ++i) {
      // Which of them are there, and in which place, is the same.
      if (a[list + i] >> 32 != b[list + i] >> 32) return false;
      listed[0].push_back(a[list + i] & 0xFFFFFFFF);
      listed[1].push_back(b[list + i] & 0xFFFFFFFF);
    }
    for (auto &one : listed) std::sort(one.begin(), one.end());
    return listed[0] == listed[1];
  }
};

/// What is foreseen twice is listed once, nothing is held, and of what is there nothing is said.
void check_foresight(facts &out, const loaded_kernels &by) {
  device_buffer table(lone_table::words * 8);
  auto *const memory = table.as<uint64_t>();
  lone_table::fill(memory);
  std::vector<uint64_t> plain(memory, memory + lone_table::words);
  table.copy_in(by.own);
  for (int round = 0; round < 2; ++round) {
    need_driver(by.set.foresee(lone_table::work_at(table.at()), by.own), "foresee");
    foresee(lone_table::work_at(reinterpret_cast<uint64_t>(plain.data())), direct_reach{});
  }
  table.copy_out(by.own);
  const uint64_t listed = plain[lone_table::state + 1];
  out.check("foresight lists what the processor's does",
            listed != 0 && lone_table::same(plain.data(), memory),
            std::to_string(memory[lone_table::state + 1]) + " are listed, or others than the " +
                std::to_string(listed) + " that are right");
}

}  // namespace

void run_kernels(facts &out) {
  const in_device here;
  const loaded_kernels by;
  if (!by.why_not.empty()) {
    out.text("kernels", "skipped: " + by.why_not);
    return;
  }
  check_digests(out, by);
  check_copies(out, by);
  check_gates(out, by);
  check_states(out, by);
  check_foresight(out, by);
}

}  // namespace gpu
