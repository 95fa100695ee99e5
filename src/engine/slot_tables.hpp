// Tables in a device's memory that say, for kernels, where the lockers of a bank are. Here are
// their contents and what has yet to be written of them; slot_writer moves it, and serves what
// kernels did not find. include/cubby/cubby_device.cuh has the layout.
//
// A locker is listed once it is ready. One that leaves is taken out of the table, and its frame
// stays taken, its word "evicting", until that is written and the device's work that had begun by
// then is over.
#pragma once

#include <cubby/backend.h>

#include <memory>
#include <vector>

#include "engine/tiers.hpp"

namespace cubby::engine {

class slot_table {
 public:
  /// Takes memory of the tier's device, and host memory that it reaches. Nothing is listed yet.
  static result<std::unique_ptr<slot_table>> make(tier_set &tiers, uint32_t tier, locker_bank &bank,
                                                  const cubby_backend_services &services);
  slot_table(const slot_table &) = delete;
  slot_table &operator=(const slot_table &) = delete;
  ~slot_table();

  /// Of host memory, what it takes for a bank of so many lockers and of such a grid.
  [[nodiscard]] static uint64_t table_bytes_for(const locker_bank &bank);
  [[nodiscard]] uint64_t table_bytes() const;
  [[nodiscard]] const cubby_slots &view() const { return view_; }
  [[nodiscard]] locker_bank &bank() const { return bank_; }
  [[nodiscard]] uint32_t tier() const { return tier_; }

  // ---- contents ------------------------------------------------------------------------------
  /// Its bytes are in this frame.
  void list(uint32_t number, uint64_t frame);
  /// It leaves: see leaving().
  void withdraw(uint32_t number);
  /// It could not be brought; who waits for it learns of that.
  void refuse(uint32_t number);

  // ---- what is to be written -------------------------------------------------------------------
  /// One write into the device's memory.
  struct write {
    void *to = nullptr;
    const void *from = nullptr;
    uint64_t bytes = 0;
  };
  static constexpr uint32_t offsets_number = 0xFFFFFF;  // stands for the offsets of parts
  static constexpr uint32_t numbers_max = 0xFFFFFE;
  /// The next whose write may start; no_index where there is none. It is under way from here on.
  [[nodiscard]] uint32_t next_to_write();
  [[nodiscard]] write write_of(uint32_t number) const;
  /// It has not been started after all, or it failed: it is tried again.
  void write_again(uint32_t number);
  void written(uint32_t number);
  [[nodiscard]] bool any_in_flight() const { return in_flight_count_ != 0; }
  [[nodiscard]] bool any_to_write() const { return offsets_wait_ || !changed_.empty(); }

  // ---- what leaves ---------------------------------------------------------------------------
  [[nodiscard]] bool any_leaving() const { return !leaving_.empty(); }
  /// Takes one off the list whose frame no work of the device can find any more; no_index where
  /// there is none. With `all`, whatever the device does: it is lost, or no kernel runs.
  [[nodiscard]] uint32_t take_left(bool all);

  // ---- what kernels lack -----------------------------------------------------------------------
  /// Takes up what is listed as missing, also while there is no request for it: the device lists on
  /// without looking whether the list was read. True when there was something.
  bool read_list();
  /// The next locker that is to be asked for; no_index: none.
  [[nodiscard]] uint32_t next_miss() const;
  /// A request for that locker is made, with this place for its status.
  int8_t *ask(uint32_t number, uint32_t request);
  /// There is no request for it to be had; refused where that has been so for long. True then.
  bool cannot_ask(uint32_t number, uint64_t now_ns);
  [[nodiscard]] bool any_asked() const { return !asked_.empty(); }
  struct question {
    uint32_t number = 0, request = 0;
  };
  /// Whose answers have not been looked at; there may be some.
  [[nodiscard]] const std::vector<question> &asked() const { return asked_; }
  [[nodiscard]] bool is_answered(uint32_t number) const {
    return statuses_[number] != CUBBY_PENDING;
  }
  /// Refuses what could not be brought of what was asked for. True: for want of a frame.
  bool look_at_asked();
  /// Who waits for a frame longer is refused: nothing says that one ever comes free.
  static constexpr uint64_t frame_patience_ns = 1'000'000'000;

