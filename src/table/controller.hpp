// The one writer of tables, budgets and policies. It advances only when told what time it is, reads
// no clock and makes no system call except through a backend, so the whole of it runs in a
// simulator.
//
// Who may call what: the calls under "any thread" touch only words, sets and queues made for that.
// All others are made by whoever holds the runtime's pump.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bounded_queue.hpp"
#include "base/erase_one.hpp"
#include "base/result.hpp"
#include "placement/policy.hpp"
#include "table/bank.hpp"
#include "table/move.hpp"
#include "table/recorder.hpp"
#include "table/request.hpp"
#include "table/seal_job.hpp"
#include "table/visit.hpp"
#include "tier/memory_tier.hpp"
#include "transfer/channel.hpp"
#include "transfer/staging.hpp"

namespace cubby::table {

/// A visit of which some notes have come.
struct heard_chain {
  gathered_visit visit;
  note_follows last = note_follows::another_visit;
  bank *where = nullptr;
  uint32_t row = 0;
};

/// What each thread writes without meeting the others.
struct alignas(64) shard {
  static constexpr size_t visits_max = 2 * visit_chain::notes_max;
  base::bounded_queue<visit_note> visits{visits_max};
  std::atomic<uint64_t> visits_dropped{0};
  std::array<std::atomic<uint64_t>, tiers_max> hits{};
  std::atomic<uint32_t> active{0};  // calls in progress
  alignas(64) heard_chain chain;    // the controller's
};

/// Prefetched, and not used yet.
struct unused_prefetch {
  placement::object who = 0;
  uint64_t bytes = 0;
};

/// Prefetched lockers are spared before their first use, up to this share of the tier.
inline constexpr uint64_t spared_share = 4;

/// Here for one use, since that round of looking at guests.
struct guest {
  placement::object who = 0;
  uint64_t since_round = 0;
  bool operator==(placement::object other) const { return who == other; }
};

struct tier_slot {
  cubby_tier handle = 0;
  std::string name, backend;
  std::string note;  // why it is not the better path that was asked for first
  uint32_t rank = 0, flags = 0;
  std::unique_ptr<tier::backend_instance> files;  // a file tier's
  std::unique_ptr<tier::memory_tier> memory;      // a memory tier's
  std::unique_ptr<transfer::channel> path;
  std::unique_ptr<placement::policy> policy;
  bool in_turn = false;  // it broke the rules, and there was no memory for another
  uint32_t turn = 0;     // the object that came last
  std::atomic<uint64_t> budget_bytes{0};
  std::vector<unused_prefetch> prefetched;  // oldest first
  std::vector<placement::object> passing;   // not to be kept once unpinned
  // Came for one use, after which the policy says whether they stay; in the order they were asked
  // for. Policies know nothing of these, nor of those in passing.
  std::vector<guest> guests;
  uint64_t guest_count = 0;    // that have come
  bool fetched_ahead = false;  // somebody has: room for guests is for two layers
  uint64_t guest_rounds = 0;   // how often they were looked at
  /// Was it prefetched, and is its first use still to come?
  [[nodiscard]] bool is_unused(placement::object who) const {
    return std::any_of(prefetched.begin(), prefetched.end(),
                       [who](const unused_prefetch &one) { return one.who == who; });
  }
  uint64_t kept_bytes = 0;   // of those that the policy knows of
  uint32_t known_count = 0;  // of all that it was told of, those of tiers it stands for among them
  uint64_t taken_bytes = 0;  // of kept ones that left for guests without the policy being asked
  uint64_t leaving_bytes = 0;         // of frames whose bytes are on their way down
  std::vector<cubby_region> regions;  // lent
  bool told_of_stray = false;         // of completions that answer nothing
  cubby_tier_stats stats{};
};

struct controller_config {
  uint32_t tickets_max = 4096;
  uint32_t salt = 0;
  uint64_t seed = 0;
  const cubby_policy_ops *policy = nullptr;
  bool verify = true;
};

class controller {
 public:
  controller(const controller_config &config, const cubby_backend_services &services,
             completion_sink &sink);
  controller(const controller &) = delete;
  controller &operator=(const controller &) = delete;
  ~controller();

