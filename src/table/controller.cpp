#include "table/controller.hpp"

#include <algorithm>
#include <bit>

#include "base/checked.hpp"
#include "base/mutant.hpp"

namespace cubby::table {
namespace {

/// Of channels whose copies are made by the thread that starts them: few at once, so that what has
/// landed is told, and what came meanwhile is looked at.
constexpr transfer::window by_hand{uint64_t{2} << 20, uint64_t{1} << 20};

using ull = unsigned long long;

constexpr uint64_t piece_buffer_bytes = (uint64_t{1} << 20) + 8192;
constexpr uint32_t staging_max = 16;
constexpr uint32_t reap_batch = 8;  // few: their digests are checked before new I/O

frame_layout layout_for(const tier::memory_tier &tier, const bank &where) {
  if (tier.strided()) return frame_layout::pieces;
  return tier.direct() && where.skew_ok() ? frame_layout::skewed : frame_layout::packed;
}

uint32_t sets_capacity(uint32_t tickets_max) { return std::max(4096u, 2 * tickets_max); }

}  // namespace

controller::controller(const controller_config &config, const cubby_backend_services &services,
                       completion_sink &sink)
    : config_(config),
      services_(services),
      sink_(sink),
      sets_(sets_capacity(config.tickets_max), config.salt),
      requests_(std::make_unique<request[]>(config.tickets_max)),
      free_requests_(std::bit_ceil(std::max(2u, config.tickets_max))),
      inbox_(std::bit_ceil(std::max(2u, config.tickets_max))) {
  for (uint32_t i = 0; i < config.tickets_max; ++i) {
    requests_[i].life.store(life_of(config.salt + 1, request_state::unused),
                            std::memory_order_relaxed);
    const bool pushed = free_requests_.push(i);
    CUBBY_ASSERT(pushed);
  }
  bank_generation_.fill(static_cast<uint8_t>(config.salt & 63));
}

controller::~controller() {
  jobs_.clear();
  for (const auto &owned : owned_banks_) close_files(owned->files);
  staging_.reset();
  for (uint32_t i = 0; i < tier_count(); ++i) {
    tier_slot &slot = *tiers_[i];
    if (slot.memory != nullptr) {
      for (const auto &block : slot.memory->blocks()) unregister_block(i, block);
    }
    slot.path.reset();
    slot.memory.reset();
  }
}

// ---- set up
// ---------------------------------------------------------------------------------------

result<uint32_t> controller::add_memory_tier(const memory_tier_request &wanted,
                                             std::unique_ptr<tier::backend_instance> backend) {
  const uint32_t index = tier_count();
  if (index == tiers_max) {
    return fail(CUBBY_ERR_INVALID, "tier %s: a runtime has at most %u tiers", wanted.name.c_str(),
                tiers_max);
  }
  auto slot = std::make_unique<tier_slot>();
  slot->backend = backend->name();
  auto memory = wanted.lent.empty()
                    ? tier::memory_tier::own(std::move(backend), wanted.name, wanted.budget_bytes)
                    : tier::memory_tier::lent(std::move(backend), wanted.name, wanted.budget_bytes,
                                              wanted.lent);
  if (!memory) return memory.failure();
  slot->memory = std::move(*memory);
  slot->policy = placement::make_policy(config_.policy, {object_count_, config_.seed});
  const tier::backend_instance &by = slot->memory->backend();
  const bool copies_here = by.can(CUBBY_CAP_HOST_ADDRESSABLE) || by.info().emulated != 0;
  slot->path = std::make_unique<transfer::channel>(slot->memory->backend(),
                                                   copies_here ? by_hand : transfer::window{});
  slot->name = wanted.name;
  slot->rank = wanted.rank;
  slot->flags = wanted.flags;
  slot->regions = wanted.regions;
  slot->handle = (config_.salt & 0xFFFF) << 8 | (index + 1);
  slot->budget_bytes.store(slot->memory->budget_bytes());
  tiers_[index] = std::move(slot);
  register_blocks(index, 0);
  for (const auto &owned : owned_banks_) {
    const tier::memory_tier &tier = *tiers_[index]->memory;
    owned->add_tier(index, layout_for(tier, *owned));
  }
  tier_count_.store(index + 1, std::memory_order_release);
  return index;
}

result<uint32_t> controller::add_file_tier(const std::string &name, uint32_t rank,
                                           std::unique_ptr<tier::backend_instance> backend) {
  const uint32_t index = tier_count();
  if (index == tiers_max) {
    return fail(CUBBY_ERR_INVALID, "tier %s: a runtime has at most %u tiers", name.c_str(),
                tiers_max);
  }
  if (backend->info().align_bytes > tier::frame_align_bytes) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "tier %s: the backend aligns I/O to %u bytes, 4096 are "
                "the most that is possible",
                name.c_str(), backend->info().align_bytes);
  }
  auto slot = std::make_unique<tier_slot>();
  slot->backend = backend->name();
  slot->files = std::move(backend);
  slot->path = std::make_unique<transfer::channel>(*slot->files);
  slot->name = name;
  slot->rank = rank;
  slot->handle = (config_.salt & 0xFFFF) << 8 | (index + 1);
  tiers_[index] = std::move(slot);
  if (file_slot_ == no_tier) {
    file_slot_ = index;
    tier::backend_instance &files = *tiers_[index]->files;
    staging_ = std::make_unique<transfer::staging_pool>(services_, &files, piece_buffer_bytes,
                                                        staging_max);
    for (uint32_t i = 0; i < index; ++i) register_blocks(i, 0);
  }
  tier_count_.store(index + 1, std::memory_order_release);
  return index;
}

