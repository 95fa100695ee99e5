#include "store/durable/recovery.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "base/mutant.hpp"
#include "store/durable/manifest.hpp"
#include "store/durable/replay.hpp"

namespace cubby::store {
namespace {

using wide = unsigned long long;
enum class stage { superblocks, heads, spaces, entries, journal, done };

constexpr uint64_t pages_a_read = recovery::read_bytes_max / page_bytes;
constexpr char remedy[] = "; remove the store and let its content be made again";

}  // namespace

struct recovery::work {
  std::vector<uint64_t> file_bytes;
  std::vector<std::string> names;
  uint64_t fingerprint = 0;
  uint64_t boot = 0;
  stage at = stage::superblocks;
  uint64_t step = 0;  // within the stage: reads of superblocks and heads, else pages
  std::optional<error> failure;
  recovery_report report;

  std::vector<std::optional<read_superblock>> found;  // by file
  std::vector<recovered_store::bad_superblock> bad;
  std::optional<uint32_t> other_version;

  std::optional<layout> places;
  std::array<std::optional<manifest_head>, 2> heads;
  std::array<std::optional<uint64_t>, 4> copies;  // the sequences of intact heads, two a slot
  manifest_head head = {};
  std::optional<replay> state;

  // Of the journal.
  uint64_t next = 0;     // behind the last page with an intact record
  uint64_t flushed = 0;  // pages before this one had been flushed
  struct bad_page {
    uint64_t number;
    uint32_t records;
  };
  std::vector<bad_page> bad_pages;
  std::optional<end_note> note;
  bool has_records = false;  // of this lap or of the one before
  bool head_proven = false;  // a record says that the manifest is complete
  /// What was read of the journal, while a page of it may not have been flushed.
  struct held_pages {
    uint64_t number;  // of the first page
    uint64_t count;
    page_buffer bytes;
  };
  std::vector<held_pages> held;

