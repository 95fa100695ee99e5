#include "crash/store_world.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include "support/sanitized.hpp"

namespace crash {
namespace {

using cubby::store::block_body;
using cubby::store::store_operation;
using store_disk::fate;
using store_disk::image;

constexpr fate fates[] = {fate::killed, fate::dropped, fate::torn_512, fate::torn_4096,
                          fate::reordered};
constexpr const char *fate_names[] = {"killed", "dropped", "torn at 512", "torn at 4096",
                                      "reordered"};

// Judging what a power cut leaves takes most of the time.
constexpr uint32_t coarser = cubby_test::sanitized ? 5 : 1;

std::string key_of(const block_body &body) {
  return {reinterpret_cast<const char *>(body.key), body.key_bytes};
}

}  // namespace

world::world(const options &choice)
    : choice_(choice),
      random_(choice.seed),
      places_(store_disk::shape(choice.files * 1200 * 1024, choice.files)) {
  open(store_disk::fresh(places_), true);
}

void world::violated(const std::string &what, fate how) {
  if (!violation_.empty()) return;
  violation_ = what + " (" + fate_names[static_cast<int>(how)] + ", after write " +
               std::to_string(writes_) + ", request " + std::to_string(asked_) + ")";
}

void world::open(const image &files, bool power_was_cut) {
  if (power_was_cut) ++boot_;
  auto found = store_disk::recover(files, 77, boot_);
  if (!found) return violated("does not open: " + found.failure().text, fate::killed);
  if (power_was_cut) disk_ = std::make_unique<store_disk::disk>(files);
  store_ = std::make_unique<cubby::store::block_store>(std::move(found).value(), 24);
  taken_.clear();
}

void world::ask_put() {
  auto block = std::make_shared<block_model>();
  block->key = "key " + std::to_string(++user_);
  const uint64_t parts = 1 + random_.below(3);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < parts; i++) {
    block->parts.push_back(static_cast<uint32_t>(1 + random_.below(9000)));
    sum += block->parts.back();
  }
  if (random_.chance(1, 8)) {  // whole pages, and nothing of ours behind them
    block->parts = {8192};
    sum = 8192;
  }
  block->bytes.resize(sum);
  for (char &byte : block->bytes) byte = static_cast<char>(random_.next());
  block->space = spaces_[random_.below(spaces_.size())];
  const uint64_t kind = random_.below(10);
  block->keep = kind == 0 ? CUBBY_KEEP_SESSION : kind < 4 ? CUBBY_KEEP_RESTART : CUBBY_KEEP_DURABLE;
  cubby::store::put_request put;
  put.space = block->space;
  put.key = block->key;
  put.keep = block->keep;
  put.part_count = static_cast<uint8_t>(block->parts.size());
  memcpy(put.part_bytes, block->parts.data(), block->parts.size() * sizeof(uint32_t));
  put.data = block->bytes.data();
  put.user = user_;
  const auto number = store_->put(put);
  if (!number) {
    if (number.failure().status == CUBBY_ERR_NO_SPACE) ask_erase();
    return;
  }
  block->number = *number;
  by_user_[user_] = block;
  blocks_[block->key] = block;
}

void world::ask_erase() {
  std::vector<std::shared_ptr<block_model>> all;
  for (const auto &[key, block] : blocks_) {
    if (!block->acknowledged || block->failed || block->erase_asked) continue;
    // One of an earlier process may not be listed, and its number be another's by now.
    if (!store_->blocks().find(block->number)) continue;
    if (key_of(store_->blocks().body_of(block->number)) == key) all.push_back(block);
  }
  if (all.empty()) return;
  const auto block = all[random_.below(all.size())];
  if (!store_->erase(block->number, ++user_)) return;
  block->erase_asked = true;
  by_user_[user_] = block;
}

void world::ask() {
  ++asked_;
  if (spaces_.size() < 2 || random_.chance(1, 60)) {
    const auto id = store_->add_space("model", "tenant " + std::to_string(spaces_.size()), ++user_);
    if (!id) return;
    spaces_.push_back(*id);
    space_users_[user_] = *id;
    return;
  }
  if (random_.chance(1, 100)) store_->request_checkpoint();
  if (random_.chance(2, 5)) return ask_erase();
  ask_put();
}

std::vector<store_disk::disk::write> world::outstanding() const {
  std::vector<store_disk::disk::write> writes;
  for (const taken &one : taken_)
    if (one.op.what == store_operation::kind::write)
      writes.push_back({one.op.file, one.op.offset_bytes, one.data, 0});
  return writes;
}