  // ---- set up --------------------------------------------------------------------------------
  struct memory_tier_request {
    std::string name;
    uint32_t rank = 0, flags = 0;
    uint64_t budget_bytes = 0;
    std::vector<tier::lent_memory> lent;
    std::vector<cubby_region> regions;
  };
  result<uint32_t> add_memory_tier(const memory_tier_request &wanted,
                                   std::unique_ptr<tier::backend_instance> backend);
  result<uint32_t> add_file_tier(const std::string &name, uint32_t rank,
                                 std::unique_ptr<tier::backend_instance> backend);
  /// The slot through which adopted files are read; no_tier before there is a file tier.
  [[nodiscard]] uint32_t file_slot() const { return file_slot_; }
  result<bank *> add_bank(std::unique_ptr<bank> made);
  /// Opens the files of a bank through the file tier and holds their identity against it.
  result<void> open_files(std::vector<bank_file> &files);
  void close_files(std::vector<bank_file> &files);
  result<void> map_bank(bank &where, std::vector<bank_file> files, const cubby_extent *extents,
                        uint64_t count);
  /// BUSY while something of it is pinned or in flight.
  result<void> remove_bank(bank &where);
  /// After a grace period in which no call can still look at it.
  void free_bank(bank &where);

  // ---- any thread ----------------------------------------------------------------------------
  [[nodiscard]] const residency::bank_registry &banks() const { return banks_; }
  /// nullptr when stale.
  [[nodiscard]] bank *bank_of(cubby_bank handle) const { return banks_.find(handle); }
  /// no_tier when stale.
  [[nodiscard]] uint32_t slot_of(cubby_tier handle) const {
    const uint32_t index = (handle & 0xFF) - 1;
    return index < tier_count() && tiers_[index]->handle == handle ? index : no_tier;
  }
  [[nodiscard]] tier_slot &slot(uint32_t index) { return *tiers_[index]; }
  [[nodiscard]] uint32_t tier_count() const { return tier_count_.load(std::memory_order_acquire); }
  [[nodiscard]] const void *address(const bank &where, uint32_t tier, uint64_t frame,
                                    uint32_t number, uint32_t part) const {
    return tiers_[tier]->memory->at(frame, part) +
           where.part_offset(where.layout(tier), number, part);
  }
  [[nodiscard]] request &request_at(uint32_t index) { return requests_[index]; }
  [[nodiscard]] residency::pinning &pinning() { return pinning_; }
  [[nodiscard]] shard &shard_at(uint32_t index) { return shards_[index]; }
  [[nodiscard]] uint32_t tickets_max() const { return config_.tickets_max; }
  /// no_index when all are taken. What nobody will hear of has at most half of them, so that hints
  /// on a slow device never leave demand without a place.
  uint32_t take_request(bool forget);
  void give_request(uint32_t index);
  /// Hands an accepted request over; there is always room.
  void submit(uint32_t index);
  void note_withdrawal() { pinning_.note_withdrawal(); }
  void note_frames() { pinning_.note_frames(); }
  /// A visit in one note: lockers of a bank, number_of(0) to number_of(count - 1).
  template <class Numbers>
  [[gnu::always_inline]] static void note_visit(shard &to, cubby_bank handle, uint32_t count,
                                                const Numbers &number_of) {
    const bool told = to.visits.push_in_place([&](visit_note &note) {
      note.bank = static_cast<uint16_t>(handle);
      note.count = static_cast<uint8_t>(count);
      note.next = note_follows::another_visit;
      note.slot = 0;
      for (size_t i = 0; i != count; ++i) note.numbers[i] = number_of(i);
    });
    if (!told) to.visits_dropped.fetch_add(1, std::memory_order_relaxed);
  }
  /// A visit in several: what each of its sequences chose, and then its end.
  static void note_route(shard &to, cubby_bank handle, visit_chain &chain,
                         std::span<const uint32_t> numbers, uint32_t slot,
                         note_follows joined = note_follows::same_visit);
  static void end_chain(shard &to, visit_chain &chain);
  /// Is there something that advance() has not seen?
  [[nodiscard]] bool has_news() const;