  [[nodiscard]] std::string name_of(uint32_t file) const {
    return file < names.size() ? names[file] : "file " + std::to_string(file);
  }
  [[nodiscard]] read superblock_read() const;
  [[nodiscard]] read pages_read(uint64_t first, uint64_t count) const {
    return {0, first * page_bytes, count * page_bytes};
  }
  [[nodiscard]] uint64_t slot_page(uint64_t page) const {
    return places->slot_page(head.sequence) + page;
  }
  [[nodiscard]] bool has_copy(uint64_t last) const {
    return copies[head.sequence % 2 * 2 + last] == head.sequence;
  }
  [[nodiscard]] std::optional<read> next_read() const;
  void enter(stage next_stage);
  void note_bad(uint64_t page);
  void take_superblock(const unsigned char *page);
  void choose_superblock();
  void check_superblock(uint32_t file);
  void take_head(const unsigned char *page);
  void choose_head();
  void take_spaces(const unsigned char *pages, uint64_t whole);
  void take_entries(const unsigned char *pages, uint64_t whole, uint64_t asked);
  void look_for_last_lap(uint64_t number, const unsigned char *page);
  void take_journal_page(uint64_t number, const unsigned char *page);
  void take_journal(const unsigned char *pages, uint64_t whole, uint64_t asked);
  void keep(uint64_t number, const unsigned char *pages, uint64_t count);
  [[nodiscard]] uint64_t proven_end() const;
  void end_journal();
  void lose_journal();
  [[nodiscard]] std::vector<recovered_store::unproven_run> unproven() const;
};

void recovery::work::enter(stage next_stage) {
  at = next_stage;
  step = 0;
  if (at == stage::entries && head.block_count == 0) at = stage::journal;
}

/// The first one is named in the report.
void recovery::work::note_bad(uint64_t page) {
  if (report.first_bad_bytes == 0) report.first_bad_bytes = page * page_bytes;
}

recovery::read recovery::work::superblock_read() const {
  const auto file = static_cast<uint32_t>(step / superblock_copies);
  const uint64_t copy = step % superblock_copies;
  const uint64_t pages = file_bytes[file] / page_bytes;
  const uint64_t last = pages > 2 ? pages - 1 : 2;
  return {file, (copy + 1 < superblock_copies ? copy : last) * page_bytes, page_bytes};
}

/// NULL stands for a page that cannot be read.
void recovery::work::take_superblock(const unsigned char *page) {
  const auto file = static_cast<uint32_t>(step / superblock_copies);
  const auto copy = static_cast<uint32_t>(step % superblock_copies);
  const auto one = page ? decode_superblock(page, page_bytes) : std::nullopt;
  const auto version = page ? claimed_version(page, page_bytes) : std::nullopt;
  if (version && *version != store_version) other_version = version;
  // The first intact copy says which store this is; a copy of another store is none of this one.
  const auto &first = found[file];
  if (!one || (first && (one->shape.store_id != first->shape.store_id || one->file != first->file)))
    bad.push_back({file, copy});
  else if (!first)
    found[file] = one;
  if (one && file == 0 && copy == note_copy) note = decode_note(one->shape.store_id, page);
  if (++step == superblock_copies * file_bytes.size()) choose_superblock();
}

void recovery::work::check_superblock(uint32_t file) {
  if (!found[file] && other_version) {
    failure =
        fail(CUBBY_ERR_NOT_SUPPORTED,
             "%s is of version %u, and this library reads version %u; open it with the library "
             "that wrote it, or remove it",
             name_of(file).c_str(), *other_version, store_version);
    return;
  }
  if (!found[file]) {
    failure =
        fail(CUBBY_ERR_FORMAT,
             "%s is no store, for no copy of a superblock is intact; it is left as it is: name "
             "another directory, or remove the file",
             name_of(file).c_str());
    return;
  }
  const store_shape &one = found[file]->shape;
  const store_shape &first = found[0]->shape;
  const std::string name = name_of(file);
  if (one.store_id != first.store_id)
    failure = fail(CUBBY_ERR_FORMAT,
                   "%s is of store %016llx, and %s of store %016llx; name the directories of one "
                   "store",
                   name.c_str(), static_cast<wide>(one.store_id), name_of(0).c_str(),
                   static_cast<wide>(first.store_id));
  else if (found[file]->file != file || one.file_count != file_bytes.size() ||
           one.pages_per_file != first.pages_per_file)
    failure =
        fail(CUBBY_ERR_FORMAT,
             "%s is file %u of the %u of its store, and was named as file %u of %zu; name all "
             "directories of the store, in their order",
             name.c_str(), found[file]->file, one.file_count, file, file_bytes.size());
  else if (file_bytes[file] / page_bytes < one.pages_per_file)
    failure = fail(CUBBY_ERR_FORMAT, "%s ends at %llu bytes where the store was made with %llu%s",
                   name.c_str(), static_cast<wide>(file_bytes[file]),
                   static_cast<wide>(one.pages_per_file * page_bytes), remedy);
  if (failure) failure->offset_bytes = file_bytes[file];
}

void recovery::work::choose_superblock() {
  for (uint32_t i = 0; i < file_bytes.size() && !failure; i++) check_superblock(i);
  if (failure) return;
  const store_shape &shape = found[0]->shape;
  if (fingerprint != 0 && fingerprint != shape.fingerprint) {
    failure = fail(CUBBY_ERR_INVALID,
                   "the store was made with fingerprint %016llx, not %016llx; name another "
                   "directory, or remove the store",
                   static_cast<wide>(shape.fingerprint), static_cast<wide>(fingerprint));
    return;
  }
  auto made = layout::of(shape);
  if (!made) {
    failure = made.failure();
    failure->status = CUBBY_ERR_FORMAT;
    return;
  }
  places = *made;
  report.superblocks_bad = bad.size();
  state.emplace(*places);
  enter(stage::heads);
}

void recovery::work::take_head(const unsigned char *page) {
  manifest_head one = {};
  const uint64_t slot = step / 2;
  const bool intact = page && decode_head(places->shape().store_id, page, one) &&
                      one.sequence % 2 == slot && one.sequence < generation_max &&
                      one.journal_from < generation_max && one.generation <= generation_max &&
                      one.block_count <= places->shape().blocks_max &&
                      one.space_count <= store_spaces_max;
  if (intact) copies[step] = one.sequence;
  if (intact && (!heads[slot] || heads[slot]->sequence < one.sequence)) heads[slot] = one;
  if (++step == 4) choose_head();
}

void recovery::work::choose_head() {
  if (!heads[0] && !heads[1]) {
    failure = fail(CUBBY_ERR_FORMAT, "no manifest of the store is intact, looked for at %llu%s",
                   static_cast<wide>(places->slot_page(0) * page_bytes), remedy);
    failure->offset_bytes = places->slot_page(0) * page_bytes;
    return;
  }
  const bool second = !heads[0] || (heads[1] && heads[1]->sequence > heads[0]->sequence);
  head = *heads[second];
  report.heads_bad = has_copy(0) && has_copy(1) ? 0 : 1;
  if (report.heads_bad != 0) note_bad(places->slot_page(head.sequence));
  state->raise(head.generation, head.space_generation);
  next = flushed = head.journal_from;
  enter(stage::spaces);
}

void recovery::work::take_spaces(const unsigned char *pages, uint64_t whole) {
  for (uint32_t i = 0; i < head.space_count; i++) {
    space_body body;
    const uint64_t page = i / spaces_per_page;
    if (page < whole &&
        decode_space(places->shape().store_id, head.sequence, i, pages + page * page_bytes, body) &&
        state->add_space(body))
      continue;
    ++report.spaces_bad;
    note_bad(slot_page(slot_spaces_at + page));
  }
  if (++step == 2) enter(stage::entries);
}

void recovery::work::take_entries(const unsigned char *pages, uint64_t whole, uint64_t asked) {
  const uint64_t end = std::min<uint64_t>(head.block_count, (step + asked) * entries_per_page);
  for (uint64_t i = step * entries_per_page; i < end; i++) {
    const uint64_t page = i / entries_per_page - step;
    block_body body;
    if (page < whole &&
        decode_entry(places->shape().store_id, head.sequence, i, pages + page * page_bytes, body) &&
        state->add_block(body))
      continue;
    ++report.entries_bad;
    note_bad(slot_page(slot_entries_at + step + page));
  }
  step += asked;
  if (step >= entry_pages(head.block_count)) enter(stage::journal);
}

/// A page that was not written again since the manifest has what the lap before left there.
void recovery::work::look_for_last_lap(uint64_t number, const unsigned char *page) {
  const uint64_t ring = places->shape().journal_pages;
  if (!page || number < ring) return;
  journal_record record;
  for (uint32_t slot = 0; slot < records_per_page && !has_records; slot++)
    has_records = decode_record(places->shape().store_id, number - ring, slot, page, record) ==
                  slot_content::intact;
}

void recovery::work::take_journal_page(uint64_t number, const unsigned char *page) {
  uint32_t expected = 1;  // of a page of which nothing is intact
  uint32_t intact = 0;
  for (uint32_t slot = 0; page && slot < records_per_page; slot++) {
    journal_record record;
    if (decode_record(places->shape().store_id, number, slot, page, record) != slot_content::intact)
      continue;
    // Pages of a complete manifest's time are written over the older ones' records.
    if (record.manifest > head.sequence && !failure) {
      failure = fail(CUBBY_ERR_CORRUPT,
                     "manifest %llu of the store, at %llu, is damaged, and the journal goes on "
                     "from it%s",
                     static_cast<wide>(record.manifest),
                     static_cast<wide>(places->slot_page(record.manifest) * page_bytes), remedy);
      failure->offset_bytes = places->slot_page(record.manifest) * page_bytes;
    }
    has_records = true;
    expected = std::max<uint32_t>(expected, record.count);
    next = std::max(next, number + 1);
    if (record.flushed_page <= number) flushed = std::max(flushed, record.flushed_page);
    head_proven = head_proven || record.manifest == head.sequence;
    if (!state->apply(record)) continue;
    ++intact;
    report.records_replayed += record.kind != static_cast<uint8_t>(record_kind::made);
  }
  if (intact < expected) bad_pages.push_back({number, expected - intact});
  if (!has_records) look_for_last_lap(number, page);
}

void recovery::work::take_journal(const unsigned char *pages, uint64_t whole, uint64_t asked) {
  const uint64_t first = head.journal_from + step;
  for (uint64_t i = 0; i < asked; i++)
    take_journal_page(first + i, i < whole ? pages + i * page_bytes : nullptr);
  keep(first, pages, whole);
  step += asked;
  if (step == places->shape().journal_pages) end_journal();
}

/// Holds on to what was just read, as far as it has to be written again as things look now.
void recovery::work::keep(uint64_t number, const unsigned char *pages, uint64_t count) {
  std::erase_if(held, [this](const held_pages &one) { return one.number + one.count <= flushed; });
  const uint64_t end = std::min(number + count, next);
  const uint64_t from = std::max(number, flushed);
  if (from >= end) return;
  held.push_back({from, end - from, page_buffer(end - from)});
  memcpy(held.back().bytes.at(0), pages + (from - number) * page_bytes, (end - from) * page_bytes);
}

/// The ends of what was held may have been proven by later ones.
std::vector<recovered_store::unproven_run> recovery::work::unproven() const {
  std::vector<recovered_store::unproven_run> runs;
  if (CUBBY_MUTANT(believe_page_cache)) return runs;
  for (const uint64_t last : {0u, 1u}) {
    const bool spare = !has_copy(last);
    if (head_proven && !spare) continue;
    runs.push_back({slot_page(last * (places->slot_pages() - 1)), 1, page_buffer(1), spare});
    encode_head(places->shape().store_id, head, runs.back().bytes.at(0));
  }
  for (const held_pages &one : held) {
    const uint64_t from = std::max(one.number, flushed);
    const uint64_t end = one.number + one.count;
    if (from >= end) continue;
    runs.push_back({places->journal_page(from), end - from, page_buffer(end - from)});
    memcpy(runs.back().bytes.at(0), one.bytes.at(from - one.number), (end - from) * page_bytes);
  }
  return runs;
}

/// Pages below this one are there, or have been damaged since. What had been written is there as
/// long as the machine has not been started anew, whatever became of the process; else what had
/// been flushed.
uint64_t recovery::work::proven_end() const {
  const uint64_t from = head.journal_from;
  if (!note || note->written_page < from ||
      note->written_page - from > places->shape().journal_pages)
    return flushed;
  const bool same_boot = boot != 0 && note->boot == boot;
  return std::max(flushed, same_boot ? note->written_page : note->flushed_page);
}

/// Damaged is what was known to be there; else a crash may leave it in any state.
void recovery::work::end_journal() {
  const uint64_t proven = proven_end();
  for (const bad_page &one : bad_pages) {
    if (one.number < proven) {
      report.records_bad += one.records;
      note_bad(places->journal_page(one.number));
    } else if (one.number < next) {
      report.records_torn += one.records;
    }
  }
  if (proven > next) {
    report.journal_ends_bytes = places->journal_page(next) * page_bytes;
    report.journal_lost_pages = proven - next;
    next = proven;  // numbers of pages are not used twice
  }
  // A new store has a record, and pages are only ever written over by later ones.
  if (!has_records) return lose_journal();
  enter(stage::done);
}

void recovery::work::lose_journal() {
  const uint64_t from = places->journal_page(0) * page_bytes;
  failure = fail(CUBBY_ERR_CORRUPT,
                 "the journal of the store, at %llu, is damaged from its beginning to its end: "
                 "blocks that were put are not to be found any more%s",
                 static_cast<wide>(from), remedy);
  failure->offset_bytes = from;
  failure->data_loss = true;
}

std::optional<recovery::read> recovery::work::next_read() const {
  if (failure) return std::nullopt;
  switch (at) {
    case stage::superblocks:
      return superblock_read();
    case stage::heads:
      return pages_read(
          places->slot_page(step / 2) + (step % 2 == 0 ? 0 : places->slot_pages() - 1), 1);
    case stage::spaces:
      return pages_read(
          slot_page(step == 0 ? slot_spaces_at : places->slot_pages() - 1 - space_pages),
          space_pages);
    case stage::entries:
      return pages_read(slot_page(slot_entries_at + step),
                        std::min(pages_a_read, entry_pages(head.block_count) - step));
    case stage::journal: {
      const uint64_t ring = places->shape().journal_pages;
      const uint64_t number = head.journal_from + step;
      return pages_read(places->journal_page(number),
                        std::min({pages_a_read, ring - step, ring - number % ring}));
    }
    case stage::done:
      break;
  }
  return std::nullopt;
}

recovery::recovery(std::vector<uint64_t> file_bytes, uint64_t fingerprint,
                   std::vector<std::string> names, uint64_t boot)
    : work_(std::make_unique<work>()) {
  work_->boot = boot;
  work_->names = std::move(names);
  work_->found.resize(file_bytes.size());
  work_->file_bytes = std::move(file_bytes);
  work_->fingerprint = fingerprint;
  if (work_->found.empty() || work_->found.size() > store_files_max)
    work_->failure = fail(CUBBY_ERR_INVALID, "a store has 1 to %u files, not %zu", store_files_max,
                          work_->found.size());
}

recovery::~recovery() = default;

std::optional<recovery::read> recovery::next() { return work_->next_read(); }

void recovery::give(const void *data, uint64_t bytes) {
  const auto wanted = work_->next_read();
  CUBBY_ASSERT(wanted && bytes <= wanted->bytes);
  const auto *pages = static_cast<const unsigned char *>(data);
  const uint64_t whole = bytes / page_bytes;
  const uint64_t asked = wanted->bytes / page_bytes;
  switch (work_->at) {
    case stage::superblocks:
      return work_->take_superblock(whole == 1 ? pages : nullptr);
    case stage::heads:
      return work_->take_head(whole == 1 ? pages : nullptr);
    case stage::spaces:
      return work_->take_spaces(pages, whole);
    case stage::entries:
      return work_->take_entries(pages, whole, asked);
    case stage::journal:
      return work_->take_journal(pages, whole, asked);
    case stage::done:
      break;
  }
}

result<recovered_store> recovery::finish() {
  if (work_->failure) return *work_->failure;
  CUBBY_ASSERT(work_->at == stage::done);
  std::vector<extent_map> extents;
  const auto settled = work_->state->settle(extents);
  recovery_report &report = work_->report;
  report.blocks_without_space = settled.without_space;
  report.blocks_overwritten = settled.overwritten;
  report.blocks = work_->state->blocks().count();
  const uint64_t generation = work_->state->generation();
  const journal_position position = {work_->head.journal_from, work_->next, work_->flushed,
                                     work_->head.sequence};
  return recovered_store{*work_->places,
                         std::move(work_->state->blocks()),
                         work_->state->spaces(),
                         std::move(extents),
                         position,
                         generation,
                         work_->boot,
                         std::move(work_->bad),
                         work_->unproven(),
                         report};
}

}  // namespace cubby::store