result<void> controller::open_files(std::vector<bank_file> &files) {
  CUBBY_ASSERT(file_slot_ != no_tier);
  tier::backend_instance &backend = *tiers_[file_slot_]->files;
  for (bank_file &file : files) {
    auto opened = backend.open_file(file.path.c_str(), CUBBY_BACKEND_FILE_READ);
    if (!opened) {
      close_files(files);
      return opened.failure();
    }
    file.number = opened->file;
    const bool known = file.inode != 0 || file.bytes != 0;
    if (known && (opened->bytes != file.bytes || opened->inode != file.inode ||
                  opened->device != file.device || opened->mtime_ns != file.mtime_ns)) {
      close_files(files);
      return fail(CUBBY_ERR_CORRUPT, "%s changed while it was being adopted; adopt it again",
                  file.path.c_str());
    }
    file.bytes = opened->bytes;
    file.inode = opened->inode;
    file.device = opened->device;
    file.mtime_ns = opened->mtime_ns;
  }
  backend.refresh_info();
  return {};
}

void controller::close_files(std::vector<bank_file> &files) {
  for (bank_file &file : files) {
    if (file.number != 0) tiers_[file_slot_]->files->close_file(file.number);
    file.number = 0;
  }
}

result<bank *> controller::add_bank(std::unique_ptr<bank> made) {
  uint32_t index = 1;
  while (index <= banks_max && banks_[index].load(std::memory_order_relaxed) != nullptr) ++index;
  if (index > banks_max)
    return fail(CUBBY_ERR_INVALID, "a runtime has at most %u banks", banks_max);
  const auto count = static_cast<uint32_t>(made->count());
  auto hole = std::find_if(free_objects_.begin(), free_objects_.end(),
                           [&](const auto &range) { return range.second == count; });
  if (hole != free_objects_.end()) {
    made->object_base = hole->first;
    free_objects_.erase(hole);
  } else {
    if (object_count_ + uint64_t{count} >= placement::no_object) {
      return fail(CUBBY_ERR_INVALID, "bank %s: too many lockers in all", made->desc().name);
    }
    made->object_base = object_count_;
    object_count_ += count;
  }
  made->handle = uint32_t{bank_generation_[index]} << 10 | index;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    if (tiers_[i]->memory == nullptr) continue;
    const tier::memory_tier &tier = *tiers_[i]->memory;
    tiers_[i]->policy->grow(object_count_);
    made->add_tier(i, layout_for(tier, *made));
  }
  if (config_.verify) made->make_digests();
  bank *where = made.get();
  by_object_.insert(std::upper_bound(by_object_.begin(), by_object_.end(), where,
                                     [](const bank *a, const bank *b) {
                                       return a->object_base < b->object_base;
                                     }),
                    where);
  owned_banks_.push_back(std::move(made));
  banks_[index].store(where, std::memory_order_release);
  return where;
}