  // ---- the pump ------------------------------------------------------------------------------
  /// How much of what can be done now: all of it; until a request has completed, for who waits for
  /// one should not also wait for the bytes of others; or only the starting of I/O.
  enum class effort { all, one_completion, start };
  /// True when something was done. *next_ns: when to come again at the latest; now_ns when there is
  /// more to do.
  bool advance(uint64_t now_ns, uint64_t *next_ns, effort how_far = effort::all);
  [[nodiscard]] bool idle() const { return open_.empty() && moves_alive_ == 0 && jobs_.empty(); }
  [[nodiscard]] uint32_t demand_open() const { return demand_open_; }
  /// Descriptors that are readable once something in flight has come back.
  void descriptors(std::vector<int> &fds);
  void cancel_everything();
  /// Seals whose reads never came back: their tickets end; they themselves cannot, and are leaked.
  void give_up_jobs();
  /// Tells the policies what is foreseen, by a slot below sequences_max; false: of no use to any.
  bool hint(const cubby_policy_hint &what);
  /// A new budget, at once for what comes; a resize request then evicts what is too much.
  result<void> resize(uint32_t tier, uint64_t budget_bytes);

  bool drop(bank &where, uint32_t number, uint32_t tier);  // false when pinned or moving
  /// Nanoseconds from now until it would be usable in the tier; ~0 = nothing measured yet.
  [[nodiscard]] uint64_t estimate_ns(const bank &where, uint32_t number, uint32_t tier) const;
  /// Bytes of all tables there are now.
  [[nodiscard]] uint64_t table_bytes() const;
  /// What one more bank, or one more memory tier, would add.
  [[nodiscard]] uint64_t table_bytes_of(const bank &where) const;
  [[nodiscard]] uint64_t table_bytes_of_tier() const;
  void report(cubby_stats_block &block, std::vector<cubby_tier_stats> &tiers);
  /// Records visits from here on, with `made`; false while a recording runs. What was there before
  /// is in `made` then.
  bool start_recording(std::unique_ptr<recorder> &made);
  /// The recording, running or stopped, with all that was told so far; nullptr when there is none.
  recorder *recording();
  [[nodiscard]] uint64_t pinned_bytes(uint32_t tier) const;
  /// Bytes that one token's visits need at once: Σ over rows of routed_count lockers.
  [[nodiscard]] static uint64_t working_set_bytes(const bank &where, frame_layout layout);

 private:
  friend class seal_job;

  // setup.cpp
  void add_words(bank &to);

  // pump.cpp
  [[nodiscard]] uint64_t visits_dropped() const;
  void look_at_frames();
  bool start_jobs(transfer::channel &path);
  bool start_all_jobs(effort how_far);
  bool run_channels(uint64_t *next_ns);
  bool take_back(uint32_t tier, uint64_t *next_ns);

  // policies.cpp
  void drain_visits(shard &from);
  void drain_all_visits() {
    for (shard &from : shards_) {
      if (!from.visits.looks_empty()) drain_visits(from);
    }
  }
  void make_room_ahead(uint32_t tier);
  void make_room_for_routes(bank &where, const gathered_visit &seen);
  void visit(bank &where, uint32_t row, gathered_visit &seen);
  void make_room_for_sequences(uint32_t count);
  [[nodiscard]] placement::policy_config policy_view(uint32_t tier,
                                                     std::vector<cubby_policy_bank> &banks) const;
  bool tell_policies();
  [[nodiscard]] bool receives_guests(uint32_t tier) const;
  [[nodiscard]] uint64_t guest_bytes(uint32_t tier) const;
  [[nodiscard]] uint64_t kept_budget_bytes(uint32_t tier) const;
  void tell_what_is_kept(uint32_t tier);
  void replace_policy(uint32_t tier, const std::string &what_it_did);

  // requests.cpp
  void begin(uint32_t index);
  void look_at_open();
  void withdraw_items(uint32_t index, bool all);
  void item_failed(uint32_t index, uint32_t item, const error &why);
  void item_landed(uint32_t index, uint32_t item, locker_word &word, uint64_t frame);
  void complete(uint32_t index);

