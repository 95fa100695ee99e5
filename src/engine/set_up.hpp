// Tiers and banks come and go; the pump is held.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/open_requests.hpp"
#include "engine/policy_feed.hpp"
#include "engine/source_files.hpp"

namespace cubby::engine {

class set_up {
 public:
  set_up(engine_state &state, residents &copies, stored_blocks &stored, policy_feed &feed,
         source_files &files, request_table &requests, open_requests &open, fill_table &fills,
         transfer::io_table &ios)
      : state_(state),
        copies_(copies),
        stored_(stored),
        feed_(feed),
        files_(files),
        requests_(requests),
        open_(open),
        fills_(fills),
        ios_(ios) {}

  struct memory_tier_request {
    std::string name;
    uint32_t rank = 0, flags = 0;
    uint64_t budget_bytes = 0;
    std::vector<tier::lent_memory> lent;
    std::vector<cubby_region> regions;
  };
  /// Its index. After an error the tiers are as before.
  result<uint32_t> add_memory_tier(const memory_tier_request &wanted,
                                   std::unique_ptr<tier::backend_instance> backend);
  /// `store`: what of KV blocks is in the directories; nothing where none are to be stored.
  result<uint32_t> add_file_tier(const std::string &name, uint32_t rank,
                                 std::vector<std::string> directories,
                                 std::unique_ptr<tier::backend_instance> backend,
                                 std::optional<store::opened_store> store);
  /// A new budget, at once for what comes; a resize request then evicts what is too much.
  result<void> resize(uint32_t tier, uint64_t budget_bytes);

  result<locker_bank *> add_bank(std::unique_ptr<locker_bank> made);
  /// `files` are open through the file tier, and the bank's where it succeeds; else they stay the
  /// caller's, and the bank is as before.
  result<void> map_bank(locker_bank &bank, std::vector<catalog::bank_file> &&files, uint32_t tier,
                        const cubby_extent *extents, uint64_t count);
  /// Of a bank that no new call finds any more. BUSY while something of it is pinned or in flight.
  result<void> withdraw_bank(locker_bank &bank);
  /// After a grace period in which no call can still look at it.
  void free_bank(locker_bank &bank);

 private:
  void lay_out(locker_bank &bank);
  void discard(locker_bank &bank) noexcept;
  [[nodiscard]] bool is_in_use(locker_bank &bank);

  engine_state &state_;
  residents &copies_;
  stored_blocks &stored_;
  policy_feed &feed_;
  source_files &files_;
  request_table &requests_;
  open_requests &open_;
  fill_table &fills_;
  transfer::io_table &ios_;
};

}  // namespace cubby::engine