result<void> controller::map_bank(bank &where, std::vector<bank_file> files,
                                  const cubby_extent *extents, uint64_t count) {
  if (where.mapped()) {
    return fail(CUBBY_ERR_INVALID, "bank %s is mapped already; remove it and add it again",
                where.desc().name);
  }
  if (auto opened = open_files(files); !opened) return opened;
  std::vector<bank_file> spare = files;
  if (auto mapped = where.map(std::move(files), extents, count); !mapped) {
    close_files(spare);
    return mapped;
  }
  for (uint32_t i = 0; i < tier_count(); ++i) {
    if (tiers_[i]->memory == nullptr) continue;
    const tier::memory_tier &tier = *tiers_[i]->memory;
    where.add_tier(i, layout_for(tier, where));
  }
  if (config_.verify) where.make_digests();
  return {};
}

result<void> controller::remove_bank(bank &where) {
  // Seen from here on as gone by new calls; put back when it is in use.
  where.removed.store(true, std::memory_order_seq_cst);
  bool busy = false;
  for (const move &m : moves_) busy = busy || (m.state != move_state::unused && m.where == &where);
  for (const uint32_t index : open_) {
    for (const request_item &item : requests_[index].items) {
      busy = busy || (item.where == &where && item.state == item_state::waiting);
    }
  }
  for (uint32_t tier = 0; tier < tier_count() && !busy; ++tier) {
    if (tiers_[tier]->memory == nullptr) continue;
    for (uint32_t number = 0; number < where.count() && !busy; ++number) {
      const auto word = where.word(tier, number).look();
      if (word.state == locker_state::ready && word.pin_count == 0) {
        busy = !drop(where, number, tier);
      } else {
        busy = word.state != locker_state::absent;
      }
    }
  }
  if (busy) {
    where.removed.store(false, std::memory_order_seq_cst);
    return fail(CUBBY_ERR_BUSY,
                "bank %s: some of its lockers are pinned or on their way; unpin "
                "them, or drain, and try again",
                where.desc().name);
  }
  const uint32_t index = where.handle & banks_max;
  bank_generation_[index] = static_cast<uint8_t>((bank_generation_[index] + 1) & 63);
  banks_[index].store(nullptr, std::memory_order_seq_cst);
  by_object_.erase(std::find(by_object_.begin(), by_object_.end(), &where));
  free_objects_.emplace_back(where.object_base, static_cast<uint32_t>(where.count()));
  return {};
}

void controller::free_bank(bank &where) {
  close_files(where.files);
  std::erase_if(owned_banks_, [&](const auto &owned) { return owned.get() == &where; });
}

// ---- any thread
// -----------------------------------------------------------------------------------

bank *controller::bank_of(cubby_bank handle) const {
  bank *where = banks_[handle & banks_max].load(std::memory_order_acquire);
  if (where == nullptr || where->handle != handle ||
      where->removed.load(std::memory_order_seq_cst)) {
    return nullptr;
  }
  return where;
}

uint32_t controller::slot_of(cubby_tier handle) const {
  const uint32_t index = (handle & 0xFF) - 1;
  if (index >= tier_count() || tiers_[index]->handle != handle) return no_tier;
  return index;
}

uint32_t controller::take_request(bool forget) {
  uint32_t index = no_index;
  const uint32_t forgotten_max = std::max(1u, config_.tickets_max / 2);
  const bool room = !forget || forgotten_count_.fetch_add(1) < forgotten_max;
  if (!room || !free_requests_.pop(index)) {
    if (forget) forgotten_count_.fetch_sub(1);
    return no_index;
  }
  requests_[index].forget = forget;
  return index;
}

void controller::give_request(uint32_t index) {
  request &r = requests_[index];
  const uint32_t generation = generation_of(r.life.load(std::memory_order_relaxed)) + 1;
  r.items.clear();
  if (r.forget) forgotten_count_.fetch_sub(1);
  r.failure = error{.status = CUBBY_OK, .text = {}};
  r.life.store(life_of(generation, request_state::unused), std::memory_order_release);
  const bool pushed = free_requests_.push(index);
  CUBBY_ASSERT(pushed);
}

void controller::submit(uint32_t index) {
  request &r = requests_[index];
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::accepted), std::memory_order_release);
  inbox_count_.fetch_add(1, std::memory_order_seq_cst);
  const bool pushed = inbox_.push(index);
  CUBBY_ASSERT(pushed);
}

void controller::note_visit(uint32_t shard_index, cubby_bank handle, visit_note &note) {
  note.bank = static_cast<uint16_t>(handle & banks_max);
  shard &to = shards_[shard_index];
  if (!to.visits.push(note)) to.visits_dropped.fetch_add(1, std::memory_order_relaxed);
}