  // grant.cpp
  bool grant(uint32_t index);
  static error pinned_too_often(const bank &where, uint32_t number);
  bool grant_pins(uint32_t index);
  bool grant_prefetch(uint32_t index);
  bool grant_resize(uint32_t index);
  bool prepare(request &r, bool hold_hits);
  void roll_back(request &r);
  void settle(uint32_t index);
  [[nodiscard]] bool at_rest(uint32_t tier) const;
  bool clear_tier(uint32_t tier);
  [[nodiscard]] error cannot_lay_out(const request &r) const;
  void retry_waiting();
  void wait_for_frames(uint32_t index);
  void expire(uint32_t index);
  void introduce_kept(const request &r, move &m);
  enum class found { ready, joinable, blocked, begun, impossible, no_frame };
  found look_up(request &r, uint32_t item);

  // plan.cpp
  bool plan(uint32_t index);
  bool plan_from_tier(uint32_t index);
  bool follow(uint32_t index);
  void keep_beside(uint32_t index);
  bool file_unchanged(bank &where);
  void changed_underneath(bank &where, error &why);

  // pieces.cpp
  void launch(uint32_t index);
  void queue_move(uint32_t index);
  void unqueue_move(uint32_t index);
  transfer::channel &reading_channel(const move &m);
  uint32_t new_piece();
  uint64_t new_flight(uint32_t piece_index);
  bool is_flying(uint32_t tier, uint64_t cookie);
  bool cut_piece(move &m, piece &p);
  bool issue_piece(uint32_t index, transfer::channel &path);
  bool start_read(uint32_t piece_index, transfer::channel &path);
  bool start_copy(uint32_t piece_index, transfer::channel &path);
  bool verify(const move &m, piece &p, const std::byte *bytes);
  error damaged_copy(const piece &p, tier_slot &slot);
  error failed_io(const piece &p, const tier_slot &slot, const cubby_backend_done &done);
  void piece_done(uint32_t piece_index, const cubby_backend_done &done);
  void piece_read(uint32_t piece_index);
  void queue_copy(uint32_t piece_index);
  void end_piece(uint32_t piece_index);
  [[nodiscard]] std::byte *place(const bank &where, uint32_t tier, uint64_t frame, uint32_t number,
                                 uint32_t part) const {
    return static_cast<std::byte *>(const_cast<void *>(address(where, tier, frame, number, part)));
  }

  // moves.cpp
  uint32_t new_move(bank &where, uint32_t number, uint32_t tier, uint64_t frame,
                    const transfer::urgency &order);
  void free_move(uint32_t index);
  void raise(uint32_t index, const transfer::urgency &order);
  void add_waiter(uint32_t index, uint32_t request_index, uint32_t item);
  void remove_waiter(uint32_t index, uint32_t request_index, uint32_t item);
  void stop(uint32_t index, const error &why);
  void let_go(uint32_t tier, locker_word &word);
  void let_go_of_source(move &m, bool arrived);
  bool try_again(uint32_t index);
  void publish(uint32_t index, uint32_t tier, uint64_t frame);
  void fail_waiters(uint64_t first, const error &why);
  void wake_followers(uint32_t index);
  void end_move(uint32_t index);

  // evict.cpp
  struct newcomer {
    placement::object who = placement::no_object;  // nobody: only room is needed
    uint64_t bytes = 0;                            // of a hole that it wants; 0 = any
  };
  placement::object choose_victim(uint32_t tier, const newcomer &wanted, bool spare_prefetched,
                                  const std::vector<placement::object> &besides = {});
  void hasten_leaving(uint32_t tier, const transfer::urgency &order);
  placement::object next_in_turn(uint32_t tier, uint32_t &looked);
  bool make_room(uint32_t tier, const newcomer &wanted, const transfer::urgency &order);
  bool evict_one(uint32_t tier, const newcomer &wanted, const transfer::urgency &order,
                 bool may_demote);
  transfer::channel &copy_path(uint32_t from, uint32_t to);
  bool evict(uint32_t tier, placement::object who, const transfer::urgency &order, bool may_demote);
  bool demote(uint32_t tier, bank &where, uint32_t number, const transfer::urgency &order);
  static void forget_prefetched(tier_slot &slot, placement::object who);
  void forget_copy(uint32_t tier, bank &where, uint32_t number);

