#include "engine/source_files.hpp"

namespace cubby::engine {
namespace {

/// How long a look at a file's identity is good for.
constexpr uint64_t identity_good_ns = 10'000'000;

bool same_file(const cubby_backend_file &seen, const catalog::bank_file &known) {
  return seen.bytes == known.bytes && seen.inode == known.inode && seen.device == known.device &&
         seen.mtime_ns == known.mtime_ns;
}

/// The tiers that the bank is read through: that of its own files, then those of its copies.
template <class Use>
void each_tier(const locker_bank &bank, const Use &use) {
  use(bank.file_tier);
  for (const residency::file_copies &one : bank.copies) use(one.tier);
}

residency::file_state &state_of(locker_bank &bank, uint32_t tier) {
  for (residency::file_copies &one : bank.copies)
    if (one.tier == tier) return one.state;
  return bank.state_of_files;
}

}  // namespace

result<void> source_files::open(std::vector<catalog::bank_file> &files, uint32_t tier) {
  tier::backend_instance &backend = state_.tiers[tier].files->backend();
  for (catalog::bank_file &file : files) {
    auto opened = backend.open_file(file.path.c_str(), CUBBY_BACKEND_FILE_READ);
    if (!opened) return opened.failure();
    file.number = opened->file;
    const bool known = file.inode != 0 || file.bytes != 0;
    if (known && !same_file(*opened, file)) {
      return fail(CUBBY_ERR_CORRUPT,
                  "%s changed while it was being opened; try again once nobody writes to it",
                  file.path.c_str());
    }
    file.bytes = opened->bytes;
    file.inode = opened->inode;
    file.device = opened->device;
    file.mtime_ns = opened->mtime_ns;
  }
  return {};
}

void source_files::close(std::vector<catalog::bank_file> &files, uint32_t tier) {
  for (catalog::bank_file &file : files) {
    if (file.number != 0) state_.tiers[tier].files->backend().close_file(file.number);
    file.number = 0;
  }
}

void source_files::close_all(locker_bank &bank) {
  if (bank.file_tier != no_tier) close(bank.files, bank.file_tier);
  for (residency::file_copies &one : bank.copies) close(one.files, one.tier);
}

const std::vector<catalog::bank_file> &source_files::through(const locker_bank &bank,
                                                             uint32_t tier) {
  for (const residency::file_copies &one : bank.copies)
    if (one.tier == tier) return one.files;
  return bank.files;
}

bool source_files::reads_through(const locker_bank &bank, uint32_t tier) {
  bool any = false;
  each_tier(bank, [&](uint32_t one) { any = any || one == tier; });
  return any;
}

result<void> source_files::check_new_copy(const locker_bank &bank,
                                          const std::vector<catalog::bank_file> &files) {
  for (const residency::file_copies &copy : bank.copies) {
    if (copy.state.left_out) continue;
    for (size_t i = 0; i < files.size(); ++i) {
      const catalog::bank_file &known = copy.files[i];
      if (known.inode != files[i].inode || known.device != files[i].device) continue;
      return fail(CUBBY_ERR_INVALID,
                  "%s is a copy that the bank reads already; name one on another device",
                  files[i].path.c_str());
    }
  }
  return {};
}

result<void> source_files::look_at(const locker_bank &bank, uint32_t tier) const {
  for (const catalog::bank_file &file : through(bank, tier)) {
    auto seen = state_.tiers[tier].files->backend().stat_file(file.number);
    if (seen.ok() && same_file(*seen, file)) continue;
    if (seen.ok()) {
      return fail(CUBBY_ERR_CORRUPT,
                  "%s changed since it was adopted; nothing more is loaded from bank %s; "
                  "remove the bank and adopt the file again",
                  file.path.c_str(), bank.desc().name);
    }
    return fail_errno(seen.failure().native,
                      "%s could not be looked at again, so nothing more is loaded from "
                      "bank %s; look at the kernel's log and the disk, then remove the "
                      "bank and adopt the file again",
                      file.path.c_str(), bank.desc().name);
  }
  return {};
}

bool source_files::unchanged(locker_bank &bank, uint32_t tier) {
  residency::file_state &state = state_of(bank, tier);
  if (state.left_out) return false;
  if (state.looked_ns != 0 && state_.now_ns - state.looked_ns < identity_good_ns) return true;
  state.looked_ns = state_.now_ns;
  auto seen = look_at(bank, tier);
  if (seen) return true;
  state.left_out = true;
  bool others = false;
  each_tier(bank, [&](uint32_t one) { others = others || !state_of(bank, one).left_out; });
  if (others) {
    state_.log(0, format_text("tier %s: the files of bank %s changed, or cannot be looked at; they "
                              "are left out, those on other devices are read",
                              state_.tiers[tier].name.c_str(), bank.desc().name));
  } else {
    bank.failed = seen.failure();
    state_.log(0, bank.failed.text);
  }
  return false;
}

bool source_files::unchanged(locker_bank &bank) {
  if (bank.failed.status != CUBBY_OK) return false;
  bool any = false;
  each_tier(bank, [&](uint32_t tier) { any = any || unchanged(bank, tier); });
  return any;
}

/// Was nothing asked for there in vain, and are the files what they were?
bool source_files::may_read(locker_bank &bank, uint32_t tier, uint32_t bad) {
  return (bad >> tier & 1) == 0 && unchanged(bank, tier);
}

bool source_files::have_other(locker_bank &bank, uint32_t bad) {
  bool any = false;
  if (!bank.copies.empty())
    each_tier(bank, [&](uint32_t tier) { any = any || may_read(bank, tier, bad); });
  return any;
}

/// What waits and is in flight there; and what it has read so far, weighed by how long it takes for
/// a MiB: where nothing waits, each device is asked for its share, so that its speed stays known.
source_files::load source_files::load_of(uint32_t tier) const {
  const tier_slot &slot = state_.tiers[tier];
  const uint64_t mib_ns = slot.path->estimate_ns(uint64_t{1} << 20);
  const double weight = mib_ns == base::never_ns ? 0 : static_cast<double>(mib_ns);
  return {slot.path->queued_count() + slot.path->in_flight_count(),
          static_cast<double>(slot.stats.bytes_out) * weight};
}

uint32_t source_files::choose(locker_bank &bank, uint32_t number, uint32_t bad) {
  if (bank.copies.empty()) return bank.file_tier;
  const uint64_t name = locker_name(bank, number);
  uint32_t best = no_tier, last_resort = no_tier;
  load of_best;
  each_tier(bank, [&](uint32_t tier) {
    const bool in_vain = (bad >> tier & 1) != 0;
    if (!unchanged(bank, tier) || (in_vain && last_resort != no_tier)) return;
    last_resort = tier;
    if (in_vain) return;
    if (!state_.tiers[tier].failed_reads.would_allow(name, state_.now_ns)) return;
    const load here = load_of(tier);
    if (best != no_tier && of_best <= here) return;
    best = tier;
    of_best = here;
  });
  if (best == no_tier) return last_resort;                            // never files that changed
  (void)state_.tiers[best].failed_reads.allows(name, state_.now_ns);  // the probe, if it is one
  return best;
}

void source_files::explain(locker_bank &bank, error &why) {
  each_tier(bank, [&](uint32_t tier) { state_of(bank, tier).looked_ns = 0; });
  if (unchanged(bank)) return;
  const cubby_tier tier = why.tier;
  why = bank.failed;
  why.tier = tier;
}

}  // namespace cubby::engine