void controller::note_visit(uint32_t shard_index, cubby_bank handle, const uint32_t *numbers,
                            uint32_t count) {
  for (uint32_t first = 0; first < count; first += visit_note::numbers_max) {
    visit_note note;
    note.count = static_cast<uint8_t>(std::min(count - first, visit_note::numbers_max));
    note.more = first + note.count < count ? 1 : 0;
    for (uint32_t i = 0; i < note.count; ++i) note.numbers[i] = numbers[first + i];
    note_visit(shard_index, handle, note);
  }
}

bool controller::has_news() const {
  return inbox_count_.load(std::memory_order_seq_cst) != 0 ||
         look_at_open_.load(std::memory_order_seq_cst) ||
         frames_came_.load(std::memory_order_seq_cst);
}

// ---- the pump
// -------------------------------------------------------------------------------------

bool controller::advance(uint64_t now_ns, uint64_t *next_ns, effort how_far) {
  now_ns_ = now_ns;
  const uint64_t completed_before = completed_count_;
  bool any = false;
  uint64_t next = base::never_ns;
  for (;;) {
    bool progress = false;
    for (shard &from : shards_) drain_visits(from);
    uint32_t index = no_index;
    while (inbox_.pop(index)) {
      inbox_count_.fetch_sub(1, std::memory_order_seq_cst);
      begin(index);
      progress = true;
    }
    if (look_at_open_.exchange(false, std::memory_order_seq_cst)) look_at_open();
    if (frames_came_.exchange(false, std::memory_order_seq_cst)) {
      changed_ = true;
      sweep_passing();
    }
    keep_reserve();
    next = how_far == effort::start ? now_ns : base::never_ns;
    progress = start_all_jobs(how_far) || progress;
    if (how_far != effort::start) progress = run_channels(&next) || progress;
    if (changed_) {
      changed_ = false;
      retry_waiting();
      progress = true;
    }
    if (!progress) break;
    any = true;
    if (how_far == effort::one_completion && completed_count_ != completed_before) {
      next = now_ns;
      break;
    }
  }
  *next_ns = next;
  return any;
}

/// Hands out the most urgent of what waits for a path, while there is room on it.
bool controller::start_jobs(transfer::channel &path) {
  constexpr uint32_t copy_bit = 0x8000'0000;
  bool any = false;
  while (auto top = path.top()) {
    const uint32_t job = top->second;
    if ((job & copy_bit) != 0) {
      path.remove(top->first, job);
      start_copy(job & ~copy_bit, path);
    } else if (!issue_piece(job, path)) {
      break;
    }
    any = true;
  }
  return any;
}

bool controller::start_all_jobs(effort how_far) {
  bool any = false;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    transfer::channel &path = *tiers_[i]->path;
    if (!start_jobs(path)) continue;
    any = true;
    if (how_far == effort::start) path.flush_some(now_ns_);
  }
  return any;
}

bool controller::run_channels(uint64_t *next_ns) {
  bool progress = false;
  for (size_t i = 0; i < jobs_.size();) {
    if (jobs_[i]->step()) {
      const uint32_t index = jobs_[i]->request_index();
      request &r = requests_[index];
      r.ok_count = static_cast<uint32_t>(jobs_[i]->done_count());
      r.failure = jobs_[i]->failure();
      r.first_failure = r.failure.status;
      jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
      complete(index);
      progress = true;
    } else {
      ++i;
    }
  }
  for (uint32_t i = 0; i < tier_count(); ++i) {
    uint64_t next = base::never_ns;
    progress = take_back(i, &next) || progress;
    *next_ns = std::min(*next_ns, next);
  }
  return progress;
}

/// A batch of what has come back. The path is filled again first: the device works while bytes are
/// verified here.
bool controller::take_back(uint32_t tier, uint64_t *next_ns) {
  transfer::channel &path = *tiers_[tier]->path;
  cubby_backend_done done[reap_batch];
  const uint32_t count = path.reap(now_ns_, done, reap_batch, next_ns);
  CUBBY_ASSERT(count <= reap_batch);
  uint32_t ours = 0;
  for (uint32_t k = 0; k < count; ++k) {
    if (!is_flying(tier, done[k].cookie)) continue;
    const piece &p = pieces_[static_cast<uint32_t>(done[k].cookie)];
    path.finished(p.io_bytes, p.io_class, p.started_ns, now_ns_);
    done[ours++] = done[k];
  }
  if (ours != 0 && start_jobs(path)) path.flush(now_ns_);
  for (uint32_t k = 0; k < ours; ++k) piece_done(static_cast<uint32_t>(done[k].cookie), done[k]);
  return count != 0;
}