void world::complete_one() {
  const size_t index = random_.below(taken_.size());
  const taken one = std::move(taken_[index]);
  taken_.erase(taken_.begin() + static_cast<ptrdiff_t>(index));
  if (one.op.what == store_operation::kind::flush) {
    const bool fails = ++flushes_ == choice_.failing_flush;
    if (fails)
      disk_->lost(one.op.file, one.before);
    else
      disk_->flushed(one.op.file, one.before);
    return store_->completed(one.op.cookie, fails ? EIO : 0);
  }
  if (memcmp(one.data.data(), one.op.data, one.op.bytes) != 0)
    violated("a buffer changed while it was being written", fate::killed);
  const bool of_block =
      one.op.offset_bytes >= places_.first_data_page(one.op.file) * store_disk::page_bytes;
  // A note of the journal's end, which may fail as it likes.
  const bool of_note = one.op.file == 0 && one.op.offset_bytes / store_disk::page_bytes ==
                                               places_.superblock_page(cubby::store::note_copy);
  if (of_note && random_.chance(1, 8)) return store_->completed(one.op.cookie, EIO);
  if (of_block && random_.chance(choice_.failing_writes, 1000))
    return store_->completed(one.op.cookie, random_.chance(1, 2) ? EIO : ENOSPC);
  if (!of_block && !of_note && ++own_writes_ == choice_.failing_own) {
    if (random_.chance(1, 2)) disk_->completed(one.op);  // and yet it was written
    return store_->completed(one.op.cookie, EIO);
  }
  disk_->completed(one.op);
  ++writes_;
  if (writes_ % (choice_.check_every * coarser) == 0) cut_everywhere();
  store_->completed(one.op.cookie, 0);
}

void world::take_completions() {
  cubby::store::store_completion done;
  while (store_->next_completion(done)) {
    if (const auto space = space_users_.find(done.user); space != space_users_.end()) {
      space_acknowledged_[space->second] = done.status == CUBBY_OK;
      continue;
    }
    const auto block = by_user_.at(done.user);
    by_user_.erase(done.user);
    acknowledged_ += done.status == CUBBY_OK;
    if (block->erase_asked)
      block->erase_acknowledged = done.status == CUBBY_OK;
    else if (done.status == CUBBY_OK)
      block->acknowledged = true;
    else
      block->failed = true;
  }
}

void world::cut_everywhere() {
  for (const fate how : fates) {
    if (!violation_.empty()) return;
    ++cuts_;
    judge(disk_->after(how, outstanding(), random_), how);
  }
}

void world::judge_listed(const image &files, fate how, const block_body &body,
                         std::map<std::string, bool> &listed) {
  const std::string key = key_of(body);
  const auto found = blocks_.find(key);
  if (found == blocks_.end()) {
    // Erased, and its pages given to another; a power cut took the erase's record, opening dropped
    // it for the other, which was erased next: listed once more, and its digest does not match.
    const bool bytes_gone = !store_disk::content(files, body);
    if (power_cuts_ != 0 && body.keep == CUBBY_KEEP_RESTART && bytes_gone) return;
    return violated(key + " is there and was never put", how);
  }
  const block_model &block = *found->second;
  const std::vector<uint32_t> parts(body.part_bytes, body.part_bytes + body.part_count);
  if (parts != block.parts || body.space != block.space || body.keep != block.keep)
    return violated(key + " is described wrongly", how);
  if (listed.contains(key)) return violated(key + " is there twice", how);
  const auto bytes = store_disk::content(files, body);
  listed[key] = bytes.has_value();
  const bool durable = block.keep == CUBBY_KEEP_DURABLE;
  if (block.erase_acknowledged && (durable || how == fate::killed))
    return violated(key + " was erased and is there again", how);
  // A block of CUBBY_KEEP_RESTART may be damaged by a power cut, and is found to be.
  if (!bytes && (durable || how == fate::killed) && !block.damaged)
    return violated(key + " is there without its bytes", how);
  if (bytes && *bytes != block.bytes) return violated(key + " has the bytes of another", how);
  if (bytes && (durable || how == fate::killed) && !block.damaged &&
      !store_disk::padded_with_zeros(files, body))
    return violated(key + " is not padded with zeros", how);
}