  uint32_t id = 0;        // among the tables there are
  uint64_t retry_ns = 0;  // after a write has failed: none is started before
  bool closing = false;   // its memory goes once nothing is in flight
  bool said_crowded = false;

 private:
  slot_table(tier_set &tiers, uint32_t tier, locker_bank &bank,
             const cubby_backend_services &services)
      : tiers_(tiers), bank_(bank), services_(services), tier_(tier) {}
  void take_tables();
  result<void> take_memory();
  void describe();
  void change(uint32_t number, uint64_t word);
  void take_miss();

  enum : uint8_t { waits_for_write = 1, in_flight = 2, asked_for = 4 };  // or is to be
  struct leaver {
    uint32_t number = 0;
    bool written = false;
    uint64_t begun = 0;  // the work that had begun when the device had it
  };

  tier_set &tiers_;
  locker_bank &bank_;
  const cubby_backend_services &services_;
  const uint32_t tier_;
  cubby_slots view_{};
  cubby_backend_memory device_{}, host_{};
  uint64_t shared_ = 0;                             // host_ as the host finds it
  uint64_t *words_ = nullptr, *offsets_ = nullptr;  // in host_, what the device is to have
  std::vector<uint8_t> marks_;                      // [number]
  std::vector<int8_t> statuses_;                    // [number], of what is asked for
  std::vector<uint32_t> changed_;                   // numbers, each once
  std::vector<question> asked_;
  std::vector<uint32_t> to_ask_;  // a ring of `count` places, each number once
  size_t to_ask_first_ = 0, to_ask_count_ = 0;
  uint64_t no_request_ns_ = 0;  // since when the first of them could not be asked for; 0 = it can
  std::vector<leaver> leaving_;
  bool offsets_wait_ = true, offsets_written_ = false;
  uint32_t in_flight_count_ = 0;
  uint64_t seen_miss_count_ = 0;
};

class slot_tables {
 public:
  explicit slot_tables(tier_set &tiers) : tiers_(tiers) {}

  /// A locker is ready in a tier.
  void published(uint32_t tier, const locker_bank &bank, uint32_t number, uint64_t frame) {
    if (slot_table *of = find(tier, bank)) of->list(number, frame);
  }
  /// A locker leaves a tier; its word says so. True: its frame is given back once no kernel can
  /// find it, and counts as leaving until then. False: nothing stands in the way.
  bool retire(uint32_t tier, const locker_bank &bank, uint32_t number) {
    slot_table *const of = find(tier, bank);
    if (of == nullptr) return false;
    of->withdraw(number);
    return true;
  }
  [[nodiscard]] slot_table *find(uint32_t tier, const locker_bank &bank) const {
    for (const auto &one : tables_) {
      if (one->tier() == tier && &one->bank() == &bank && !one->closing) return one.get();
    }
    return nullptr;
  }
  /// Also one that is just going.
  [[nodiscard]] bool has(uint32_t tier, const locker_bank &bank) const;
  [[nodiscard]] bool any_of(const locker_bank &bank) const;
  /// Makes one, and lists what is there already. INVALID, BUSY, NOT_SUPPORTED, NO_MEMORY.
  result<const slot_table *> add(uint32_t tier, locker_bank &bank,
                                 const cubby_backend_services &services);
  [[nodiscard]] std::vector<std::unique_ptr<slot_table>> &all() { return tables_; }

 private:
  /// Takes the buffers through which lockers of the bank come to the tier. Registering host memory
  /// may wait for all that a device has under way, and kernels that wait for a locker are that.
  result<void> take_staging(uint32_t tier, const locker_bank &bank);

  tier_set &tiers_;
  std::vector<std::unique_ptr<slot_table>> tables_;
};

}  // namespace cubby::engine