void controller::drain_visits(shard &from) {
  visit_note note;
  bool open = false;
  const bank *where = nullptr;
  uint32_t row = 0;
  const auto flush = [&] {
    if (!visit_objects_.empty()) visit(visit_objects_);
    visit_objects_.clear();
  };
  while (from.visits.pop(note)) {
    const bank *named = banks_[note.bank].load(std::memory_order_relaxed);
    if (!open || named != where) flush();
    where = named;
    for (uint32_t i = 0; i < note.count && where != nullptr; ++i) {
      const uint32_t number = note.numbers[i];
      if (number >= where->count()) continue;  // of a bank that was there before
      if (where->row_of(number) != row) flush();
      row = where->row_of(number);
      visit_objects_.push_back(where->object_base + number);
    }
    open = note.more != 0;
    if (!open) flush();
  }
  flush();
}

void controller::visit(std::span<const placement::object> objects) {
  ++visit_count_;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    tier_slot &slot = *tiers_[i];
    if (slot.policy == nullptr) continue;
    slot.policy->visit(objects);
    if (slot.prefetched.empty()) continue;
    std::erase_if(slot.prefetched, [&](const unused_prefetch &one) {
      const bool used = std::find(objects.begin(), objects.end(), one.who) != objects.end();
      if (used) slot.stats.prefetch_used_bytes += one.bytes;
      return used;
    });
  }
}

void controller::begin(uint32_t index) {
  request &r = requests_[index];
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::open), std::memory_order_release);
  r.order = {r.io_class, r.deadline_ns == 0 ? base::never_ns : r.deadline_ns, ++sequence_};
  r.begun_ns = now_ns_;
  r.granted_ns = now_ns_;
  r.frame_waited = false;
  r.waiting = false;
  r.open_count = static_cast<uint32_t>(r.items.size());
  r.ok_count = 0;
  r.next_item = 0;
  r.bytes = 0;
  r.first_failure = CUBBY_OK;
  open_.push_back(index);
  if (r.io_class == CUBBY_DEMAND && r.kind == request_kind::pin) ++demand_open_;
  if (r.kind == request_kind::seal) {
    jobs_.emplace_back(static_cast<seal_job *>(r.job));
    r.job = nullptr;
    return;
  }
  if (!grant(index)) wait_for_frames(index);
}

void controller::look_at_open() {
  const std::vector<uint32_t> seen = open_;
  for (const uint32_t index : seen) {
    request &r = requests_[index];
    const bool all = r.cancel_wanted.exchange(false, std::memory_order_seq_cst);
    if (r.kind == request_kind::pin) {
      withdraw_items(index, all);
    } else if (all) {
      if (r.kind == request_kind::seal) {
        for (const auto &job : jobs_) {
          if (job->request_index() == index) job->stop();
        }
      } else if (r.kind == request_kind::prefetch) {
        withdraw_items(index, true);
      } else {
        r.first_failure = CUBBY_ERR_CANCELED;
        r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before it was done");
        complete(index);
      }
    }
  }
}

void controller::withdraw_items(uint32_t index, bool all) {
  request &r = requests_[index];
  bool any = false;
  for (uint32_t i = 0; i < r.items.size(); ++i) {
    request_item &item = r.items[i];
    if (item.state != item_state::waiting && item.state != item_state::loading) continue;
    if (!all && !sets_.withdrawn(r.set, i)) continue;
    if (item.state == item_state::loading) remove_waiter(item.move, index, i);
    item.state = item_state::withdrawn;
    --r.open_count;
    any = true;
    if (r.first_failure == CUBBY_OK) {
      r.first_failure = CUBBY_ERR_CANCELED;
      r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before its bytes came");
    }
    if (r.item_status != nullptr) {
      __atomic_store_n(&r.item_status[i], static_cast<int8_t>(CUBBY_ERR_CANCELED),
                       __ATOMIC_RELEASE);
    }
  }
  if (all && r.first_failure != CUBBY_ERR_CANCELED) {
    r.first_failure = CUBBY_ERR_CANCELED;
    r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before all of it came");
  }
  if (any && r.open_count == 0) complete(index);
}