void world::judge(const image &files, fate how) {
  auto found = store_disk::recover(files, 77, how == fate::killed ? boot_ : boot_ + 1);
  if (!found) return violated("does not open: " + found.failure().text, how);
  const auto &report = found->report;
  if (report.journal_lost_pages != 0) return violated("its journal is said to end early", how);
  // A page torn by an earlier power cut looks like damage until the next manifest is complete.
  const uint64_t records_bad = power_cuts_ == 0 ? report.records_bad : 0;
  if (report.entries_bad + records_bad + report.superblocks_bad != 0)
    return violated("a power cut is taken for damage", how);
  std::map<std::string, bool> listed;
  for (uint32_t i = 0; i < found->blocks.end(); i++)
    if (found->blocks.find(i)) judge_listed(files, how, found->blocks.body_of(i), listed);
  for (const auto &[key, block] : blocks_) {
    if (!block->acknowledged || block->failed || block->erase_asked) continue;
    const bool promised = block->keep == CUBBY_KEEP_DURABLE ||
                          (block->keep == CUBBY_KEEP_RESTART && how == fate::killed);
    if (promised && !listed.contains(key)) return violated(key + " was acknowledged and lost", how);
  }
  for (const auto &[id, acknowledged] : space_acknowledged_)
    if (acknowledged && !found->spaces.at(id)) return violated("a space is lost", how);
}

/// False: it stays read-only.
bool world::restore() {
  if (restores_ == choice_.restores || !store_->begin_restore()) return false;
  ++restores_;
  return true;
}

void world::run() {
  const uint32_t until = asked_ + choice_.requests;
  while (violation_.empty() && (asked_ < until || (choice_.until_idle && !store_->is_idle()))) {
    take_completions();
    if (store_->failure() && !store_->restoring() && taken_.empty() && !restore()) break;
    const uint64_t dice = random_.below(10);
    if (dice < 3 && asked_ < until) ask();
    if (random_.chance(1, 20)) store_->request_note();
    if (dice >= 3 && dice < 7 && taken_.size() < 8) {
      taken one;
      if (store_->next_operation(one.op)) {
        one.before = disk_->order();
        const auto *data = static_cast<const unsigned char *>(one.op.data);
        if (data) one.data.assign(data, data + one.op.bytes);
        taken_.push_back(std::move(one));
      }
    } else if (dice >= 7 && !taken_.empty()) {
      complete_one();
    }
  }
  take_completions();
  if (!store_->failure()) restored_ = restores_;
  checkpoints_ += store_->statistics().checkpoints;
  if (violation_.empty()) cut_everywhere();
}

void world::crash(fate how) {
  // After a kill what was not flushed still is not: the next process has to see to that.
  const bool power_was_cut = how != fate::killed;
  power_cuts_ += power_was_cut;
  const image files = power_was_cut ? disk_->after(how, outstanding(), random_) : disk_->seen();
  judge(files, how);
  if (!violation_.empty()) return;
  open(files, power_was_cut);
  if (choice_.failing_opening) choice_.failing_flush = static_cast<uint32_t>(flushes_) + 1;
  taken first;
  while (!power_was_cut && violation_.empty() && store_->next_operation(first.op)) {
    first.before = disk_->order();
    const auto *data = static_cast<const unsigned char *>(first.op.data);
    first.data.assign(data, data + first.op.bytes);
    taken_.push_back(first);
    complete_one();
  }
  by_user_.clear();
  // Before it has started, it promises no more than the process before, and what it does not list
  // may be there.
  const bool on_device = power_was_cut || store_->is_started();
  std::map<std::string, std::shared_ptr<block_model>> there;
  const auto &blocks = store_->blocks();
  for (uint32_t i = 0; i < blocks.end(); i++) {
    if (!blocks.find(i)) continue;
    const auto known = blocks_.find(key_of(blocks.body_of(i)));
    if (known == blocks_.end()) continue;  // judge_listed() says which
    const auto block = known->second;
    block->number = i;
    block->acknowledged =
        on_device || (block->acknowledged && !block->failed && !block->erase_asked);
    block->failed = block->erase_asked = block->erase_acknowledged = false;
    // What the power cut damaged is erased when it is read, if not now, then later.
    block->damaged = !store_disk::content(files, blocks.body_of(i)) ||
                     !store_disk::padded_with_zeros(files, blocks.body_of(i));
    if (block->damaged && store_->erase(i, ++user_)) {
      block->erase_asked = true;
      by_user_[user_] = block;
    }
    there[block->key] = block;
  }
  if (!on_device) there.insert(blocks_.begin(), blocks_.end());
  blocks_.swap(there);
  spaces_.clear();
  const auto before = std::exchange(space_acknowledged_, {});
  for (const auto &slot : store_->spaces().slots()) {
    if (slot.body.id == 0) continue;
    spaces_.push_back(slot.body.id);
    const auto known = before.find(slot.body.id);
    space_acknowledged_[slot.body.id] = on_device || (known != before.end() && known->second);
  }
}

}  // namespace crash