  // kept.cpp
  [[nodiscard]] bool stands_for(uint32_t tier, uint32_t nearer) const;
  [[nodiscard]] bool is_kept(uint32_t tier, const bank &where, uint32_t number) const;
  [[nodiscard]] bool is_known(uint32_t tier, const bank &where, uint32_t number,
                              uint32_t but = no_tier) const;
  void keep(uint32_t tier, const bank &where, uint32_t number);
  void tell_of(uint32_t tier, const bank &where, uint32_t number);
  void lose(uint32_t tier, const bank &where, uint32_t number);
  bool fills_a_gap(uint32_t tier, placement::object who, uint64_t cost);
  bool find_leaving(uint32_t tier, const newcomer &wanted, uint64_t cost, bool must,
                    std::vector<placement::object> &leaving);
  /// For whom a place is asked: one that has no frame yet, a guest, or a guest that is not asked
  /// to leave.
  enum class place_for { newcomer, guest, pinned_guest };
  bool make_place(uint32_t tier, bank &where, uint32_t number, place_for what,
                  const transfer::urgency &order);

  // guests.cpp
  [[nodiscard]] bool is_guest(uint32_t tier, placement::object who) const;
  void introduce(move &m);
  void withdraw(move &m);
  void sweep_passing(uint32_t tier);
  void decide_on_guests(uint32_t tier);
  bool drop_a_guest(uint32_t tier, bool unused_too);
  void give_up_below(uint32_t tier, bank &where, uint32_t number);
  void keep_reserve();
  [[nodiscard]] uint32_t demotion_target(uint32_t tier) const;
  [[nodiscard]] bank *bank_of_object(placement::object who, uint32_t &number) const;
  void remember_prefetched(uint32_t tier, placement::object who, uint64_t bytes);
  void shrink_blocks(uint32_t tier);
  void merge_blocks(uint32_t tier);
  void register_blocks(uint32_t tier, size_t first);
  void unregister_block(uint32_t tier, const cubby_backend_memory &block);

  controller_config config_;
  const cubby_backend_services &services_;
  completion_sink &sink_;
  uint64_t now_ns_ = 0;
  uint64_t sequence_ = 0;
  uint64_t completed_count_ = 0;
  bool changed_ = false;  // since the waiting were last looked at

  std::array<std::unique_ptr<tier_slot>, tiers_max> tiers_;
  std::atomic<uint32_t> tier_count_{0};
  uint32_t file_slot_ = no_tier;
  residency::bank_registry banks_;

  std::vector<shard> shards_;  // as many as pin_sets has
  residency::pinning pinning_;
  std::unique_ptr<request[]> requests_;
  base::bounded_queue<uint32_t> free_requests_, inbox_;
  std::atomic<uint32_t> forgotten_count_{0};
  std::atomic<uint32_t> inbox_count_{0};

  std::vector<uint32_t> open_;     // requests, in the order they came
  std::vector<uint32_t> waiting_;  // of those, without frames; most urgent first
  uint32_t demand_open_ = 0;
  std::vector<move> moves_;
  std::vector<uint32_t> free_moves_;
  uint32_t moves_alive_ = 0;
  std::vector<piece> pieces_;
  std::vector<uint32_t> free_pieces_;
  uint32_t last_flight_ = 0;
  std::unique_ptr<transfer::staging_pool> staging_;
  std::vector<std::unique_ptr<seal_job>> jobs_;
  std::vector<uint32_t> tentative_;
  uint32_t sequences_ = 1;  // of a batch, as the policies know
  uint32_t mutant_count_ = 0;

  std::unique_ptr<recorder> recorder_;
  uint64_t drops_recorded_ = 0;  // of visits_dropped()
  uint64_t visit_count_ = 0;
  uint64_t unverified_bytes_ = 0;
  uint64_t stall_read_ns_ = 0, stall_join_ns_ = 0, stall_frame_wait_ns_ = 0, stall_copy_ns_ = 0,
           stall_handoff_ns_ = 0;
};

}  // namespace cubby::table