void controller::item_failed(uint32_t index, uint32_t i, const error &why) {
  request &r = requests_[index];
  r.items[i].state = item_state::failed;
  --r.open_count;
  if (r.first_failure == CUBBY_OK) {
    r.first_failure = why.status;
    r.failure = why;
    r.failure.id = CUBBY_ID(r.items[i].where->handle, r.items[i].number);
    if (r.failure.tier == 0) r.failure.tier = tiers_[r.tier]->handle;
  }
  if (r.item_status != nullptr) {
    __atomic_store_n(&r.item_status[i], static_cast<int8_t>(why.status), __ATOMIC_RELEASE);
  }
}

void controller::item_landed(uint32_t index, uint32_t i, locker_word &word, uint64_t frame) {
  request &r = requests_[index];
  request_item &item = r.items[i];
  const bank &where = *item.where;
  item.state = item_state::landed;
  --r.open_count;
  ++r.ok_count;
  r.bytes += where.locker_bytes(item.number);
  if (r.kind == request_kind::pin) {
    sets_.at(r.set).words()[i] = &word;
    const uint32_t parts = where.part_count();
    if (r.addr != nullptr) {
      for (uint32_t p = 0; p < parts; ++p) {
        r.addr[i * parts + p] = address(where, r.tier, frame, item.number, p);
      }
    }
  }
  // The address is there before the status says so.
  if (r.item_status != nullptr) {
    __atomic_store_n(&r.item_status[i], static_cast<int8_t>(CUBBY_OK), __ATOMIC_RELEASE);
  }
}

void controller::complete(uint32_t index) {
  request &r = requests_[index];
  if (r.waiting) {
    r.waiting = false;
    std::erase(waiting_, index);
  }
  std::erase(open_, index);
  ++completed_count_;
  if (r.io_class == CUBBY_DEMAND && r.kind == request_kind::pin) --demand_open_;
  const bool cancelled = r.first_failure == CUBBY_ERR_CANCELED && r.kind == request_kind::pin &&
                         std::all_of(r.items.begin(), r.items.end(), [](const request_item &item) {
                           return item.state == item_state::withdrawn;
                         });
  if (r.first_failure == CUBBY_OK) {
    r.status = CUBBY_OK;
  } else if (r.ok_count != 0 && !cancelled && r.kind != request_kind::seal) {
    r.status = CUBBY_PARTIAL;
  } else {
    r.status = r.first_failure;
  }
  if (r.kind == request_kind::pin) {
    changed_ = true;  // what was withdrawn is let go of here
    if (r.ok_count != 0) {
      sets_.loaded(r.set, index % pin_sets::shard_count);
    } else {
      sets_.abandon(r.set, index % pin_sets::shard_count);
    }
  }
  r.done_ns = now_ns_;
  if (r.io_class == CUBBY_DEMAND && r.deadline_ns != 0 && now_ns_ > r.deadline_ns) {
    ++tiers_[r.tier]->stats.late_count;
  }
  const uint64_t life = r.life.load(std::memory_order_relaxed);
  r.life.store(life_of(generation_of(life), request_state::done), std::memory_order_release);
  if (CUBBY_MUTANT(drop_completion) && ++mutant_count_ % 16 == 0) return;
  sink_.completed(index);
}

void controller::descriptors(std::vector<int> &fds) {
  fds.clear();
  for (uint32_t i = 0; i < tier_count(); ++i) {
    transfer::channel &path = *tiers_[i]->path;
    if (path.in_flight_count() == 0) continue;
    if (const int fd = path.backend().event_fd(); fd >= 0) fds.push_back(fd);
  }
}

void controller::cancel_everything() {
  for (const uint32_t index : open_) requests_[index].cancel_wanted.store(true);
  for (move &m : moves_) m.unasked = false;
  look_at_open_.store(true);
}

void controller::give_up_jobs() {
  for (auto &job : jobs_) {
    const uint32_t index = job->request_index();
    requests_[index].failure =
        fail(CUBBY_ERR_DEVICE, "the seal's reads have not come back; look at the kernel's log");
    requests_[index].first_failure = CUBBY_ERR_DEVICE;
    static_cast<void>(job.release());  // reads into its memory may be under way
    complete(index);
  }
  jobs_.clear();
}

}  // namespace cubby::table
